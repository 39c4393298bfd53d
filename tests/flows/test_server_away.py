"""A Prefect server that is away for a minute, loses its database, has eight runs at once, or lives on PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counteranimal.annotate.raters import SimulatedRaters
from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.settings import Settings
from counteranimal.steps.rounds import plan, push, simulate
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace
from tests.fakes.listed_site import ListedSite
from tests.fakes.postgres import Postgres
from tests.fakes.prefect_server import DONE, POOLS, REPOSITORY, PrefectServer
from tests.processes import processes_of, until

pytestmark = [pytest.mark.prefect, pytest.mark.soak, pytest.mark.timeout(1200)]
# What docs/how-to/schedule.md asks of a server.
LEASES = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}


@pytest.fixture
def site() -> Iterator[ListedSite]:
    with ListedSite() as running:
        yield running


def stored_once(home: Path, number: int) -> bool:
    """Say whether the workspace holds so many photos, each once."""
    counted = Counter(row["photo_id"] for row in Workspace(home).journal.rows("stored"))
    return sorted(counted.values()) == [1] * number


def digests(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tasks_on(studio: LabelStudioServer) -> set[int]:
    """Return the tasks of all our projects."""
    return {task.task_id for project in studio.our_projects() for task in studio.tasks(project, answers=False)}


@pytest.mark.case("G03")
def test_a_crawl_of_minutes_outlives_a_minute_without_its_server(site: ListedSite, tmp_path: Path) -> None:
    """It renews its place in the concurrency limit with the new server, no automation takes it for dead, and nothing is fetched twice."""
    home, number = tmp_path / "home", 330
    recipe = str(site.recipe(tmp_path, number))
    with PrefectServer(tmp_path / "prefect", COUNTERANIMAL_CONTACT="tester@example.org", **LEASES) as server:
        server.start()
        server.deploy()
        assert server.prefect("automation", "create", "--from-file", "flows/automations.yaml").returncode == 0
        server.work()
        site.seconds = 1.0
        run = server.runs.start("crawl-candidates", recipe=recipe, home=str(home)).json()["id"]
        until(lambda: len(site.photos()) > 3, 120)
        server.kill()
        time.sleep(60)
        server.start()
        until(lambda: len(site.photos()) == number, 600)
        state = server.runs.until(run, *DONE)
        assert state["type"] == "COMPLETED", state
        assert list(server.runs.states()) == [run]
    assert len(site.photos()) == number
    assert stored_once(home, number)


@pytest.mark.case("G04")
@pytest.mark.studio
def test_a_lost_prefect_database_costs_nothing(
    studio_server: StudioServer, studio: LabelStudioServer, site: ListedSite, tmp_path: Path
) -> None:
    """The next runs download nothing, make no task in Label Studio and no vote, and leave every table as it was, byte for byte."""
    home, recipe = tmp_path / "home", site.recipe(tmp_path, 24)
    settings = Settings(
        home=home, label_studio_url=studio_server.url, label_studio_token=studio_server.token, contact="t@example.org"
    )
    with PrefectServer(
        tmp_path / "prefect",
        COUNTERANIMAL_CONTACT="tester@example.org",
        COUNTERANIMAL_LABEL_STUDIO_URL=studio_server.url,
        COUNTERANIMAL_LABEL_STUDIO_TOKEN=studio_server.token,
    ) as server:

        def crawl_and_sync() -> None:
            server.start()
            server.deploy()
            server.work()
            for flow in ("crawl-candidates", "sync-annotations"):
                server.runs.done(flow, recipe=str(recipe), home=str(home))

        crawl_and_sync()
        planned = Run.of(recipe, settings)
        plan(planned, round_id="r", workers=["simulated-1", "simulated-2"])
        push(planned, round_id="r")
        simulate(planned, round_id="r", answers=SimulatedRaters(lambda _: "grass", 0.0, "seed"))
        server.runs.done("sync-annotations", recipe=str(recipe), home=str(home))
        held = {name: len(planned.workspace.journal.rows(name)) for name in ("candidates", "stored", "tasks", "votes")}
        assert held == {"candidates": 24, "stored": 24, "tasks": 48, "votes": 48}
        tasks = tasks_on(studio)
        assert len(tasks) == 48
        tables, photos = digests(home / "tables"), digests(home / "photos")
        assert {"candidates.parquet", "clusters.parquet"} <= set(tables)
        assert len(site.photos()) == 24

        server.stop()
        for left in server.home.glob("prefect.db*"):
            left.unlink()
        crawl_and_sync()
        assert push(planned, round_id="r").counts["tasks"] == 0
    assert tasks_on(studio) == tasks
    assert len(site.photos()) == 24
    assert digests(home / "tables") == tables
    assert digests(home / "photos") == photos
    assert {name: len(planned.workspace.journal.rows(name)) for name in held} == held


@pytest.mark.case("G08")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_flows_at_once_disturb_nobody(
    kind: str, site: ListedSite, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each in a process and a workspace of its own, against one server: all end well, and no database was locked."""
    recipe = site.recipe(tmp_path, 30)
    database = {} if kind == "sqlite" else {"PREFECT_SERVER_DATABASE_CONNECTION_URL": prefects(request)}
    program = "import sys; from flows.crawl_candidates import crawl_candidates; crawl_candidates(*sys.argv[1:])"
    with PrefectServer(tmp_path / "prefect", COUNTERANIMAL_CONTACT="tester@example.org", **database) as server:
        server.start()
        with (tmp_path / "flows.log").open("wb") as log:
            running = [
                subprocess.Popen(
                    [sys.executable, "-c", program, str(recipe), str(tmp_path / f"home{number}")],
                    cwd=REPOSITORY, env=server.environment, stdout=log, stderr=log,
                )
                for number in range(8)
            ]  # fmt: skip
            assert [process.wait(timeout=600) for process in running] == [0] * 8, (tmp_path / "flows.log").read_text()
        assert list(server.runs.states().values()) == ["COMPLETED"] * 8
    said = server.log.read_text() + (tmp_path / "flows.log").read_text()
    assert "database is locked" not in said
    assert all(stored_once(tmp_path / f"home{number}", 30) for number in range(8))


