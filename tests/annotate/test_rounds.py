"""A round from plan to journal, on an in-memory server that can be killed at the worst moments."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, push
from counteranimal.annotate.removal import remove_tasks, tasks_to_remove
from counteranimal.annotate.rounds import Round, load_round
from counteranimal.annotate.size import still_needed
from counteranimal.annotate.status import close, status
from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.ids import fold_of
from counteranimal.stats import photos_needed
from counteranimal.workspace import Workspace
from tests.fakes.label_studio import FakeStudio, Killed
from tests.fakes.photo_pool import a_recipe, fill

RECIPE = a_recipe()


def link(photo_id: str) -> str:
    return f"http://127.0.0.1:1/{photo_id}"


@pytest.fixture
def planned(workspace: Workspace, pool: list[str], now: datetime, rng: np.random.Generator) -> Round:
    """Round r1: twelve photos, two votes each, by anna, ben and cleo."""
    plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben", "cleo"], now=now, rng=rng)
    return load_round(workspace.journal, "r1")


def project_of(studio: FakeStudio, planned: Round, worker: str) -> int:
    found = studio.find_project(project_key(planned, worker))
    assert found is not None
    return found


def answer_everything(studio: FakeStudio, planned: Round, word: str = "grass") -> int:
    offered = planned.page.offered if planned.page else {}
    tasks = [task for own in studio.by_project.values() for task in own]
    for task in tasks:
        studio.annotate(task.task_id, to_result(Answer(word), offered), seconds=3.0)
    return len(tasks)


def test_a_plan_is_made_once(planned: Round, workspace: Workspace, now: datetime, rng: np.random.Generator) -> None:
    """Planning again changes nothing, and other workers are refused."""
    again = plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben", "cleo"], now=now, rng=rng)
    assert again["already"]
    assert again["votes"] == 24
    assert load_round(workspace.journal, "r1") == planned
    with pytest.raises(UsageError, match="planned for anna, ben, cleo"):
        plan(RECIPE, workspace, round_id="r1", workers=["anna", "dora"], now=now, rng=rng)


def test_report_votes_are_all_blind_and_each_photo_has_one(
    workspace: Workspace, now: datetime, rng: np.random.Generator
) -> None:
    """Proposals are shown on the select fold only, and never to everyone who sees a photo."""
    fill(workspace, 60)
    plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng)
    blind = Counter()
    for own in load_round(workspace.journal, "r1").assignments.values():
        for item in own:
            blind[item.photo_id] += not item.shown
            assert not (item.shown and fold_of(RECIPE.seed, item.photo_id) == "report")
    assert min(blind.values()) >= 1
    assert min(blind.values()) < max(blind.values())


def test_a_later_round_asks_only_about_new_photos(
    planned: Round, workspace: Workspace, now: datetime, rng: np.random.Generator
) -> None:
    """What an earlier round could have drawn stays with it, so stored probabilities stay true."""
    with pytest.raises(UsageError, match="no photo is left"):
        plan(RECIPE, workspace, round_id="r2", workers=["anna", "ben"], now=now, rng=rng)
    grown = fill(workspace, 16)
    plan(RECIPE, workspace, round_id="r2", workers=["anna", "ben"], now=now, rng=rng)
    assert set(load_round(workspace.journal, "r2").photos) == set(grown) - set(planned.photos)


def test_gold_items_look_like_all_others_and_are_no_sample(
    workspace: Workspace, pool: list[str], studio: FakeStudio, now: datetime, rng: np.random.Generator
) -> None:
    """Gold photos are dealt to everyone, their tasks carry no mark, and they leave the sample."""
    with (workspace.folder("rounds") / "gold.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("photo_id", "background"), (pool[0], "grass"), (pool[1], "sand")])
    made = plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng)
    assert (made["gold"], made["photos"]) == (4, 10)
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    keys = {frozenset(task.data) for own in studio.by_project.values() for task in own}
    assert len(keys) == 1


def test_hours_limit_the_longest_share_and_probabilities_say_so(
    workspace: Workspace, now: datetime, rng: np.random.Generator
) -> None:
    """Four strata of 30, two votes, two people with a quarter of an hour each: 90 photos, each with its chance."""
    fill(workspace, 120)
    made = plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng, hours=0.25)
    assert (made["hours"] <= 0.25, made["votes_per_photo"]) == (True, 2)
    assert 72 <= made["photos"] <= 90  # 18 a stratum, and a fifth of them from anywhere, some drawn twice
    chances = {round(value, 6) for value in load_round(workspace.journal, "r1").photos.values()}
    assert chances == {round(1 - (1 - 18 / 30) * (1 - 15 / 120), 6)}


def test_a_plan_tells_the_photos_still_needed(workspace: Workspace, pool: list[str], now: datetime) -> None:
    """For 20 points with two classes: 88 photos in each of four cells, less what each class has; more for 10 points."""
    found = still_needed(RECIPE, workspace, drop=20)
    assert {item["wanted"] for item in found.values()} == {photos_needed(0.75, 0.2, tests=2)}
    cells = Counter(
        (row["class_id"], ("grass", "sand")[index // 2 % 2], fold_of(RECIPE.seed, row["photo_id"]))
        for index, row in enumerate(
            sorted(workspace.table("photos").to_pylist(), key=lambda row: pool.index(row["photo_id"]))
        )
    )
    for name, item in found.items():
        held = [cells[name, word, fold] for word in ("grass", "sand") for fold in ("select", "report")]
        assert item["missing"] == sum(item["wanted"] - number for number in held)
        assert (set(item["backgrounds"]), item["have"]) == ({"grass", "sand"}, min(held))
    assert still_needed(RECIPE, workspace, drop=10)["cat"]["wanted"] > 3 * found["cat"]["wanted"]
    with pytest.raises(UsageError, match="give one above 0"):
        still_needed(RECIPE, workspace, drop=0)


@pytest.mark.case("F01")
@pytest.mark.parametrize("moment", ["create_project", "create_tasks"])
def test_a_push_killed_after_the_server_answered_makes_nothing_twice(
    moment: str, planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Killed between the server's 201 and our record, then run twice more: one project a worker, one task a photo."""
    for _ in range(3):
        studio.killed_after = {moment}
        try:
            push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
        except Killed:
            continue
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    last = push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    assert (last["projects"], last["tasks"], last["found"], last["known"]) == (0, 0, 0, 24)
    assert len(studio.projects) == 3
    for worker, own in planned.assignments.items():
        tasks = studio.by_project[project_of(studio, planned, worker)]
        assert sorted(task.data["photo_id"] for task in tasks) == sorted(item.photo_id for item in own)


