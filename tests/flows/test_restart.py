"""`counteranimal serve` for a while: a killed worker and its run are replaced without a hand, and Ctrl-C ends everything."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counteranimal.workspace import Workspace
from flows.tethered import in_time
from tests.fakes.prefect_server import Runs
from tests.processes import left_over, processes_of, until

pytestmark = [pytest.mark.prefect, pytest.mark.shared, pytest.mark.soak, pytest.mark.timeout(900)]
REPOSITORY = Path(__file__).resolve().parents[2]
HEARTBEAT = 60.0


class Served:
    """A serving project: its runs, and its processes."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self.process, self.home = process, home
        assert process.stdout is not None
        self.url = process.stdout.readline().split()[2].rstrip(",") + "/api"
        name, _, word = (home / "prefect" / "credentials").read_text().partition(":")
        self.runs = Runs(self.url, (name, word))


@contextlib.contextmanager
def serving(tmp_path: Path) -> Iterator[Served]:
    """Serve a workspace below the test until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "counteranimal.cli", "serve", "-r", "data_manifest/recipes/breeds.toml", "--port", "0",
         "--home", str(tmp_path / "home")],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Served(process, tmp_path / "home")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@pytest.fixture
def served(tmp_path: Path, shared_data: Path) -> Iterator[Served]:
    with serving(tmp_path) as running:
        yield running


@pytest.mark.case("G02")
@pytest.mark.case("G14")
def test_a_killed_worker_and_its_run_are_replaced_without_a_hand(served: Served, tmp_path: Path) -> None:
    """The run is marked crashed within three heartbeats and some slack, a new one ends well, and each photo stands there once."""
    first = str(served.runs.start("crawl-candidates").json()["id"])
    until(lambda: served.runs.states().get(first) == "RUNNING", 120)
    for pid in [*processes_of(tmp_path, "worker\0start\0--pool\0counteranimal\0"), *processes_of(tmp_path, first)]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: served.runs.states()[first] == "CRASHED", 3 * HEARTBEAT + 60)
    until(lambda: [run for run, state in served.runs.states().items() if run != first and state == "COMPLETED"], 180)
    # The server's scheduler has written the runs to come: those of each week and hour.
    assert "SCHEDULED" in served.runs.states().values()
    stored = [row["photo_id"] for row in Workspace(served.home).journal.rows("stored")]
    assert len(stored) == len(set(stored)) > 0
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=60) == 4
    assert left_over(tmp_path) == []


@pytest.mark.case("G03")
@pytest.mark.case("G14")
def test_a_killed_server_is_started_again_and_a_killed_serve_leaves_no_process(served: Served, tmp_path: Path) -> None:
    """A worker that waited for the server goes on; and all of them notice when nobody holds them any more."""
    before = processes_of(tmp_path, "server\0start\0")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: set(processes_of(tmp_path, "server\0start\0")) - set(before), 60)
    in_time(served.url, served.process, patience=120)
    served.runs.done("smoke")
    served.process.kill()
    served.process.wait(timeout=60)
    assert left_over(tmp_path, patience=60) == []


@pytest.mark.case("G11")
def test_what_came_due_while_nothing_was_up_is_made_up_for_once(tmp_path: Path, shared_data: Path) -> None:
    """The machine was off for three runs of each schedule: the next `serve` runs each deployment once, and the schedules go on."""
    begun = datetime.now(UTC).isoformat()
    with serving(tmp_path) as served:
        until(lambda: Counter(served.runs.states().values())["SCHEDULED"] >= 6, 180)
    with contextlib.closing(sqlite3.connect(served.home / "prefect" / "prefect.db")) as database:
        # As if time had passed: the first three runs of each are due, those of the hourly deployment later than the weekly ones.
        database.execute(
            "with ranked as (select flow_run.id, iif(deployment.name = 'weekly', 168, 1) as every, row_number() over (partition"
            " by deployment_id order by expected_start_time) as place from flow_run join deployment on deployment.id ="
            " deployment_id where state_type = 'SCHEDULED'), moved as (select id, strftime('%Y-%m-%d %H:%M:%f000', 'now',"
            " (-(4 - place) * every) || ' hours') as due from ranked where place <= 3) update flow_run set expected_start_time ="
            " moved.due, next_scheduled_start_time = moved.due from moved where moved.id = flow_run.id"
        )
        # A run waits for the time that its state names, too, unless the server finds the time to mark it as late first.
        database.execute(
            "update flow_run_state set state_details = json_set(state_details, '$.scheduled_time', (select strftime("
            "'%Y-%m-%dT%H:%M:%fZ', next_scheduled_start_time) from flow_run where state_id = flow_run_state.id)) where id in"
            " (select state_id from flow_run where state_type = 'SCHEDULED')"
        )
        database.commit()
    with serving(tmp_path) as served:

        def late() -> list[dict[str, Any]]:
            return [
                run for run in served.runs.ask("/flow_runs/filter", {}).json() if run["expected_start_time"] < begun
            ]

        until(lambda: {run["state_type"] for run in late()} <= {"COMPLETED", "FAILED", "CANCELLED"}, 400)
        ran = [run for run in late() if run["state_type"] != "CANCELLED"]
        assert len(late()) == 6
        assert len(ran) == len({run["deployment_id"] for run in ran}) == 2
        # Both may begin at the same moment, on one workspace; then the other one's turn comes with its next schedule.
        assert all(run["state_type"] == "COMPLETED" or "in use" in run["state"]["message"] for run in ran)
        assert "COMPLETED" in {run["state_type"] for run in ran}
        assert "SCHEDULED" in served.runs.states().values()
