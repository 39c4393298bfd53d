"""Makes a draft the successor of an earlier release: what changed, and whether the version says so.

Decides that a version must rise by what changed (see `release.diff`), and that CHANGES.md states it from the data. No flag turns
this off, like any gate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from counteranimal.errors import UsageError
from counteranimal.freeze.draft import Draft
from counteranimal.freeze.gates import FreezeRefused
from counteranimal.release.diff import Change, compare, tables_of
from counteranimal.release.layout import parse_version
from counteranimal.release.read import Release

__all__ = ["require_next", "succeed"]


def require_next(version: str, previous: str) -> None:
    """Raise UsageError unless a version is above the newest one."""
    if parse_version(version) <= parse_version(previous):
        raise UsageError(f"release {previous} exists, so {version} is no next version; choose a higher one")


def succeed(draft: Draft, previous: Release, *, withdrawn: Collection[str] = ()) -> Draft:
    """Return the draft with the changes since the previous release.

    Parameters
    ----------
    withdrawn : collection of str
        Photo ids that a takedown removed.

    Raises
    ------
    FreezeRefused
        If the version does not rise by what changed.
    """
    difference = compare(tables_of(previous), draft.tables, withdrawn=withdrawn)
    lowest = _lowest(previous.version, difference.change)
    if parse_version(draft.version) < parse_version(lowest):
        what = " ".join(difference.lines())
        raise FreezeRefused(
            [
                f"a {difference.change} change since {previous.version} ({what}) makes the next version {lowest} or higher"
            ]
        )
    return dataclasses.replace(draft, terms=dataclasses.replace(draft.terms, changes=difference.lines()))


def _lowest(version: str, change: Change) -> str:
    """Return the lowest version that a change allows.

    Examples
    --------
    >>> _lowest("1.2.3", "MAJOR"), _lowest("1.2.3", "MINOR"), _lowest("1.2.3", "PATCH")
    ('2.0.0', '1.3.0', '1.2.4')
    """
    major, minor, patch = parse_version(version)
    lowest = {"MAJOR": (major + 1, 0, 0), "MINOR": (major, minor + 1, 0), "PATCH": (major, minor, patch + 1)}[change]
    return ".".join(map(str, lowest))
