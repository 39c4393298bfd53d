"""Crawl: asks the recipe's sources and fetches what is pending, weekly. Without Prefect: `counteranimal crawl`."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from counteranimal.steps.curation import crawl, dedupe
from flows.artifacts import show_conservation
from flows.step_task import Reference, as_task

__all__ = ["crawl_candidates"]


@flow(name="crawl-candidates", persist_result=False)
def crawl_candidates(recipe: str, home: str = "", limit: Annotated[int, Field(ge=1)] | None = None) -> dict[str, Any]:
    """Crawl and deduplicate; returns the conservation states."""
    reference = Reference(recipe, home)
    counts = as_task(crawl)(reference, limit=limit)
    as_task(dedupe)(reference)
    show_conservation(reference)
    return counts
