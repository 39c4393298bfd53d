"""Pushes that are killed: one process that pushes a planned round again and again, each time in a child that dies at a stated moment.

Run as `python -m tests.fakes.dying_push HOME ROUND URL TOKEN_FILE MOMENT...`; the children die by SIGKILL, so nothing of theirs is
tidied. Moments: `project` and `tasks` die between the server's answer and our record of it, `asked` before tasks are asked for, and
`recorded` once tasks were recorded and more are to be made. Prints a JSON list of the signals that ended the children.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counteranimal.annotate.port import ProjectDraft
from counteranimal.annotate.push import push
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.workspace import Workspace
from tests.fakes.photo_pool import a_recipe

RECIPE = a_recipe(votes_per_photo=1)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(LabelStudioServer):
    """The real server, seen by a process that is killed at a moment."""

    moment = ""
    requests = 0

    def create_project(self, draft: ProjectDraft) -> int:
        made = super().create_project(draft)
        if self.moment == "project":
            die()
        return made

    def create_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        self.requests += 1
        if self.moment == "asked" or (self.moment == "recorded" and self.requests == 2):
            die()
        made = super().create_tasks(project_id, tasks)
        if self.moment == "tasks":
            die()
        return made


def link(photo_id: str) -> str:
    return f"http://127.0.0.1:1/{photo_id}"


def push_and_die(home: Path, round_id: str, server: tuple[str, str], moment: str) -> int:
    """Return the signal that ended a push in a child, 0 if it lived."""
    child = os.fork()
    if child == 0:
        try:
            studio = Dying(*server)
            studio.moment = moment
            push(RECIPE, Workspace(home), studio, round_id=round_id, link=link, now=datetime(2026, 11, 1, tzinfo=UTC))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(home: str, round_id: str, url: str, token_file: str, *moments: str) -> None:
    """Push once for each moment."""
    server = url, Path(token_file).read_text(encoding="utf-8").strip()
    sys.stdout.write(json.dumps([push_and_die(Path(home), round_id, server, moment) for moment in moments]))


if __name__ == "__main__":
    main(*sys.argv[1:])
