"""Finds the data files that the code reads: the packaged copy first, the repository's second.

Decides nothing about their content. A wheel carries copies under `counteranimal/_packaged/`; a checkout has the originals.
"""

from __future__ import annotations

from pathlib import Path

from counteranimal.errors import MissingDependency

__all__ = ["in_checkout", "resource"]

_PACKAGED = Path(__file__).parent / "_packaged"
_REPOSITORY = Path(__file__).parents[2]


def resource(name: str, *, packaged: Path = _PACKAGED, repository: Path = _REPOSITORY) -> Path:
    """Return the path of a data file or folder, for example `data_manifest/backgrounds.toml`.

    Raises
    ------
    MissingDependency
        If neither the installed package nor a checkout holds it.
    """
    for root in (packaged, repository):
        path = root / name
        if path.exists():
            return path
    raise MissingDependency(f"the installation lacks {name}; install counteranimal again or run it from a checkout")


def in_checkout(path: Path, *, repository: Path = _REPOSITORY) -> Path:
    """Return a relative path from the working folder where it leads to something there, else from the checkout."""
    return path if path.exists() else repository / path
