"""Waits, names and budgets that do not need a server."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from counteranimal.crawl.budget import BudgetSpent, Grant, Ledger, Spent, wait_for
from counteranimal.crawl.politeness import Clock, backoff, retry_after, user_agent
from counteranimal.errors import UsageError
from counteranimal.recipe import SourceSpec
from counteranimal.workspace import Journal, Workspace

MB = 1_000_000
SPEC = SourceSpec(
    name="s",
    kind="inaturalist",
    hosts=("h",),
    requests_per_minute=3,
    requests_per_day=5,
    bytes_per_hour=100 * MB,
    bytes_per_day=150 * MB,
)


class Steps(Clock):
    """A clock that moves when told."""

    def __init__(self, start: datetime) -> None:
        self.moment = start

    def now(self) -> datetime:
        return self.moment


@pytest.mark.case("A02")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0), (" 120 ", 120.0), ("Sun, 01 Nov 2026 12:01:00 GMT", 60.0), ("-3", None), ("abc", None), ("", None),
        (None, None), ("Sun, 01 Nov 2026 11:00:00 GMT", None), ("٣", None), ("1e3", None), ("86400", 86400.0),
    ],
)  # fmt: skip
def test_retry_after_reads_seconds_and_dates(value: str | None, seconds: float | None, now: datetime):
    """Seconds and dates are honoured; anything else means our own backoff."""
    assert retry_after(value, now) == seconds


def test_backoff_is_full_jitter_under_a_doubling_bound():
    """Waits are spread over the whole range, whose end doubles up to a cap."""
    rng = random.Random(1)
    for attempt, bound in ((1, 1.0), (2, 2.0), (3, 4.0), (20, 60.0)):
        waits = [backoff(attempt, rng) for _ in range(500)]
        assert 0 <= min(waits) < 0.05 * bound
        assert 0.95 * bound < max(waits) <= bound


@pytest.mark.case("A24")
def test_crawl_of_other_peoples_servers_needs_a_contact():
    """Without a contact only loopback is crawled."""
    assert user_agent("me@example.org", [SPEC]).endswith("(me@example.org)")
    with pytest.raises(UsageError, match="COUNTERANIMAL_CONTACT"):
        user_agent(" ", [SPEC])
    assert "loopback" in user_agent("", [SourceSpec(name="s", kind="folder")])
    with pytest.raises(UsageError, match="plain"):
        user_agent("a\x00b (x)", [SPEC])


def test_budget_waits_a_moment_for_minutes_and_stops_for_days():
    """A full minute is waited for; a full hour or day ends the run."""
    assert wait_for(SPEC, Spent(2, 2, 0, 0)) == 0.0
    assert 0 < wait_for(SPEC, Spent(3, 3, 0, 0)) <= 5.0
    for spent in (Spent(0, 5, 0, 0), Spent(0, 0, 100 * MB, 0), Spent(0, 0, 0, 150 * MB)):
        with pytest.raises(BudgetSpent, match="run again later"):
            wait_for(SPEC, spent)


@pytest.mark.case("A21")
def test_budget_holds_across_restarts(workspace: Workspace, now: datetime):
    """Over a day with a restart after every request, no minute holds more than three and the day no more than five."""
    clock = Steps(now)
    taken: list[datetime] = []
    for _ in range(400):
        with suppress(BudgetSpent):
            if isinstance(Ledger(workspace.journal, SPEC, clock).take("h", "api", MB), Grant):
                taken.append(clock.moment)
        clock.moment += timedelta(seconds=5)
    assert len(taken) == 5
    assert all(later - earlier >= timedelta(minutes=1) for earlier, later in zip(taken, taken[3:], strict=False))


def test_bytes_that_did_not_come_are_given_back(workspace: Workspace, now: datetime):
    """A request reserves what it may bring, also for other runs; once it is known what came, only that counts."""
    ledger = Ledger(workspace.journal, SPEC, Steps(now))
    grant = ledger.take("h", "photo", 60 * MB)
    assert grant == Grant(now, 60 * MB)
    assert Ledger(workspace.journal, SPEC, Steps(now)).take("h", "photo", 60 * MB) == Grant(now, 40 * MB)
    ledger.give_back(grant, 1000)
    ledger.write_bytes()
    ledger.write_bytes()
    assert workspace.journal.budget_used("s", now - timedelta(hours=1)) == (2, 40 * MB + 1000)


def test_bytes_given_back_survive_a_spent_budget(workspace: Workspace, now: datetime):
    """A refused request writes nothing, so what was given back before is written with the next one."""
    ledger = Ledger(workspace.journal, SPEC.model_copy(update={"requests_per_day": 1}), Steps(now))
    ledger.give_back(ledger.take("h", "photo", 60 * MB), 1000)
    with pytest.raises(BudgetSpent, match="'s' is spent \\(1 requests a day"):
        ledger.take("h", "photo", MB)
    ledger.close()
    assert workspace.journal.budget_used("s", now - timedelta(hours=1)) == (1, 1000)


def test_a_closed_ledger_leaves_nothing_reserved(workspace: Workspace, now: datetime):
    """What is left of a block of bytes is given back at the end; its requests stay counted."""
    spec = SPEC.model_copy(update={"requests_per_minute": 6000, "requests_per_day": 100_000, "bytes_per_hour": 10_000 * MB,
                                   "bytes_per_day": 10_000 * MB})  # fmt: skip
    ledger = Ledger(workspace.journal, spec, Steps(now))
    ledger.give_back(ledger.take("h", "photo", MB), 1000)
    ledger.close()
    assert workspace.journal.budget_used("s", now - timedelta(hours=1)) == (10, 1000)


def test_what_a_killed_run_reserved_counts_as_spent(workspace: Workspace, now: datetime):
    """Nobody knows what came of it, so it is not asked for again before its hour has passed."""
    Ledger(workspace.journal, SPEC, Steps(now)).take("h", "photo", 100 * MB)
    with pytest.raises(BudgetSpent, match="bytes an hour"):
        Ledger(workspace.journal, SPEC, Steps(now + timedelta(minutes=59))).take("h", "photo", MB)
    later = Steps(now + timedelta(minutes=66))
    assert isinstance(Ledger(workspace.journal, SPEC, later).take("h", "photo", MB), Grant)


def test_generous_budgets_are_counted_in_blocks(workspace: Workspace, now: datetime):
    """Six thousand a minute are counted ten at a time, each ten for a second; the unused ones count as spent."""
    clock = Steps(now)
    spec = SPEC.model_copy(update={"requests_per_minute": 6000, "requests_per_day": 100_000, "bytes_per_hour": 10_000 * MB,
                                   "bytes_per_day": 10_000 * MB})  # fmt: skip
    ledger = Ledger(workspace.journal, spec, clock)
    assert ledger.at_once("photo", MB) is None
    ledger.take("h", "photo", MB)
    assert [ledger.at_once("photo", MB) for _ in range(9)] == [Grant(now, MB)] * 9
    assert ledger.at_once("photo", MB) is None
    ledger.take("h", "photo", MB)
    clock.moment += timedelta(seconds=2)
    assert ledger.at_once("photo", MB) is None
    ledger.write_bytes()
    assert workspace.journal.budget_used("s", now - timedelta(hours=1)) == (20, 11 * MB)


@pytest.mark.case("A21")
def test_runs_at_the_same_moment_share_one_budget(tmp_path: Path, now: datetime):
    """Four processes that ask at once get as many requests together as one would."""
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    Journal(url).close()
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert sum(pool.map(_greedy, [url] * 4, [now] * 4)) == 40


def _greedy(url: str, now: datetime) -> int:
    spec = SPEC.model_copy(update={"requests_per_minute": 40, "requests_per_day": 1000, "bytes_per_hour": 10_000 * MB,
                                   "bytes_per_day": 10_000 * MB})  # fmt: skip
    ledger = Ledger(Journal(url), spec, Steps(now))
    return sum(isinstance(ledger.take("h", "api", MB), Grant) for _ in range(30))


@pytest.mark.case("A21")
def test_no_window_of_a_month_exceeds_a_budget(tmp_path: Path, now: datetime):
    """A month of greedy runs, killed and restarted at random: no minute, hour or day holds more than it may, as a server counts."""
    rng, clock = random.Random(7), Steps(now)
    limits = {"requests_per_minute": 3, "requests_per_day": 60, "bytes_per_hour": 20 * MB, "bytes_per_day": 150 * MB}
    spec = SPEC.model_copy(update=limits)
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    ledger = Ledger(journal, spec, clock)
    asked: list[tuple[float, int]] = []
    came: list[tuple[float, int]] = []
    while clock.moment < now + timedelta(days=30):
        if rng.random() < 0.05:
            ledger = Ledger(journal, spec, clock)  # killed: what it had reserved and not given back stays spent
        try:
            grant = ledger.take("h", "photo", 5 * MB)
        except BudgetSpent:
            clock.moment += timedelta(minutes=rng.uniform(1, 60))
            continue
        if isinstance(grant, Grant):
            asked.append(((clock.moment - now).total_seconds(), 1))
            clock.moment += timedelta(seconds=rng.uniform(0, 60))  # the answer may take its time
            received = rng.randrange(grant.most_bytes + 1)
            came.append(((clock.moment - now).total_seconds(), received))
            ledger.give_back(grant, received)
        else:
            clock.moment += timedelta(seconds=grant)
    assert len(asked) > 600
    assert _most_within(60, asked) <= 3
    assert _most_within(86_400, asked) <= 60
    assert _most_within(3_600, came) <= 20 * MB
    assert _most_within(86_400, came) <= 150 * MB


def _most_within(seconds: float, events: list[tuple[float, int]]) -> int:
    """Return the largest sum of values that any window of that length holds."""
    most = total = first = 0
    for at, value in events:
        total += value
        while events[first][0] <= at - seconds:
            total -= events[first][1]
            first += 1
        most = max(most, total)
    return most
