"""A whole round on the real server: pushed exactly once, answered through the API, pulled, measured, judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from counteranimal.annotate.agreement import agreement
from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.port import ProjectDraft, StudioTask
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, push
from counteranimal.annotate.raters import SimulatedRaters, rate
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.status import status
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.annotate.verdicts import verdicts
from counteranimal.workspace import Workspace
from tests.fakes.label_studio import Killed
from tests.fakes.photo_pool import a_recipe, fill

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

RECIPE = a_recipe(votes_per_photo=2)
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"


class Dying:
    """The real server, seen by a process that is killed just after an answer and before it can record it."""

    def __init__(self, inner: LabelStudioServer, *moments: str) -> None:
        self.inner, self.moments = inner, list(moments)

    @property
    def url(self) -> str:
        return self.inner.url

    def find_project(self, key: str) -> int | None:
        return self.inner.find_project(key)

    def create_project(self, draft: ProjectDraft) -> int:
        made = self.inner.create_project(draft)
        return self._live("create_project", made)

    def tasks(self, project_id: int) -> Iterator[StudioTask]:
        return self.inner.tasks(project_id)

    def create_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        made = self.inner.create_tasks(project_id, tasks)
        return self._live("create_tasks", made)

    def change_task(self, task_id: int, data: Mapping[str, Any]) -> None:
        self.inner.change_task(task_id, data)

    def annotate(
        self, task_id: int, result: Sequence[Mapping[str, Any]], *, seconds: float, skipped: bool = False
    ) -> int:
        return self.inner.annotate(task_id, result, seconds=seconds, skipped=skipped)

    def _live(self, moment: str, value: Any) -> Any:
        if self.moments and self.moments[0] == moment:
            self.moments.pop(0)
            raise Killed(moment)
        return value


def link(photo_id: str) -> str:
    return f"http://127.0.0.1:1/{photo_id}"


@pytest.mark.case("F01")
def test_import_killed_and_repeated_makes_each_task_once(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """Sixty photos, two votes each, killed after projects and tasks were made, then twice more: 120 tasks.

    Sixty instead of the catalogue's thousand, for time; the moments of the kill are what matters.
    """
    fill(workspace, 60)
    plan(RECIPE, workspace, round_id="once", workers=["anna", "ben"], now=now, rng=rng)
    for moments in (["create_project"], ["create_tasks"], ["create_project"], ["create_tasks"]):
        with pytest.raises(Killed):
            push(RECIPE, workspace, Dying(studio, *moments), round_id="once", link=link, now=now)
    push(RECIPE, workspace, studio, round_id="once", link=link, now=now)
    again = push(RECIPE, workspace, studio, round_id="once", link=link, now=now)
    assert (again["projects"], again["tasks"], again["known"]) == (0, 0, 120)
    planned = load_round(workspace.journal, "once")
    seen: Counter[str] = Counter()
    for worker, own in planned.assignments.items():
        project = studio.find_project(project_key(planned, worker))
        assert project is not None
        names = [str(task.data["photo_id"]) for task in studio.tasks(project)]
        assert names == [item.photo_id for item in own]
        seen.update(names)
    assert seen == dict.fromkeys(planned.photos, 2)


@pytest.mark.case("F11")
def test_simulated_raters_answer_a_round_and_verdicts_follow(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """Every answer given through the API, several at a moment, is a vote in the journal; a second run adds none."""
    photos = fill(workspace, 40)
    truth = {name: ("grass", "sand", "snow")[index % 3] for index, name in enumerate(photos)}
    workers = ["simulated-1", "simulated-2"]
    plan(RECIPE, workspace, round_id="rehearsal", workers=workers, now=now, rng=rng)
    push(RECIPE, workspace, studio, round_id="rehearsal", link=link, now=now)
    raters = SimulatedRaters(truth.get, 0.05, "seed")
    assert rate(workspace, studio, raters, round_id="rehearsal", now=now)["answered"] == 80
    assert rate(workspace, studio, raters, round_id="rehearsal", now=now)["answered"] == 0
    pulled = pull(workspace, studio, round_id="rehearsal", now=now)
    assert (pulled["new"], pulled["counted"], pulled["missing"]) == (80, 80, 0)
    assert pull(workspace, studio, round_id="rehearsal", now=now)["known"] == 80
    figures = agreement(RECIPE, workspace, round_id="rehearsal", rng=rng)
    assert figures["gate"] in {"pass", "warn"}
    counts = verdicts(RECIPE, workspace)
    assert counts["photos"] == counts["unanimous"] + counts.get("no_majority", 0) == 40
    rows = [row for row in workspace.table("verdicts").to_pylist() if row["status"] == "ok"]
    assert all(row["background"] == truth[row["photo_id"]] for row in rows)


@pytest.mark.case("F09")
@pytest.mark.case("F12")
def test_what_the_server_lets_through_is_kept_and_judged_by_us(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """Skips, second answers and values off the page are accepted by the server, kept by us, and are no votes; neither is a
    deletion there a deletion here.
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
    first = pull(workspace, studio, round_id="odd", now=now)
    assert (first["counted"], first["skipped"], first["set_aside"]) == (3, 1, 1)
    verdicts(RECIPE, workspace)
    assert Counter(workspace.table("votes").column("status").to_pylist()) == {
        "counted": 1, "second": 2, "skipped": 1, "set_aside": 1,
    }  # fmt: skip
    assert status(RECIPE, workspace)["odd"]["workers"]["anna"]["pending"] == 3
    moved = push(
        RECIPE, workspace, studio, round_id="odd", link=lambda name: f"http://moved/{name}", now=now, relink=True
    )
    assert moved["relinked"] == 6 + 3  # ben's six, and the three that anna has neither answered nor skipped
    places = [str(task.data["image"]).startswith("http://moved/") for task in studio.tasks(project)]
    assert places == [False, False, False, True, True, True]
    studio._client.annotations.delete(id=kept)
    later = pull(workspace, studio, round_id="odd", now=now)
    assert (later["missing"], later["new"]) == (1, 0)
    verdicts(RECIPE, workspace)
    assert workspace.table("votes").column("status").to_pylist().count("counted") == 1
