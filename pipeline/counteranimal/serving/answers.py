"""How the sample upstream answers iNaturalist's questions: filters, order and pages, over a sample in memory.

Decides what matches a question and when a question makes no sense. Pure; leaves the network to `upstream` and the fields of an
answer to `observations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counteranimal.serving.observations import observation_record, record_licence, taxon_record
from counteranimal.serving.plan import Photo
from counteranimal.serving.sample import SampleIndex
from counteranimal.serving.taxonomy import Taxon, taxa_of

__all__ = ["Answers"]

_MOST_PER_PAGE, _USUAL_PER_PAGE, _DEEPEST = 200, 30, 10_000
_LARGEST_ID = 10**18

_Observation = tuple[Photo, ...]


class Answers:
    """A question's parameters in, the answer's JSON out; ValueError says what is wrong with a question."""

    def __init__(self, index: SampleIndex) -> None:
        self._sizes = index.sizes
        self._taxa = taxa_of((photo.taxon, photo.common_name) for photo in index.photos)
        grouped: dict[int, list[Photo]] = {}
        for photo in sorted(index.photos, key=lambda item: (bool(item.planted), item.photo_id)):
            grouped.setdefault(photo.observation_id, []).append(photo)
        self._all: list[_Observation] = [tuple(grouped[number]) for number in sorted(grouped)]

    def observations(self, query: Mapping[str, str], *, base_url: str) -> dict[str, Any]:
        """Answer `GET /v1/observations`."""
        found = [item for item in self._all if self._matches(item, query)]
        if query.get("order", "desc") != "asc":
            found.reverse()
        page, per_page = _number(query, "page", 1), _number(query, "per_page", _USUAL_PER_PAGE)
        per_page = min(per_page, _MOST_PER_PAGE)
        if page * per_page > _DEEPEST:
            raise ValueError(f"Result window is too large, page * per_page must be at most {_DEEPEST}")
        shown = found[(page - 1) * per_page : page * per_page] if page > 0 else []
        records = [
            observation_record(item, base_url=base_url, taxon=self._taxa[item[0].taxon], sizes=self._sizes)
            for item in shown
        ]
        return {"total_results": len(found), "page": page, "per_page": per_page, "results": records}

    def _matches(self, photos: _Observation, query: Mapping[str, str]) -> bool:
        first = photos[0]
        return (
            first.observation_id > _number(query, "id_above", 0)
            and first.observation_id < _number(query, "id_below", _LARGEST_ID)
            and first.quality_grade in _listed(query, "quality_grade", first.quality_grade)
            and self._has_taxon(self._taxa[first.taxon], query)
            and _licensed([record_licence(first)], query, "license")
            and _licensed([photo.licence_code for photo in photos], query, "photo_license")
            and query.get("photos", "true") != "false"
        )

    def _has_taxon(self, taxon: Taxon, query: Mapping[str, str]) -> bool:
        if "taxon_id" in query and not {str(number) for number in taxon.ancestors} & _listed(query, "taxon_id", ""):
            return False
        if "taxon_name" not in query:
            return True
        above = [item for item in self._taxa.values() if item.id in taxon.ancestors]
        names = {name.casefold() for item in above for name in (item.name, item.common_name) if name}
        return bool(names & _listed(query, "taxon_name", ""))

    def taxa(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer `GET /v1/taxa` and its autocompletion: `q` begins a word of the name, or is the id."""
        asked, ranks = query.get("q", "").strip().casefold(), _listed(query, "rank", "")
        per_page = min(_number(query, "per_page", _USUAL_PER_PAGE), _MOST_PER_PAGE)
        found: list[dict[str, Any]] = []
        for taxon in self._taxa.values():
            names = [name for name in (taxon.name, taxon.common_name) if name]
            term = next((name for name in names if f" {name.casefold()}".find(f" {asked}") >= 0), None)
            if (term or asked == str(taxon.id)) and (ranks == {""} or taxon.rank in ranks):
                found.append(taxon_record(taxon, matched_term=term or str(taxon.id)))
        return {"total_results": len(found), "page": 1, "per_page": per_page, "results": found[:per_page]}

    def taxon(self, number: int) -> dict[str, Any]:
        """Answer `GET /v1/taxa/ID`."""
        found = [taxon_record(taxon) for taxon in self._taxa.values() if taxon.id == number]
        return {"total_results": len(found), "page": 1, "per_page": _USUAL_PER_PAGE, "results": found}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(f"{name} must be a whole number")
    return int(text)


def _listed(query: Mapping[str, str], name: str, default: str) -> set[str]:
    """Return the comma-separated values of a parameter, folded; the default alone where it is not given."""
    text = query.get(name, "")
    return {part.strip().casefold() for part in text.split(",")} if text else {default}


def _licensed(codes: list[str | None], query: Mapping[str, str], name: str) -> bool:
    """Say whether one of the licences is among those asked for; `any` and `none` are iNaturalist's own words."""
    if not query.get(name):
        return True
    wanted = _listed(query, name, "")
    return any(
        (code is None and "none" in wanted) or (code is not None and ("any" in wanted or code.casefold() in wanted))
        for code in codes
    )
