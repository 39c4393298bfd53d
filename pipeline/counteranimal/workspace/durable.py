"""Files that survive a crash: written under another name, synced, renamed, and the folder synced.

Decides that order and the names of temporary files, which say who writes them. Leaves what is written to its callers.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from counteranimal.errors import EnvironmentFailure

__all__ = [
    "TEMPORARY",
    "as_failure",
    "stable_id",
    "sync_folder",
    "target_and_writer",
    "write_atomically",
    "write_temporary",
]

TEMPORARY = ".tmp"
_PIECE = 1 << 20


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_temporary(path: Path, data: bytes, mode: int, writer: str = "") -> Path:
    """Write and sync data beside `path` under a name of its own and return that; nothing stays after an error."""
    name = f".{path.name}.{writer or os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}"
    temporary = path.with_name(name)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left[:_PIECE]) :]
        os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return temporary


def target_and_writer(temporary: Path) -> tuple[Path, str]:
    """Return what a temporary file was to become, and who wrote it.

    Examples
    --------
    >>> target_and_writer(Path("ab/.abc.json.run1.0f0f0f0f.tmp"))
    (PosixPath('ab/abc.json'), 'run1')
    """
    name, writer, _, _ = temporary.name[1:].rsplit(".", 3)
    return temporary.with_name(name), writer


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a machine after a crash, sees the old content or the new one.

    Raises
    ------
    EnvironmentFailure
        If the disk is full or the folder cannot be written; nothing half-written stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_temporary(path, data, mode).replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise as_failure(error, path) from error


def stable_id(path: Path) -> str:
    """Return the id kept in a file, made on first use; two processes that come at once agree on one."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = write_temporary(path, f"{secrets.token_hex(8)}\n".encode(), 0o444)
            try:
                os.link(temporary, path)
                sync_folder(path.parent)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise as_failure(error, path) from error


def as_failure(error: OSError, path: Path) -> EnvironmentFailure:
    """Return a failed write as one sentence with the next step."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EnvironmentFailure(f"disk full while writing {path.name}; free some space and run again")
    return EnvironmentFailure(f"{path} cannot be written ({error.strerror}); mend the folder and run again")
