"""Send a planned round to the labelling server: one project a worker, one task a photo, exactly once.

Decides how a half-finished push is finished. Before anything is made, the server is searched for it: projects by the round's key,
tasks by the photo id in their data. So a push may be killed at any moment, also between the server's answer and our record of
it, and the next one finds what was made, records it and makes only the rest. What the journal records as made and the server no
longer has was deleted by somebody there: it is reported, and never made again. The workspace's lock, held by the caller, keeps
two pushes of one round apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from counteranimal.annotate.interface import Interface, task_data
from counteranimal.annotate.pairs import pair_data, photos_of
from counteranimal.annotate.plan import proposals
from counteranimal.annotate.port import ProjectDraft, Studio
from counteranimal.annotate.rounds import Assignment, Round, load_round, record_event
from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.pool import shards_of
from counteranimal.progress import track
from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal, Workspace

__all__ = ["pages_of", "project_key", "projects_of", "push"]

TASKS_A_REQUEST = 200
LONGEST_TITLE = 50
_CANDIDATES_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Material:
    """What the data of a task is made of."""

    recipe: Recipe
    page: Interface
    at_hand: Mapping[str, Mapping[str, Any]]
    credits: Mapping[str, str]
    proposed: Mapping[str, str]
    link: Callable[[str], str]

    def shows(self, item: str) -> bool:
        """Whether every photo of an item may still be shown."""
        return all(photo in self.at_hand for photo in photos_of(item))

    def images(self, item: str) -> dict[str, str]:
        """Return the fields that say where an item's photos load from."""
        return dict(zip(("image", "other"), map(self.link, photos_of(item)), strict=False))


def push(  # noqa: PLR0913 - what to send, where, and how photos are addressed
    recipe: Recipe,
    workspace: Workspace,
    studio: Studio,
    *,
    round_id: str,
    link: Callable[[str], str],
    now: datetime,
    relink: bool = False,
) -> dict[str, Any]:
    """Make what is missing of a planned round on the server.

    Parameters
    ----------
    link : callable
        Photo id -> the address from which annotators' browsers load the photo.
    relink : bool
        Give unanswered tasks made earlier a fresh address too: links expire, and a photo server may move.

    Returns
    -------
    dict
        round, projects and tasks made and relinked now, tasks found on the server without a record, tasks recorded before, tasks
        left out because their photo was withdrawn or is no longer kept, and pages (worker -> address of the labelling page).

    Raises
    ------
    UsageError
        If the round is unknown, closed or was recorded elsewhere.
    EnvironmentFailure
        If the server cannot be reached or a project of the round was deleted there.
    """
    journal = workspace.journal
    planned = load_round(journal, round_id)
    if planned.page is None or planned.closed:
        state = "closed" if planned.closed else "made of recorded answers"
        raise UsageError(f"round {round_id} is {state}; plan a new round to ask people")
    material = _material(recipe, workspace, planned, link)
    counts = {"projects": 0, "tasks": 0, "found": 0, "known": 0, "left_out": 0, "relinked": 0}
    pages: dict[str, str] = {}
    for worker in planned.workers:
        project_id, made = _ensure_project(journal, studio, planned, worker=worker, now=now)
        counts["projects"] += made
        counts["relinked"] += _renew_links(studio, material, project_id) if relink and not made else 0
        for name, number in _ensure_tasks(journal, studio, planned, material, (worker, project_id, now)).items():
            counts[name] += number
        pages[worker] = _page(studio.url, project_id)
    return {"round": round_id, **counts, "pages": pages}


def project_key(planned: Round, worker: str) -> str:
    """Return the text by which a worker's project of a round is found on a server."""
    return f"{planned.key} {planned.round_id} {worker}"


def projects_of(journal: Journal, round_id: str) -> dict[str, int]:
    """Return worker -> project id, as recorded when the projects were made."""
    return {
        row["content"]["worker"]: row["content"]["project_id"]
        for row in journal.rows("rounds", round=round_id, event="project")
    }


def pages_of(journal: Journal, round_id: str) -> dict[int, str]:
    """Return project id -> address of its labelling page, as recorded when the projects were made."""
    made = [row["content"] for row in journal.rows("rounds", round=round_id, event="project")]
    return {content["project_id"]: _page(content["url"], content["project_id"]) for content in made}


def _page(url: str, project_id: int) -> str:
    return f"{url}/projects/{project_id}/data?labeling=1"


