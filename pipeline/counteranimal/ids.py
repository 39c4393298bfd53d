"""Identifiers: how a photo, a candidate and a fold unit get their names, and which fold a unit falls into.

Decides the spelling of every key that tables are joined on. Leaves where the keys are stored to `workspace`, and what a fold
is used for to `discovery`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from counteranimal.errors import UsageError

__all__ = ["Fold", "candidate_id", "digest_of", "fold_of", "fold_unit", "is_photo_id", "photo_id_of", "pseudonym"]

Fold = Literal["select", "report"]

_PHOTO_ID = re.compile(r"[0-9a-f]{64}")


def photo_id_of(data: bytes) -> str:
    """Return the photo id of original bytes: their sha256 in lower-case hexadecimal (64 characters)."""
    return hashlib.sha256(data).hexdigest()


def is_photo_id(text: str) -> bool:
    """Say whether `text` is spelled like a photo id."""
    return _PHOTO_ID.fullmatch(text) is not None


def candidate_id(source: str, native_id: str) -> str:
    """Return `source:native_id`.

    Raises
    ------
    UsageError
        If the source's name holds a colon, which would make two candidates share one id.

    Examples
    --------
    >>> candidate_id("inaturalist", "12345")
    'inaturalist:12345'
    """
    if ":" in source or not source:
        raise UsageError(f"source name {source!r} must be non-empty and without a colon; rename it in the recipe")
    return f"{source}:{native_id}"


def fold_unit(source: str, *, observer_id: str | None, observation_id: str | None, photo_id: str) -> str:
    """Return the unit whose photos always share one fold: the observer's, else the observation's, else the photo alone.

    Photos by one person resemble each other (place, camera, the same animal), so halves that are to be independent must never
    split a person. A composite's observer is its cut-out, for the same reason.

    Examples
    --------
    >>> fold_unit("inaturalist", observer_id="7", observation_id="9", photo_id="ab")
    'inaturalist:observer:7'
    >>> fold_unit("folder", observer_id=None, observation_id=None, photo_id="ab")
    'ab'
    """
    if observer_id:
        return f"{source}:observer:{observer_id}"
    if observation_id:
        return f"{source}:observation:{observation_id}"
    return photo_id


def fold_of(seed: str, unit: str) -> Fold:
    """Return the fold of a unit: the last bit of sha256 of `seed`, a line feed and `unit`; 0 is select, 1 is report.

    A hash, not a shuffle, so that a unit's fold never changes as the pool grows.
    """
    bit = hashlib.sha256(f"{seed}\n{unit}".encode()).digest()[-1] & 1
    return "report" if bit else "select"


def pseudonym(seed: str, kind: str, name: str) -> str:
    """Return a stable stand-in for a person's name in published files: twelve hexadecimal characters.

    `kind` separates the name spaces (observer, worker), so that equal logins of two services do not meet.
    """
    return hashlib.sha256(f"{kind}\n{seed}\n{name}".encode()).hexdigest()[:12]


def digest_of(*parts: str) -> str:
    """Return one sha256 over several texts, each preceded by its length so that no two lists collide."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode()
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return hasher.hexdigest()
