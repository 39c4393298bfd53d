"""The journal keeps everything that happened, in order, and fails in one sentence."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, IntegrityError, MissingDependency, UsageError
from counteranimal.workspace import Journal, seal


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a new SQLite journal."""
    return f"sqlite:///{tmp_path / 'journal.sqlite'}"


def candidate(number: int, **fields: object) -> dict[str, object]:
    """Return a candidate's row."""
    return {"candidate_id": f"s:{number}", "source": "s", "status": "ok", **fields}


def test_a_later_row_supersedes_and_both_stay(journal_url: str) -> None:
    """A snapshot shows the last word; the history shows all."""
    journal = Journal(journal_url)
    journal.append("candidates", [candidate(1, author="old"), candidate(2)])
    journal.append("candidates", [candidate(1, author="new")])
    assert journal.latest("candidates", "candidate_id")["s:1"]["author"] == "new"
    assert [row["author"] for row in journal.rows("candidates", candidate_id="s:1")] == ["old", "new"]


def test_positions_grow_and_survive_a_restart(journal_url: str) -> None:
    """What a release records as its origin is the same after the process ended."""
    journal = Journal(journal_url)
    assert journal.position("candidates") == 0
    assert journal.append("candidates", [candidate(1), candidate(2)]) == 2
    assert journal.append("candidates", []) == 0
    assert Journal(journal_url).positions()["candidates"] == 2


