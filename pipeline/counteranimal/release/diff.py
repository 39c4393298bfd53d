"""What differs between two releases, photo by photo, and which kind of version that makes.

Decides what counts as added, removed, withdrawn, relabelled, regrouped and amended, and the rule of versions: PATCH for the same
data, MINOR for additions alone, MAJOR for everything else. Pure: takes tables, returns values. Leaves figures of models, which
are no part of a release, to `evaluate`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal.release.layout import PUBLISHED_TABLES
from counteranimal.release.read import Release

__all__ = ["Difference", "compare", "tables_of"]

Tables = Mapping[str, pa.Table]
Change = Literal["MAJOR", "MINOR", "PATCH"]

_LABELS = ("class_id", "background", "codes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Photo ids, sorted, of every kind of change from an older release to a newer one; `pairs` are sentences.

    `withdrawn` are those of the removed photos that a takedown removed. A photo of both releases is `relabelled` if its class,
    background or codes differ, `regrouped` if its group or fold in some split of both does, `repredicted` if a selector's answer
    does, and `amended` if any other column of its entry does (a licence, an author, votes).
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    withdrawn: tuple[str, ...]
    relabelled: tuple[str, ...]
    regrouped: tuple[str, ...]
    repredicted: tuple[str, ...]
    amended: tuple[str, ...]
    pairs: tuple[str, ...]

    @property
    def change(self) -> Change:
        """What the newer release's version must raise, at least."""
        if any((self.removed, self.relabelled, self.regrouped, self.repredicted, self.amended, self.pairs)):
            return "MAJOR"
        return "MINOR" if self.added else "PATCH"

    def counts(self) -> dict[str, int]:
        """Return the number of photos of each kind, and of changed pairs."""
        return {name: len(getattr(self, name)) for name in self.__slots__}

    def lines(self) -> list[str]:
        """Return the difference in sentences, for CHANGES.md and for people."""
        counts = self.counts()
        told = {
            "added": "added",
            "removed": "removed",
            "relabelled": "with another class, background or codes",
            "regrouped": "in another group or fold of a split",
            "repredicted": "with another prediction of a selecting model",
            "amended": "with another licence, credit, address or count",
        }
        lines = [f"Photos {what}: {counts[name]}" for name, what in told.items() if counts[name]]
        lines = [
            f"{line}, withdrawn among them: {counts['withdrawn']}." if "removed" in line else f"{line}."
            for line in lines
        ]
        return [*lines, *self.pairs] or ["The same data."]

    def record(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {"change": self.change, "counts": self.counts()} | {
            name: list(getattr(self, name)) for name in self.__slots__
        }


def tables_of(release: Release) -> dict[str, pa.Table]:
    """Return the published tables of an opened release by name."""
    return {name: getattr(release, name) for name in PUBLISHED_TABLES}


def compare(old: Tables, new: Tables, *, withdrawn: Collection[str] = ()) -> Difference:
    """Return what changes from one release's tables to another's.

    Parameters
    ----------
    old, new : mapping of str to pa.Table
        The published tables by name, in key order.
    withdrawn : collection of str
        Photo ids that a takedown removed.
    """
    before, after = (set(tables["entries"].column("photo_id").to_pylist()) for tables in (old, new))
    both = sorted(before & after)
    a, b = (_rows(tables["entries"], both) for tables in (old, new))
    labelled = _differing(a, b, _LABELS)
    others = [name for name in a.column_names if name not in {*_LABELS, "photo_id"}]
    return Difference(
        added=tuple(sorted(after - before)),
        removed=tuple(sorted(before - after)),
        withdrawn=tuple(sorted((before - after) & set(withdrawn))),
        relabelled=_named(both, labelled),
        regrouped=_moved(old["splits"], new["splits"], set(both), ("split",), ("group", "fold")),
        repredicted=_moved(
            old["predictions"], new["predictions"], set(both), ("model", "protocol"), ("predicted", "tied", "correct")
        ),
        amended=_named(both, _differing(a, b, others)),
        pairs=tuple(_pairs(old["pairs"], new["pairs"])),
    )


def _rows(entries: pa.Table, photo_ids: Sequence[str]) -> pa.Table:
    places = pc.index_in(pa.array(photo_ids, pa.string()), value_set=entries.column("photo_id").combine_chunks())
    return entries.take(places)


def _differing(a: pa.Table, b: pa.Table, columns: Sequence[str]) -> NDArray[np.bool_]:
    found = np.zeros(len(a), dtype=bool)
    for name in columns:
        first, second = a.column(name), b.column(name)
        if pa.types.is_list(first.type):
            found |= np.fromiter((x != y for x, y in zip(first.to_pylist(), second.to_pylist(), strict=True)), bool)
            continue
        same = pc.fill_null(pc.equal(first, second), fill_value=False)
        neither = pc.and_(pc.is_null(first), pc.is_null(second))
        found |= ~np.asarray(pc.or_(same, neither).to_numpy(zero_copy_only=False), dtype=bool)
    return found


def _named(photo_ids: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(photo_ids[place] for place in np.flatnonzero(chosen).tolist())


def _moved(
    old: pa.Table, new: pa.Table, both: Collection[str], key: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the photos of both releases whose row under some key that both have says something else."""
    before = dict(_keyed(old, both, key, columns))
    after = dict(_keyed(new, both, key, columns))
    return tuple(sorted({name[0] for name in before.keys() & after.keys() if before[name] != after[name]}))


def _keyed(
    table: pa.Table, photos: Collection[str], key: tuple[str, ...], columns: tuple[str, ...]
) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    width = 1 + len(key)
    for row in zip(*(table.column(name).to_pylist() for name in ("photo_id", *key, *columns)), strict=True):
        if row[0] in photos:
            yield row[:width], row[width:]


def _pairs(old: pa.Table, new: pa.Table) -> Iterator[str]:
    before, after = ({(row["split"], row["class_id"]): row for row in table.to_pylist()} for table in (old, new))
    for split, class_id in sorted(before.keys() | after.keys()):
        one, two = (_pair(rows.get((split, class_id))) for rows in (before, after))
        if one != two:
            who = "all classes" if class_id == "*" else class_id
            yield f"Split {split}, {who}: {one} became {two}."


def _pair(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "nothing"
    return f"{row['common']} against {row['counter']}" if row["status"] == "pair" else "no pair"
