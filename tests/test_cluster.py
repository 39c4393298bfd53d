"""The same shards on processes, threads and a Dask cluster of real processes: equal results, and a dead worker costs its shard alone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counteranimal import cluster
from counteranimal.errors import EnvironmentFailure
from counteranimal.freeze.photos import copies_of
from counteranimal.pool import Pool, map_shards
from counteranimal.release.sums import digest_of_file
from counteranimal.settings import Settings
from counteranimal.steps.curation import dedupe
from counteranimal.steps.run import Run
from counteranimal.workspace import Blob, Blobs, Workspace
from tests.fakes.counted_shards import Counted, at_work, counted, marked
from tests.fakes.crawled_site import jpeg
from tests.fakes.dask_cluster import DaskCluster
from tests.fakes.postgres import Postgres

pytest.importorskip("distributed", reason="Dask is not installed; pip install 'counteranimal[dask]'")
SHARDS = 12
NOW = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskCluster]:
    """A cluster of two workers with one thread each."""
    with DaskCluster() as running:
        running.add_worker()
        running.add_worker()
        yield running


def _shards(folder: Path) -> list[Counted]:
    folder.mkdir(exist_ok=True)
    return [Counted(number, folder, folder / "hold") for number in range(SHARDS)]


def _in_background(pool: Pool, folder: Path) -> tuple[threading.Thread, list[int], list[BaseException]]:
    found: list[int] = []
    wrong: list[BaseException] = []

    def work() -> None:
        try:
            found.extend(map_shards(marked, _shards(folder), pool=pool, title="squaring"))
        except EnvironmentFailure as error:
            wrong.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, found, wrong


def _until(condition: object, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)


@pytest.mark.parametrize("place", ["processes", "threads", "dask"])
def test_results_come_in_order_wherever_shards_run(place: str, dask: DaskCluster, tmp_path: Path) -> None:
    """Each shard is done once, its results stand in the shards' order, and two workers divide them."""
    pool = Pool(2, dask.address if place == "dask" else place)
    assert list(map_shards(marked, _shards(tmp_path / "m"), pool=pool, title="squaring")) == [
        n**2 for n in range(SHARDS)
    ]
    assert counted(tmp_path / "m", "begun") == counted(tmp_path / "m", "done") == dict.fromkeys(range(SHARDS), 1)


@pytest.mark.case("C06")
@pytest.mark.parametrize("place", ["processes", "dask"])
def test_a_killed_worker_costs_its_shard_and_nothing_else(place: str, dask: DaskCluster, tmp_path: Path) -> None:
    """SIGKILL for one of two real workers at work: its shard is begun twice, every other once, and no result is lost."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "hold").touch()
    thread, found, wrong = _in_background(Pool(2, dask.address if place == "dask" else place), folder)
    _until(lambda: len(at_work(folder)) == 2)
    pid, number = next(iter(at_work(folder).items()))
    if place == "dask":
        dask.add_worker()  # so that later tests have two
        killed = next(worker for worker in dask.workers if worker.pid == pid)
        killed.kill()
        killed.wait()
    else:
        os.kill(pid, signal.SIGKILL)
    (folder / "hold").unlink()
    thread.join(60)
    assert (found, wrong) == ([n**2 for n in range(SHARDS)], [])
    assert counted(folder, "begun") == {**dict.fromkeys(range(SHARDS), 1), number: 2}
    assert counted(folder, "done") == dict.fromkeys(range(SHARDS), 1)


def test_no_scheduler_at_the_address_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens ends with the environment's exit code and the next step."""
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with pytest.raises(
        EnvironmentFailure, match=r"no Dask scheduler answers at tcp://127.0.0.1:9; start one"
    ) as caught:
        list(map_shards(abs, [1], pool=Pool(1, "tcp://127.0.0.1:9"), title="none"))
    assert caught.value.exit_code == 4


def test_a_worker_that_does_not_see_the_store_says_so(dask: DaskCluster, tmp_path: Path) -> None:
    """An empty mount point is no store: the sentence names machine, folder and setting."""
    with pytest.raises(
        EnvironmentFailure, match=r"does not see the photos in .*mount the store there.*COUNTERANIMAL_STORE"
    ):
        list(map_shards(abs, [1], pool=Pool(1, dask.address), title="none", store=tmp_path))


