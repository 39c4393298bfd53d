"""Turns a step into a Prefect task. Decides only what crosses the boundary: two paths in, counts out.

Our own lock and journal say what is running and what is done; Prefect's state is never trusted for either, and nothing is
cached or pickled by it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from counteranimal.settings import load_settings
from counteranimal.steps.run import Outcome, Run

__all__ = ["Reference", "as_task"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The small thing that crosses the boundary: which recipe, which workspace (none: the settings' own)."""

    recipe: Path
    home: Path | None = None

    @classmethod
    def of_run(cls, recipe: Path, home: Path | None, restarts: int = 0) -> Reference:
        """Return the reference of a flow run, and say in its log if a crash has started it again."""
        if restarts:
            get_run_logger().warning(f"started again after a crash, restart {restarts}; the journal says what is left")
        return cls(recipe, home)

    def open(self) -> Run:
        """Open the run that the reference points to."""
        return Run.of(self.recipe, load_settings(home=self.home))


def as_task(step: Callable[..., Outcome], *, say: bool = False) -> Callable[..., dict[str, Any]]:
    """Return a Prefect task that opens the run, does the step and logs its one sentence (`say`: on standard error too)."""

    @task(name=step.__name__, cache_policy=NO_CACHE, persist_result=False)
    def stepped(reference: Reference, **options: object) -> dict[str, Any]:
        outcome = step(reference.open(), **options)
        get_run_logger().info(outcome.sentence())
        if say:
            sys.stderr.write(f"{outcome.sentence()}\n")
        return outcome.counts

    return stepped
