"""What a run may be given: the types of the flows' parameters.

Decides what Prefect's server refuses before a run exists (from the schema that these types make) and what the run itself refuses
before it begins (a recipe that does not load). Leaves what the values mean to the recipe, the release and the steps, whose own types
these are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from counteranimal.crawl.pending import Retriable
from counteranimal.errors import CounteranimalError
from counteranimal.models.registry import require_known
from counteranimal.recipe import load_recipe
from counteranimal.release.layout import VERSION

__all__ = ["Home", "Limit", "Models", "Patience", "RecipeFile", "Restarts", "Retry", "Version"]


def _loads(path: Path) -> Path:
    try:
        load_recipe(path)
    except CounteranimalError as error:
        raise ValueError(str(error)) from error
    return path


def _known(spec: str) -> str:
    try:
        require_known(spec)
    except CounteranimalError as error:
        raise ValueError(str(error)) from error
    return spec


RecipeFile = Annotated[
    Path, AfterValidator(_loads), Field(description="the recipe (TOML), as a path on the worker's machine")
]
Home = Annotated[Path | None, Field(description="the workspace's folder; none: the worker's COUNTERANIMAL_HOME")]
Limit = Annotated[int | None, Field(ge=1, description="fetch at most this many photos")]
Retry = Annotated[tuple[Retriable, ...], Field(description="also try again what ended so")]
Models = Annotated[
    tuple[Annotated[str, AfterValidator(_known)], ...], Field(description="models to evaluate; none: the recipe's")
]
Version = Annotated[str, Field(pattern=f"^{VERSION.pattern}$", description="MAJOR.MINOR.PATCH")]
Patience = Annotated[int, Field(ge=1, description="seconds to wait for a person's approval")]
# The bound ends what crashes each time: the server refuses to make a run beyond it (see automations.yaml).
Restarts = Annotated[int, Field(ge=0, le=3, description="how often a crash has started this run again; leave it at 0")]
