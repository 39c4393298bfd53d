"""Rebuild: everything that follows from the journal, on demand. Without Prefect: `counteranimal rebuild`."""

from __future__ import annotations

from typing import Any

from prefect import flow

from counteranimal.steps.splitting import REBUILD
from flows.artifacts import show_conservation, show_discovery
from flows.parameters import Home, RecipeFile, Restarts
from flows.step_task import Reference, as_task

__all__ = ["rebuild_splits"]


@flow(name="rebuild-splits", persist_result=False)
def rebuild_splits(recipe: RecipeFile, home: Home = None, restarts: Restarts = 0) -> dict[str, Any]:
    """Run the rebuilding steps in order; returns each step's counts."""
    reference = Reference.of_run(recipe, home, restarts)
    counts = {step.__name__: as_task(step)(reference) for step in REBUILD}
    show_conservation(reference)
    show_discovery(reference)
    return counts
