"""Who made a file of a Debian package and under which licence, as the package itself says it.

Decides how Debian's machine-readable `copyright` files and GCompris' `README` beside the photos are read. A licence that is
not stated, or not known here, stays None: it is never guessed, and the crawl then turns the photo away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["Origin", "debian_origin", "readme_origins"]

_SPDX = {
    "cc0-1.0": "CC0-1.0",
    "cc0": "CC0-1.0",
    "public domain": "LicenseRef-Public-Domain",
    "public-domain": "LicenseRef-Public-Domain",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl-3+": "GPL-3.0-or-later",
}
_OR_LATER = re.compile(
    r"version\s+(\d)\s+of\s+the\s+License,\s+or\s+\(at\s+your\s+option\)\s+any\s+later", re.IGNORECASE
)
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """Author, licence (SPDX identifier, or None where none is stated) and the page a file came from."""

    author: str
    licence: str | None
    page: str | None = None


def _paragraphs(text: str) -> list[dict[str, str]]:
    """Split Debian control text into paragraphs of fields; continuation lines are kept, joined by line feeds."""
    found: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        last = ""
        for line in block.splitlines():
            if line[:1].isspace() and last:
                fields[last] += f"\n{line.strip()}"
            elif ":" in line:
                last, _, value = line.partition(":")
                fields[last] = value.strip()
        if fields:
            found.append(fields)
    return found


def _people(copyright_field: str) -> str:
    """Return the holders' names without years, addresses and marks; a long list is cut."""
    names = []
    for line in copyright_field.splitlines():
        name = re.sub(r"<[^>]*>|©|´", "", line)
        name = re.sub(r"^[\s\d,–-]*(by\s+)?", "", name).strip(' ,"')
        if name:
            names.append(name)
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown} and others" if len(names) > _NAMES_SHOWN else shown


def _licence(name: str, bodies: dict[str, str]) -> str | None:
    known = _SPDX.get(name.lower())
    if known:
        return known
    # "GPL-2" whose own text grants later versions too is what that text says.
    later = _OR_LATER.search(bodies.get(name, ""))
    if later and name == f"GPL-{later[1]}":
        return f"GPL-{later[1]}.0-or-later"
    return None


def debian_origin(copyright_text: str, path: str) -> Origin:
    """Return the origin of a file by its package's `copyright` (format 1.0): the last matching paragraph counts.

    Parameters
    ----------
    copyright_text : str
        The whole file `usr/share/doc/<package>/copyright`.
    path : str
        The file's path in the source package, such as `nature/Dune.jpg`.
    """
    paragraphs = _paragraphs(copyright_text)
    bodies: dict[str, str] = {}
    for fields in paragraphs:
        name, _, body = fields.get("License", "").partition("\n")
        if body:
            bodies.setdefault(name, body)
    author, licence = "", None
    for fields in paragraphs:
        if any(fnmatchcase(path, pattern) for pattern in fields.get("Files", "").split()):
            author = _people(fields.get("Copyright", ""))
            licence = _licence(fields.get("License", "").partition("\n")[0], bodies)
    return Origin(author=author, licence=licence)


def readme_origins(text: str) -> dict[str, Origin]:
    """Return the origins that GCompris' `README` beside its photos states, by file name.

    This file, and not the package's `copyright`, speaks of the photos as they are now: the latter still names the authors of
    JPEG files that later releases replaced.
    """
    found: dict[str, Origin] = {}
    for block in re.split(r"\n\s*\n", text):
        head, _, files = block.partition("Files:")
        fields = dict(line.split(":", 1) for line in head.splitlines() if ":" in line)
        people = fields.get("Copyright", "").strip()
        origin = Origin(
            author=re.sub(r",\s*\d{4}$", "", people),
            licence=_SPDX.get(fields.get("License", "").strip().lower()),
            page=fields.get("Source", "").strip() or None,
        )
        found.update({name.strip(): origin for name in files.splitlines() if name.strip()})
    return found
