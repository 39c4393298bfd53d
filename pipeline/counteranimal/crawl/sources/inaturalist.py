"""Observations of iNaturalist, by its API v1 and anything that speaks it.

Decides what is asked (one taxon of one class after another, ordered by id, behind the last id seen) and how an answer reads.
Every field may be null and unknown ones are ignored, since real answers do not keep to the published schema. Coordinates are
never looked at. A record that only later becomes research grade lies behind the cursor by then and is not seen again.

The photo's own licence decides; iNaturalist's codes are version 4.0. A tag `composite` marks pictures made of a cut-out and a
scene, which the demo's upstream serves.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.sources.protocol import Opening, Page, api_of, read_options
from counteranimal.errors import RecipeError, UpstreamError
from counteranimal.recipe import RecipeClass, Taxon

__all__ = ["LICENCE_VERSION", "INaturalistOptions", "INaturalistSource", "codes_of"]

LICENCE_VERSION = "4.0"
_CODES = {"CC0-1.0": "cc0"} | {
    f"CC-{kind}-{LICENCE_VERSION}": f"cc-{kind.lower()}"
    for kind in ("BY", "BY-NC", "BY-SA", "BY-NC-SA", "BY-ND", "BY-NC-ND")
}
_SIZES = ("square", "small", "medium", "large", "original")


def codes_of(opening: Opening) -> list[str]:
    """Return iNaturalist's codes of the licences that the recipe allows; raises RecipeError where it has none of them."""
    codes = sorted(_CODES[name] for name in opening.recipe.licences.allow if name in _CODES)
    if not codes:
        raise RecipeError(
            f"source {opening.spec.name!r}: the recipe allows no licence that iNaturalist has; it has {', '.join(_CODES)}"
        )
    return codes


