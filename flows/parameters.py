"""What a run may be given: the types of the flows' parameters.

Decides what Prefect's server refuses before a run exists (from the schema that these types make) and what the run itself refuses
before it begins (a recipe that does not load). Leaves what the values mean to the recipe, the release and the steps, whose own types
these are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from counteranimal.crawl.pending import Retriable
from counteranimal.errors import CounteranimalError
from counteranimal.models.registry import require_known
from counteranimal.recipe import load_recipe
from counteranimal.release.layout import VERSION

__all__ = ["Home", "Limit", "Models", "Patience", "RecipeFile", "Restarts", "Retry", "Version"]


def _checked_by(check: Callable[[Any], object]) -> AfterValidator:
    """Return a validator that lets a value pass as it is if our own check does."""

    def checked(value: Any) -> Any:
        try:
            check(value)
        except CounteranimalError as error:
            raise PydanticCustomError("refused", "{told}", {"told": str(error)}) from error
        return value

    return AfterValidator(checked)


def _told(text: str, **limits: Any) -> Any:
    # Prefect drops a field's own description from the schema that its pages show, but keeps what is added to the schema.
    return Field(json_schema_extra={"description": text}, **limits)


RecipeFile = Annotated[Path, _checked_by(load_recipe), _told("The recipe (TOML), as a path on the worker's machine.")]
Home = Annotated[Path | None, _told("The workspace's folder; none: the worker's COUNTERANIMAL_HOME.")]
Limit = Annotated[int | None, _told("Fetch at most this many photos.", ge=1)]
Retry = Annotated[tuple[Retriable, ...], _told("Also try again what ended so.")]
Models = Annotated[
    tuple[Annotated[str, _checked_by(require_known)], ...], _told("The models to evaluate; none: the recipe's.")
]
Version = Annotated[str, _told("MAJOR.MINOR.PATCH.", pattern=f"^{VERSION.pattern}$")]
Patience = Annotated[int, _told("Seconds to wait for a person's approval.", ge=1)]
# The bound ends what crashes each time: the server refuses to make a run beyond it (see automations.yaml).
Restarts = Annotated[int, _told("How often a crash has started this run again; leave it at 0.", ge=0, le=3)]
