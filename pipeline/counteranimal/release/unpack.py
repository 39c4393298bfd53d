"""Unpacks a release that came as a tar or zip archive, taking nothing from it but the files that a release has.

Decides what is refused: any member that is no plain file of a release (a path that leads elsewhere, a link, a device), a file
twice, two folders, and an archive that grows beyond a hundred times its size. Names are never taken from the archive: each
file is written under the name that this version knows. Leaves whether the files are a release to `verify`.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release.layout import RELEASE_FILES

__all__ = ["unpack"]

_MOST_TIMES = 100
_ALWAYS = 4 * 1024 * 1024
"""Bytes that any archive may grow to: a short one of tables that compress well is no bomb."""
_STEP = 1 << 20
# What the libraries raise for bytes that are none of theirs; NotImplementedError and RuntimeError are zipfile's for methods and passwords.
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError,
)  # fmt: skip


def unpack(archive: Path, into: Path) -> Path:
    """Unpack into a new folder and return it.

    Raises
    ------
    UsageError
        If the file is neither a tar nor a zip archive.
    IntegrityError
        If a member is refused or the archive is damaged; nothing outside the folder was touched.
    OSError
        If the folder cannot be written.
    """
    most = max(_ALWAYS, _MOST_TIMES * archive.stat().st_size)
    into.mkdir()
    folders: set[str] = set()
    try:
        for name, content in _members(archive):
            folder, _, file = name.rpartition("/")
            folders.add(folder)
            if file not in RELEASE_FILES or "/" in folder or folder == ".." or len(folders) > 1:
                raise _refusal(archive, name, "is no file of one release")
            if (into / file).exists():
                raise _refusal(archive, name, "stands twice")
            with (into / file).open("wb") as target:
                while piece := content.read(_STEP):
                    most -= len(piece)
                    if most < 0:
                        raise _refusal(archive, name, f"makes the archive grow beyond {_MOST_TIMES} times its size")
                    target.write(piece)
    except _DAMAGE as error:
        # A system's error has a number (the disk is full): it says nothing of the archive. A decompressor's has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise IntegrityError(f"{archive.name} cannot be unpacked ({error}); get it again") from error
    return into


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and content of every plain file; refuses whatever is neither a file nor a folder."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for item in opened.infolist():
                # The upper half holds a Unix file type where the archive was made on Unix: 0o10 plain, 0o04 folder.
                kind = item.external_attr >> 28
                if kind not in {0, 0o10, 0o04}:
                    raise _refusal(archive, item.filename, "is a link or a device")
                if not item.is_dir():
                    with opened.open(item) as content:
                        yield item.filename.removeprefix("./"), content
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive, "r:*") as packed:
            for member in packed:
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise _refusal(archive, member.name, "is a link, a device or has holes")
                body = packed.extractfile(member)
                if body is not None:
                    yield member.name.removeprefix("./"), body
    else:
        raise UsageError(f"{archive} is neither a release folder nor a tar or zip archive of one")


def _refusal(archive: Path, name: str, why: str) -> IntegrityError:
    return IntegrityError(f"{archive.name} holds {name!r}, which {why}; do not unpack it by other means")
