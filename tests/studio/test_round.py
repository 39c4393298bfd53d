"""A whole round on the real server: pushed exactly once, answered through the API, pulled, measured, judged."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pytest

from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.port import StudioTask
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, push
from counteranimal.annotate.raters import SimulatedRaters, rate
from counteranimal.annotate.rounds import Round, load_round
from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.status import status
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.annotate.verdicts import verdicts
from counteranimal.errors import EnvironmentFailure
from counteranimal.workspace import Workspace
from tests.fakes import dying_push
from tests.fakes.photo_pool import a_recipe, fill

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

RECIPE = a_recipe(votes_per_photo=2)
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def link(photo_id: str) -> str:
    return f"http://127.0.0.1:1/{photo_id}"


def tasks_of(studio: LabelStudioServer, planned: Round, worker: str, *, answers: bool = True) -> list[StudioTask]:
    project = studio.find_project(project_key(planned, worker))
    assert project is not None
    return list(studio.tasks(project, answers=answers))


def photo_ids_in(text: str) -> set[str]:
    return {*re.findall(r"[0-9a-f]{64}", text)}


def ask(server: StudioServer, method: str, path: str, content: object = None) -> tuple[int, str]:
    """Do what a person with an account can do by the server's own API."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": f"Token {server.token}", "Content-Type": "application/json"}
    connection.request(method, path, None if content is None else json.dumps(content), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.case("F01")
def test_a_thousand_photos_pushed_by_ten_killed_processes_are_a_thousand_tasks(
    workspace: Workspace,
    studio: LabelStudioServer,
    studio_server: StudioServer,
    now: datetime,
    rng: np.random.Generator,
) -> None:
    """Killed ten times by SIGKILL, five of them between the server's 201 and our record, then pushed twice more."""
    fill(workspace, 1000)
    recipe = dying_push.RECIPE
    plan(recipe, workspace, round_id="once", workers=["anna"], now=now, rng=rng)
    moments = ["project", "asked", "tasks", "asked", "recorded", "tasks", "asked", "tasks", "asked", "tasks"]
    where = [str(workspace.home), "once", studio_server.url, str(studio_server.data_dir / "secrets" / "token")]
    died = subprocess.run(
        [sys.executable, "-m", "tests.fakes.dying_push", *where, *moments], check=True, capture_output=True, text=True
    )
    assert json.loads(died.stdout) == [signal.SIGKILL] * 10
    push(recipe, workspace, studio, round_id="once", link=link, now=now)
    again = push(recipe, workspace, studio, round_id="once", link=link, now=now)
    assert (again["projects"], again["tasks"], again["known"]) == (0, 0, 1000)
    planned = load_round(workspace.journal, "once")
    names = [str(task.data["photo_id"]) for task in tasks_of(studio, planned, "anna", answers=False)]
    assert sorted(names) == sorted(planned.photos)
    assert len({row["task_id"] for row in workspace.journal.rows("tasks")}) == len(names) == 1000


@pytest.mark.case("F10")
def test_two_hundred_photos_lie_in_the_projects_of_three_people_each(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """Three votes are wanted of four people: one project a person, and each photo once in exactly three of them."""
    photos, people = fill(workspace, 200), ["anna", "ben", "cleo", "dora"]
    recipe = a_recipe(votes_per_photo=3)
    plan(recipe, workspace, round_id="three", workers=people, now=now, rng=rng)
    push(recipe, workspace, studio, round_id="three", link=link, now=now)
    planned = load_round(workspace.journal, "three")
    assert len({studio.find_project(project_key(planned, worker)) for worker in people}) == 4
    held = Counter(
        (worker, str(task.data["photo_id"]))
        for worker in people
        for task in tasks_of(studio, planned, worker, answers=False)
    )
    assert set(held.values()) == {1}
    assert Counter(photo for _, photo in held) == dict.fromkeys(photos, 3)


@pytest.mark.case("F10")
@pytest.mark.case("F11")
def test_answers_given_at_the_same_moment_are_all_kept(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """Two people answer the same photo, each in their own project, at the same moment, a hundred times: 200 answers, and every
    photo has two votes of two people.
    """
    photos = fill(workspace, 100)
    truth = {name: ("grass", "sand", "snow")[index % 3] for index, name in enumerate(photos)}
    plan(RECIPE, workspace, round_id="pairs", workers=["anna", "ben"], now=now, rng=rng)
    push(RECIPE, workspace, studio, round_id="pairs", link=link, now=now)
    planned = load_round(workspace.journal, "pairs")
    assert planned.page is not None
    offered = planned.page.offered
    tasks = [
        {str(task.data["photo_id"]): task.task_id for task in tasks_of(studio, planned, worker, answers=False)}
        for worker in planned.workers
    ]
    together = threading.Barrier(2)

    def answer(own: dict[str, int]) -> None:
        for name in photos:
            together.wait()
            studio.annotate(own[name], to_result(Answer(truth[name]), offered), seconds=2.0)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(answer, tasks))
    pulled = pull(workspace, studio, round_id="pairs", now=now)
    assert (pulled["new"], pulled["counted"], pulled["missing"]) == (200, 200, 0)
    # Both projects were answered with our own account's token, and the pull says so.
    assert pulled["shared_accounts"] == 1
    assert pull(workspace, studio, round_id="pairs", now=now)["known"] == 200
    assert verdicts(RECIPE, workspace) == {"photos": 100, "ok": 100, "unanimous": 100, "votes": 200}
    people = {
        name: {row["worker"] for row in workspace.journal.rows("votes", photo_id=name)} for name in sorted(photos)
    }
    assert set(map(frozenset, people.values())) == {frozenset({"anna", "ben"})}


def test_simulated_raters_answer_a_round(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """The rehearsal's answers go through the server, and a second run adds none."""
    fill(workspace, 6)
    workers = ["simulated-1", "simulated-2"]
    plan(RECIPE, workspace, round_id="rehearsal", workers=workers, now=now, rng=rng)
    push(RECIPE, workspace, studio, round_id="rehearsal", link=link, now=now)
    raters = SimulatedRaters(lambda _: "grass", 0.0, "seed")
    assert rate(workspace, studio, raters, round_id="rehearsal", now=now)["answered"] == 12
    assert rate(workspace, studio, raters, round_id="rehearsal", now=now)["answered"] == 0
    assert pull(workspace, studio, round_id="rehearsal", now=now)["counted"] == 12


@pytest.mark.case("F08")
@pytest.mark.case("F09")
@pytest.mark.case("F12")
@pytest.mark.case("F13")
def test_what_the_server_lets_through_is_kept_and_judged_by_us(
    workspace: Workspace,
    studio: LabelStudioServer,
    studio_server: StudioServer,
    now: datetime,
    rng: np.random.Generator,
) -> None:
    """Skips, drafts, empty and second answers and values off the page are accepted by the server, kept by us, and are no votes;
    edits, deletions and a changed page are reported and not obeyed; no token is in what the server holds or exports.
    """
    fill(workspace, 6)
    workspace.journal.append("candidates", [{"candidate_id": "folder:0", "attribution": EVIL, "seen_at": now}])
    plan(RECIPE, workspace, round_id="odd", workers=["anna", "ben"], now=now, rng=rng)
    push(RECIPE, workspace, studio, round_id="odd", link=link, now=now)
    planned = load_round(workspace.journal, "odd")
    project = studio.find_project(project_key(planned, "anna"))
    assert project is not None
    assert planned.page is not None
    tasks = list(studio.tasks(project))
    assert EVIL in {task.data["credit"] for task in tasks}
    good = to_result(Answer("grass"), planned.page.offered)
    off_page = [{**good[0], "value": {"choices": ["blue"]}}, good[1]]
    kept = studio.annotate(tasks[0].task_id, good, seconds=3.5)
    with ThreadPoolExecutor(2) as pool:  # two windows of one person, at the same moment
        list(pool.map(lambda _: studio.annotate(tasks[0].task_id, good, seconds=1.0), range(2)))
    studio.annotate(tasks[1].task_id, [], seconds=1.0, skipped=True)
    studio.annotate(tasks[2].task_id, off_page, seconds=1.0)
    studio.annotate(tasks[3].task_id, [], seconds=1.0)
    assert (
        ask(studio_server, "POST", f"/api/tasks/{tasks[4].task_id}/drafts", {"result": good, "lead_time": 1})[0] == 201
    )
    first = pull(workspace, studio, round_id="odd", now=now)
    assert (first["counted"], first["skipped"], first["set_aside"], first["draft"]) == (3, 1, 2, 1)
    verdicts(RECIPE, workspace)
    assert Counter(workspace.table("votes").column("status").to_pylist()) == {
        "counted": 1, "second": 2, "skipped": 1, "set_aside": 2, "draft": 1,
    }  # fmt: skip
    assert status(RECIPE, workspace)["odd"]["workers"]["anna"] == {
        "tasks": 6, "accepted": 1, "rejected": 0, "skipped": 1, "pending": 4,
    }  # fmt: skip
    token = studio_server.token
    exported = ask(studio_server, "GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")
    assert exported[0] == 200
    held = (
        exported[1]
        + json.dumps([dict(task.data) for task in tasks])
        + (studio_server.data_dir / "server.log").read_text()
    )
    assert photo_ids_in(held) == {item.photo_id for item in planned.assignments["anna"]}
    assert not [secret for secret in (token, studio_server.password) if secret in held]
    moved = push(
        RECIPE, workspace, studio, round_id="odd", link=lambda name: f"http://moved/{name}", now=now, relink=True
    )
    assert moved["relinked"] == 6 + 2  # ben's six, and the two that anna has neither answered nor skipped
    places = [str(task.data["image"]).startswith("http://moved/") for task in studio.tasks(project)]
    assert places == [False, False, False, False, True, True]
    assert ask(studio_server, "PATCH", f"/api/annotations/{kept}/", {"result": off_page})[0] == 200
    assert pull(workspace, studio, round_id="odd", now=now)["edited"] == 1
    assert ask(studio_server, "DELETE", f"/api/annotations/{kept}/")[0] == 204
    assert ask(studio_server, "DELETE", f"/api/tasks/{tasks[5].task_id}/")[0] == 204
    fewer = planned.page.xml.replace('hotkey="m"', 'hotkey="w"')
    assert ask(studio_server, "PATCH", f"/api/projects/{project}/", {"label_config": fewer})[0] == 200
    later = pull(workspace, studio, round_id="odd", now=now)
    assert {name: later[name] for name in ("new", "missing", "missing_tasks", "changed_pages")} == {
        "new": 0, "missing": 1, "missing_tasks": 1, "changed_pages": 1,
    }  # fmt: skip
    assert ask(studio_server, "DELETE", f"/api/projects/{project}/")[0] == 204
    gone = pull(workspace, studio, round_id="odd", now=now)
    assert (gone["missing_projects"], gone["missing"], len(workspace.journal.rows("votes"))) == (1, 6, 8)
    with pytest.raises(EnvironmentFailure, match="no longer on"):
        push(RECIPE, workspace, studio, round_id="odd", link=link, now=now)