def test_moments_come_back_in_utc(journal_url: str) -> None:
    """SQLite forgets zones; the journal does not."""
    journal = Journal(journal_url)
    local = datetime(2026, 11, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    journal.append("fetches", [{"candidate_id": "s:1", "attempt": 1, "at": local, "status": "stored"}])
    found = journal.rows("fetches")[0]["at"]
    assert found == local
    assert found.utcoffset() == timedelta(0)


def test_lists_and_missing_values_come_back(journal_url: str) -> None:
    """Codes stay a list, and what was not given is null."""
    journal = Journal(journal_url)
    journal.append("votes", [{"annotation_id": "1", "codes": ["blurred", "small"], "usable": False}])
    row = journal.rows("votes")[0]
    assert (row["codes"], row["usable"], row["worker"]) == (["blurred", "small"], False, None)


def test_an_unknown_column_is_a_bug_and_nothing_is_written(journal_url: str) -> None:
    """A misspelt column is not dropped silently."""
    journal = Journal(journal_url)
    with pytest.raises(KeyError, match="no column 'colour'"):
        journal.append("candidates", [candidate(1), candidate(2, colour="red")])
    assert journal.position("candidates") == 0


@pytest.mark.case("A21")
def test_budgets_are_counted_across_restarts(journal_url: str) -> None:
    """What another run spent in the window counts."""
    now = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    spent = [
        {"source": "s", "host": "h", "at": now - timedelta(seconds=age), "bytes": 10, "kind": "api"}
        for age in (5, 30, 61)
    ]
    Journal(journal_url).append(
        "requests", [*spent, {"source": "t", "host": "h", "at": now, "bytes": 99, "kind": "api"}]
    )
    assert Journal(journal_url).budget_used("s", now - timedelta(seconds=60)) == (2, 20)
    assert Journal(journal_url).budget_used("u", now) == (0, 0)


def test_a_step_is_recorded_whole_or_not_at_all(journal_url: str) -> None:
    """Rows for several tables go in together; a wrong one among them keeps all of them out."""
    journal = Journal(journal_url)
    assert journal.append_all({"candidates": [candidate(1)], "fetches": [{"candidate_id": "s:1", "attempt": 1}]}) == 2
    with pytest.raises(EnvironmentFailure, match="cannot be used"):
        journal.append_all({"candidates": [candidate(2)], "fetches": [{"candidate_id": "s:2", "bytes": object()}]})
    assert (journal.position("candidates"), len(journal.rows("fetches"))) == (1, 1)


def test_of_two_equal_claims_one_is_appended(journal_url: str) -> None:
    """A unique key decides between two that come at once; the other one learns that it lost."""
    claims = [{"candidate_id": f"s:{n}", "attempt": 1, "generation": 1, "kind": "taken", "run": "a"} for n in (1, 2)]
    assert Journal(journal_url).append_new("claims", claims[:1], "candidate_id") == {"s:1"}
    assert Journal(journal_url).append_new("claims", claims, "candidate_id") == {"s:2"}
    assert Journal(journal_url).append_new("claims", claims, "candidate_id") == set()


def test_text_that_a_database_cannot_hold_is_replaced(journal_url: str) -> None:
    """NUL and lone surrogates, which upstream texts may hold, end no crawl."""
    journal = Journal(journal_url)
    journal.append("candidates", [candidate(1, author="a\x00b", note="\ud800c")])
    [row] = journal.rows("candidates")
    assert (row["author"], row["note"]) == ("a\ufffdb", "\ufffdc")


def test_a_long_table_is_read_in_batches(journal_url: str) -> None:
    """More rows than one batch come in order, once each."""
    journal = Journal(journal_url)
    journal.append("candidates", [candidate(n) for n in range(10_050)])
    batches = list(journal.batches(journal.last_rows("candidates", "candidate_id", ["candidate_id"])))
    assert [len(batch) for batch in batches] == [10_000, 50]
    assert [row[0] for batch in batches for row in batch] == [f"s:{n}" for n in range(10_050)]


def test_a_journal_of_an_earlier_version_gains_its_columns(journal_url: str) -> None:
    """What an earlier version wrote stays, and the columns that it lacks are there afterwards."""
    journal = Journal(journal_url)
    journal.append("stored", [{"photo_id": "a" * 64, "candidate_id": "s:1"}])
    with journal._engine.begin() as connection:
        for column in ("store", "status"):
            connection.exec_driver_sql(f"ALTER TABLE stored DROP COLUMN {column}")
    [row] = Journal(journal_url).rows("stored")
    assert (row["candidate_id"], row["store"], row["status"]) == ("s:1", None, None)


def test_gaining_columns_is_no_damage_and_hides_none(tmp_path: Path, url: str) -> None:
    """A sealed journal of an earlier version is sealed anew with its new columns; one that was damaged is still found so."""
    file = tmp_path / "journal.sqlite"

    def earlier() -> None:
        file.unlink(missing_ok=True)
        journal = Journal(url)
        journal.append("stored", [{"photo_id": "a" * 64, "candidate_id": "s:1", "mime": "image/jpeg"}])
        with journal._engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE stored DROP COLUMN suspect")
        journal.close(sealed=True)

    earlier()
    Journal(url).close()
    assert seal.damage(file) == ""
    assert seal.seal_of(file).exists()
    earlier()
    file.write_bytes(file.read_bytes().replace(b"image/jpeg", b"image/jpag"))
    Journal(url).close()
    assert "not those of the last run" in seal.damage(file)


@pytest.mark.case("B04")
def test_sqlite_syncs_every_commit(url: str) -> None:
    """The state is durable before the next step relies on it."""
    journal = Journal(url)
    with journal._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.case("B12")
def test_a_broken_database_is_found_at_start(tmp_path: Path, url: str) -> None:
    """A file that is no database is named, with the verb that mends it; nothing is written over it."""
    (tmp_path / "journal.sqlite").write_bytes(b"this is no database at all, but long enough" * 30)
    with pytest.raises(IntegrityError, match=r"journal\.sqlite is damaged .*counteranimal recover") as caught:
        Journal(url)
    assert caught.value.exit_code == 3


def test_a_locked_database_is_the_machines_failure(tmp_path: Path, url: str) -> None:
    """Another program that holds the database gives one sentence, and the row is not half there."""
    journal = Journal(url)
    holder = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(EnvironmentFailure, match="locked"):
            _impatient(journal).append("candidates", [candidate(1)])
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert journal.position("candidates") == 0


def _impatient(journal: Journal) -> Journal:
    """Return the journal with a connection that does not wait for the lock."""
    from sqlalchemy import event

    def hurry(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA busy_timeout=1")

    event.listen(journal._engine, "connect", hurry)
    journal._engine.dispose()
    return journal


@pytest.mark.parametrize("address", ["nonsense", "lost://host/name"])
def test_an_address_that_is_no_database_is_a_usage_error(address: str) -> None:
    """The sentence shows what an address looks like and repeats nothing that may hold a password."""
    with pytest.raises(UsageError, match=r"postgresql\+psycopg://host/name") as caught:
        Journal(address)
    assert address not in str(caught.value)


def test_a_missing_driver_is_named() -> None:
    """PostgreSQL needs a driver that the base install does not bring."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependency, match="psycopg is missing; install it"):
            Journal("postgresql+psycopg://127.0.0.1:1/none")
    else:
        pytest.skip("the driver is installed here")


def test_a_journal_in_a_folder_that_is_not_there_says_where(tmp_path: Path) -> None:
    """The address is in the sentence, so that the reader sees what is wrong with it."""
    with pytest.raises(EnvironmentFailure, match=r"absent/journal\.sqlite cannot be used"):
        Journal(f"sqlite:///{tmp_path}/absent/journal.sqlite")
