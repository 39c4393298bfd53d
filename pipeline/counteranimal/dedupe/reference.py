"""Holds a workspace's photos against hash lists of training and reference sets, whose photos are not at hand.

Decides what an overlap is. Without pixels there is no second look, so the rule is narrower than among one's own photos: equal bytes, or
pHash *and* dHash within 8 bits, as the photo stands or mirrored. What lies further apart, up to the recipe's radii, and whatever is
nearly of one tone, is *unsure*: told, never dropped. Also decides where lists are kept: a copy in the workspace by its digest, so
that every later run compares with the same lists. Leaves what is dropped to `keep`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.dedupe.exact import NEARLY_UNIFORM
from counteranimal.dedupe.fingerprint import DEFAULT_RECIPE, recipe_name
from counteranimal.dedupe.hash_list import HashList, read_hash_list
from counteranimal.dedupe.neighbours import cross_pairs_within, near_too
from counteranimal.dedupe.proposals import Fingerprints
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.recipe import DedupeRules
from counteranimal.workspace import Workspace, write_atomically

__all__ = ["RULE", "Overlap", "adopt", "checks", "overlaps", "stored"]

RULE = "reference-1"
_NEAR = 8


class Overlap(NamedTuple):
    """The closest entry of a list to one photo; overlaps sort from the surest to the least sure."""

    verdict_rank: int
    phash_distance: int
    dhash_distance: int
    mirrored: bool
    path: str
    photo_id: str
    reference: str
    rule: str

    @property
    def sure(self) -> bool:
        """Whether the photo is dropped for it."""
        return self.verdict_rank == 0

    @property
    def entry(self) -> str:
        """The list's name, a colon, and the path in it."""
        return f"{self.reference}:{self.path}"

    def row(self) -> dict[str, Any]:
        """Return the row of table `reference_overlaps`."""
        return {
            "photo_id": self.photo_id,
            "reference": self.reference,
            "path": self.path,
            "phash_distance": self.phash_distance,
            "dhash_distance": self.dhash_distance,
            "mirrored": self.mirrored,
            "verdict": "overlap" if self.sure else "unsure",
            "rule": self.rule,
        }


def adopt(workspace: Workspace, paths: Sequence[Path]) -> None:
    """Copy hash lists into the workspace, all or none; one that is there already stays as it is.

    Raises
    ------
    UsageError, IntegrityError
        As `read_hash_list`; a UsageError also where another list of that name is there.
    """
    read = [(path, read_hash_list(path)) for path in paths]
    names = {item.name: item.sha256 for item in stored(workspace)}
    for path, item in read:
        if names.setdefault(item.name, item.sha256) != item.sha256:
            raise UsageError(
                f"the workspace holds another hash list of the name {item.name}; rename {path}, or remove the old one from "
                f"{workspace.home / 'references'} so that it is no longer compared with"
            )
    for path, item in read:
        folder = workspace.folder("references") / item.sha256
        if not folder.exists():
            folder.mkdir()
            write_atomically(folder / path.name, path.read_bytes())


def stored(workspace: Workspace) -> list[HashList]:
    """Return the lists that the workspace keeps, by name; raises IntegrityError for one that has changed."""
    lists = []
    for path in sorted((workspace.home / "references").glob("*/[!.]*")):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.parent.name:
            raise IntegrityError(
                f"hash list {path} has changed on disk; remove its folder and run `dedupe --against` again"
            )
        lists.append(read_hash_list(path))
    return sorted(lists, key=lambda item: item.name)


def overlaps(prints: Fingerprints, lists: Sequence[HashList], rules: DedupeRules) -> list[Overlap]:
    """Return the best overlap of every photo with every list, sorted from the surest on.

    Parameters
    ----------
    prints : Fingerprints
        Of photos whose ids are the sha256 of their bytes.
    lists : sequence of HashList
        What to compare with.
    rules : DedupeRules
        Its radii bound what is told as unsure.
    """
    best: dict[tuple[str, str], Overlap] = {}
    for item in lists:
        for found in sorted([*_equal(prints, item), *_near(prints, item, rules)]):
            best.setdefault((found.photo_id, item.name), found)
    return sorted(best.values())


def checks(lists: Sequence[HashList], found: Sequence[Overlap], dropped: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of table `references`: what the photos were compared with, and what came of it.

    Parameters
    ----------
    found : sequence of Overlap
        As `overlaps` returns them.
    dropped : mapping of str to str
        Photo that an entry of a list stands for -> that entry (`Overlap.entry`); copies of an overlapping photo are among them.
    """
    return [
        {
            "name": item.name,
            "sha256": item.sha256,
            "recipe": recipe_name(DEFAULT_RECIPE),
            "hashes": len(item.rows) - item.unreadable,
            "unreadable": item.unreadable,
            "overlaps": sum(partner.startswith(f"{item.name}:") for partner in dropped.values()),
            "unsure": sum(
                overlap.reference == item.name and not overlap.sure and overlap.photo_id not in dropped
                for overlap in found
            ),
        }
        for item in lists
    ]


def _equal(prints: Fingerprints, item: HashList) -> Iterator[Overlap]:
    """Yield the photos whose very bytes the list holds, whether or not those could be hashed."""
    rows = item.rows.filter(pc.is_in(item.rows.column("sha256"), value_set=pa.array(prints.photo_ids, pa.string())))
    for digest, path in zip(rows.column("sha256").to_pylist(), rows.column("path").to_pylist(), strict=True):
        yield Overlap(0, 0, 0, False, path, digest, item.name, "equal sha256")


def _near(prints: Fingerprints, item: HashList, rules: DedupeRules) -> Iterator[Overlap]:
    rows = item.rows.filter(pc.equal(item.rows.column("status"), "ok"))
    paths = rows.column("path").to_pylist()
    theirs = {name: rows.column(name).to_numpy().astype(np.uint64) for name in ("phash", "dhash")}
    even_there = rows.column("entropy").to_numpy() < NEARLY_UNIFORM
    widest, widest_too = max(rules.phash_radius, _NEAR), max(rules.dhash_radius, _NEAR)
    for mirrored in (False, True):
        phash, dhash = (prints.phash_mirrored, prints.dhash_mirrored) if mirrored else (prints.phash, prints.dhash)
        pairs = cross_pairs_within(phash, theirs["phash"], widest, near_too(widest_too, dhash, theirs["dhash"]))
        bits = np.bitwise_count(dhash[pairs.first] ^ theirs["dhash"][pairs.second])
        even = (prints.entropy[pairs.first] < NEARLY_UNIFORM) | even_there[pairs.second]
        columns = (pairs.first, pairs.second, pairs.distance, bits, even)
        for first, second, a, b, uniform in zip(*(column.tolist() for column in columns), strict=True):
            sure = a <= _NEAR and b <= _NEAR and not uniform
            rule = _rule(mirrored=mirrored, sure=sure, uniform=uniform)
            yield Overlap(0 if sure else 1, a, b, mirrored, paths[second], prints.photo_ids[first], item.name, rule)


def _rule(*, mirrored: bool, sure: bool, uniform: bool) -> str:
    image = "mirror image, " if mirrored else ""
    if sure:
        return f"{image}{RULE}: pHash <= {_NEAR}, dHash <= {_NEAR}"
    why = (
        "nearly of one tone, so that hashes tell little"
        if uniform
        else "near, but not near enough without a look at pixels"
    )
    return f"{image}{RULE}: {why}"
