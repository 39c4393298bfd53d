"""The demo in small: everything from a crawl to a report, on real servers, twice, and once killed in every step."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from counteranimal.annotate.rounds import known_rounds
from counteranimal.annotate.server import program_of
from counteranimal.errors import MissingDependency
from counteranimal.serving.material import obtain_material
from counteranimal.settings import load_settings
from counteranimal.workspace import Workspace
from tests.fakes.read_elsewhere import assert_read_elsewhere
from tests.processes import left_over

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.material,
    pytest.mark.studio,
    pytest.mark.model,
    pytest.mark.xdist_group("demo"),
    pytest.mark.timeout(900),
]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _demo(module: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *module.split(), "--quick", "--folder", str(folder), "--port", str(port)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COUNTERANIMAL_PHOTO_SERVER": f"127.0.0.1:{_free_port()}", "CI": "true"},
    )


@dataclass(frozen=True)
class Done:
    """A tiny demo that ran to its end as a flow, undisturbed."""

    folder: Path
    port: int
    said: str

    @property
    def sums(self) -> bytes:
        """The list of digests of its release."""
        return (self.folder / "home" / "releases" / "1.0.0" / "SHA256SUMS").read_bytes()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The demo in small, once for the tests of this file."""
    settings = load_settings()
    if not program_of(settings).exists():
        pytest.skip("Label Studio's environment is not installed (make label-studio)")
    try:
        obtain_material(settings.cache_folder, root=settings.material)
    except MissingDependency as error:
        pytest.skip(str(error))
    folder, port = tmp_path_factory.mktemp("undisturbed") / "demo", _free_port()
    ended = _demo("flows.demo", folder, port)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Done(folder, port, ended.stdout)


def _steps(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "home" / "logs" / "steps.jsonl").read_text().splitlines()]


def test_tiny_demo_runs_through_and_resumes(done: Done) -> None:
    """The flow does the whole job, and the verb, run after it on the same folder, finds everything done."""
    assert "simulated" in done.said
    assert "composites" in done.said
    assert json.loads((done.folder / "home" / "report" / "report.json").read_text())
    frozen, before = done.sums, len(_steps(done.folder))

    again = _demo("counteranimal.cli demo", done.folder, done.port)
    assert again.returncode == 0, again.stdout + again.stderr
    assert done.sums == frozen
    by_step = {line["step"]: line for line in _steps(done.folder)[before:]}
    assert by_step["crawl"]["new"] == 0
    assert by_step["dedupe"]["new"] == 0
    assert by_step["score"]["new"] == 0
    assert not {"plan", "push", "pull"} & set(by_step)


def test_other_packages_read_its_release(done: Done, tmp_path: Path) -> None:
    """`sha256sum -c` and what people open data sets with find in the demo's release what stands in it."""
    home = done.folder / "home"
    release = home / "releases" / "1.0.0"
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=release, check=True)
    assert_read_elsewhere(release, home / "photos", tmp_path)


@pytest.fixture(scope="module", params=["some", pytest.param("every", marks=pytest.mark.soak)])
def killed(
    done: Done, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, dict[str, Any]]:
    """A demo of the same sample that was killed at some points (at every one in `make soak`) and then ran to its end, and what each death left."""
    place = tmp_path_factory.mktemp("killed")
    folder = place / "demo"
    shutil.copytree(done.folder / "sample", folder / "sample")
    (folder / "sample" / "index.json").unlink()
    for photo in sorted((folder / "sample" / "photos").iterdir())[:4]:
        photo.unlink()
    # A Label Studio whose database is migrated already; the rounds that it holds are another workspace's.
    shutil.copytree(done.folder / "home" / "label-studio", folder / "home" / "label-studio")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fakes.dying_demo", str(folder), str(done.port), request.param],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "COUNTERANIMAL_PHOTO_SERVER": f"127.0.0.1:{_free_port()}",
            "CI": "true",
            "TMPDIR": str(place),  # marks every process of these runs
        },
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder, json.loads(ended.stdout)


@pytest.mark.case("G01")
def test_a_demo_killed_in_every_step_ends_as_if_undisturbed(done: Done, killed: tuple[Path, dict[str, Any]]) -> None:
    """After a SIGKILL in each step the next runs finish, and the release says what the undisturbed run's says.

    Left out of the comparison are when each photo was fetched, and margins, whose last bits depend on the number of threads.
    """
    folder, story = killed
    assert [
        death["point"] for death in story["deaths"] if not death["interrupt"] and death["signal"] != "SIGKILL"
    ] == []
    assert all(death["balanced"] for death in story["deaths"])
    assert {death["release"] for death in story["deaths"]} == {"none", "whole"}
    assert story["exit"] == 0, story["said"]
    for name in ("entries", "splits", "groups", "pairs", "predictions"):
        ours, theirs = (
            pq.read_table(place / "home" / "releases" / "1.0.0" / f"{name}.parquet") for place in (folder, done.folder)
        )
        told = [column for column in theirs.column_names if column not in {"retrieved_at", "margin"}]
        assert ours.select(told).equals(theirs.select(told)), name


def test_a_killed_demo_redoes_nothing_that_was_done(done: Done, killed: tuple[Path, dict[str, Any]]) -> None:
    """Votes, tasks, stored photos and fingerprints stand once each, as many as in the undisturbed run."""
    folder, _ = killed
    ours, theirs = (Workspace(place / "home").journal for place in (folder, done.folder))
    for table in ("candidates", "stored", "votes", "tasks"):
        assert len(ours.rows(table)) == len(theirs.rows(table)), table
    votes = [(row["photo_id"], row["worker"]) for row in ours.rows("votes")]
    assert len(set(votes)) == len(votes)
    for name in ("embeddings", "fingerprints"):
        for key in (folder / "home" / "tables" / name).iterdir():
            ids = [
                photo
                for part in key.glob("part-*.parquet")
                for photo in pq.read_table(part, columns=["photo_id"]).column(0).to_pylist()
            ]
            assert len(set(ids)) == len(ids), key
    assert all(item.closed for item in known_rounds(ours).values())


def test_a_demo_stopped_by_ctrl_c_says_how_to_go_on(killed: tuple[Path, dict[str, Any]]) -> None:
    """Ctrl-C in the middle of a step ends with exit code 4 and one sentence."""
    _, story = killed
    stopped = [death for death in story["deaths"] if death["interrupt"]]
    assert [death["exit"] for death in stopped] == [4, 4]
    assert all("run the same command again" in death["said"][-1] for death in stopped)


@pytest.mark.case("G14")
def test_no_process_of_a_killed_demo_is_left(killed: tuple[Path, dict[str, Any]]) -> None:
    """Neither a server nor a worker of a run that was killed is left once a later run has ended."""
    folder, _ = killed
    assert left_over(folder.parent) == []
