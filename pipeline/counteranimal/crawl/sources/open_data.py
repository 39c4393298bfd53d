"""iNaturalist's open-data tables: tab-separated dumps of a hundred million rows, read by column with DuckDB, never whole.

Decides what is asked of the tables: the recipe's taxa with all their descendants, a quality grade, the photo's own licence, so
many photos of an observation. Coordinates are never selected. Photos come in the order of their ids, so that the cursor is the
last id; another dump or other taxa is another query and begins anew. Memory is limited, nothing is written to disk.

The tables are those of https://github.com/inaturalist/inaturalist-open-data: `photos`, `observations`, `taxa` and `observers`,
plain or gzipped, in one folder. Unquoted, as their publisher reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.sources.dump import Dump
from counteranimal.crawl.sources.inaturalist import LICENCE_VERSION, codes_of
from counteranimal.crawl.sources.protocol import Opening, Page, read_options
from counteranimal.crawl.sources.taxa import TaxaTable
from counteranimal.errors import Reason, RecipeError

__all__ = ["OpenDataOptions", "OpenDataSource"]

_PAGE = 1000
_END = "end"
_SELECT = """
select photo_id, extension, license, observation_uuid, observer_id, class_id, taxon, observed_on,
       coalesce(nullif(o.name, 'None'), o.login)
from (
    select p.photo_id, p.extension, p.license, p.observation_uuid, p.observer_id, c.class_id, c.taxon, c.observed_on
    from {photos} p join chosen c using (observation_uuid)
    where list_contains($licences, lower(p.license)) or not $only
    qualify row_number() over (partition by p.observation_uuid order by p.position, p.photo_id) <= $most
) found left join {observers} o using (observer_id)
where photo_id > $above
qualify row_number() over (partition by photo_id order by observation_uuid) = 1
order by photo_id
"""
_CHOSEN = """
create temp table chosen as
select o.observation_uuid, w.class_id, w.name as taxon, o.observed_on
from {observations} o join wanted w using (taxon_id)
where $grade = 'any' or o.quality_grade = $grade
"""


class OpenDataOptions(BaseModel):
    """Options of an open-data source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(description="folder of the four tables, .csv or .csv.gz, relative to the recipe")
    quality_grade: Literal["research", "needs_id", "casual", "any"] = "research"
    photo_base_url: str = "https://inaturalist-open-data.s3.amazonaws.com/photos"
    photo_size: Literal["small", "medium", "large", "original"] = "medium"
    photos_per_observation: Annotated[int, Field(ge=1)] = 1
    only_licensed: bool = Field(default=True, description="leave out photos under a licence the recipe does not allow")
    memory_mb: Annotated[int, Field(ge=64)] = Field(default=2000, description="what the reading may take")
    threads: Annotated[int, Field(ge=1)] = 2


class OpenDataSource:
    """See the module; the cursor is the last photo's id, or `end`."""

    def __init__(self, opening: Opening) -> None:
        self._options = options = read_options(OpenDataOptions, opening.spec)
        self._name = opening.spec.name
        self._recipe = opening.recipe
        self._licences = codes_of(opening) if options.only_licensed else []
        self._dump = Dump((opening.recipe.base / options.folder).resolve(), self._name)
        taxa = [[item.id, [(taxon.name, taxon.rank, taxon.id) for taxon in item.taxa]] for item in self._recipe.classes]
        asked = [options.quality_grade, options.photos_per_observation, options.photo_base_url, options.photo_size]
        self.query = json.dumps([self._dump.state(), asked, self._licences, taxa])

    def pages(self, cursor: str) -> Iterator[Page]:
        """Yield the photos behind the cursor in the order of their ids.

        Raises
        ------
        RecipeError
            If a taxon cannot be found, or a table or column is missing.
        UpstreamError
            If a table cannot be read. A single broken line is an offer refused with E_LINE, its number in the note.
        """
        if cursor == _END:
            return
        with self._rows(int(cursor or 0)) as tables:
            while found := tables.fetchmany(_PAGE):
                yield Page([self._offer(row) for row in found], str(found[-1][0]))
            broken = self._dump.broken(tables)
        yield Page([_refused(*line) for line in broken], _END)

    @contextmanager
    def _rows(self, above: int) -> Iterator[Any]:
        options = self._options
        with self._dump.opened(memory_mb=options.memory_mb, threads=options.threads) as tables:
            tables.execute("create temp table wanted(taxon_id bigint primary key, class_id varchar, name varchar)")
            self._choose_taxa(tables)
            tables.execute(
                _CHOSEN.format(observations=self._dump.reading("observations")), {"grade": options.quality_grade}
            )
            yield tables.execute(
                _SELECT.format(photos=self._dump.reading("photos"), observers=self._dump.reading("observers")),
                {
                    "licences": self._licences,
                    "only": options.only_licensed,
                    "most": options.photos_per_observation,
                    "above": above,
                },
            )

    def _choose_taxa(self, tables: Any) -> None:
        """Fill `wanted` with the recipe's taxa and their descendants; raise RecipeError for one that two classes claim."""
        taxa, problems = TaxaTable(tables, self._dump.reading("taxa")), []
        claimed: dict[int, tuple[str, str]] = {}
        for item in self._recipe.classes:
            for taxon in item.taxa:
                identifier, problem = (taxon.id, "") if taxon.id is not None else taxa.identify(taxon)
                if identifier is None:
                    problems.append(problem)
                    continue
                for number, name in taxa.below(identifier):
                    holder = claimed.setdefault(number, (item.id, name))[0]
                    if holder != item.id:
                        problems.append(f"taxon {name} ({number}) belongs to classes {holder} and {item.id}")
                        break
        if problems:
            raise RecipeError(f"source {self._name!r}: {'; '.join(problems)}; mend the recipe's taxa")
        rows = [(number, *rest) for number, rest in claimed.items()]
        for start in range(0, len(rows), _PAGE):
            part = rows[start : start + _PAGE]
            columns = [list(column) for column in zip(*part, strict=True)]
            tables.execute(
                "insert into wanted select unnest($1::bigint[]), unnest($2::varchar[]), unnest($3::varchar[])", columns
            )

    def _offer(self, row: tuple[Any, ...]) -> Offer:
        photo, extension, licence, observation, observer, class_id, taxon, observed, author = row
        base, size = self._options.photo_base_url.rstrip("/"), self._options.photo_size
        return Offer(
            native_id=str(photo),
            url=f"{base}/{photo}/{size}.{extension or 'jpg'}",
            class_id=class_id,
            taxon=taxon,
            observation_id=observation,
            observer_id=str(observer) if observer is not None else None,
            author=author,
            page_url=f"https://www.inaturalist.org/photos/{photo}",
            licence_raw=licence,
            licence_version=LICENCE_VERSION,
            observed_at=observed,
        )


def _refused(table: str, line: int, wrong: str) -> Offer:
    return Offer(f"{table}-line-{line}", "", note=f"{table}, line {line}: {wrong}", refused=Reason.LINE)
