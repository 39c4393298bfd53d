"""Content-addressed bytes: a blob is stored under its sha256, once, and never changed.

Decides the order that makes a store survive a crash: temporary file, data synced, renamed, folder synced, and only then may
the caller record it. Leaves recording to the journal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.ids import is_photo_id, photo_id_of

__all__ = ["Blob", "Blobs", "write_atomically"]


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes to store and the small record kept beside them (source, url, licence, retrieved_at)."""

    data: bytes
    side: Mapping[str, str | None] = field(default_factory=dict)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_temporary(path: Path, data: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a machine after a crash, sees the old content or the new one.

    Raises
    ------
    EnvironmentFailure
        If the disk is full or the folder cannot be written; nothing half-written stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_temporary(path, data, mode).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _as_failure(error, path) from error


def _as_failure(error: OSError, path: Path) -> EnvironmentFailure:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EnvironmentFailure(f"disk full while writing {path.name}; free some space and run again")
    return EnvironmentFailure(f"{path} cannot be written ({error.strerror}); mend the folder and run again")


class Blobs:
    """The blob store below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, photo_id: str) -> Path:
        """Return where a blob is kept, whether or not it is there.

        Raises
        ------
        IntegrityError
            If `photo_id` is no sha256, so that no outside text can become a path.
        """
        if not is_photo_id(photo_id):
            raise IntegrityError(
                f"{photo_id!r} is no photo id (64 hexadecimal characters); check the table it came from"
            )
        return self.root / photo_id[:2] / photo_id

    def has(self, photo_id: str) -> bool:
        """Say whether the blob is stored."""
        return self.path(photo_id).is_file()

    def put_many(self, blobs: Sequence[Blob]) -> list[str]:
        """Store a batch durably and return the ids in order; blobs that are there already are left alone.

        Raises
        ------
        EnvironmentFailure
            If the disk is full or the folder read-only. Blobs of the batch that were renamed before stay, whole.
        """
        ids: list[str] = []
        staged: list[tuple[Path, Path]] = []
        folders: set[Path] = set()
        try:
            for blob in blobs:
                photo_id = photo_id_of(blob.data)
                ids.append(photo_id)
                path = self.path(photo_id)
                if path.exists():
                    continue
                if not path.parent.is_dir():
                    # A new folder is an entry of the root: without syncing that too, a crash takes folder and blob.
                    path.parent.mkdir(parents=True, exist_ok=True)
                    folders.add(self.root)
                side = json.dumps(dict(blob.side), sort_keys=True, ensure_ascii=False).encode()
                side_path = path.with_name(f"{photo_id}.json")
                staged += [(_write_temporary(side_path, side, 0o444), side_path)]
                staged += [(_write_temporary(path, blob.data, 0o444), path)]
            for temporary, path in staged:
                temporary.replace(path)
                folders.add(path.parent)
            for folder in sorted(folders):
                _sync_folder(folder)
        except OSError as error:
            for temporary, _ in staged:
                temporary.unlink(missing_ok=True)
            raise _as_failure(error, self.root) from error
        return ids

    def read(self, photo_id: str) -> bytes:
        """Return the bytes of a blob after holding them against its id.

        Raises
        ------
        IntegrityError
            If the blob is missing or its bytes have changed.
        """
        path = self.path(photo_id)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise IntegrityError(f"photo {photo_id} is not in the store {self.root}; crawl or restore it") from error
        if hashlib.sha256(data).hexdigest() != photo_id:
            raise IntegrityError(f"photo {photo_id} has changed on disk; delete {path} and crawl it again")
        return data

    def side(self, photo_id: str) -> dict[str, str | None]:
        """Return the side record of a blob; empty where there is none."""
        path = self.path(photo_id).with_name(f"{photo_id}.json")
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def ids(self) -> Iterator[str]:
        """Yield the ids of all stored blobs in sorted order."""
        for folder in sorted(self.root.glob("??")):
            for path in sorted(folder.iterdir()):
                if is_photo_id(path.name):
                    yield path.name

    def sweep_temporary(self) -> int:
        """Remove temporary files that a killed writer left behind and return how many there were; the writer's lock must be held."""
        left = list(self.root.glob("??/.*.tmp"))
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)
