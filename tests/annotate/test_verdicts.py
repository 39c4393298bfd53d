"""Votes become verdicts; disagreements go to a named person."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from counteranimal.annotate.adjudicate import adjudicate
from counteranimal.annotate.again import lacking_votes, plan_again
from counteranimal.annotate.agreement import agreement
from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, push
from counteranimal.annotate.rounds import Round, load_round
from counteranimal.annotate.status import close
from counteranimal.annotate.verdicts import judge, verdicts
from counteranimal.annotate.votes import votes_table
from counteranimal.errors import UsageError
from counteranimal.recipe import AnnotateRules
from counteranimal.workspace import Workspace
from tests.fakes.label_studio import FakeStudio
from tests.fakes.photo_pool import a_recipe, fill


def said(background: str, *codes: str, usable: bool = True) -> dict[str, object]:
    return {"background": background, "usable": usable, "codes": list(codes)}


@pytest.mark.parametrize(
    ("votes", "outcome"),
    [
        ([said("sand"), said("sand")], ("sand", "unanimous", None)),
        ([said("sand"), said("sand"), said("snow")], ("sand", "majority", None)),
        ([said("sand"), said("snow")], (None, None, "no_majority")),
        ([said("sand"), said("snow"), said("rock")], (None, None, "no_majority")),
        ([said("sand"), said("sand", usable=False)], ("sand", None, "no_majority")),
        ([said("sand", usable=False), said("sand", usable=False)], ("sand", "unanimous", "unusable")),
        (
            [said("sand"), said("sand"), said("sand", "person_recognisable")],
            ("sand", "unanimous", "person_recognisable"),
        ),
        ([said("sand", "hand_or_body"), said("sand", "hand_or_body")], ("sand", "unanimous", None)),
        ([said("mixed"), said("mixed")], ("mixed", "unanimous", None)),
        ([said("sand")], ("sand", None, "too_few_votes")),
        ([], (None, None, "too_few_votes")),
    ],
)
def test_votes_add_up(votes: list[dict[str, object]], outcome: tuple[str | None, str | None, str | None]) -> None:
    """Strict majority, ties without verdict, and one voice for a recognisable person."""
    verdict = judge(votes, wanted=2)
    assert (verdict["background"], verdict["method"], verdict["reason"]) == outcome
    assert verdict["status"] == ("rejected" if outcome[2] else "ok")


@pytest.fixture
def disagreed(
    workspace: Workspace, pool: list[str], studio: FakeStudio, now: datetime, rng: np.random.Generator
) -> list[str]:
    """A whole round in which anna and ben disagree about the first three photos."""
    recipe = a_recipe()
    plan(recipe, workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng)
    push(recipe, workspace, studio, round_id="r1", link=str, now=now)
    answer(workspace, studio, "r1", {("ben", name): "snow" for name in pool[:3]})
    pull(workspace, studio, round_id="r1", now=now)
    return pool[:3]


def answer(workspace: Workspace, studio: FakeStudio, round_id: str, words: dict[tuple[str, str], str]) -> None:
    planned = load_round(workspace.journal, round_id)
    for worker in planned.workers:
        project = studio.find_project(f"{planned.key} {round_id} {worker}")
        for task in list(studio.by_project[project or 0]):
            word = words.get((worker, str(task.data["photo_id"])), "grass")
            if not task.annotations and planned.page:
                studio.annotate(task.task_id, to_result(Answer(word), planned.page.offered), seconds=1.0)


def test_disagreements_are_settled_by_a_named_person(
    disagreed: list[str], workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """The three photos become a queue, once; the answers become adjudicated verdicts."""
    recipe = a_recipe()
    assert verdicts(recipe, workspace)["no_majority"] == 3
    sent = adjudicate(recipe, workspace, studio, round_id="r1", adjudicator="dora", link=str, now=now)
    assert (sent["queued"], sent["tasks"]) == (3, 3)
    again = adjudicate(recipe, workspace, studio, round_id="r1", adjudicator="dora", link=str, now=now)
    assert (again["queued"], again["tasks"], again["known"]) == (0, 0, 3)
    answer(workspace, studio, sent["round"], {("dora", name): "rock" for name in disagreed})
    pull(workspace, studio, round_id=sent["round"], now=now)
    assert verdicts(recipe, workspace)["adjudicated"] == 3
    rows = {row["photo_id"]: row for row in workspace.table("verdicts").to_pylist()}
    assert {(rows[name]["background"], rows[name]["n_votes"], rows[name]["status"]) for name in disagreed} == {
        ("rock", 2, "ok")
    }
    with pytest.raises(UsageError, match="settled by dora"):
        adjudicate(recipe, workspace, studio, round_id="r1", adjudicator="emil", link=str, now=now)


def test_adjudication_leaves_agreement_alone(
    disagreed: list[str], workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Agreement is measured on the people's votes, before and after somebody settled their disagreements."""
    recipe = a_recipe()
    before = agreement(recipe, workspace, round_id="r1", rng=np.random.default_rng(1))
    sent = adjudicate(recipe, workspace, studio, round_id="r1", adjudicator="dora", link=str, now=now)
    answer(workspace, studio, sent["round"], {})
    pull(workspace, studio, round_id=sent["round"], now=now)
    after = agreement(recipe, workspace, rng=np.random.default_rng(1))
    assert [row.pop("errors")["n"] for row in (*before["pairs"], *after["pairs"])] == [0, 3]
    assert after == before
    assert set(before["workers"]) == {"anna", "ben"}
    assert set(before["per_class"]) == {"cat", "dog"}


