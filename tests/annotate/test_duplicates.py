"""The queue of pairs that may be one photo: asked once, answered by several people, settled by majority or by a named person."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from counteranimal import tables
from counteranimal.annotate.adjudicate import adjudicate
from counteranimal.annotate.agreement import agreement
from counteranimal.annotate.duplicates import open_pairs, plan_pairs, settle
from counteranimal.annotate.pairs import ANSWERS, pair_id, pair_page, to_pair_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import push
from counteranimal.annotate.raters import SimulatedRaters, rate
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.status import close, status
from counteranimal.annotate.verdicts import verdicts
from counteranimal.errors import UsageError
from counteranimal.freeze.inputs import open_tasks
from counteranimal.workspace import Workspace
from tests.fakes.label_studio import FakeStudio
from tests.fakes.photo_pool import a_recipe

RECIPE = a_recipe(votes_per_photo=2)


def link(photo_id: str) -> str:
    return f"http://127.0.0.1:1/{photo_id}"


def answers_of(workspace: Workspace) -> dict[str, tuple[str, str, int, str]]:
    """Settle, and return pair -> (answer, method, votes, round)."""
    return {
        pair_id(row["photo_a"], row["photo_b"]): (row["answer"], row["method"], row["n_votes"], row["round"])
        for row in settle(RECIPE, workspace)
    }


class Table:
    """The people around one server: plans, answers and pulls rounds of the queue."""

    def __init__(self, workspace: Workspace, studio: FakeStudio, now: datetime, rng: np.random.Generator) -> None:
        self.workspace, self.studio, self.now, self.rng = workspace, studio, now, rng

    def plan(self, name: str = "d1") -> dict[str, object]:
        people = ["anna", "ben"]
        return plan_pairs(RECIPE, self.workspace, round_id=name, workers=people, now=self.now, rng=self.rng)

    def push(self, name: str = "d1") -> dict[str, object]:
        return push(RECIPE, self.workspace, self.studio, round_id=name, link=link, now=self.now)

    def answer(self, pair: str, *given: str, name: str = "d1") -> None:
        """Let the workers of a round answer a pair, in the order of their projects, and pull."""
        tasks = [
            task
            for row in self.workspace.journal.rows("tasks", round=name, photo_id=pair)
            for task in self.studio.by_project[row["project_id"]]
            if task.task_id == row["task_id"]
        ]
        for task, word in zip(tasks, given, strict=True):
            self.studio.annotate(task.task_id, to_pair_result(word), seconds=2.0)
        pull(self.workspace, self.studio, round_id=name, now=self.now)


@pytest.fixture
def table(workspace: Workspace, studio: FakeStudio, now: datetime, rng: np.random.Generator) -> Table:
    return Table(workspace, studio, now, rng)


@pytest.fixture
def pairs(workspace: Workspace, pool: list[str]) -> list[str]:
    """Three open pairs: two that hashes propose, one of them also close in features, and one that only features show."""
    names = sorted(pool)
    hashed = [(names[0], names[1]), (names[2], names[3])]
    rows = [{"photo_a": a, "photo_b": b, "phash_distance": 9, "why": "pixels leave it open"} for a, b in hashed]
    workspace.write_table("unsure_pairs", tables.conform("unsure_pairs", rows))
    close_ = [{"photo_a": a, "photo_b": b, "cosine": 0.97} for a, b in (hashed[0], (names[4], names[5]))]
    workspace.write_table("similar_pairs", tables.conform("similar_pairs", close_))
    return [pair_id(*names[index : index + 2]) for index in (0, 2, 4)]


def test_the_queue_is_planned_once_and_shows_two_photos_a_task(table: Table, pairs: list[str]) -> None:
    """Three pairs go to two people each, both photos and their credits on the page; nothing is left for a second round."""
    made = table.plan()
    assert (made["photos"], made["votes"], made["workers"]) == (3, 6, {"anna": 3, "ben": 3})
    assert table.plan() == made | {"already": True}
    assert table.push()["tasks"] == 6
    assert table.push()["tasks"] == 0
    task = table.studio.task_of(pairs[0], next(iter(table.studio.projects)))
    first, second = pairs[0].split("+")
    assert (task.data["image"], task.data["other"]) == (link(first), link(second))
    assert task.data["credit"].startswith("(c) person")
    with pytest.raises(UsageError, match="no pair of photos is left"):
        table.plan("d2")


def test_the_page_of_pairs_is_one_that_label_studio_reads() -> None:
    """Label Studio's own reader accepts the page and every answer to it; each answer has a key of its own."""
    page = pair_page()
    parsed = LabelInterface(page.xml)
    parsed.validate()
    assert all(parsed.validate_annotation({"result": to_pair_result(answer)}) for answer in ANSWERS)
    assert page.xml.count("hotkey=") == len({*re.findall('hotkey="(.)"', page.xml)}) == len(ANSWERS)


