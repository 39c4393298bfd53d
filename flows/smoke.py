"""Smoke: proves that a worker reaches this project's code; touches no workspace. `counteranimal serve --check` runs it."""

from __future__ import annotations

import platform
from importlib.metadata import version

from prefect import flow

__all__ = ["smoke"]


@flow(name="smoke", persist_result=False)
def smoke() -> dict[str, str]:
    """Return the versions that the worker runs."""
    return {"counteranimal": version("counteranimal"), "python": platform.python_version()}
