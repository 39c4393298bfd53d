"""Bring every answer on the server into the journal, and tell what differs; nothing is ever taken away.

Decides what is new: an annotation never seen, or one whose answer has changed since. Skips, drafts, second answers, answers the page
does not offer and answers that name no author become rows as well. What was deleted on the server (answers, tasks, projects), a page that somebody edited
there, and an account that answered in the projects of several people are counted and reported, never followed: answers are read by
the page that was planned, and belong to the person whose project it is. Which rows count as votes is decided in `votes`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from counteranimal.annotate.answers import read_result
from counteranimal.annotate.pairs import photos_of, read_pair
from counteranimal.annotate.port import Studio, StudioAnnotation
from counteranimal.annotate.push import project_key, projects_of
from counteranimal.annotate.rounds import Assignment, Round, load_round, record_event
from counteranimal.errors import Reason, Rejected
from counteranimal.workspace import Journal, Workspace

__all__ = ["pull"]

COMPARED = ("background", "usable", "codes", "status")
REPORTED = (
    "new", "edited", "known", "missing", "missing_tasks", "missing_projects", "foreign", "changed_pages", "shared_accounts",
)  # fmt: skip


def pull(workspace: Workspace, studio: Studio, *, round_id: str, now: datetime) -> dict[str, Any]:
    """Append what is new on the server.

    Returns
    -------
    dict
        round; new and edited rows appended now; known rows; by status of what is there now: counted, skipped, draft,
        set_aside; missing (answers on record that the server no longer has), missing_tasks, missing_projects, foreign (tasks that
        this round did not make), changed_pages (projects whose page is no longer the planned one) and shared_accounts (accounts
        that answered in more than one person's project).

    Raises
    ------
    UsageError
        If the round is unknown.
    EnvironmentFailure
        If the server cannot be reached or breaks off; projects read before are on record, the next pull brings the rest.
    """
    journal = workspace.journal
    planned = load_round(journal, round_id)
    counts: Counter[str] = Counter(dict.fromkeys(REPORTED, 0))
    statuses: Counter[str] = Counter(dict.fromkeys(("counted", "skipped", "draft", "set_aside"), 0))
    projects_by_account: dict[int, set[str]] = defaultdict(set)
    for worker in projects_of(journal, round_id):
        project_id = studio.find_project(project_key(planned, worker))
        if project_id is None:
            counts["missing_projects"] += 1
            counts["missing"] += len(_submitted(_history(journal.rows("votes", round=round_id, worker=worker))))
            continue
        if planned.page is not None:  # the server drops white space at the end
            counts["changed_pages"] += studio.page_of(project_id).strip() != planned.page.xml.strip()
        found = _read_project(journal, studio, planned, worker, project_id)
        counts.update(found.counts)
        statuses.update(found.statuses)
        for account in found.accounts:
            projects_by_account[account].add(worker)
    counts["shared_accounts"] = sum(len(workers) > 1 for workers in projects_by_account.values())
    if any(counts[name] for name in REPORTED if name not in {"known", "shared_accounts"}):
        record_event(journal, round_id, "pulled", {**counts}, now=now)
    return {"round": round_id, **counts, **statuses}


@dataclass(slots=True)
class _Found:
    """What one project held."""

    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    accounts: set[int] = field(default_factory=set)


def _read_project(journal: Journal, studio: Studio, planned: Round, worker: str, project_id: int) -> _Found:
    """Append what is new in one worker's project."""
    history = _history(journal.rows("votes", round=planned.round_id, worker=worker))
    # Their tasks were taken off the server on purpose; the answers stay on record and are not missed.
    withdrawn = journal.withdrawn()
    unseen = {
        row["task_id"]
        for row in journal.rows("tasks", round=planned.round_id, worker=worker)
        if withdrawn.isdisjoint(photos_of(row["photo_id"]))
    }
    assigned = {item.photo_id: item for item in planned.assignments[worker]}
    found = _Found()
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for task in studio.tasks(project_id):
        unseen.discard(task.task_id)
        item = assigned.get(str(task.data.get("photo_id")))
        if item is None:
            found.counts["foreign"] += 1
            continue
        for annotation in task.annotations:
            name = _name(planned, annotation)
            seen.add(name)
            row = _row(planned, worker, item, annotation, known=_was_heard(history.get(name, [])))
            found.statuses[row["status"]] += 1
            if annotation.author is not None:
                found.accounts.add(annotation.author)
            kind = _news(row, history.get(name, []))
            found.counts[kind] += 1
            if kind != "known":
                rows.append(row | {"annotation_id": _revision(name, len(history.get(name, [])))})
    journal.append("votes", rows)
    missed = _submitted(history) - seen
    found.counts["missing"] = sum(withdrawn.isdisjoint(photos_of(history[name][-1]["photo_id"])) for name in missed)
    found.counts["missing_tasks"] = len(unseen)
    return found


def _submitted(history: Mapping[str, list[dict[str, Any]]]) -> set[str]:
    """Return the answers on record that were more than a draft: submitting a draft removes it from the server."""
    return {name for name, old in history.items() if old[-1]["status"] != "draft"}


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


def _was_heard(earlier: list[dict[str, Any]]) -> bool:
    """Say whether an answer was ever read as one: the account behind it may be deleted since."""
    return any(old["status"] != "set_aside" for old in earlier)


def _news(row: Mapping[str, Any], earlier: list[dict[str, Any]]) -> str:
    if not earlier:
        return "new"
    same = all(row[name] == earlier[-1][name] for name in COMPARED)
    return "known" if same else "edited"


def _row(planned: Round, worker: str, item: Assignment, annotation: StudioAnnotation, *, known: bool) -> dict[str, Any]:
    """Return an answer as a row; one that names no author is set aside, unless its account was deleted after we had it."""
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
    if annotation.author is None and not known:
        return row | {
            "status": "set_aside",
            "reason": f"{Reason.ANSWER}: answer {annotation.annotation_id} names no author",
        }
    page = planned.page
    try:
        if planned.asks_pairs:
            return row | {"codes": [read_pair(annotation.result)]}
        answer = read_result(annotation.result, page.offered if page else {})
    except Rejected as problem:
        return row | {"status": "set_aside", "reason": f"{Reason.ANSWER}: {problem.detail}"}
    return row | {"background": answer.background, "usable": answer.usable, "codes": list(answer.codes)}
