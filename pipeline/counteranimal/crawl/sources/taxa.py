"""Which taxon a scientific name and rank mean, by the taxa table of iNaturalist's open data or by its API.

Decides when a name cannot be pinned: unknown, inactive, or borne by several active taxa. Never guesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from counteranimal.errors import UpstreamError
from counteranimal.recipe import Taxon

if TYPE_CHECKING:  # it needs the extra for crawling, which the taxa table does not
    from counteranimal.crawl.sources.api import Api

__all__ = ["TaxaApi", "TaxaTable", "Taxonomy"]


@dataclass(frozen=True, slots=True)
class _Named:
    """A taxon that bears the name and rank asked for."""

    id: int
    active: bool


def _decide(taxon: Taxon, found: Sequence[_Named]) -> tuple[int | None, str]:
    active = sorted({item.id for item in found if item.active})
    what = f"{taxon.rank} {taxon.name}"
    if len(active) == 1:
        return active[0], ""
    if active:
        return None, f"{what} is borne by taxa {', '.join(map(str, active))}"
    if found:
        return None, f"{what} is inactive (taxon {found[0].id})"
    return None, f"{what} is unknown"


class Taxonomy(Protocol):
    """Something that can be asked for taxa."""

    def identify(self, taxon: Taxon) -> tuple[int | None, str]:
        """Return the id of the one active taxon of that name and rank, or None and why there is none."""
        ...


class TaxaTable:
    """The taxa of a dump; `tables` is an open connection, `reading` the SQL that reads its table `taxa`."""

    def __init__(self, tables: Any, reading: str) -> None:
        self._tables = tables
        tables.execute(f"create temp table all_taxa as from {reading}")

    def identify(self, taxon: Taxon) -> tuple[int | None, str]:
        """Return the id of the one active taxon of that name and rank, or None and why there is none."""
        query = "select taxon_id, active in ('true', 't') from all_taxa where name = $1 and rank = $2"
        found = self._tables.execute(query, [taxon.name, taxon.rank]).fetchall()
        return _decide(taxon, [_Named(int(number), bool(active)) for number, active in found])

    def below(self, taxon_id: int) -> list[tuple[int, str]]:
        """Return (id, name) of a taxon and everything below it, by id."""
        query = (
            "select taxon_id, name from all_taxa"
            " where taxon_id = $1 or contains('/' || ancestry || '/', '/' || $1 || '/') order by taxon_id"
        )
        return [(int(number), str(name)) for number, name in self._tables.execute(query, [taxon_id]).fetchall()]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Record(_Lenient):
    id: int
    name: str | None = None
    rank: str | None = None
    is_active: bool | None = None


class _Answer(_Lenient):
    results: list[_Record]


class TaxaApi:
    """The taxa of an iNaturalist API v1, asked under the budget of the recipe's source."""

    def __init__(self, api: Api, base_url: str) -> None:
        self._api = api
        self._url = f"{base_url.rstrip('/')}/v1/taxa"

    def identify(self, taxon: Taxon) -> tuple[int | None, str]:
        """Return the id of the one active taxon of exactly that name and rank, or None and why there is none.

        Raises
        ------
        UpstreamError
            If the answer is no list of taxa.
        """
        place = f"taxon {taxon.name}"
        # Also inactive ones, so that a retired name is told from one that never was.
        parameters = {"q": taxon.name, "rank": taxon.rank, "is_active": "any", "per_page": "200"}
        content = self._api.ask(self._url, parameters, place=place)
        try:
            found = _Answer.model_validate(content).results
        except ValidationError as error:
            raise UpstreamError(f"{place}: the answer is no list of taxa; run again later") from error
        same = [item for item in found if item.name == taxon.name and item.rank == taxon.rank]
        return _decide(taxon, [_Named(item.id, item.is_active is not False) for item in same])