class INaturalistOptions(BaseModel):
    """Options of an iNaturalist source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = "https://api.inaturalist.org"
    quality_grade: Literal["research", "needs_id", "casual", "any"] = "research"
    photo_size: Literal["small", "medium", "large", "original"] = "medium"
    photos_per_observation: Annotated[int, Field(ge=1)] = 1
    photos_per_taxon: Annotated[int, Field(ge=1)] | None = Field(default=None, description="stop a taxon after so many")
    only_licensed: bool = Field(
        default=True, description="let the upstream leave out licences the recipe does not allow"
    )
    per_page: Annotated[int, Field(ge=1, le=200)] = 200


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _User(_Lenient):
    id: int | None = None
    login: str | None = None
    name: str | None = None


class _Photo(_Lenient):
    id: int | None = None
    url: str | None = None
    license_code: str | None = None


class _NamedTaxon(_Lenient):
    id: int | None = None
    name: str | None = None


class _Observation(_Lenient):
    id: int
    uri: str | None = None
    user: _User | None = None
    taxon: _NamedTaxon | None = None
    photos: list[_Photo | None] | None = None
    tags: list[str | None] | None = None
    time_observed_at: str | None = None
    observed_on: str | None = None


class _Answer(_Lenient):
    results: list[_Observation]


class INaturalistSource:
    """See the module. The cursor is JSON: for each class and taxon the last observation id seen and the photos offered."""

    def __init__(self, opening: Opening) -> None:
        self._options = read_options(INaturalistOptions, opening.spec)
        self._name = opening.spec.name
        self._recipe = opening.recipe
        self._api = api_of(opening)
        self._filters = self._read_filters(opening)
        self.query = json.dumps([self._options.base_url, self._options.photos_per_observation, self._filters])

    def _read_filters(self, opening: Opening) -> dict[str, str]:
        filters = {"photos": "true", "order": "asc", "order_by": "id"}
        if self._options.quality_grade != "any":
            filters["quality_grade"] = self._options.quality_grade
        if self._options.only_licensed:
            filters["photo_license"] = ",".join(codes_of(opening))
        return filters

    def pages(self, cursor: str) -> Iterator[Page]:
        """Yield the observations behind the cursor, one taxon of one class after another.

        Raises
        ------
        UpstreamError
            Naming source and cursor, when an answer is no list of observations.
        """
        seen: dict[str, list[int]] = json.loads(cursor) if cursor else {}
        for item in self._recipe.classes:
            for taxon in item.taxa:
                yield from self._taxon_pages(item, taxon, seen)

    def _taxon_pages(self, item: RecipeClass, taxon: Taxon, seen: dict[str, list[int]]) -> Iterator[Page]:
        key = f"{item.id}/{taxon.id or taxon.name}"
        most = self._options.photos_per_taxon
        while True:
            last, offered = seen.get(key, [0, 0])
            if most is not None and offered >= most:
                return
            found = self._ask(taxon, last)
            offers: list[Offer] = []
            for record in found:
                if most is not None and offered + len(offers) >= most:
                    break
                offers += self._offers(item, record)
                last = record.id
            if not found:
                return
            seen[key] = [last, offered + len(offers)]
            yield Page(offers, json.dumps(seen, sort_keys=True))
            if len(found) < self._options.per_page:
                return

    def _ask(self, taxon: Taxon, above: int) -> list[_Observation]:
        which = {"taxon_id": str(taxon.id)} if taxon.id is not None else {"taxon_name": taxon.name}
        place = f"source {self._name!r}, {taxon.name} above id {above}"
        parameters = {**self._filters, **which, "id_above": str(above), "per_page": str(self._options.per_page)}
        found = self._observations(parameters, place)
        ids = [record.id for record in found]
        if ids != sorted(set(ids)) or (ids and ids[0] <= above):
            raise UpstreamError(f"{place}: the answer is not in order of ids; the cursor stays, run again later")
        return found

    def again(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Page]:
        """Yield what observations that were read before now say of the photos asked about, whatever their licences are."""
        wanted: dict[int, dict[str, str]] = defaultdict(dict)
        for row in rows:
            if str(row["observation_id"]).isdigit():
                wanted[int(row["observation_id"])][row["native_id"]] = row["class_id"]
        names = sorted(wanted)
        for start in range(0, len(names), self._options.per_page):
            some = names[start : start + self._options.per_page]
            place = f"source {self._name!r}, observations {some[0]} to {some[-1]}"
            asked = {"id": ",".join(map(str, some)), "per_page": str(len(some)), "order": "asc", "order_by": "id"}
            offers = [
                self._offer(wanted[record.id][str(photo.id)], record, photo)
                for record in self._observations(asked, place)
                for photo in _photos(record)
                if str(photo.id) in wanted.get(record.id, {})
            ]
            yield Page(offers, "")

    def _observations(self, parameters: Mapping[str, str], place: str) -> list[_Observation]:
        content = self._api.ask(f"{self._options.base_url.rstrip('/')}/v1/observations", parameters, place=place)
        try:
            return _Answer.model_validate(content).results
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UpstreamError(
                f"{place}: the answer's {where} is not as expected ({first['msg']}); the cursor stays, run again later"
            ) from error

    def _offers(self, item: RecipeClass, record: _Observation) -> list[Offer]:
        return [
            self._offer(item.id, record, photo) for photo in _photos(record)[: self._options.photos_per_observation]
        ]

    def _offer(self, class_id: str, record: _Observation, photo: _Photo) -> Offer:
        user = record.user or _User()
        composite = any((tag or "").casefold() == "composite" for tag in record.tags or [])
        return Offer(
            native_id=str(photo.id),
            url=_sized(str(photo.url), self._options.photo_size),
            class_id=class_id,
            taxon=record.taxon.name if record.taxon else None,
            observation_id=str(record.id),
            observer_id=str(user.id) if user.id is not None else None,
            author=user.name or user.login,
            page_url=record.uri,
            licence_raw=photo.license_code,
            licence_version=LICENCE_VERSION,
            observed_at=record.time_observed_at or record.observed_on,
            kind="composite" if composite else "photo",
        )


def _photos(record: _Observation) -> list[_Photo]:
    return [photo for photo in record.photos or [] if photo is not None and photo.id is not None and photo.url]


def _sized(url: str, size: str) -> str:
    """Return the address of a photo in another size; only the file's name says the size.

    Examples
    --------
    >>> _sized("https://static.example.org/photos/7/square.jpg?15", "original")
    'https://static.example.org/photos/7/original.jpg?15'
    """
    address, mark, query = url.partition("?")
    folder, slash, name = address.rpartition("/")
    stem, dot, suffix = name.partition(".")
    return f"{folder}{slash}{size if stem in _SIZES else stem}{dot}{suffix}{mark}{query}"
