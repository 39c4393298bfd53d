"""A curator's own list of addresses: CSV, JSON Lines or Parquet, one photo a line.

Decides what identifies a photo (its address) and that every line is accounted for: one that cannot be read, states no address
or repeats an earlier one is an offer refused with E_LINE, its number in the note. The list is read anew each time, so that an
edited list takes effect; what is known already is not journalled again. Columns and classes are those of `columns`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated

from pydantic import Field

from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.sources.columns import Classes, StatedColumns
from counteranimal.crawl.sources.lines import Line, lines_of
from counteranimal.crawl.sources.protocol import Opening, Page, read_options
from counteranimal.errors import Reason, RecipeError
from counteranimal.ids import digest_of

__all__ = ["UrlListOptions", "UrlListSource"]

_PAGE = 1000
_ID = 32


class UrlListOptions(StatedColumns):
    """Options of a URL list, beside its columns."""

    list: Annotated[str, Field(min_length=1)] = Field(
        description="file .csv (with a header), .jsonl or .parquet, relative to the recipe"
    )
    url: Annotated[str, Field(min_length=1)] = Field(default="url", description="column of the photo's address")


class UrlListSource:
    """See the module; the cursor stays empty."""

    def __init__(self, opening: Opening) -> None:
        self._options = read_options(UrlListOptions, opening.spec)
        self._classes = Classes(opening.recipe.classes)
        self._path = (opening.recipe.base / self._options.list).resolve()
        if not self._path.is_file():
            raise RecipeError(
                f"source {opening.spec.name!r}: list {self._path} does not exist; correct its option list"
            )
        self.query = self._options.list

    def pages(self, cursor: str) -> Iterator[Page]:
        """Yield the lines in their order, a thousand a page.

        Raises
        ------
        RecipeError
            If the list cannot be read or lacks a column.
        """
        del cursor
        columns = [self._options.url, *(name for name in self._options.used() if name != self._options.url)]
        seen = _Seen()
        offers: list[Offer] = []
        for line in lines_of(self._path, columns):
            offers.append(self._offer(line, seen))
            if len(offers) == _PAGE:
                yield Page(offers, "")
                offers = []
        if offers:
            yield Page(offers, "")

    def _offer(self, line: Line, seen: _Seen) -> Offer:
        url = line.values.get(self._options.url, "").strip()
        problem = line.problem or ("" if url else "states no address")
        if not problem:
            problem = "repeats an address" if seen.add(url) else ""
        if problem:
            return Offer(f"line-{line.number}", "", note=f"line {line.number}: {problem}", refused=Reason.LINE)
        return self._options.offer(digest_of(url)[:_ID], url, line.values, self._classes)


class _Seen:
    """The addresses met so far, eight bytes of a digest each: two of a million meet by chance once in 10^7 lists.

    A hash table in one array, a third to two thirds full: a million addresses take 17 MB, in a set of Python's over 100.
    """

    def __init__(self) -> None:
        self._slots = array("Q", [0]) * 1024
        self._held = 0

    def add(self, url: str) -> bool:
        """Add an address and say whether it was there before."""
        # Zero is an empty slot.
        return self._put(int.from_bytes(blake2b(url.encode(), digest_size=8).digest(), "big") or 1)

    def _put(self, key: int) -> bool:
        slots, mask = self._slots, len(self._slots) - 1
        at = key & mask
        while slots[at]:
            if slots[at] == key:
                return True
            at = (at + 1) & mask
        slots[at] = key
        self._held += 1
        if 3 * self._held > 2 * len(slots):
            self._slots, self._held = array("Q", [0]) * (2 * len(slots)), 0
            for old in filter(None, slots):
                self._put(old)
        return False
