"""SHA256SUMS: the list of digests that plain `sha256sum -c` reads, and digests of files without reading them whole.

Decides the spelling of the list and which paths it may hold. Leaves what to do about a difference to the reader. A path is
relative, has no `..` and nothing that another system reads differently, so that checking a list can never touch a file
outside its folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from counteranimal.errors import IntegrityError
from counteranimal.release.layout import SUMS

__all__ = ["digest_of_bytes", "digest_of_file", "parse", "refuse_path", "render"]

_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_CHUNK = 1 << 20


def digest_of_bytes(data: bytes) -> str:
    """Return the sha256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> tuple[str, int]:
    """Return the sha256 and the length in bytes of a file, read in pieces of 1 MiB.

    Raises
    ------
    IntegrityError
        If it is missing, cannot be read, or is a link, a folder or a device instead of a plain file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise IntegrityError(f"{path.name} is missing; get it again from where the release is published") from error
    except OSError as error:
        raise IntegrityError(f"{path.name} is a link or cannot be read ({error.strerror}); get it again") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{path.name} is no plain file; get it again from where the release is published")
    hasher = hashlib.sha256()
    length = 0
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
            length += len(chunk)
    return hasher.hexdigest(), length


def refuse_path(path: str) -> str:
    """Return why a listed path is refused, or an empty text for one that may stand in the list.

    Examples
    --------
    >>> refuse_path("entries.parquet"), refuse_path("../entries.parquet")
    ('', 'leaves the folder')
    """
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "is absolute"
    if ".." in PurePosixPath(path).parts:
        return "leaves the folder"
    if not _PATH.fullmatch(path):
        return "holds characters that systems read differently"
    return ""


def render(digests: Mapping[str, str]) -> bytes:
    """Return the list for path -> digest, sorted by path."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()


def parse(data: bytes) -> dict[str, str]:
    """Return path -> digest of a list, in the order of its lines.

    Raises
    ------
    IntegrityError
        With the line: not the one spelling that `render` writes (CRLF, BOM, blank or cut lines, upper-case digests), a refused
        path, a path listed twice, or a path that is a folder of another.
    """
    if not data:
        raise IntegrityError(f"{SUMS} is empty; get it again from where the release is published")
    if not data.endswith(b"\n"):
        raise _refusal(data.count(b"\n") + 1, "is cut short")
    try:
        lines = data.decode("ascii").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise _refusal(data.count(b"\n", 0, error.start) + 1, "is not plain text") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise _refusal(number, "is not a digest, two spaces and a path")
        digest, path = match.groups()
        why = refuse_path(path) or _clash(path, found)
        if why:
            raise _refusal(number, f"lists {path!r}, which {why}")
        found[path] = digest
    return found


def _clash(path: str, found: Mapping[str, str]) -> str:
    # Systems whose file names ignore case would check one file for two lines.
    folded = {other.casefold() for other in found}
    if path.casefold() in folded:
        return "stands twice"
    parents = {str(parent).casefold() for parent in PurePosixPath(path).parents} - {"."}
    if parents & folded or any(other.startswith(f"{path.casefold()}/") for other in folded):
        return "is the folder of another or lies in one"
    return ""


def _refusal(number: int, what: str) -> IntegrityError:
    return IntegrityError(f"{SUMS} line {number} {what}; get the file again from where the release is published")
