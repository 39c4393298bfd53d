"""Deployments on a real Prefect server with a process worker, as the README starts them."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pytest
import yaml

from counteranimal.annotate.plan import plan
from counteranimal.annotate.rounds import record_event
from counteranimal.release.read import open_release
from counteranimal.release.verify import verify
from counteranimal.serving.links import load_secret
from counteranimal.workspace import Workspace
from tests.fakes.listed_site import ListedSite, recipe_of
from tests.fakes.photo_pool import a_recipe, fill
from tests.fakes.prefect_server import DONE, REPOSITORY, PrefectServer, Runs
from tests.processes import until

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

FLOWS = {"crawl_candidates", "sync_annotations", "rebuild_splits", "freeze_release", "evaluate_release", "smoke"}


def test_every_flow_has_its_deployment(prefect_server: PrefectServer, runs: Runs) -> None:
    """`prefect deploy --all` makes the deployments of prefect.yaml, and Prefect's pages say what each and its parameters are."""
    listed = prefect_server.prefect("deployment", "ls", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    assert {item["entrypoint"].rpartition(":")[2] for item in json.loads(listed.stdout)} == FLOWS
    for item in runs.ask("/deployments/filter", {}).json():
        fields = item["parameter_openapi_schema"]["properties"]
        assert all(field.get("description") for field in fields.values()), item["name"]
        assert item["description"], item["name"]


@pytest.fixture(scope="module")
def runs(prefect_server: PrefectServer) -> Runs:
    return prefect_server.runs


@dataclass(frozen=True)
class Place:
    """A recipe and a workspace, and the last run on it."""

    recipe: Path
    home: Path
    run: str = ""

    def names(self) -> dict[str, str]:
        """Return them as a run's parameters."""
        return {"recipe": str(self.recipe), "home": str(self.home)}


@pytest.fixture(scope="module")
def verified(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A workspace with votes, of the recipe of the breeds over a folder of every sixth photo."""
    place = tmp_path_factory.mktemp("breeds")
    with (shared_data / "photos" / "photos.csv").open(newline="") as listed:
        rows = [row for row in csv.DictReader(listed) if row["set"] == "pets"][::6]
    for row in rows:
        target = place / "photos" / row["set"] / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_data / "photos" / row["set"] / row["file"], target)
    with (place / "photos" / "photos.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    recipe, home = place / "breeds.toml", place / "home"
    text = Path("data_manifest/recipes/breeds.toml").read_text()
    recipe.write_text(text.replace("../../../shared/data/photos", "photos"))
    labellings = str(shared_data / "photos" / "backgrounds.csv")
    for arguments in (["crawl"], ["dedupe"], ["annotate", "pull", "--round", "r", "--from", labellings]):
        _verb([*arguments, "-r", str(recipe), "--home", str(home)])
    return Place(recipe, home)


@pytest.fixture(scope="module")
def rebuilt(prefect_server: PrefectServer, runs: Runs, verified: Place) -> Place:
    """The workspace after `prefect deployment run 'rebuild-splits/default' --watch`."""
    done = prefect_server.prefect(
        "deployment", "run", "rebuild-splits/default", "--watch",
        *(item for name, value in verified.names().items() for item in ("-p", f"{name}={json.dumps(value)}")), timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return replace(verified, run=runs.of("rebuild-splits")[-1]["id"])


@pytest.mark.shared
def test_rebuild_runs_on_a_worker(rebuilt: Place, runs: Runs) -> None:
    """The run does the work, leaves the tables in the workspace, and shows where every candidate is and which pairs were chosen."""
    workspace = Workspace(rebuilt.home)
    assert len(workspace.table("pairs")) == 24
    assert len(workspace.table("scores")) >= 20
    shown = runs.artifacts(rebuilt.run)
    assert set(shown) == {"conservation", "discovery"}
    counted = [int(number) for number in re.findall(r'"candidates": (\d+)', shown["conservation"])]
    assert sum(counted) == len(workspace.table("candidates")) > 0
    assert all(name in shown["discovery"] for name in workspace.table("pairs").column("class_id").to_pylist())


@pytest.mark.shared
def test_a_freeze_waits_for_a_version_and_its_release_is_evaluated(
    prefect_server: PrefectServer, rebuilt: Place, runs: Runs
) -> None:
    """Nothing is written while it waits, a version of another form is refused, what is approved verifies, and the GPU pool evaluates it."""
    run = runs.start("freeze-release", **rebuilt.names()).json()["id"]
    runs.until(run, "PAUSED")
    assert "alpha" in runs.artifacts(run)["agreement"]
    assert not (rebuilt.home / "releases").exists()
    with Workspace(rebuilt.home).lock():
        pass  # a run that waits holds nothing
    resume = f"/flow_runs/{run}/resume"
    refused = runs.ask(resume, {"run_input": {"version": "1.x", "approve": True}}).json()
    assert refused["status"] == "REJECT"
    assert runs.ask(resume, {"run_input": {"version": "1.0.0", "approve": True}}).json()["status"] == "ACCEPT"
    state = runs.until(run, "COMPLETED", "FAILED", "CRASHED")
    assert state["type"] == "COMPLETED", state
    released = rebuilt.home / "releases" / "1.0.0"
    assert verify(released).ok
    assert {row["status"] for row in open_release(released).pairs.to_pylist()} == {
        "no_pair"
    }  # too few photos of each breed
    assert str(released) in runs.artifacts(run)["links"]

    asked = runs.start("evaluate-release", **rebuilt.names(), version="1.0.0", models=["stand-in"])
    assert asked.status_code == 201, asked.text
    evaluated = asked.json()["id"]
    worked = prefect_server.prefect("worker", "start", "--pool", "counteranimal-gpu", "--run-once", timeout=300)
    state = runs.until(evaluated, "COMPLETED", "FAILED", "CRASHED")
    assert state["type"] == "COMPLETED", (state, worked.stdout)
    shown = runs.artifacts(evaluated)
    assert "stand-in" in shown["leaderboard"]
    assert (rebuilt.home / "evaluations" / "1.0.0" / "results.json").exists()
    assert (rebuilt.home / "evaluations" / "1.0.0").as_uri() in shown["links"]


@pytest.mark.soak
@pytest.mark.shared
def test_a_freeze_that_is_not_approved_writes_nothing(rebuilt: Place, runs: Runs) -> None:
    """The run ends as cancelled and says why."""
    run = runs.start("freeze-release", **rebuilt.names()).json()["id"]
    runs.until(run, "PAUSED")
    runs.ask(f"/flow_runs/{run}/resume", {"run_input": {"version": "7.0.0", "approve": False}})
    state = runs.until(run, "CANCELLED", "COMPLETED", "FAILED", "CRASHED")
    assert state["type"] == "CANCELLED"
    assert "7.0.0 was not approved" in state["message"]
    assert not (rebuilt.home / "releases" / "7.0.0").exists()


@pytest.mark.case("G10")
def test_no_deployment_fetches_its_source() -> None:
    """Workers run the checkout they stand in: no step takes an address, a branch or any other text that could read as an option."""
    assert yaml.safe_load(Path("prefect.yaml").read_text())["pull"] == [
        {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PROJECT_ROOT }}"}}
    ]


def test_a_recipe_that_does_not_load_fails_the_run_in_a_sentence(
    prefect_server: PrefectServer, runs: Runs, tmp_path: Path
) -> None:
    """The run fails before it begins, `--watch` with a non-zero exit code, and its state names the file."""
    missing = tmp_path / "absent.toml"
    done = prefect_server.prefect(
        "deployment",
        "run",
        "rebuild-splits/default",
        "--watch",
        "-p",
        f"recipe={json.dumps(str(missing))}",
        timeout=200,
    )
    assert done.returncode != 0
    assert str(missing) in runs.of("rebuild-splits")[-1]["state"]["message"]


def test_a_run_whose_figures_cannot_be_computed_fails_at_once(runs: Runs, tmp_path: Path) -> None:
    """An artifact is tried again for minutes while the server is away, but not where the workspace has nothing to show."""
    run = runs.start(
        "freeze-release", recipe=str(recipe_of(tmp_path, "127.0.0.1:1", 1)), home=str(tmp_path / "home")
    ).json()["id"]
    state = runs.until(run, *DONE)
    assert state["type"] == "FAILED"
    assert "run `counteranimal crawl` first" in state["message"]
    assert "agreement" not in runs.artifacts(run)


@pytest.mark.parametrize(
    ("flow", "given"),
    [
        ("crawl-candidates", {"limit": 0}),
        ("crawl-candidates", {"retry": ["stored"]}),
        ("evaluate-release", {"version": "1.0"}),
        ("evaluate-release", {"models": "stand-in"}),
        ("freeze-release", {"patience": "long"}),
        ("rebuild-splits", {"restarts": 4}),
    ],
)
def test_the_server_refuses_parameters_of_another_type(runs: Runs, flow: str, given: dict[str, Any]) -> None:
    """What cannot be is refused when a run is asked for, with the parameter's name, not on a worker at night."""
    answer = runs.start(flow, **given)
    assert answer.status_code in {409, 422}
    assert next(iter(given)) in answer.text


def test_a_run_that_crashes_each_time_is_restarted_three_times(prefect_server: PrefectServer, runs: Runs) -> None:
    """The shipped automation starts it again with its own parameters until the bound of `restarts` refuses."""
    assert prefect_server.prefect("automation", "create", "--from-file", "flows/automations.yaml").returncode == 0
    crash = {"state": {"type": "CRASHED", "message": "killed"}, "force": True}
    others = {run["id"] for run in runs.of("evaluate-release")}
    first = runs.start("evaluate-release", version="3.2.1").json()["id"]
    seen, failed = {*others, first}, runs.actions_failed("restart-crashed-runs")
    runs.ask(f"/flow_runs/{first}/set_state", crash)
    for restart in (1, 2, 3):
        deadline = time.monotonic() + 60
        while not (new := [run for run in runs.of("evaluate-release") if run["id"] not in seen]):
            assert time.monotonic() < deadline, restart
            time.sleep(0.3)
        assert [(run["parameters"]["restarts"], run["parameters"]["version"]) for run in new] == [(restart, "3.2.1")]
        seen.add(new[0]["id"])
        runs.ask(f"/flow_runs/{new[0]['id']}/set_state", crash)
    until(lambda: runs.actions_failed("restart-crashed-runs") == failed + 1, 60)
    assert {run["id"] for run in runs.of("evaluate-release")} == seen


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
    prefect_server: PrefectServer, runs: Runs, tmp_path: Path
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
        run = runs.start("crawl-candidates", recipe=str(recipe), home=str(home)).json()["id"]
        until(lambda: len(site.photos()) > 3, 120)
        prefect_server.kill()
        site.seconds = 0.0
        log = home / "logs" / "steps.jsonl"
        until(lambda: log.exists() and len(log.read_text().splitlines()) == 2, 60)
        prefect_server.start()
        state = runs.until(run, *DONE)
        assert state["type"] == "COMPLETED", state
        assert len(site.photos()) == 30
    stored = Counter(row["photo_id"] for row in Workspace(home).journal.rows("stored"))
    assert sorted(stored.values()) == [1] * 30
    assert '{"state": "stored", "candidates": 30}' in runs.artifacts(run)["conservation"]
    assert not canary.exists()


@pytest.mark.case("G07")
@pytest.mark.case("G09")
def test_no_secret_is_in_what_prefect_keeps(
    prefect_server: PrefectServer, runs: Runs, tmp_path: Path, now: datetime
) -> None:
    """Not after a run that fails on its token: logs, parameters, results, artifacts, states, database, and the folder beside it.

    What such a run leaves in the result storage is its error as JSON, where Prefect's default is a pickle.
    """
    kind = runs.ask("/block_types/slug/secret", None, method="GET").json()["id"]
    schema = runs.ask("/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}}).json()[0]["id"]
    block = {"name": "canary", "block_type_id": kind, "block_schema_id": schema, "data": {"value": token_hex(20)}}
    assert runs.ask("/block_documents/", block).ok
    results = prefect_server.home.parent / "results"
    before = set(results.glob("*"))
    rounds = Workspace(tmp_path / "rounds")
    fill(rounds, 4)
    plan(a_recipe(), rounds, round_id="r", workers=["anna", "ben"], now=now, rng=np.random.default_rng(7))
    made = {"worker": "anna", "project_id": 7, "url": prefect_server.environment["COUNTERANIMAL_LABEL_STUDIO_URL"]}
    record_event(rounds.journal, "r", "project", made, now=now)
    recipe = str(recipe_of(tmp_path, "127.0.0.1:1", 1))
    run = runs.start("sync-annotations", recipe=recipe, home=str(rounds.home)).json()["id"]
    assert runs.until(run, *DONE)["type"] == "FAILED"
    told = until(lambda: [line for line in runs.words(run) if "refuses the token" in line], 30)
    assert any("Traceback" in line for line in told)
    [left] = set(results.glob("*")) - before
    assert "refuses the token" in json.loads(left.read_text())["message"]
    kept = {str(path): path.read_bytes() for path in prefect_server.home.parent.rglob("*") if path.is_file()}
    with contextlib.closing(sqlite3.connect(prefect_server.home / "prefect.db")) as database:
        kept["dump"] = "\n".join(database.iterdump()).encode()
    assert all(word in kept["dump"] for word in (recipe.encode(), b"'canary'"))
    hidden = {
        name: prefect_server.environment[name] for name in ("COUNTERANIMAL_LABEL_STUDIO_TOKEN", "AWS_SECRET_ACCESS_KEY")
    }
    hidden |= {
        "block": block["data"]["value"],
        "server": prefect_server.credentials[1],
        "photos": load_secret(rounds.home).hex(),
    }
    hidden["header"] = base64.b64encode(":".join(prefect_server.credentials).encode()).decode()
    assert [
        (name, where) for name, word in hidden.items() for where, text in kept.items() if word.encode() in text
    ] == []


def _verb(arguments: list[str]) -> None:
    """Run a verb in a process of its own: other tests of this process may have left an event loop running."""
    subprocess.run([sys.executable, "-m", "counteranimal.cli", *arguments], check=True, capture_output=True)
