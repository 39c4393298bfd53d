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

from pydantic import BaseModel, ConfigDict, Field, field_validator

from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.sources.protocol import Opening, Page, read_options
from counteranimal.errors import Reason, RecipeError, Rejected
from counteranimal.ids import photo_id_of
from counteranimal.recipe import RecipeClass

__all__ = ["FolderOptions", "FolderSource"]

_PAGE = 1000
# Formats that intake turns away are offered too, so that their absence has a reason.
_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg"})
_STATED = frozenset(
    {"licence", "author", "page_url", "label", "kind", "note", "observer", "observation", "observed_at"}
)


class FolderOptions(BaseModel):
    """Options of a folder source: columns of the table by what they say; `fixed` states the same for every photo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(description="folder of the photos, relative to the recipe")
    table: str | None = Field(default=None, description="CSV file with a header, relative to the folder")
    file: Annotated[str, Field(min_length=1)] = Field(
        default="file", description="column of the path, or a template such as {set}/{file}"
    )
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
    sha256: str | None = Field(default=None, description="column of the digest that a file must have")
    where: dict[str, str] = Field(default_factory=dict, description="rows to take: column = value")
    fixed: dict[str, str] = Field(default_factory=dict, description="what holds for every photo, such as licence")

    @field_validator("fixed")
    @classmethod
    def _stated(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - _STATED)
        if unknown:
            raise ValueError(f"{unknown[0]!r} is nothing a photo states; known are {', '.join(sorted(_STATED))}")
        return value

    @property
    def template(self) -> str:
        """The path as a template over columns."""
        return self.file if "{" in self.file else f"{{{self.file}}}"


class FolderSource:
    """See the module; `pages` reads the table anew each time, so the cursor stays empty."""

    def __init__(self, opening: Opening) -> None:
        self._options = read_options(FolderOptions, opening.spec)
        self._name = opening.spec.name
        self._classes = _Classes(opening.recipe.classes)
        self._root = (opening.recipe.base / self._options.folder).resolve()
        if not self._root.is_dir():
            raise RecipeError(f"source {self._name!r}: folder {self._root} does not exist; correct its option folder")
        self.query = str(self._options.folder)
        self._digests: dict[str, str] | None = None

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
            E_SSRF for a path that leads out of the folder or to no ordinary file, E_GONE, E_TOO_LARGE, E_MISMATCH.
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
        if self._digests is None:
            self._digests = self._read_digests()
        wanted = self._digests.get(native_id)
        if wanted and photo_id_of(data) != wanted:
            raise Rejected(Reason.MISMATCH, "the file is not the one whose digest the table gives")
        return data

    def _read_digests(self) -> dict[str, str]:
        column = self._options.sha256
        return {path: row[column].strip().lower() for path, row in self._rows()} if column else {}

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
        columns += [*self._options.where, *(value for value in self._columns().values() if value)]
        known = set(present) if isinstance(present, list | tuple) else set()
        missing = [name for name in columns if name not in known]
        if missing:
            raise RecipeError(
                f"source {self._name!r}: table {place} has no column {missing[0]!r}; it has {', '.join(sorted(known))}"
            )

    def _columns(self) -> dict[str, str | None]:
        options = self._options
        return {
            **{name: getattr(options, name) for name in sorted(_STATED)},
            "imagenet_index": options.imagenet_index,
            "sha256": options.sha256,
        }

    def _offer(self, path: str, row: dict[str, str]) -> Offer:
        columns = self._columns()

        def stated(what: str) -> str | None:
            column = columns[what]
            return (row[column].strip() if column else self._options.fixed.get(what, "").strip()) or None

        label = stated("label")
        if label is None and not self._options.table:
            label = PurePosixPath(path).parent.name or None
        return Offer(
            native_id=path,
            url=f"file:{quote(path)}",
            class_id=self._classes.of(stated("imagenet_index"), label),
            taxon=label,
            observation_id=stated("observation"),
            observer_id=stated("observer"),
            author=stated("author"),
            page_url=stated("page_url"),
            licence_raw=stated("licence"),
            observed_at=stated("observed_at"),
            kind=stated("kind") or "photo",
            note=stated("note"),
        )


class _Classes:
    """Which class of the recipe a photo belongs to, by ImageNet index, else by label."""

    def __init__(self, classes: tuple[RecipeClass, ...]) -> None:
        self._by_index = {index: item.id for item in classes for index in item.imagenet}
        self._by_label: dict[str, str] = {}
        for item in classes:
            for label in item.labels:
                if self._by_label.setdefault(label.casefold(), item.id) != item.id:
                    raise RecipeError(f"label {label!r} belongs to two classes; name it in one of them only")

    def of(self, index: str | None, label: str | None) -> str | None:
        if index is not None and index.isascii() and index.isdigit() and int(index) in self._by_index:
            return self._by_index[int(index)]
        return self._by_label.get((label or "").casefold())
