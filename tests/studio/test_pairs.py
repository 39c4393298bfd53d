"""A round about pairs of photos on the real server: two photos a task, answered, pulled, settled."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from counteranimal import tables
from counteranimal.annotate.duplicates import plan_pairs, settle
from counteranimal.annotate.pairs import pair_id, to_pair_result
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, projects_of, push
from counteranimal.annotate.removal import remove_tasks
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.workspace import Workspace
from tests.fakes.photo_pool import a_recipe, fill

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

RECIPE = a_recipe(votes_per_photo=2)


def test_a_round_about_pairs_is_accepted_answered_and_settled(
    workspace: Workspace, studio: LabelStudioServer, now: datetime, rng: np.random.Generator
) -> None:
    """The server takes the page of pairs and its answers; two of one mind settle a pair, two of two minds do not."""
    names = sorted(fill(workspace, 4))
    rows = [{"photo_a": a, "photo_b": b, "why": "open"} for a, b in (names[:2], names[2:])]
    workspace.write_table("unsure_pairs", tables.conform("unsure_pairs", rows))
    plan_pairs(RECIPE, workspace, round_id="pairs", workers=["anna", "ben"], now=now, rng=rng)

    def link(photo_id: str) -> str:
        return f"http://127.0.0.1:1/{photo_id}"

    assert push(RECIPE, workspace, studio, round_id="pairs", link=link, now=now)["tasks"] == 4
    assert push(RECIPE, workspace, studio, round_id="pairs", link=link, now=now)["tasks"] == 0
    first, second = pair_id(*names[:2]), pair_id(*names[2:])
    said = {("anna", first): "same", ("ben", first): "same", ("anna", second): "same", ("ben", second): "different"}
    planned = load_round(workspace.journal, "pairs")
    for worker in planned.workers:
        project = studio.find_project(project_key(planned, worker))
        assert project is not None
        for task in studio.tasks(project):
            pair = str(task.data["photo_id"])
            assert [task.data["image"], task.data["other"]] == [link(name) for name in pair.split("+")]
            studio.annotate(task.task_id, to_pair_result(said[worker, pair]), seconds=2.0)
    assert pull(workspace, studio, round_id="pairs", now=now)["counted"] == 4
    assert pull(workspace, studio, round_id="pairs", now=now)["known"] == 4
    assert [(row["photo_a"], row["answer"], row["method"]) for row in settle(RECIPE, workspace)] == [
        (names[0], "same", "unanimous")
    ]
    # A takedown of one photo removes every task that shows it, and no answer is lost.
    workspace.journal.append("withdrawals", [{"photo_id": names[0], "why": "asked", "at": now}])
    assert remove_tasks(workspace, studio, now=now) == {"tasks": 2, "gone": 0}
    assert not studio.delete_task(workspace.journal.rows("tasks")[0]["task_id"] + 1_000_000)
    left = [
        task for worker in planned.workers for task in studio.tasks(projects_of(workspace.journal, "pairs")[worker])
    ]
    assert {str(task.data["photo_id"]) for task in left} == {second}
    again = pull(workspace, studio, round_id="pairs", now=now)
    assert (again["known"], again["missing"]) == (2, 0)
    assert len(workspace.journal.rows("votes")) == 4