def prefects(request: pytest.FixtureRequest) -> str:
    """Return the URL, in Prefect's words, of a new database on a PostgreSQL server."""
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database().replace("+psycopg:", "+asyncpg:")


def test_the_commands_for_an_existing_server_work_on_postgresql(
    site: ListedSite, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Pools, deployments, automations and a worker, by the commands of docs/how-to/schedule.md; a killed run is started again."""
    home, number = tmp_path / "home", 30
    recipe = str(site.recipe(tmp_path, number))
    database = prefects(request)
    with PrefectServer(
        tmp_path / "prefect",
        COUNTERANIMAL_CONTACT="tester@example.org",
        PREFECT_SERVER_DATABASE_CONNECTION_URL=database,
        **LEASES,
    ) as server:
        server.start()
        for command in (
            *(f"work-pool create {pool} --type process" for pool in POOLS),
            "deploy --all",
            "automation create --from-file flows/automations.yaml",
        ):
            done = server.prefect(*command.split())
            assert done.returncode == 0, done.stdout + done.stderr
        server.work()
        site.seconds = 1.0
        first = server.runs.start("crawl-candidates", recipe=recipe, home=str(home)).json()["id"]
        until(lambda: len(site.photos()) > 3, 120)
        for pid in processes_of(tmp_path, first):
            os.kill(pid, signal.SIGKILL)
        site.seconds = 0.0
        server.runs.until(first, "CRASHED")
        until(lambda: "COMPLETED" in server.runs.states().values(), 180)
    assert not (tmp_path / "prefect" / "prefect.db").exists()
    assert stored_once(home, number)


@pytest.mark.case("G11")
def test_late_runs_are_made_up_for_once(site: ListedSite, tmp_path: Path) -> None:
    """Three runs of a schedule come due while no worker is there; when one comes, one of them runs and the others are cancelled."""
    given = {"recipe": str(site.recipe(tmp_path, 1)), "home": str(tmp_path / "home")}
    often = {"schedule": {"interval": 20, "anchor_date": "2026-01-01T00:00:00Z"}, "active": True}
    with PrefectServer(tmp_path / "prefect", PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="5", **LEASES) as server:
        server.start()
        server.deploy()
        place = f"/deployments/{server.runs.deployment('sync-annotations')['id']}"
        assert server.runs.ask(place, {"parameters": given}, method="PATCH").ok
        assert server.runs.ask(f"{place}/schedules", [often]).ok

        def due(moment: str) -> list[dict[str, Any]]:
            return [run for run in server.runs.of("sync-annotations") if run["expected_start_time"] < moment]

        until(lambda: len(due(datetime.now(UTC).isoformat())) >= 3, 180)
        server.work()
        [first] = until(lambda: [run for run in due("9") if run["state_type"] == "COMPLETED"][:1], 120)
        late = due(first["start_time"])
    assert len(late) >= 3
    assert Counter(run["state_type"] for run in late) == {"COMPLETED": 1, "CANCELLED": len(late) - 1}
