"""The cleaning codes: what an annotator can say about a photo beside its background, and how recorded flags read in them.

Decides only how `annotations/codes.toml` is read. What a code does to a photo is decided in `verdicts`.
"""

from __future__ import annotations

import functools
import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from counteranimal.errors import RecipeError
from counteranimal.resources import resource

__all__ = ["Code", "FlagMapping", "codes", "flag_mapping"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Frozen):
    """One code; `asked` is where it stands on the page, `rejects` that one person naming it keeps the photo out."""

    title: str
    hint: str
    family: Literal["label noise", "feature noise", "obscurity", "clarity", "content"]
    asked: Literal["reject", "note"]
    key: str
    rejects: bool = False


class FlagMapping(_Frozen):
    """How the flags of a recorded labelling read as codes; an empty code means that the flag says nothing."""

    flags: dict[str, str]
    unusable: tuple[str, ...] = ()


@functools.cache
def _file() -> dict[str, Any]:
    return tomllib.loads(resource("annotations/codes.toml").read_text(encoding="utf-8"))


def codes() -> dict[str, Code]:
    """Return the codes in the order of the page."""
    return {name: Code(**item) for name, item in _file()["codes"].items()}


def flag_mapping(name: str) -> FlagMapping:
    """Return how the flags of another labelling (`shared`) read as codes; raises RecipeError for an unknown one."""
    mappings = _file()["mappings"]
    if name not in mappings:
        raise RecipeError(f"unknown flag mapping {name!r}; known are {', '.join(mappings)}")
    return FlagMapping(**mappings[name])
