"""Sync: pulls the votes of every open round, hourly. Without Prefect: `counteranimal annotate pull`."""

from __future__ import annotations

from typing import Any

from prefect import flow

from counteranimal.steps.rounds import sync
from flows.step_task import Reference, as_task

__all__ = ["sync_annotations"]


@flow(name="sync-annotations", persist_result=False)
def sync_annotations(recipe: str, home: str = "") -> dict[str, Any]:
    """Pull every open round; returns what was new by round."""
    return as_task(sync)(Reference(recipe, home))
