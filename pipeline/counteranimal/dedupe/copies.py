"""Finds every stored copy of photos that are to be withdrawn, and knows them again by their hashes once their bytes are gone.

Decides what a copy is. While both photos are at hand, hashes propose and pixels decide, as for duplicates, and a copy of a copy
counts. Of a photo that is gone only its *mark* is left, its two hashes: then the narrow rule for hash lists holds (both hashes
within 8 bits, as the photo stands or mirrored, and not nearly of one tone).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.dedupe.confirm import looked_at
from counteranimal.dedupe.exact import NEARLY_UNIFORM
from counteranimal.dedupe.fingerprint import DEFAULT_RECIPE, hashes_in, recipe_name
from counteranimal.dedupe.proposals import Fingerprints, proposed
from counteranimal.dedupe.second_look import Look, look_at
from counteranimal.errors import IntegrityError, Rejected
from counteranimal.recipe import DedupeRules
from counteranimal.workspace import Workspace

__all__ = ["Copies", "copies_of", "marks_of", "resembling"]

_NEAR = 8
_LOOKS = 4096


class Copies(NamedTuple):
    """Stored copies with the given photo that each is one with, and photos that may be copies: people look at these."""

    same: Mapping[str, str]
    unsure: frozenset[str]


def copies_of(workspace: Workspace, photo_ids: Collection[str], rules: DedupeRules) -> Copies:
    """Return the stored copies of photos, whatever became of them in the crawl.

    Parameters
    ----------
    photo_ids : collection of str
        Photos that are stored; others have no copies that could be found.
    rules : DedupeRules
        Radii and limits of the recipe.
    """
    prints = _prints(workspace)
    place = {photo_id: number for number, photo_id in enumerate(prints.photo_ids)}
    known, unsure = {photo_id: photo_id for photo_id in photo_ids}, set[str]()
    todo = known.keys() & place.keys()

    @functools.lru_cache(_LOOKS)
    def look(photo_id: str) -> Look:
        return look_at(workspace.blobs.read(photo_id))

    while todo:
        new = np.zeros(len(prints.photo_ids), dtype=bool)
        new[[place[photo_id] for photo_id in todo]] = True
        todo = set()
        for row in looked_at(prints, proposed(prints, new, rules), look, rules):
            a, b = sorted((str(row["photo_a"]), str(row["photo_b"])), key=lambda name: name not in known)
            if row["verdict"] != "same":
                unsure.add(b)
            elif b not in known:
                known[b] = known[a]
                todo.add(b)
    return Copies({name: of for name, of in known.items() if name not in photo_ids}, frozenset(unsure - known.keys()))


def marks_of(workspace: Workspace, photo_ids: Collection[str]) -> dict[str, str]:
    """Return photo id -> mark, 32 hexadecimal digits; a photo that is gone, does not decode or is nearly of one tone has none."""
    prints = _prints(workspace)
    wanted = set(photo_ids)
    told = zip(prints.photo_ids, prints.phash.tolist(), prints.dhash.tolist(), prints.entropy.tolist(), strict=True)
    return {
        name: f"{phash:016x}{dhash:016x}"
        for name, phash, dhash, entropy in told
        if name in wanted and entropy >= NEARLY_UNIFORM
    }


def resembling(workspace: Workspace, marks: Mapping[str, str]) -> dict[str, str]:
    """Return stored photo -> the withdrawn photo whose mark it bears.

    Parameters
    ----------
    marks : mapping of str to str
        Withdrawn photo id -> mark.
    """
    prints = _prints(workspace)
    found: dict[str, str] = {}
    for gone, mark in sorted(marks.items()):
        phash, dhash = np.uint64(int(mark[:16], 16)), np.uint64(int(mark[16:], 16))
        straight = _near(prints.phash, phash) & _near(prints.dhash, dhash)
        turned = _near(prints.phash_mirrored, phash) & _near(prints.dhash_mirrored, dhash)
        for number in np.flatnonzero((straight | turned) & (prints.entropy >= NEARLY_UNIFORM)).tolist():
            found.setdefault(prints.photo_ids[number], gone)
    return found


def _near(hashes: NDArray[np.uint64], mark: np.uint64) -> NDArray[np.bool_]:
    return np.asarray(np.bitwise_count(hashes ^ mark) <= _NEAR)


def _prints(workspace: Workspace) -> Fingerprints:
    """Return the fingerprints of all stored photos that decode, making those that are missing."""
    parts = workspace.parts("fingerprints", recipe_name(DEFAULT_RECIPE))
    stored = list(workspace.blobs.ids())
    rows = []
    for photo_id in parts.missing(stored):
        try:
            hashes = hashes_in(workspace.blobs.read(photo_id))
        except (Rejected, IntegrityError):
            continue  # damaged bytes are known by their name alone
        rows.append({"photo_id": photo_id, **asdict(hashes), "recipe": recipe_name(DEFAULT_RECIPE)})
    if rows:
        parts.write(tables.conform("fingerprints", rows))
    table = parts.view(stored)
    names = table.column("photo_id").to_pylist()
    phash, dhash, flipped, dhash_flipped = (
        np.asarray(table.column(name).to_numpy(), dtype=np.uint64)
        for name in ("phash", "dhash", "phash_mirrored", "dhash_mirrored")
    )
    entropy = np.asarray(table.column("entropy").to_numpy(), dtype=np.float32)
    return Fingerprints(names, names, phash, dhash, flipped, dhash_flipped, entropy)