def credits_of(workspace: Workspace, kept: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return photo id -> whom to credit, as the source worded it."""
    offered: dict[str, dict[str, Any]] = {}
    for names in shards_of(sorted({row["candidate_ids"][0] for row in kept.values()}), _CANDIDATES_AT_ONCE):
        offered |= workspace.journal.last_of("candidates", "candidate_id", names)
    found = {photo: offered.get(row["candidate_ids"][0], {}) for photo, row in kept.items()}
    return {photo: row.get("attribution") or row.get("author") or "" for photo, row in found.items()}


def _material(recipe: Recipe, workspace: Workspace, planned: Round, link: Callable[[str], str]) -> _Material:
    page = planned.page
    if page is None:  # a round of recorded answers, refused by `push`
        raise UsageError(f"round {planned.round_id} has no page")
    stored = workspace.sound_photos() if planned.asks_pairs else workspace.kept_photos()
    # A round asks about a few thousand of what may be a million photos.
    asked = {photo for items in planned.assignments.values() for item in items for photo in photos_of(item.photo_id)}
    at_hand = {photo: row for photo, row in stored.items() if photo in asked}
    return _Material(recipe, page, at_hand, credits_of(workspace, at_hand), proposals(recipe, workspace), link)


def _ensure_project(journal: Journal, studio: Studio, planned: Round, *, worker: str, now: datetime) -> tuple[int, int]:
    """Return the id of a worker's project, and 1 if it was made now."""
    key = project_key(planned, worker)
    found = studio.find_project(key)
    recorded = projects_of(journal, planned.round_id).get(worker)
    if found is None and recorded is not None:
        raise EnvironmentFailure(
            f"project {recorded} of round {planned.round_id} and worker {worker} is no longer on {studio.url}; "
            "restore the server's data or plan a new round (pulled votes are kept)"
        )
    page = planned.page
    if page is None:  # a round of recorded answers, refused by `push`
        raise UsageError(f"round {planned.round_id} has no page")
    made = 0
    if found is None:
        title = f"{planned.round_id} · {worker}"
        found = studio.create_project(ProjectDraft(key, title[:LONGEST_TITLE], page.xml, page.instruction))
        made = 1
    if recorded != found:
        content = {"worker": worker, "project_id": found, "url": studio.url, "page": page.digest}
        record_event(journal, planned.round_id, "project", content, now=now)
    return found, made


def _ensure_tasks(
    journal: Journal, studio: Studio, planned: Round, material: _Material, where: tuple[str, int, datetime]
) -> dict[str, int]:
    worker, project_id, _ = where
    assigned = planned.assignments[worker]
    recorded = {row["photo_id"] for row in journal.rows("tasks", round=planned.round_id, worker=worker)}
    counts = {"known": len(recorded), "found": 0, "tasks": 0, "left_out": 0}
    missing = [item for item in assigned if item.photo_id not in recorded]
    if not missing:
        return counts

    def record(items: list[tuple[Assignment, int]]) -> None:
        journal.append("tasks", [_row(planned.round_id, item, task_id, where) for item, task_id in items])

    present = {str(task.data.get("photo_id")): task.task_id for task in studio.tasks(project_id, answers=False)}
    found = [(item, present[item.photo_id]) for item in missing if item.photo_id in present]
    record(found)
    counts["found"] = len(found)
    places = {item.photo_id: number for number, item in enumerate(assigned, start=1)}
    wanted = [item for item in missing if item.photo_id not in present]
    fresh = [item for item in wanted if material.shows(item.photo_id)]
    counts["left_out"] = len(wanted) - len(fresh)
    for shard in track(shards_of(fresh, TASKS_A_REQUEST), f"tasks for {worker}"):
        tasks = [_task(item, material, (places[item.photo_id], len(assigned))) for item in shard]
        made = studio.create_tasks(project_id, tasks)
        record(list(zip(shard, made, strict=True)))
        counts["tasks"] += len(made)
    return counts


def _renew_links(studio: Studio, material: _Material, project_id: int) -> int:
    """Give every task that nobody has answered, and whose photo is still kept, a fresh address."""
    stale = [
        task
        for task in studio.tasks(project_id)
        if material.shows(str(task.data.get("photo_id"))) and not any(not item.draft for item in task.annotations)
    ]
    for task in track(stale, "fresh links"):
        studio.change_task(task.task_id, {**task.data, **material.images(str(task.data["photo_id"]))})
    return len(stale)


def _row(round_id: str, item: Assignment, task_id: int, where: tuple[str, int, datetime]) -> dict[str, Any]:
    worker, project_id, now = where
    return {
        "round": round_id,
        "worker": worker,
        "photo_id": item.photo_id,
        "project_id": project_id,
        "task_id": task_id,
        "shown": item.shown,
        "gold": item.gold,
        "at": now,
    }


def _task(item: Assignment, material: _Material, place: tuple[int, int]) -> dict[str, Any]:
    photo = item.photo_id
    if len(shown := photos_of(photo)) == 2:
        first, second = shown
        links = material.link(first), material.link(second)
        credit = material.credits.get(first, ""), material.credits.get(second, "")
        return {"data": pair_data(photo, links, credit, place)}
    data = task_data(
        photo,
        material.recipe.class_by_id(material.at_hand[photo]["class_id"]),
        image=material.link(photo),
        credit=material.credits.get(photo, ""),
        place=place,
    )
    task: dict[str, Any] = {"data": data}
    proposal = material.proposed.get(photo)
    if item.shown and proposal in material.page.offered["background"]:
        region = {"from_name": "background", "to_name": "image", "type": "choices", "value": {"choices": [proposal]}}
        task["predictions"] = [{"model_version": "proposal", "result": [region]}]
    return task
