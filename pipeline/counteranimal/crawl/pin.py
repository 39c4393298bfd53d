"""Writes the ids of taxa into a recipe's text, and leaves every other word of it, comments too, as it is.

Only the spacing within a changed taxon's braces may differ, and lines end with LF afterwards.

Decides what becomes of a name that no single active taxon bears: it stays unpinned and is told. Leaves who knows taxa to
`sources.taxa`.
"""

from __future__ import annotations

from dataclasses import dataclass

from counteranimal.crawl.sources.taxa import Taxonomy
from counteranimal.errors import MissingDependency
from counteranimal.recipe import Recipe, Taxon

__all__ = ["Pinned", "pin"]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A recipe's text with ids, how many were written now and stood there before, and why others have none."""

    text: str
    new: int
    known: int
    problems: tuple[str, ...]


def pin(recipe: Recipe, taxonomy: Taxonomy) -> Pinned:
    """Return the recipe's text with the id of every taxon that can be told without doubt.

    Parameters
    ----------
    recipe : Recipe
        As it was read; its `text` is what is changed.
    taxonomy : Taxonomy
        Asked once for each taxon without an id.

    Raises
    ------
    UpstreamError
        If the taxonomy cannot be asked; nothing was written.
    MissingDependency
        If tomlkit is not installed.
    """
    try:  # part of the extra for crawling; an evaluator's install starts without it
        import tomlkit
        from tomlkit.items import AoT, Array, InlineTable, Table
    except ImportError as error:
        raise MissingDependency("taxa are pinned with tomlkit; install counteranimal[crawl]") from error
    document = tomlkit.parse(recipe.text)
    classes = document["classes"]
    new, known, problems = 0, 0, []
    for item, written in zip(recipe.classes, classes if isinstance(classes, AoT | Array) else (), strict=True):
        entries = written.get("taxa", ())
        for taxon, entry in zip(item.taxa, entries, strict=True):
            if taxon.id is not None:
                known += 1
                continue
            found, why = taxonomy.identify(Taxon(name=taxon.name, rank=taxon.rank))
            if found is None:
                problems.append(f"class {item.id}: {why}")
            elif isinstance(entry, InlineTable | Table):
                entry["id"] = found
                new += 1
    return Pinned(tomlkit.dumps(document), new, known, tuple(problems))
