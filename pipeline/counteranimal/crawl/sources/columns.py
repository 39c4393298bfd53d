"""How the columns of a curator's own table say what a photo is; shared by folders and URL lists.

Decides which columns there are and how a row's values become an offer: a column that the recipe names, else what `fixed` states
for every photo. Leaves where rows come from, and what identifies a photo, to the sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from counteranimal.crawl.candidates import Offer
from counteranimal.errors import Reason, RecipeError
from counteranimal.recipe import RecipeClass

__all__ = ["Classes", "StatedColumns"]

_STATED = ("kind", "label", "licence", "author", "page_url", "note", "observation", "observed_at", "observer")
_BYTES = ("sha256", "size")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class StatedColumns(BaseModel):
    """Columns of a table by what they say; `fixed` states the same for every photo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: str | None = None
    author: str | None = None
    page_url: str | None = None
    label: str | None = None
    imagenet_index: str | None = None
    observer: str | None = Field(default=None, description="column of the person or cut-out; a data set is no observer")
    observation: str | None = None
    observed_at: str | None = None
    kind: str | None = None
    note: str | None = None
    sha256: str | None = Field(default=None, description="column of the digest that a photo's bytes must have")
    size: str | None = Field(default=None, description="column of the number of bytes that a photo must have")
    fixed: dict[str, str] = Field(default_factory=dict, description="what holds for every photo, such as licence")

    @field_validator("fixed")
    @classmethod
    def _stated(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - set(_STATED))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is nothing a photo states; known are {', '.join(sorted(_STATED))}")
        return value

    def used(self) -> list[str]:
        """Return the columns that the recipe names, each once."""
        names = (getattr(self, what) for what in (*_STATED, *_BYTES, "imagenet_index"))
        return list(dict.fromkeys(name for name in names if name))

    def offer(
        self, native_id: str, url: str, row: Mapping[str, str], classes: Classes, *, label: str | None = None
    ) -> Offer:
        """Return the offer that a row states; `label` is taken where neither the row nor `fixed` gives one.

        A digest or a size that is none refuses the offer with E_LINE.
        """

        def stated(what: str) -> str | None:
            column = getattr(self, what)
            return (row.get(column, "").strip() if column else self.fixed.get(what, "").strip()) or None

        label = stated("label") or label
        digest, size = (stated(what) for what in _BYTES)
        digest = digest.lower() if digest else None
        if digest and not _DIGEST.fullmatch(digest):
            return Offer(native_id, url, note=f"its {self.sha256} is no SHA-256 digest", refused=Reason.LINE)
        if size and not (size.isascii() and size.isdigit() and len(size) < 16):
            return Offer(native_id, url, note=f"its {self.size} is no number of bytes", refused=Reason.LINE)
        return Offer(
            native_id=native_id,
            url=url,
            class_id=classes.of(stated("imagenet_index"), label),
            taxon=label,
            observation_id=stated("observation"),
            observer_id=stated("observer"),
            author=stated("author"),
            page_url=stated("page_url"),
            licence_raw=stated("licence"),
            observed_at=stated("observed_at"),
            kind=stated("kind") or "photo",
            note=stated("note"),
            sha256=digest,
            size=int(size) if size else None,
        )


class Classes:
    """Which class of the recipe a photo belongs to, by ImageNet index, else by label."""

    def __init__(self, classes: tuple[RecipeClass, ...]) -> None:
        self._by_index = {index: item.id for item in classes for index in item.imagenet}
        self._by_label: dict[str, str] = {}
        for item in classes:
            for label in item.labels:
                if self._by_label.setdefault(label.casefold(), item.id) != item.id:
                    raise RecipeError(f"label {label!r} belongs to two classes; name it in one of them only")

    def of(self, index: str | None, label: str | None) -> str | None:
        """Return the id of the class, or None where neither names one of the recipe."""
        if index is not None and index.isascii() and index.isdigit() and int(index) in self._by_index:
            return self._by_index[int(index)]
        return self._by_label.get((label or "").casefold())
