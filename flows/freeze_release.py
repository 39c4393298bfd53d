"""Freeze: a signed release of the verified pool. Without Prefect: `counteranimal freeze`."""

from __future__ import annotations

from typing import Any

from prefect import flow

from counteranimal.steps.publishing import freeze
from flows.step_task import Reference, as_task

__all__ = ["freeze_release"]


@flow(name="freeze-release", persist_result=False)
def freeze_release(recipe: str, version: str, home: str = "") -> dict[str, Any]:
    """Freeze `version`; a gate that is open fails the run with every reason."""
    return as_task(freeze)(Reference(recipe, home), version=version)