@pytest.mark.case("F14")
def test_votes_of_somebody_who_fails_the_gold_items_are_set_aside(
    workspace: Workspace, pool: list[str], studio: FakeStudio, now: datetime, rng: np.random.Generator
) -> None:
    """Ben says snow to everything, fails four of four gold items, and none of his votes counts any more."""
    recipe = a_recipe(gold=4, gold_pass=3)
    lines = ["photo_id,background", *(f"{name},grass" for name in pool[:4])]
    (workspace.folder("rounds") / "gold.csv").write_text("\n".join(lines) + "\n")
    plan(recipe, workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng)
    push(recipe, workspace, studio, round_id="r1", link=str, now=now)
    answer(workspace, studio, "r1", {("ben", name): "snow" for name in pool})
    pull(workspace, studio, round_id="r1", now=now)
    made = verdicts(recipe, workspace)
    assert made == {"photos": 8, "ok": 0, "too_few_votes": 8, "votes": 8}
    workers = agreement(recipe, workspace, rng=rng)["workers"]
    assert workers["anna"]["gold"] == {"right": 4, "answered": 4}
    assert (workers["ben"]["gold"], workers["ben"]["set_aside"]) == ({"right": 0, "answered": 4}, 8)
    # The photos are asked again: of somebody new, blind, and with gold items that no task marks.
    with pytest.raises(UsageError, match="0 of the named people were never asked"):
        plan_again(recipe, workspace, round_id="r1b", workers=["anna", "ben"], now=now, rng=rng)
    again = plan_again(recipe, workspace, round_id="r1b", workers=["cleo"], now=now, rng=rng)
    assert (again["photos"], again["votes"], again["blind"], again["gold"]) == (8, 8, 8, 4)
    assert plan_again(recipe, workspace, round_id="r1b", workers=["cleo"], now=now, rng=rng) == again | {
        "already": True
    }
    with pytest.raises(UsageError, match="no photo lacks votes"):
        plan_again(recipe, workspace, round_id="r1c", workers=["dora"], now=now, rng=rng)
    push(recipe, workspace, studio, round_id="r1b", link=str, now=now)
    assert len({frozenset(task.data) for own in studio.by_project.values() for task in own}) == 1
    answer(workspace, studio, "r1b", {})
    pull(workspace, studio, round_id="r1b", now=now)
    assert verdicts(recipe, workspace) == {"photos": 8, "ok": 8, "unanimous": 8, "votes": 16}
    blind = [
        item for item in load_round(workspace.journal, "r1").assignments["anna"] if not item.shown and not item.gold
    ]
    assert agreement(recipe, workspace, rng=rng)["background"]["n_photos"] == len(blind)


