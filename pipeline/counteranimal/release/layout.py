"""The names of a release's files and the spelling of its version.

Decides what a release folder holds and nothing about what stands in the files. A release lies in a folder named after its
version, below a folder of releases::

    releases/1.0.0/
      release.json      what the release says of itself, canonical JSON
      entries.parquet   one row a photo; entries.csv is the same for people
      splits.parquet pairs.parquet groups.parquet predictions.parquet
      agreement.json recipe.toml
      ATTRIBUTION.md CARD.md CHANGES.md croissant.json
      SHA256SUMS        digests of all files above, for plain `sha256sum -c`
      SHA256SUMS.sig    Ed25519 signature over SHA256SUMS
    releases/WITHDRAWN.json      all versions, and the photos that were withdrawn since; WITHDRAWN.json.sig signs it
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from counteranimal.errors import UsageError

__all__ = [
    "ENTRIES_CSV",
    "FORMAT",
    "GIVEN",
    "MANIFEST",
    "ORIGINAL",
    "PERSON",
    "PUBLISHED_TABLES",
    "RELEASE_FILES",
    "SIGNATURE",
    "SUMMED_FILES",
    "SUMS",
    "VERSION",
    "WITHDRAWN",
    "WITHDRAWN_SIGNATURE",
    "parse_version",
    "table_file",
    "versions_in",
]

FORMAT: Final = "counteranimal-release/1"
MANIFEST = "release.json"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
WITHDRAWN = "WITHDRAWN.json"
WITHDRAWN_SIGNATURE = "WITHDRAWN.json.sig"
ENTRIES_CSV = "entries.csv"
# A fold unit that is a person is published as this and a pseudonym; every other unit as it is.
PERSON = "person:"
# How a background was decided where an archive gives it and nobody knows by how many votes.
GIVEN = "given"
# The name of a release that was read from the archive of the original CounterAnimal.
ORIGINAL = "counteranimal-original"
PUBLISHED_TABLES = ("entries", "splits", "pairs", "groups", "predictions")

# Files that SHA256SUMS lists, that is all but itself and the signature over it.
SUMMED_FILES = tuple(
    sorted(
        {
            MANIFEST,
            ENTRIES_CSV,
            "agreement.json",
            "recipe.toml",
            "ATTRIBUTION.md",
            "CARD.md",
            "CHANGES.md",
            "croissant.json",
        }
        | {f"{name}.parquet" for name in PUBLISHED_TABLES}
    )
)
RELEASE_FILES = (*SUMMED_FILES, SUMS, SIGNATURE)

# Three numbers without leading zeros, which also keeps a version from ever naming another folder.
VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")


def versions_in(folder: Path) -> list[Path]:
    """Return the release folders in a folder of releases, in the order of their versions; links and other names are none."""
    named = [path for path in folder.glob("*.*.*") if VERSION.fullmatch(path.name)]
    return sorted(
        (path for path in named if path.is_dir() and not path.is_symlink()), key=lambda path: parse_version(path.name)
    )


def table_file(name: str) -> str:
    """Return the file name of a published table."""
    return f"{name}.parquet"


def parse_version(text: str) -> tuple[int, int, int]:
    """Return MAJOR, MINOR and PATCH of a version.

    Raises
    ------
    UsageError
        If the text is not three numbers without leading zeros, which also keeps it from ever naming another folder.

    Examples
    --------
    >>> parse_version("1.12.0")
    (1, 12, 0)
    """
    match = VERSION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no version; give MAJOR.MINOR.PATCH, such as 1.0.0")
    major, minor, patch = match.groups()
    return int(major), int(minor), int(patch)
