"""Deployments on a real Prefect server with a process worker, as the README starts them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from counteranimal.workspace import Workspace
from tests.flows.conftest import PrefectServer

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

FLOWS = {"crawl_candidates", "sync_annotations", "rebuild_splits", "freeze_release", "evaluate_release", "smoke"}


def test_every_flow_has_its_deployment(prefect_server: PrefectServer) -> None:
    """`prefect deploy --all` makes the deployments of prefect.yaml."""
    listed = prefect_server.prefect("deployment", "ls", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    assert {item["entrypoint"].rpartition(":")[2] for item in json.loads(listed.stdout)} == FLOWS


@pytest.fixture
def few_breeds(tmp_path: Path, shared_data: Path) -> Path:
    """The recipe of the breeds, over a folder of every sixth photo."""
    with (shared_data / "photos" / "photos.csv").open(newline="") as listed:
        rows = [row for row in csv.DictReader(listed) if row["set"] == "pets"][::6]
    for row in rows:
        target = tmp_path / "photos" / row["set"] / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_data / "photos" / row["set"] / row["file"], target)
    with (tmp_path / "photos" / "photos.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    recipe = tmp_path / "breeds.toml"
    text = Path("data_manifest/recipes/breeds.toml").read_text()
    recipe.write_text(text.replace("../../../shared/data/photos", "photos"))
    return recipe


@pytest.mark.shared
def test_rebuild_runs_on_a_worker(
    prefect_server: PrefectServer, few_breeds: Path, tmp_path: Path, shared_data: Path
) -> None:
    """`prefect deployment run 'rebuild-splits/default' --watch` does the work and leaves the tables in the workspace."""
    recipe = few_breeds
    home = tmp_path / "home"
    _verb(["crawl", "-r", str(recipe), "--home", str(home)])
    labellings = str(shared_data / "photos" / "backgrounds.csv")
    _verb(["dedupe", "-r", str(recipe), "--home", str(home)])
    _verb(["annotate", "pull", "--round", "r", "--from", labellings, "-r", str(recipe), "--home", str(home)])
    done = prefect_server.prefect(
        "deployment", "run", "rebuild-splits/default", "--watch",
        "-p", f"recipe={json.dumps(str(recipe))}", "-p", f"home={json.dumps(str(home))}", timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(Workspace(home).table("pairs")) == 24
    assert len(Workspace(home).table("scores")) >= 20


def test_a_failing_flow_fails_the_command(prefect_server: PrefectServer, tmp_path: Path) -> None:
    """A flow that cannot do its work ends as failed, and `--watch` with a non-zero exit code."""
    missing = json.dumps(str(tmp_path / "absent.toml"))
    done = prefect_server.prefect(
        "deployment", "run", "rebuild-splits/default", "--watch", "-p", f"recipe={missing}", timeout=200
    )
    assert done.returncode != 0


@pytest.mark.case("G05")
def test_a_second_run_on_a_workspace_in_use_fails_and_says_so(prefect_server: PrefectServer, tmp_path: Path) -> None:
    """Our own lock decides, not Prefect's state: while one run holds the workspace, another ends at once and changes nothing."""
    home = tmp_path / "home"
    with Workspace(home).lock():
        done = prefect_server.prefect(
            "deployment",
            "run",
            "sync-annotations/hourly",
            "--watch",
            "-p",
            f"home={json.dumps(str(home))}",
            timeout=200,
        )
        assert done.returncode != 0
        assert not (home / "logs").exists()
    logged = prefect_server.prefect("flow-run", "ls", "--flow-name", "sync-annotations", "--limit", "1", "-o", "json")
    run = json.loads(logged.stdout)[0]
    assert str(os.getpid()) in run["state"]["message"]


def test_a_sync_without_an_open_round_ends_at_once(prefect_server: PrefectServer, tmp_path: Path) -> None:
    """The hourly run needs no Label Studio where no round is open."""
    home = json.dumps(str(tmp_path / "home"))
    done = prefect_server.prefect(
        "deployment", "run", "sync-annotations/hourly", "--watch", "-p", f"home={home}", timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logged = json.loads((tmp_path / "home" / "logs" / "steps.jsonl").read_text().splitlines()[-1])
    assert (logged["step"], logged["open_rounds"]) == ("sync", 0)


def _verb(arguments: list[str]) -> None:
    """Run a verb in a process of its own: other tests of this process may have left an event loop running."""
    subprocess.run([sys.executable, "-m", "counteranimal.cli", *arguments], check=True, capture_output=True)
