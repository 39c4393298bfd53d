"""The protocol of a source, and how the one that a recipe names is found.

A plug-in is a class under the entry point group `counteranimal.sources`; calling it with an `Opening` returns the source. Its
options are its own pydantic model, checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel, ValidationError

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.politeness import Clock
from counteranimal.errors import MissingDependency, RecipeError
from counteranimal.recipe import Recipe, SourceSpec

if TYPE_CHECKING:
    from counteranimal.crawl.sources.api import Api

__all__ = [
    "GROUP",
    "LocalSource",
    "Opening",
    "Page",
    "Restating",
    "Source",
    "api_of",
    "open_source",
    "plugin_of",
    "read_options",
]

GROUP = "counteranimal.sources"

Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Page:
    """What one look at the upstream brought, and the cursor that continues behind it (opaque text)."""

    offers: list[Offer]
    cursor: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What a source is opened with: its part of the recipe, its budget, the run's clock and our name."""

    spec: SourceSpec
    recipe: Recipe
    ledger: Ledger
    clock: Clock
    agent: str


class Source(Protocol):
    """A reader of one upstream."""

    query: str
    """What is asked for; a cursor belongs to one query, so that a changed question starts from the beginning."""

    def pages(self, cursor: str) -> Iterator[Page]:
        """Yield what comes behind `cursor` (empty: from the beginning), page by page.

        Raises
        ------
        UpstreamError
            If the upstream answers badly; the pages before stay good.
        """
        ...


@runtime_checkable
class LocalSource(Protocol):
    """A source whose photos lie on this machine: it hands out the bytes itself, and nothing else reads local files."""

    def read(self, native_id: str, *, most: int) -> bytes:
        """Return the bytes of a photo; raises Rejected for one that is gone, outside or larger than `most`."""
        ...


class Restating(Protocol):
    """A source that can be asked again what it states about photos that it offered before: their licences may have changed."""

    def again(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Page]:
        """Yield what is now stated about candidates; those that are stated no more are absent.

        Raises
        ------
        UpstreamError
            If the upstream answers badly; the pages before stay good.
        """
        ...


def plugin_of(spec: SourceSpec) -> Callable[[Opening], Source]:
    """Return what opens sources of a kind; raises RecipeError naming the kinds that are installed."""
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if spec.kind not in known:
        raise RecipeError(f"source {spec.name!r} has unknown kind {spec.kind!r}; known are {', '.join(sorted(known))}")
    return cast("Callable[[Opening], Source]", known[spec.kind].load())


def api_of(opening: Opening) -> Api:
    """Return the client of an opening's HTTP API; raises MissingDependency where the extra for crawling is not installed."""
    try:
        from counteranimal.crawl.sources.api import Api
    except ImportError as error:
        raise MissingDependency(f"asking an API needs {error.name}; install counteranimal[crawl]") from error
    return Api(opening)


def open_source(opening: Opening) -> Source:
    """Return the source that a recipe names.

    Raises
    ------
    RecipeError
        If no installed plug-in has that kind, or its options are wrong.
    """
    return plugin_of(opening.spec)(opening)


def read_options(model: type[Options], spec: SourceSpec) -> Options:
    """Return the options of a source as its model; raises RecipeError naming the option."""
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'options'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise RecipeError(f"source {spec.name!r} of kind {spec.kind}: {problems}") from error
