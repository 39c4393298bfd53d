"""What a step is: a function of a `Run` that leaves tables behind and returns an `Outcome`.

Decides how a step starts (lock, free space) and how it is recorded (one JSON line in the run log). Leaves the work to the
stages and the order of steps to the modules beside this one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from counteranimal.recipe import Recipe, load_recipe
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace

__all__ = ["Outcome", "Run", "step"]

Parameters = ParamSpec("Parameters")


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a step may know: the recipe, where state lives, this machine's settings and the moment it started."""

    recipe: Recipe
    workspace: Workspace
    settings: Settings
    now: datetime

    @classmethod
    def of(cls, recipe: Path, settings: Settings) -> Run:
        """Return the run of a recipe's file, checked, in the settings' workspace, from this moment on."""
        checked = load_recipe(recipe)
        workspace = Workspace(settings.home, settings.journal_url, settings.store)
        return cls(recipe=checked, workspace=workspace, settings=settings, now=datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did: counts for programs, one sentence for people."""

    step: str
    counts: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def sentence(self) -> str:
        """Return the outcome as one line.

        Examples
        --------
        >>> Outcome("dedupe", {"photos": 3, "kept": 2}).sentence()
        'dedupe: photos 3, kept 2'
        """
        simple = {key: value for key, value in self.counts.items() if isinstance(value, int | float | str)}
        listed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in simple.items())
        return f"{self.step}: " + "; ".join(part for part in (listed, self.note) if part)


def step(
    function: Callable[Concatenate[Run, Parameters], Outcome],
) -> Callable[Concatenate[Run, Parameters], Outcome]:
    """Make a function a step: it holds the workspace's lock, wants free space, and is written to the run log."""

    @functools.wraps(function)
    def held(run: Run, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Outcome:
        run.workspace.require_free_space(run.settings.free_space_floor_mb)
        with run.workspace.lock():
            started = datetime.now(UTC)
            outcome = function(run, *args, **kwargs)
            _log(run, outcome, started)
        return outcome

    return held


def _log(run: Run, outcome: Outcome, started: datetime) -> None:
    line = {
        "step": outcome.step,
        "recipe": run.recipe.name,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
        **outcome.counts,
    }
    with (run.workspace.folder("logs") / "steps.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
