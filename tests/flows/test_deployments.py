"""Deployments on a real Prefect server with a process worker, as the README starts them."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from counteranimal.annotate.plan import plan
from counteranimal.annotate.rounds import record_event
from counteranimal.serving.links import load_secret
from counteranimal.workspace import Workspace
from tests.fakes.listed_site import ListedSite, recipe_of
from tests.fakes.photo_pool import a_recipe, fill
from tests.fakes.prefect_server import REPOSITORY, PrefectServer
from tests.processes import until

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


@pytest.mark.case("G03")
@pytest.mark.case("G07")
def test_a_crawl_outlives_its_server_and_takes_nothing_from_the_result_storage(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    """The server is killed in mid-crawl and started again when all steps are done: the run completes, and each photo is stored once.

    A pickle lies where Prefect would look for the crawl's result, were it cached; it has been seen to go off there, and does not.
    """
    home, canary = tmp_path / "home", tmp_path / "canary"
    with ListedSite(seconds=0.3) as site:
        recipe = site.recipe(tmp_path, 30)
        subprocess.run(
            [sys.executable, "-m", "tests.fakes.planted_results", recipe, home, canary],
            cwd=REPOSITORY, env=prefect_server.environment, check=True, capture_output=True,
        )  # fmt: skip
        canary.rmdir()
        run = prefect_server.run("crawl-candidates", recipe=str(recipe), home=str(home))
        until(lambda: len(site.photos()) > 3, 120)
        prefect_server.stop((signal.SIGKILL, 8.0))
        site.seconds = 0.0
        log = home / "logs" / "steps.jsonl"
        until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, 60)
        prefect_server.start()
        assert prefect_server.ended(run) == "COMPLETED"
        assert len(site.photos()) == 30
    stored = Counter(row["photo_id"] for row in Workspace(home).journal.rows("stored"))
    assert sorted(stored.values()) == [1] * 30
    [shown] = prefect_server.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    assert {"state": "stored", "candidates": 30} in json.loads(shown["data"])
    assert not canary.exists()


@pytest.mark.case("G07")
@pytest.mark.case("G09")
def test_no_secret_is_in_what_prefect_keeps(prefect_server: PrefectServer, tmp_path: Path, now: datetime) -> None:
    """Not after a run that fails on its token: logs, parameters, results, artifacts, states, database, and the folder beside it.

    What such a run leaves in the result storage is its error as JSON, where Prefect's default is a pickle.
    """
    results = prefect_server.home.parent / "results"
    before = set(results.glob("*"))
    rounds = Workspace(tmp_path / "rounds")
    fill(rounds, 4)
    plan(a_recipe(), rounds, round_id="r", workers=["anna", "ben"], now=now, rng=np.random.default_rng(7))
    record_event(rounds.journal, "r", "project", {"worker": "anna", "project_id": 7}, now=now)
    recipe = str(recipe_of(tmp_path, "127.0.0.1:1", 1))
    run = prefect_server.run("sync-annotations", recipe=recipe, home=str(rounds.home))
    assert prefect_server.ended(run) == "FAILED"
    told = until(lambda: [line for line in prefect_server.words(run) if "refuses the token" in line], 30)
    assert any("Traceback" in line for line in told)
    [left] = set(results.glob("*")) - before
    assert "refuses the token" in json.loads(left.read_text())["message"]
    kept = {str(path): path.read_bytes() for path in prefect_server.home.parent.rglob("*") if path.is_file()}
    with contextlib.closing(sqlite3.connect(prefect_server.home / "prefect.db")) as database:
        kept["dump"] = "\n".join(database.iterdump()).encode()
    assert recipe.encode() in kept["dump"]
    hidden = {
        name: prefect_server.environment[name] for name in ("COUNTERANIMAL_LABEL_STUDIO_TOKEN", "AWS_SECRET_ACCESS_KEY")
    }
    hidden |= {"server": prefect_server.credentials[1], "photos": load_secret(rounds.home).hex()}
    hidden["header"] = base64.b64encode(":".join(prefect_server.credentials).encode()).decode()
    assert [
        (name, where) for name, word in hidden.items() for where, text in kept.items() if word.encode() in text
    ] == []


def _verb(arguments: list[str]) -> None:
    """Run a verb in a process of its own: other tests of this process may have left an event loop running."""
    subprocess.run([sys.executable, "-m", "counteranimal.cli", *arguments], check=True, capture_output=True)
