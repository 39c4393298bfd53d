"""What this project asks of a labelling server, and nothing more.

Decides the port that `push`, `pull` and the simulated raters speak. `studio` implements it for Label Studio over its API; the
tests' in-memory server implements it without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

__all__ = ["ProjectDraft", "Studio", "StudioAnnotation", "StudioTask"]


@dataclass(frozen=True, slots=True)
class ProjectDraft:
    """A project to make: `key` is unique to a worker's part of a round and is how the project is found again."""

    key: str
    title: str
    xml: str
    instruction: str


@dataclass(frozen=True, slots=True)
class StudioAnnotation:
    """One answer on the server; `draft` has not been submitted, `skipped` was put aside by the annotator."""

    annotation_id: int
    author: int | None
    result: list[dict[str, Any]]
    seconds: float | None
    created_at: datetime
    updated_at: datetime
    skipped: bool = False
    draft: bool = False


@dataclass(frozen=True, slots=True)
class StudioTask:
    """One photo in a project, with every answer that the server holds for it."""

    task_id: int
    data: Mapping[str, Any]
    annotations: tuple[StudioAnnotation, ...] = field(default=())


class Studio(Protocol):
    """A labelling server.

    Every method raises EnvironmentFailure if the server cannot be reached or refuses the token, and UpstreamError if it answers
    badly. Methods that make something are asked once and never repeated behind the caller's back: whether a request that
    failed half-way took effect is settled by looking, in `push`.
    """

    @property
    def url(self) -> str:
        """Where annotators' browsers find the server, without a trailing slash."""

    def find_project(self, key: str) -> int | None:
        """Return the id of the project made from a draft with this key, None if there is none."""

    def create_project(self, draft: ProjectDraft) -> int:
        """Make a project and return its id."""

    def page_of(self, project_id: int) -> str:
        """Return the labelling page (XML) that a project shows now."""

    def tasks(self, project_id: int, *, answers: bool = True) -> Iterator[StudioTask]:
        """Yield all tasks of a project, page by page; without `answers` their annotations are neither asked for nor given."""

    def create_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Make tasks (each with `data`, and `predictions` where a proposal is shown) and return their ids in order."""

    def change_task(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace the data of a task; answers to it stay."""

    def delete_task(self, task_id: int) -> bool:
        """Remove a task with its answers; False if the server has none of that id."""

    def annotate(
        self, task_id: int, result: Sequence[Mapping[str, Any]], *, seconds: float, skipped: bool = False
    ) -> int:
        """Submit an answer as a person's browser would and return its id."""
