"""What this machine has seen of a publisher's releases, so that an old or exchanged one is not taken for the newest.

Decides what is remembered: by public key and benchmark name, the root digest of every version that verified. A version whose
digest has changed is refused always; a lower version than the highest seen is refused where the newest was asked for. Only
signatures by a pinned key are remembered, so that nobody else can fill the memory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from counteranimal.errors import IntegrityError
from counteranimal.release.layout import parse_version

__all__ = ["Seen", "default_place"]

Memory = dict[str, dict[str, dict[str, str]]]


def default_place() -> Path:
    """Return where a user's memory is kept, by the XDG convention."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "counteranimal" / "releases-seen.json"


class Seen:
    """The memory in one file.

    Parameters
    ----------
    place : Path
        Need not exist yet.

    Raises
    ------
    IntegrityError
        If the file is there and cannot be read as a memory; it is never started afresh in silence.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._memory: Memory = {}
        if place.exists():
            try:
                self._memory = _checked(json.loads(place.read_bytes()))
            except (ValueError, OSError) as error:
                raise IntegrityError(
                    f"{place}, which remembers the releases seen, cannot be read ({error}); mend or remove it, and every release "
                    "counts as new again"
                ) from error

    def judge(self, key: str, name: str, version: str, digest: str, *, newest: bool) -> None:
        """Refuse a release that contradicts what was seen.

        Parameters
        ----------
        key : str
            Public key that signed it, hexadecimal.
        newest : bool
            Whether it was asked for as the newest one.

        Raises
        ------
        IntegrityError
            If the version had another root digest before, or a higher version was seen and the newest is wanted.
        """
        known = self._memory.get(key, {}).get(name, {})
        if known.get(version, digest) != digest:
            raise IntegrityError(
                f"{name} {version} had the root digest {known[version]} when it was seen before; a version never changes, do not use "
                "this one"
            )
        highest = max(known, key=parse_version, default=version)
        if newest and parse_version(highest) > parse_version(version):
            raise IntegrityError(
                f"{name} {version} is given out as the newest, but {highest} was seen before; get the newest release, or name the "
                "folder of this version to use it on purpose"
            )

    def remember(self, key: str, name: str, version: str, digest: str) -> None:
        """Keep a release that verified; raises OSError where the memory cannot be written."""
        versions = self._memory.setdefault(key, {}).setdefault(name, {})
        if versions.get(version) == digest:
            return
        versions[version] = digest
        self._place.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._place.with_name(f".{self._place.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self._memory, indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(self._place)


def _checked(memory: object) -> Memory:
    if not isinstance(memory, dict):
        raise ValueError("not an object")  # noqa: TRY004 - told as one kind of damage
    for names in memory.values():
        for versions in names.values() if isinstance(names, dict) else [None]:
            if not isinstance(versions, dict) or not all(isinstance(digest, str) for digest in versions.values()):
                raise ValueError("not versions and digests")
    return memory
