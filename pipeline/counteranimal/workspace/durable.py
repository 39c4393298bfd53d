"""Files that survive a crash: written under another name, synced, renamed, and the folder synced.

Decides that order, when many files share one sync, and the names of temporary files, which say who writes them. Leaves what is
written to its callers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from counteranimal.errors import EnvironmentFailure

__all__ = [
    "TEMPORARY",
    "Batch",
    "as_failure",
    "stable_id",
    "sync_folder",
    "target_and_writer",
    "write_atomically",
    "write_temporary",
]

TEMPORARY = ".tmp"
_PIECE = 1 << 20
_FEW = 16
"""Up to so many files are synced one by one; more of them by one sync of their file system."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(descriptor: int) -> None:
    """Make everything durable that was written to the file system of an open folder, as fsync does for one file."""
    if _LIBC.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Batch:
    """Files that become durable together; a context manager that removes what was not committed.

    A sync of the whole file system costs less CPU than one of each of many files, but waits for whatever else is being written to
    it; so small batches sync their files one by one.

    Parameters
    ----------
    root : Path
        A folder that exists, above all files.
    files : int
        About how many there will be.
    writer : str
        See `target_and_writer`.
    """

    def __init__(self, root: Path, files: int, writer: str = "") -> None:
        self._root = str(root)
        self._ending = _ending(writer)
        self._staged: list[tuple[str, str]] = []
        self._folders: set[str] = set()
        # Opened before anything is written: a file system tells an open folder of the write errors since then.
        self._all = os.open(root, os.O_RDONLY | os.O_DIRECTORY) if files > _FEW and hasattr(_LIBC, "syncfs") else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._all is not None:
            os.close(self._all)
        for temporary, _ in self._staged:
            Path(temporary).unlink(missing_ok=True)

    def add(self, path: str, data: bytes, mode: int) -> None:
        """Write what is to become the file `path`, whose folder lies in the root and is made where it is missing."""
        sync = self._all is None
        try:
            temporary = _write(path, data, mode, self._ending, sync=sync)
        except FileNotFoundError:
            # A new folder is an entry of the root: without syncing that too, a crash takes folder and file.
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(self._root)
            temporary = _write(path, data, mode, self._ending, sync=sync)
        self._staged.append((temporary, path))

    def commit(self) -> None:
        """Sync, then rename in the order in which the files were added, then make the names durable."""
        if self._staged and self._all is not None:
            _sync_all(self._all)
        for temporary, path in self._staged:
            os.replace(temporary, path)  # noqa: PTH105 - a hundred a group: making paths of them costs more than the call
            self._folders.add(path.rpartition("/")[0])
        if self._staged and self._all is not None:
            _sync_all(self._all)
        else:
            for folder in sorted(self._folders):
                sync_folder(Path(folder))
        self._staged = []


def write_temporary(path: Path, data: bytes, mode: int, writer: str = "") -> Path:
    """Write and sync data beside `path` under a name of its own and return that; nothing stays after an error."""
    return Path(_write(str(path), data, mode, _ending(writer), sync=True))


def _ending(writer: str) -> str:
    """Return how temporary files of one batch end, unlike those of any other."""
    return f".{writer or os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}"


def _write(path: str, data: bytes, mode: int, ending: str, *, sync: bool) -> str:
    # Kept with its slash: a bare name lies in the working folder, not in the root.
    folder, slash, name = path.rpartition("/")
    temporary = f"{folder}{slash}.{name}{ending}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left[:_PIECE]) :]
        if sync:
            os.fsync(descriptor)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
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