def test_other_versions_on_a_worker_are_refused(dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables must not depend on where they were made, so a worker with another package is told apart and named."""
    ours = {**cluster.versions(), "pillow": "1.0"}
    monkeypatch.setattr(cluster, "versions", lambda: ours)
    with pytest.raises(
        EnvironmentFailure, match=r"worker on .* has pillow .*, here it is 1.0.*install the same versions"
    ):
        list(map_shards(abs, [1], pool=Pool(1, dask.address), title="none"))


def test_what_a_shard_raises_comes_back_as_itself(dask: DaskCluster) -> None:
    """The caller sees what went wrong, not that it went wrong elsewhere."""
    with pytest.raises(TypeError):
        list(map_shards(abs, [1, "x"], pool=Pool(1, dask.address), title="none"))


def test_a_cluster_without_workers_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing waits for ever for workers that nobody starts; nor for a scheduler that went away in the middle."""
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    with (
        DaskCluster() as empty,
        pytest.raises(EnvironmentFailure, match=r"has no worker; start some with `dask worker tcp://"),
    ):
        list(map_shards(abs, [1], pool=Pool(1, empty.address), title="none"))


PHOTOS = 300  # three shards
RECIPE = """
name = "scale"
[[sources]]
name = "site"
kind = "folder"
[[classes]]
id = "dog"
name = "dog"
imagenet = [207]
"""


def _crawled(place: Path, journal: str) -> Path:
    """Leave what a crawl leaves in a shared journal and a shared store, and return the recipe's file."""
    workspace = Workspace(place / "crawler", journal, place / "store")
    blobs = [Blob(jpeg(number)) for number in range(PHOTOS)]
    workspace.blobs.put_many(blobs)
    names = [f"site:{number}" for number in range(PHOTOS)]
    workspace.journal.append_all(
        {
            "candidates": [
                {"candidate_id": name, "source": "site", "native_id": name[5:], "class_id": "dog", "url": f"file:{name}.jpg",
                 "licence": "CC0-1.0", "kind": "photo", "seen_at": NOW, "status": "ok"}
                for name in names
            ],
            "fetches": [
                {"candidate_id": name, "attempt": 1, "at": NOW, "status": "stored", "photo_id": blob.photo_id}
                for name, blob in zip(names, blobs, strict=True)
            ],
            "stored": [
                {"photo_id": blob.photo_id, "candidate_id": name, "mime": "image/jpeg", "bytes": len(blob.data), "width": 96,
                 "height": 96, "fold_unit": blob.photo_id, "stored_at": NOW, "store": str(place / "store")}
                for name, blob in zip(names, blobs, strict=True)
            ],
        }
    )  # fmt: skip
    recipe = place / "recipe.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def _tables(home: Path) -> dict[str, str]:
    """Return the digest of every table and part of a home, by its place."""
    return {
        str(path.relative_to(home)): digest_of_file(path)[0] for path in sorted((home / "tables").rglob("*.parquet"))
    }


def test_homes_that_share_journal_and_store_make_the_same_tables_on_every_pool(
    dask: DaskCluster, postgres: Postgres, tmp_path: Path
) -> None:
    """Homes of their own, a journal on PostgreSQL and one store: processes, threads and Dask's workers give equal bytes."""
    journal = postgres.new_database()
    recipe = _crawled(tmp_path, journal)
    for place in ("processes", "threads", dask.address):
        home = tmp_path / place.partition(":")[0]
        dedupe(
            Run.of(recipe, Settings(home=home, journal_url=journal, store=tmp_path / "store", pool=place, workers=2))
        )
    expected = _tables(tmp_path / "processes")
    assert len([name for name in expected if name.startswith("tables/fingerprints/")]) == 3
    assert _tables(tmp_path / "threads") == _tables(tmp_path / "tcp") == expected


def test_published_copies_do_not_depend_on_the_pool(dask: DaskCluster, tmp_path: Path) -> None:
    """A release is the same wherever its copies were digested."""
    blobs = Blobs(tmp_path / "store")
    made = [Blob(jpeg(number)) for number in range(PHOTOS)]
    blobs.put_many(made)
    names = [blob.photo_id for blob in made]
    here, there = (copies_of(blobs, names, pool=Pool(1, place)) for place in ("processes", dask.address))
    assert here[0].equals(there[0])
    assert here[1] == there[1] == []


def test_a_shard_that_kills_its_workers_is_one_sentence() -> None:
    """Memory that never suffices ends the run, where the scheduler would go on for ever."""
    with DaskCluster(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as running:
        running.add_worker()
        with pytest.raises(EnvironmentFailure, match=r"died over one shard again and again .*more memory"):
            list(map_shards(os._exit, [1], pool=Pool(1, running.address), title="leaving"))
