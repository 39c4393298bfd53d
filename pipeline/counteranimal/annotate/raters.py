"""Simulated raters: programs that answer a round through the same API a browser uses, and are called simulated everywhere.

Decides how a simulated rater errs. They exist so that a whole round can be rehearsed where nobody is at hand; their worker names
must begin with `simulated-`, which is what a release and a report then print. Each answer follows from (seed, worker, photo)
alone, so an interrupted rehearsal continues with the answers it would have given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.port import Studio
from counteranimal.annotate.push import project_key
from counteranimal.annotate.rounds import Round, load_round, record_event
from counteranimal.errors import UsageError
from counteranimal.progress import bar
from counteranimal.workspace import Workspace

__all__ = ["PREFIX", "SimulatedRaters", "answer_of", "rate"]

PREFIX = "simulated-"
CONNECTIONS = 3
"""Requests at a time; Label Studio on SQLite gains nothing from more."""


@dataclass(frozen=True, slots=True)
class SimulatedRaters:
    """What the raters know and how often they err.

    Attributes
    ----------
    truth : callable
        Photo id -> its true background; None where nobody knows, which a rater answers with not_sure.
    error_rate : float
        Chance of naming another background of the page instead of the true one, 0 to 1.
    seed : str
        Two rehearsals with one seed give the same answers.
    """

    truth: Callable[[str], str | None]
    error_rate: float
    seed: str


def rate(
    workspace: Workspace, studio: Studio, raters: SimulatedRaters, *, round_id: str, now: datetime
) -> dict[str, Any]:
    """Let every worker of a round answer what they have not answered yet.

    Returns
    -------
    dict
        round, answered (now), known (answered before), simulated True.

    Raises
    ------
    UsageError
        If a worker of the round is not named as simulated, so that no person's project is ever answered for them.
    EnvironmentFailure
        If the server fails; answers given so far stay, the next call gives the rest.
    """
    planned = load_round(workspace.journal, round_id)
    people = [worker for worker in planned.workers if not worker.startswith(PREFIX)]
    if people:
        raise UsageError(f"worker {people[0]!r} is a person; only workers named {PREFIX}... can be simulated")
    if planned.asks_pairs:
        raise UsageError(f"round {round_id} asks about pairs of photos; nobody simulates an eye for copies")
    counts = {"answered": 0, "known": 0}
    content = {"workers": list(planned.workers), "error_rate": raters.error_rate, "seed": raters.seed}
    if not workspace.journal.rows("rounds", round=round_id, event="simulated"):
        record_event(workspace.journal, round_id, "simulated", content, now=now)
    for worker in planned.workers:
        project_id = studio.find_project(project_key(planned, worker))
        if project_id is None:
            raise UsageError(f"round {round_id} is not on {studio.url} yet; push it first")
        tasks = list(studio.tasks(project_id))
        open_tasks = [
            (task.task_id, str(task.data["photo_id"]))
            for task in tasks
            if not any(not item.draft for item in task.annotations)
        ]
        counts["known"] += len(tasks) - len(open_tasks)
        counts["answered"] += _answer_all(studio, planned, raters, worker=worker, tasks=open_tasks)
    return {"round": round_id, **counts, "simulated": True}


def answer_of(raters: SimulatedRaters, *, worker: str, photo_id: str, offered: Sequence[str]) -> tuple[Answer, float]:
    """Return a rater's answer about a photo and the seconds it pretends to have taken (log-normal about 6)."""
    digest = hashlib.sha256(f"{raters.seed}\n{worker}\n{photo_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    truth = raters.truth(photo_id)
    slips = rng.random() < raters.error_rate
    others = [word for word in offered if word not in {truth, "other", "mixed", "not_sure"}]
    word = truth if truth in offered else "not_sure"
    if slips and others:
        word = others[int(rng.integers(len(others)))]
    return Answer(str(word)), round(float(rng.lognormal(np.log(6), 0.4)), 1)


def _answer_all(
    studio: Studio, planned: Round, raters: SimulatedRaters, *, worker: str, tasks: Sequence[tuple[int, str]]
) -> int:
    page = planned.page
    if page is None:
        raise UsageError(f"round {planned.round_id} has no page to answer")

    def answer(task: tuple[int, str]) -> int:
        task_id, photo_id = task
        given, seconds = answer_of(raters, worker=worker, photo_id=photo_id, offered=page.offered["background"])
        return studio.annotate(task_id, to_result(given, page.offered), seconds=seconds)

    with ThreadPoolExecutor(CONNECTIONS) as pool, bar() as progress:
        shown = progress.add_task(f"{worker} answers", total=len(tasks))
        for _ in pool.map(answer, tasks):
            progress.advance(shown)
    return len(tasks)
