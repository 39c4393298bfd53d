"""Crawl: asks the recipe's sources and fetches what is pending, weekly. Without Prefect: `counteranimal crawl`."""

from __future__ import annotations

from typing import Any

from prefect import flow

from counteranimal.steps.curation import crawl, dedupe
from flows.artifacts import show_conservation
from flows.parameters import Home, Limit, RecipeFile, Restarts, Retry
from flows.step_task import Reference, as_task

__all__ = ["crawl_candidates"]


@flow(name="crawl-candidates", persist_result=False)
def crawl_candidates(
    recipe: RecipeFile, home: Home = None, limit: Limit = None, retry: Retry = (), restarts: Restarts = 0
) -> dict[str, Any]:
    """Crawl and deduplicate; returns the conservation states."""
    reference = Reference.of_run(recipe, home, restarts)
    counts = as_task(crawl)(reference, limit=limit, retry=retry)
    as_task(dedupe)(reference)
    show_conservation(reference)
    return counts
