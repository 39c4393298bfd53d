"""Bring every answer on the server into the journal, and tell what differs; nothing is ever taken away.

Decides what is new: an annotation never seen, or one whose answer has changed since. Skips, drafts, second answers and answers
the page does not offer become rows as well. Deletions on the server are counted and reported, never followed. Which rows count
as votes is decided in `votes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from counteranimal.annotate.answers import read_result
from counteranimal.annotate.pairs import photos_of, read_pair
from counteranimal.annotate.port import Studio, StudioAnnotation, StudioTask
from counteranimal.annotate.push import project_key, projects_of
from counteranimal.annotate.rounds import Assignment, Round, load_round, record_event
from counteranimal.errors import Reason, Rejected
from counteranimal.workspace import Workspace

__all__ = ["pull"]

COMPARED = ("background", "usable", "codes", "status")


def pull(workspace: Workspace, studio: Studio, *, round_id: str, now: datetime) -> dict[str, Any]:
    """Append what is new on the server.

    Returns
    -------
    dict
        round; new and edited rows appended now; known rows; by status of what is there now: counted, skipped, draft,
        set_aside; missing (answers on record that the server no longer has), missing_projects, and foreign (tasks that this
        round did not make).

    Raises
    ------
    UsageError
        If the round is unknown.
    EnvironmentFailure
        If the server cannot be reached or breaks off; projects read before are on record, the next pull brings the rest.
    """
    journal = workspace.journal
    planned = load_round(journal, round_id)
    counts: Counter[str] = Counter(
        dict.fromkeys(("new", "edited", "known", "missing", "missing_projects", "foreign"), 0)
    )
    # Their tasks were taken off the server on purpose; the answers stay on record and are not missed.
    withdrawn = journal.withdrawn()
    statuses: Counter[str] = Counter(dict.fromkeys(("counted", "skipped", "draft", "set_aside"), 0))
    for worker in projects_of(journal, round_id):
        project_id = studio.find_project(project_key(planned, worker))
        history = _history(journal.rows("votes", round=round_id, worker=worker))
        if project_id is None:
            counts["missing_projects"] += 1
            counts["missing"] += len(history)
            continue
        assigned = {item.photo_id: item for item in planned.assignments[worker]}
        rows: list[dict[str, Any]] = []
        seen: set[str] = set()
        for task in studio.tasks(project_id):
            item = assigned.get(str(task.data.get("photo_id")))
            if item is None:
                counts["foreign"] += 1
                continue
            for annotation in task.annotations:
                name = _name(planned, annotation)
                seen.add(name)
                row = _row(planned, worker, item, task, annotation)
                statuses[row["status"]] += 1
                kind = _news(row, history.get(name, []))
                counts[kind] += 1
                if kind != "known":
                    rows.append(row | {"annotation_id": _revision(name, len(history.get(name, [])))})
        journal.append("votes", rows)
        missed = {name for name, old in history.items() if old[-1]["status"] != "draft"} - seen
        counts["missing"] += sum(withdrawn.isdisjoint(photos_of(history[name][-1]["photo_id"])) for name in missed)
    if any(counts[name] for name in ("new", "edited", "missing", "missing_projects", "foreign")):
        record_event(journal, round_id, "pulled", {**counts}, now=now)
    return {"round": round_id, **counts, **statuses}


def _name(planned: Round, annotation: StudioAnnotation) -> str:
    return f"{planned.round_id}:{planned.key[:6]}:{'draft-' if annotation.draft else ''}{annotation.annotation_id}"


def _revision(name: str, earlier: int) -> str:
    """Return the annotation's name, with `+N` behind it for its N-th correction."""
    return f"{name}+{earlier}" if earlier else name


def _history(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["annotation_id"].split("+")[0], []).append(row)
    return found


def _news(row: Mapping[str, Any], earlier: list[dict[str, Any]]) -> str:
    if not earlier:
        return "new"
    same = all(row[name] == earlier[-1][name] for name in COMPARED)
    return "known" if same else "edited"


def _row(
    planned: Round, worker: str, item: Assignment, task: StudioTask, annotation: StudioAnnotation
) -> dict[str, Any]:
    del task
    row: dict[str, Any] = {
        "round": planned.round_id,
        "photo_id": item.photo_id,
        "worker": worker,
        "background": None,
        "usable": None,
        "codes": [],
        "seconds": annotation.seconds,
        "shown": item.shown,
        "gold": item.gold,
        "answered_at": annotation.updated_at,
        "status": "counted",
        "reason": None,
    }
    if annotation.draft:
        return row | {"status": "draft"}
    if annotation.skipped:
        return row | {"status": "skipped"}
    page = planned.page
    try:
        if planned.asks_pairs:
            return row | {"codes": [read_pair(annotation.result)]}
        answer = read_result(annotation.result, page.offered if page else {})
    except Rejected as problem:
        return row | {"status": "set_aside", "reason": f"{Reason.ANSWER}: {problem.detail}"}
    return row | {"background": answer.background, "usable": answer.usable, "codes": list(answer.codes)}
