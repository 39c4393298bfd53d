"""A folder of image files, with a CSV table beside them that says what they are.

Decides how a table's columns become an offer and which files may be read: only what lies inside the folder once links are
followed. Without a table every image file is offered, its label the folder it lies in. The only source that reads this
machine's files; its photos' addresses are `file:` and a path inside the folder, which nothing ever opens as a URL.
"""

from __future__ import annotations

import csv
import string
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.sources.columns import Classes, StatedColumns
from counteranimal.crawl.sources.protocol import Opening, Page, read_options
from counteranimal.errors import Reason, RecipeError, Rejected

__all__ = ["FolderOptions", "FolderSource"]

_PAGE = 1000
# Formats that intake turns away are offered too, so that their absence has a reason.
_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg"})


class FolderOptions(StatedColumns):
    """Options of a folder source, beside the columns of its table."""

    folder: str = Field(description="folder of the photos, relative to the recipe")
    table: str | None = Field(default=None, description="CSV file with a header, relative to the folder")
    file: Annotated[str, Field(min_length=1)] = Field(
        default="file", description="column of the path, or a template such as {set}/{file}"
    )
    where: dict[str, str] = Field(default_factory=dict, description="rows to take: column = value")

    @property
    def template(self) -> str:
        """The path as a template over columns."""
        return self.file if "{" in self.file else f"{{{self.file}}}"


class FolderSource:
    """See the module; `pages` reads the table anew each time, so the cursor stays empty."""

    def __init__(self, opening: Opening) -> None:
        self._options = read_options(FolderOptions, opening.spec)
        self._name = opening.spec.name
        self._classes = Classes(opening.recipe.classes)
        self._root = (opening.recipe.base / self._options.folder).resolve()
        if not self._root.is_dir():
            raise RecipeError(f"source {self._name!r}: folder {self._root} does not exist; correct its option folder")
        self.query = str(self._options.folder)

    def pages(self, cursor: str) -> Iterator[Page]:
        """Yield the photos in the table's order, or the files in the order of their paths.

        Raises
        ------
        RecipeError
            If the table cannot be read, lacks a column or names a file twice.
        """
        del cursor
        offers: list[Offer] = []
        for path, row in self._rows():
            offers.append(self._offer(path, row))
            if len(offers) == _PAGE:
                yield Page(offers, "")
                offers = []
        if offers:
            yield Page(offers, "")

    def read(self, native_id: str, *, most: int) -> bytes:
        """Return the bytes of a photo inside the folder, held against the table's digest where it has one.

        Raises
        ------
        Rejected
            E_SSRF for a path that leads out of the folder or to no ordinary file, E_GONE, E_TOO_LARGE.
        """
        try:
            path = (self._root / native_id).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise Rejected(Reason.GONE, "the file is not there") from error
        if not path.is_relative_to(self._root) or not path.is_file():
            raise Rejected(Reason.SSRF, "the path leads out of the folder or to no ordinary file")
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            raise Rejected(Reason.GONE, f"the file cannot be read ({error.strerror})") from error
        if len(data) > most:
            raise Rejected(Reason.TOO_LARGE, f"the file has more than {most} bytes")
        return data

    def _rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        seen: set[str] = set()
        for path, row in self._table_rows() if self._options.table else self._files():
            if path in seen:
                raise RecipeError(f"source {self._name!r}: the table names {path!r} twice; remove one of the rows")
            seen.add(path)
            yield path, row

    def _files(self) -> Iterator[tuple[str, dict[str, str]]]:
        for path in sorted(self._root.rglob("*")):
            if path.suffix.lower() in _IMAGES and not path.name.startswith(".") and path.is_file():
                yield path.relative_to(self._root).as_posix(), {}

    def _table_rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        place = self._root / str(self._options.table)
        try:
            with place.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restval="", strict=True)
                self._require_columns(place, reader.fieldnames or [])
                for row in reader:
                    if all(row[column] == value for column, value in self._options.where.items()):
                        # The template only names columns: no attribute or index of a format string is reached.
                        yield PurePosixPath(self._options.template.format_map(row)).as_posix(), row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise RecipeError(
                f"source {self._name!r}: table {place} cannot be read ({error}); mend it or its path"
            ) from error

    def _require_columns(self, place: Path, present: object) -> None:
        columns = [name for _, name, _, _ in string.Formatter().parse(self._options.template) if name is not None]
        columns += [*self._options.where, *self._options.used()]
        known = set(present) if isinstance(present, list | tuple) else set()
        missing = [name for name in columns if name not in known]
        if missing:
            raise RecipeError(
                f"source {self._name!r}: table {place} has no column {missing[0]!r}; it has {', '.join(sorted(known))}"
            )

    def _offer(self, path: str, row: dict[str, str]) -> Offer:
        label = None if self._options.table else PurePosixPath(path).parent.name or None
        return self._options.offer(path, f"file:{quote(path)}", row, self._classes, label=label)
