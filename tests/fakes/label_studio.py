"""An in-memory labelling server that speaks `annotate.port.Studio`, with the moments at which a real one can be killed or changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from counteranimal.annotate.port import ProjectDraft, StudioAnnotation, StudioTask


class Killed(BaseException):
    """What a kill between the server's answer and our record of it looks like from inside."""


@dataclass
class FakeStudio:
    """Accepts what Label Studio accepts: repeated tasks, answers off the page, several answers to one task."""

    url: str = "http://127.0.0.1:9"
    projects: dict[int, ProjectDraft] = field(default_factory=dict)
    by_project: dict[int, list[StudioTask]] = field(default_factory=dict)
    killed_after: set[str] = field(default_factory=set)
    """Names of methods that take effect and then never return, once each."""
    clock: datetime = datetime(2026, 11, 2, tzinfo=UTC)
    numbers: int = 0

    def find_project(self, key: str) -> int | None:
        return min((name for name, draft in self.projects.items() if draft.key == key), default=None)

    def create_project(self, draft: ProjectDraft) -> int:
        project_id = self._number()
        self.projects[project_id] = draft
        self.by_project[project_id] = []
        self._maybe_die("create_project")
        return project_id

    def page_of(self, project_id: int) -> str:
        return self.projects[project_id].xml

    def tasks(self, project_id: int, *, answers: bool = True) -> Iterator[StudioTask]:
        for task in list(self.by_project[project_id]):
            yield task if answers else replace(task, annotations=())

    def create_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        made = [StudioTask(self._number(), dict(task["data"])) for task in tasks]
        self.by_project[project_id] += made
        self._maybe_die("create_tasks")
        return [task.task_id for task in made]

    def annotate(
        self, task_id: int, result: Sequence[Mapping[str, Any]], *, seconds: float, skipped: bool = False
    ) -> int:
        self.clock += timedelta(seconds=1)
        number = self._number()
        answer = StudioAnnotation(
            number, 1, [dict(item) for item in result], seconds, self.clock, self.clock, skipped=skipped
        )
        self._change(task_id, lambda task: replace(task, annotations=(*task.annotations, answer)))
        self._maybe_die("annotate")
        return number

    def change_task(self, task_id: int, data: Mapping[str, Any]) -> None:
        self._change(task_id, lambda task: replace(task, data=dict(data)))

    def delete_task(self, task_id: int) -> bool:
        for project_id, tasks in self.by_project.items():
            left = [task for task in tasks if task.task_id != task_id]
            if len(left) < len(tasks):
                self.by_project[project_id] = left
                self._maybe_die("delete_task")
                return True
        return False

    def edit(self, annotation_id: int, result: Sequence[Mapping[str, Any]]) -> None:
        """Change an answer, as a person pressing Update does."""
        self.clock += timedelta(seconds=1)
        for tasks in self.by_project.values():
            for index, task in enumerate(tasks):
                tasks[index] = replace(
                    task,
                    annotations=tuple(
                        replace(item, result=[dict(part) for part in result], updated_at=self.clock)
                        if item.annotation_id == annotation_id
                        else item
                        for item in task.annotations
                    ),
                )

    def task_of(self, photo_id: str, project_id: int) -> StudioTask:
        return next(task for task in self.by_project[project_id] if task.data["photo_id"] == photo_id)

    def _change(self, task_id: int, change: Any) -> None:
        for tasks in self.by_project.values():
            for index, task in enumerate(tasks):
                if task.task_id == task_id:
                    tasks[index] = change(task)

    def _maybe_die(self, method: str) -> None:
        if method in self.killed_after:
            self.killed_after.discard(method)
            raise Killed(method)

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers
