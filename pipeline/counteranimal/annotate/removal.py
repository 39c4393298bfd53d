"""Takes the tasks of withdrawn photos off the labelling server, after every answer to them is on record.

Decides which tasks those are: all that show a withdrawn photo, a pair of which one is withdrawn among them. A task that was
removed is recorded, so that the server is asked once. Leaves which photos are withdrawn to the journal.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from counteranimal.annotate.pairs import photos_of
from counteranimal.annotate.port import Studio
from counteranimal.annotate.pull import pull
from counteranimal.annotate.rounds import record_event
from counteranimal.workspace import Journal, Workspace

__all__ = ["remove_tasks", "tasks_to_remove"]


def tasks_to_remove(journal: Journal) -> dict[str, list[int]]:
    """Return round -> the server's tasks that show a withdrawn photo and were not removed yet."""
    gone = journal.withdrawn()
    removed = {
        (row["round"], task) for row in journal.rows("rounds", event="removed") for task in row["content"]["tasks"]
    }
    found: dict[str, list[int]] = defaultdict(list)
    for row in journal.rows("tasks"):
        if not gone.isdisjoint(photos_of(row["photo_id"])) and (row["round"], row["task_id"]) not in removed:
            found[row["round"]].append(row["task_id"])
    return dict(found)


def remove_tasks(workspace: Workspace, studio: Studio, *, now: datetime) -> dict[str, int]:
    """Pull the rounds that show withdrawn photos, then remove those tasks; returns `tasks` removed and `gone` already.

    Raises
    ------
    EnvironmentFailure
        If the server cannot be reached; what was removed before is recorded, and a re-run removes the rest.
    """
    counts = {"tasks": 0, "gone": 0}
    for round_id, tasks in tasks_to_remove(workspace.journal).items():
        pull(workspace, studio, round_id=round_id, now=now)
        for task_id in tasks:
            counts["tasks" if studio.delete_task(task_id) else "gone"] += 1
            record_event(workspace.journal, round_id, "removed", {"tasks": [task_id]}, now=now)
    return counts