def test_a_deleted_project_is_reported_and_never_made_again(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """A project that somebody deleted ends the push with a sentence that names it."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    del studio.projects[project_of(studio, planned, "ben")]
    with pytest.raises(EnvironmentFailure, match="no longer on"):
        push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)


@pytest.mark.case("D05")
@pytest.mark.case("F12")
def test_tasks_of_withdrawn_photos_are_removed_and_their_answers_kept(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Answers given before the takedown are pulled first; a kill in between is finished, and nothing is asked or missed later."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    answered = answer_everything(studio, planned)
    gone = next(iter(planned.photos))
    tasks = [task for own in studio.by_project.values() for task in own if task.data["photo_id"] == gone]
    workspace.journal.append("withdrawals", [{"photo_id": gone, "why": "asked", "at": now}])
    assert sum(map(len, tasks_to_remove(workspace.journal).values())) == len(tasks) == 2
    studio.killed_after = {"delete_task"}
    with pytest.raises(Killed):
        remove_tasks(workspace, studio, now=now)
    assert remove_tasks(workspace, studio, now=now) == {"tasks": 1, "gone": 1}
    assert len(workspace.journal.rows("votes")) == answered
    assert not [task for own in studio.by_project.values() for task in own if task.data["photo_id"] == gone]
    assert tasks_to_remove(workspace.journal) == {}
    again = pull(workspace, studio, round_id="r1", now=now)
    assert (again["missing"], again["new"]) == (0, 0)
    assert push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)["tasks"] == 0


def test_withdrawn_photos_are_not_sent(planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime) -> None:
    """A photo that was withdrawn between plan and push reaches no annotator."""
    gone = next(iter(planned.photos))
    workspace.journal.append("withdrawals", [{"photo_id": gone, "why": "asked", "at": now}])
    assert push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)["left_out"] == 2
    assert gone not in {task.data["photo_id"] for own in studio.by_project.values() for task in own}


def test_fresh_links_reach_open_tasks_only(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Links expire: open tasks get new ones, answered tasks stay as they were answered."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    first = studio.by_project[project_of(studio, planned, "anna")][0]
    studio.annotate(first.task_id, [], seconds=1.0, skipped=True)
    moved = push(RECIPE, workspace, studio, round_id="r1", link=lambda name: f"http://new/{name}", now=now, relink=True)
    assert moved["relinked"] == 23
    images = [task.data["image"] for own in studio.by_project.values() for task in own]
    assert sum(image.startswith("http://new/") for image in images) == 23


@pytest.mark.case("F09")
def test_every_kind_of_answer_is_kept_and_only_votes_count(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Skips, second answers, empty and invalid ones are rows; tasks = accepted + rejected + skipped + pending."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    offered = planned.page.offered if planned.page else {}
    first, second, third, fourth, *_ = studio.by_project[project_of(studio, planned, "anna")]
    studio.annotate(first.task_id, to_result(Answer("grass"), offered), seconds=2.0)
    studio.annotate(first.task_id, to_result(Answer("sand"), offered), seconds=2.0)
    studio.annotate(second.task_id, [], seconds=1.0, skipped=True)
    studio.annotate(third.task_id, to_result(Answer("sand", usable=False, codes=("too_small",)), offered), seconds=1.0)
    studio.annotate(fourth.task_id, [], seconds=1.0)
    pulled = pull(workspace, studio, round_id="r1", now=now)
    assert {name: pulled[name] for name in ("new", "counted", "skipped", "set_aside")} == {
        "new": 5, "counted": 3, "skipped": 1, "set_aside": 1,
    }  # fmt: skip
    assert pull(workspace, studio, round_id="r1", now=now)["new"] == 0
    counts = status(RECIPE, workspace)["r1"]["workers"]["anna"]
    assert counts == {"tasks": 8, "accepted": 1, "rejected": 1, "skipped": 1, "pending": 5}


@pytest.mark.case("F13")
def test_an_edited_answer_counts_in_its_last_form_and_the_first_is_kept(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """An answer changed after a pull becomes a second row; the first one stays, marked edited."""
    from counteranimal.annotate.verdicts import verdicts

    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    offered = planned.page.offered if planned.page else {}
    task = studio.by_project[project_of(studio, planned, "anna")][0]
    number = studio.annotate(task.task_id, to_result(Answer("grass"), offered), seconds=2.0)
    pull(workspace, studio, round_id="r1", now=now)
    studio.edit(number, to_result(Answer("snow"), offered))
    assert pull(workspace, studio, round_id="r1", now=now)["edited"] == 1
    assert pull(workspace, studio, round_id="r1", now=now)["edited"] == 0
    verdicts(RECIPE, workspace)
    rows = workspace.table("votes").to_pylist()
    assert [(row["background"], row["status"]) for row in rows] == [("grass", "edited"), ("snow", "counted")]


@pytest.mark.case("F12")
def test_deletions_on_the_server_are_reported_and_not_followed(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """With a project and a task deleted and a page edited, our record keeps every answer and the pull says what differs."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    number = answer_everything(studio, planned)
    pull(workspace, studio, round_id="r1", now=now)
    del studio.projects[project_of(studio, planned, "ben")]
    studio.by_project[project_of(studio, planned, "anna")].pop()
    cleo = project_of(studio, planned, "cleo")
    studio.projects[cleo] = replace(studio.projects[cleo], xml="<View/>")
    report = pull(workspace, studio, round_id="r1", now=now)
    assert (report["missing_projects"], report["missing"], report["missing_tasks"]) == (1, 9, 1)
    assert (report["changed_pages"], report["shared_accounts"]) == (1, 1)
    assert len(workspace.journal.rows("votes")) == number == 24


def test_tasks_that_the_round_did_not_make_are_foreign(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """A task somebody imported into a project by hand is counted and brings no vote."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    studio.create_tasks(project_of(studio, planned, "anna"), [{"data": {"photo_id": "f" * 64}}])
    assert pull(workspace, studio, round_id="r1", now=now)["foreign"] == 1


def test_votes_are_found_though_the_push_never_recorded_its_tasks(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """A task made just before a kill may be answered before the next push; its answer counts all the same."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    studio.create_tasks(
        project_of(studio, planned, "anna"), [{"data": {"photo_id": planned.assignments["anna"][0].photo_id}}]
    )
    answer_everything(studio, planned)
    assert pull(workspace, studio, round_id="r1", now=now)["counted"] == 25
    assert status(RECIPE, workspace)["r1"]["workers"]["anna"]["accepted"] == 8


def test_a_closed_round_gets_no_more_tasks_and_still_keeps_answers(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Closing says what is left open, ends pushing, and does not shut late answers out."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    assert close(RECIPE, workspace, round_id="r1", now=now)["pending"] == 24
    with pytest.raises(UsageError, match="closed"):
        push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    answer_everything(studio, planned)
    assert pull(workspace, studio, round_id="r1", now=now)["counted"] == 24
    again = close(RECIPE, workspace, round_id="r1", now=now)
    assert (again["pending"], again["already"]) == (0, True)


def test_nothing_sent_tells_group_margin_or_correctness(
    planned: Round, workspace: Workspace, studio: FakeStudio, now: datetime
) -> None:
    """Tasks hold exactly the six known keys, and upstream text as it came."""
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=now)
    for own in studio.by_project.values():
        for task in own:
            assert set(task.data) == {"photo_id", "image", "species", "look_for", "credit", "place"}
            assert task.data["image"] == link(task.data["photo_id"])
            assert task.data["credit"].startswith("(c) person")
