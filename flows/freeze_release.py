"""Freeze: a signed release, once a person has typed its version and approved. Without Prefect: `counteranimal freeze`."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.states import Cancelled
from pydantic import Field

from counteranimal.steps.publishing import freeze
from flows.artifacts import show_agreement, show_conservation, show_links
from flows.parameters import Home, Patience, RecipeFile, Version
from flows.step_task import Reference, as_task

__all__ = ["Approval", "freeze_release"]

# A curator may take a week; the pause holds no lock of the workspace.
PATIENCE = 7 * 24 * 3600


class Approval(RunInput):
    """What a person types to let a paused freeze go on."""

    version: Version
    approve: bool = Field(default=False, description="publish this version; without it the run ends as cancelled")


@flow(name="freeze-release", persist_result=False)
def freeze_release(recipe: RecipeFile, home: Home = None, patience: Patience = PATIENCE) -> Any:
    """Pause for a version and an approval, then freeze; a gate that is open fails the run with every reason."""
    reference = Reference.of_run(recipe, home)
    show_agreement(reference)  # what a person wants to see before approving
    asked = f"Freezing publishes the verified pool of {recipe}. Type the version and approve."
    given = pause_flow_run(wait_for_input=Approval.with_initial_data(description=asked), timeout=patience)
    if not given.approve:
        return Cancelled(message=f"version {given.version} was not approved; nothing is written")
    counts = as_task(freeze)(reference, version=given.version)
    show_conservation(reference)
    show_links({f"release {given.version}": counts["release"]})
    return counts