def test_relinking_renews_both_photos(table: Table, pairs: list[str], workspace: Workspace) -> None:
    """Fresh links reach both sides of an unanswered pair."""
    table.plan()
    table.push()
    fresh = push(
        RECIPE, workspace, table.studio, round_id="d1", link=lambda name: f"new/{name}", now=table.now, relink=True
    )
    assert fresh["relinked"] == 6
    task = table.studio.task_of(pairs[0], next(iter(table.studio.projects)))
    assert (task.data["image"], task.data["other"]) == tuple(f"new/{name}" for name in pairs[0].split("+"))


def test_a_majority_settles_and_a_tie_waits_for_a_named_person(
    table: Table, pairs: list[str], workspace: Workspace
) -> None:
    """Two of one mind settle a pair; two of two minds go to dora, whose answer counts as adjudicated; every vote stays."""
    table.plan()
    table.push()
    table.answer(pairs[0], "same", "same")
    table.answer(pairs[1], "same", "different")
    table.answer(pairs[2], "not_sure", "not_sure")
    assert answers_of(workspace) == {pairs[0]: ("same", "unanimous", 2, "d1")}
    sent = adjudicate(RECIPE, workspace, table.studio, round_id="d1", adjudicator="dora", link=link, now=table.now)
    assert (sent["queued"], sent["tasks"]) == (2, 2)
    table.answer(pairs[1], "different", name="d1.settled")
    table.answer(pairs[2], "not_sure", name="d1.settled")
    assert answers_of(workspace)[pairs[1]] == ("different", "adjudicated", 2, "d1")
    assert pairs[2] not in answers_of(workspace)
    assert len(workspace.journal.rows("votes")) == 8
    assert status(RECIPE, workspace)["d1"]["workers"]["anna"]["accepted"] == 3


def test_one_vote_of_two_settles_nothing_and_the_task_stays_open(
    table: Table, pairs: list[str], workspace: Workspace
) -> None:
    """A pair that one person answered is not settled, and the freeze counts what is missing."""
    table.plan()
    table.push()
    table.studio.annotate(
        table.studio.task_of(pairs[0], next(iter(table.studio.projects))).task_id, to_pair_result("same"), seconds=1.0
    )
    pull(workspace, table.studio, round_id="d1", now=table.now)
    assert answers_of(workspace) == {}
    assert open_tasks(workspace.journal) == {"d1": 5}


def test_a_later_round_about_an_open_pair_replaces_nothing_until_it_settles(
    table: Table, pairs: list[str], workspace: Workspace
) -> None:
    """A closed round's open pairs are asked again; the later answer counts."""
    table.plan()
    table.push()
    table.answer(pairs[0], "same", "same")
    close(RECIPE, workspace, round_id="d1", now=table.now)
    assert open_pairs(RECIPE, workspace) == pairs[1:]
    table.plan("d2")
    table.push("d2")
    table.answer(pairs[1], "different", "different", name="d2")
    assert answers_of(workspace)[pairs[1]] == ("different", "unanimous", 2, "d2")
    assert answers_of(workspace)[pairs[0]] == ("same", "unanimous", 2, "d1")


def test_an_answer_off_the_page_is_kept_and_counts_for_nothing(
    table: Table, pairs: list[str], workspace: Workspace
) -> None:
    """A word that the page does not offer is set aside with its reason."""
    table.plan()
    table.push()
    table.answer(pairs[0], "maybe", "same")
    odd = [row for row in workspace.journal.rows("votes") if row["status"] == "set_aside"]
    assert [row["reason"] for row in odd] == ["E_ANSWER: pair: the page does not offer ['maybe']"]
    assert answers_of(workspace) == {}


def test_pairs_stay_out_of_verdicts_agreement_and_simulation(
    table: Table, pairs: list[str], workspace: Workspace, rng: np.random.Generator
) -> None:
    """Answers about pairs are no verdict on a photo, have no background to agree on, and cannot be simulated."""
    table.plan()
    table.push()
    table.answer(pairs[0], "same", "same")
    assert verdicts(RECIPE, workspace)["photos"] == 0
    with pytest.raises(UsageError, match="pairs of photos"):
        agreement(RECIPE, workspace, rng=rng, round_id="d1")
    assert agreement(RECIPE, workspace, rng=rng)["rounds"] == []
    plan_pairs(
        a_recipe(votes_per_photo=1), workspace, round_id="d3", workers=["simulated-1"], now=table.now, rng=rng
    ) if (close(RECIPE, workspace, round_id="d1", now=table.now)) else None
    with pytest.raises(UsageError, match="nobody simulates"):
        rate(workspace, table.studio, SimulatedRaters(lambda _: None, 0.1, "s"), round_id="d3", now=table.now)
    plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben"], now=table.now, rng=rng)
    assert len(load_round(workspace.journal, "r1").photos) == 12


def test_a_pair_whose_photo_was_withdrawn_is_not_sent(table: Table, pairs: list[str], workspace: Workspace) -> None:
    """Withdrawn between plan and push, the pair is left out and said."""
    table.plan()
    workspace.journal.append("withdrawals", [{"photo_id": pairs[0].split("+")[1], "at": table.now}])
    made = table.push()
    assert (made["tasks"], made["left_out"]) == (4, 2)
