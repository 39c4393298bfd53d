"""The small tree of life that the sample upstream knows: life, animals, genera, species.

Decides the sample's own taxon numbers, which are not iNaturalist's. Leaves matching of names to a query to `upstream`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Taxon", "taxa_of"]

_FIRST = 9_000_001
_RANK_LEVELS = {"stateofmatter": 100, "kingdom": 70, "genus": 20, "species": 10}


@dataclass(frozen=True, slots=True)
class Taxon:
    """A taxon; `ancestors` run from the root to the taxon itself, as iNaturalist gives them."""

    id: int
    name: str
    rank: str
    common_name: str | None
    ancestors: tuple[int, ...]

    @property
    def rank_level(self) -> int:
        """Return iNaturalist's number of the rank (species 10, kingdom 70)."""
        return _RANK_LEVELS[self.rank]


def taxa_of(species: Iterable[tuple[str, str]]) -> dict[str, Taxon]:
    """Return the tree over some species, given as (scientific name, common name), by scientific name."""
    tree = {
        "Life": Taxon(_FIRST, "Life", "stateofmatter", None, (_FIRST,)),
        "Animalia": Taxon(_FIRST + 1, "Animalia", "kingdom", "Animals", (_FIRST, _FIRST + 1)),
    }
    above = tree["Animalia"].ancestors
    names = dict(sorted(set(species)))
    # A genus that is spelled like its species' first word, such as Bison of Bison bison, is still a taxon of its own.
    for number, genus in enumerate(sorted({name.split(" ")[0] for name in names})):
        identifier = _FIRST + 100 + number
        tree[genus] = Taxon(identifier, genus, "genus", None, (*above, identifier))
    for number, (name, common) in enumerate(names.items()):
        identifier = _FIRST + 1000 + number
        parents = tree[name.split(" ")[0]].ancestors
        tree[name] = Taxon(identifier, name, "species", common, (*parents, identifier))
    return tree