def chance_of_failing(rules: AnnotateRules, accuracy: float) -> float:
    """How often somebody who answers each gold item right with this chance has their votes set aside."""
    item = Round(
        round_id="r", key="k", workers=("anna",), votes_per_photo=1, page=None, photos={}, assignments={},
        gold={str(index): "grass" for index in range(rules.gold)},
    )  # fmt: skip
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    chance = 0.0
    for right in range(rules.gold + 1):
        rows = [
            {
                "annotation_id": f"r:{index}", "round": "r", "photo_id": str(index), "worker": "anna", "usable": True, "codes": [],
                "background": "grass" if index < right else "sand", "seconds": 1.0, "shown": False, "gold": index != rules.gold,
                "answered_at": moment, "status": "counted", "reason": None,
            }
            for index in range(rules.gold + 1)
        ]  # fmt: skip
        last = votes_table(rows, {"r": item}, rules).to_pylist()
        failed = [row["status"] for row in last if not row["gold"]] == ["set_aside"]
        chance += failed * math.comb(rules.gold, right) * accuracy**right * (1 - accuracy) ** (rules.gold - right)
    return chance


@pytest.mark.case("F14")
@pytest.mark.parametrize(("gold", "mark", "good", "coin"), [(12, 10, 0.020, 0.019), (20, 16, 0.003, 0.006)])
def test_gold_items_tell_a_good_annotator_from_a_coin(gold: int, mark: int, good: float, coin: float) -> None:
    """At 12 items a 95 % good annotator fails in 2.0 % of cases and a coin passes in 1.9 %; at 20, in 0.3 % and 0.6 %."""
    rules = AnnotateRules(gold=gold, gold_pass=mark)
    assert chance_of_failing(rules, 0.95) == pytest.approx(good, abs=0.0005)
    assert 1 - chance_of_failing(rules, 0.5) == pytest.approx(coin, abs=0.0005)


def test_skipped_photos_and_those_of_a_closed_round_are_asked_again(
    workspace: Workspace, pool: list[str], studio: FakeStudio, now: datetime, rng: np.random.Generator
) -> None:
    """A skip and what a closed round leaves open lack votes; what an open round still owes does not; a photo with a
    recognisable person stays out whatever others would say.
    """
    recipe = a_recipe()
    plan(recipe, workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng)
    push(recipe, workspace, studio, round_id="r1", link=str, now=now)
    planned = load_round(workspace.journal, "r1")
    project = studio.find_project(project_key(planned, "anna")) or 0
    first, second = studio.by_project[project][:2]
    offered = planned.page.offered if planned.page else {}
    studio.annotate(first.task_id, [], seconds=1.0, skipped=True)
    studio.annotate(second.task_id, to_result(Answer("grass", codes=("person_recognisable",)), offered), seconds=1.0)
    pull(workspace, studio, round_id="r1", now=now)
    assert lacking_votes(recipe, workspace) == {first.data["photo_id"]: 1}
    close(recipe, workspace, round_id="r1", now=now)
    assert lacking_votes(recipe, workspace) == dict.fromkeys(sorted({*pool} - {second.data["photo_id"]}), 2)


def test_photos_that_are_not_asked_about_have_no_verdict(disagreed: list[str], workspace: Workspace) -> None:
    """A photo stored after the round was planned waits for the next one."""
    fill(workspace, 14)
    assert verdicts(a_recipe(), workspace)["photos"] == 12
