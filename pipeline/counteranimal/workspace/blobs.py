"""Content-addressed bytes: a blob is stored under its sha256, once, and never changed.

Decides the order that makes a store survive a crash: temporary file, data synced, renamed, folder synced, and only then may
the caller record it. A side record lies beside each blob, written before it, one for every candidate that brought these bytes;
so a blob that nothing records can still be recorded. Leaves recording to the journal.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from counteranimal.errors import IntegrityError
from counteranimal.ids import is_photo_id, photo_id_of
from counteranimal.workspace.durable import (
    TEMPORARY,
    Batch,
    as_failure,
    stable_id,
    sync_folder,
    target_and_writer,
    write_atomically,
)

__all__ = ["Blob", "Blobs", "Side", "write_atomically"]

Side = dict[str, str | int | None]

_READ_ONLY = 0o444
_MOST_SIDE = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Bytes to store and the small record kept beside them (candidate, source, url, licence, retrieved_at)."""

    data: bytes
    side: Mapping[str, str | int | None] = field(default_factory=dict)

    @cached_property
    def photo_id(self) -> str:
        """The sha256 of the bytes."""
        return photo_id_of(self.data)


class Blobs:
    """The blob store below one folder.

    Parameters
    ----------
    root : Path
        Made when something is stored.
    writer : str
        Who writes, as temporary files are named; empty for the process's id.
    """

    def __init__(self, root: Path, writer: str = "") -> None:
        self.root = root
        self.writer = writer
        self._prefix = f"{root}/"

    def identity(self) -> str:
        """Return the id of this store, made on first use: the journal notes in which store a photo lies."""
        return stable_id(self.root / "store.id")

    def path(self, photo_id: str) -> Path:
        """Return where a blob is kept, whether or not it is there.

        Raises
        ------
        IntegrityError
            If `photo_id` is no sha256, so that no outside text can become a path.
        """
        return Path(self._path(photo_id))

    def _path(self, photo_id: str) -> str:
        if not is_photo_id(photo_id):
            raise IntegrityError(
                f"{photo_id!r} is no photo id (64 hexadecimal characters); check the table it came from"
            )
        return f"{self._prefix}{photo_id[:2]}/{photo_id}"

    def has(self, photo_id: str) -> bool:
        """Say whether the blob is stored; raises IntegrityError where a link stands in its place."""
        return _is_plain(self._path(photo_id))

    def put_many(self, blobs: Sequence[Blob]) -> list[str]:
        """Store a batch durably and return the ids in order; blobs that are there already are left alone.

        Raises
        ------
        EnvironmentFailure
            If the disk is full or the folder read-only. Blobs of the batch that were renamed before stay, whole.
        IntegrityError
            If a link or something else that is no ordinary file stands where a blob belongs.
        """
        wanted: dict[str, bytes] = {}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with Batch(self.root, 2 * len(blobs), self.writer) as batch:
                for blob in blobs:
                    for path, data in self._wanted(blob, wanted).items():
                        batch.add(path, data, _READ_ONLY)
                        wanted[path] = data
                batch.commit()
        except OSError as error:
            raise as_failure(error, self.root) from error
        return [blob.photo_id for blob in blobs]

    def _wanted(self, blob: Blob, batch: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the files that are to be written for a blob, the side record first."""
        path = self._path(blob.photo_id)
        side = json.dumps(dict(blob.side), sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
        is_there = path in batch or _is_plain(path)
        side_path = f"{path}.json"
        place = _place_of_side(side_path, batch.get(side_path), side, fresh=not is_there)
        wanted = {} if place is None or place in batch else {place: side}
        return wanted if is_there else {**wanted, path: blob.data}

    def read(self, photo_id: str) -> bytes:
        """Return the bytes of a blob after holding them against its id.

        Raises
        ------
        IntegrityError
            If the blob is missing, is a link, or its bytes have changed.
        """
        path = self._path(photo_id)
        if not _is_plain(path):
            raise IntegrityError(
                f"photo {photo_id} is not in the store {self.root}; copy it from the store that fetched it, or crawl again"
            )
        with io.FileIO(path) as stored:
            data = stored.readall()
        if hashlib.sha256(data).hexdigest() != photo_id:
            raise IntegrityError(f"photo {photo_id} has changed on disk; delete {path} and run `counteranimal recover`")
        return data

    def side(self, photo_id: str) -> Side:
        """Return the side record of a blob, that of the candidate that brought it first; empty where there is none."""
        found = _read_side(f"{self._path(photo_id)}.json")
        return (_parsed(found) or {}) if found is not None else {}

    def sides(self, photo_id: str) -> list[Side]:
        """Return the side records of a blob that can be read, one a candidate, the first one first."""
        path = self.path(photo_id)
        names = [f"{path}.json", *sorted(map(str, path.parent.glob(f"{photo_id}.????????????????.json")))]
        read = [found for name in names if (found := _read_side(name)) is not None]
        return [side for data in read if (side := _parsed(data)) is not None]

    def ids(self) -> Iterator[str]:
        """Yield the ids of all stored blobs in sorted order."""
        for folder in self.folders():
            yield from sorted(path.name for path in folder.iterdir() if is_photo_id(path.name))

    def folders(self) -> list[Path]:
        """Return the folders that blobs lie in, sorted."""
        return [path for path in sorted(self.root.glob("[0-9a-f][0-9a-f]")) if path.is_dir() and not path.is_symlink()]

    def remove(self, photo_id: str) -> int:
        """Remove a blob and its side records and return the bytes freed; the writer's lock must be held."""
        path = self.path(photo_id)
        freed = 0
        for each in (path, *path.parent.glob(f"{photo_id}.*json")):
            if each.exists() or each.is_symlink():
                freed += each.lstat().st_size
                each.unlink()
        return freed

    def set_aside(self, photo_id: str) -> Path:
        """Move a file whose bytes are not what its name says out of the way, and return where it lies now."""
        target = self.root / "damaged" / photo_id
        target.parent.mkdir(exist_ok=True)
        self.path(photo_id).replace(target)
        sync_folder(target.parent)
        return target

    def temporary_files(self, living: Collection[str] = ()) -> list[Path]:
        """Return the temporary files of writers that are not among the living."""
        return [
            path for path in sorted(self.root.glob(f"??/.*{TEMPORARY}")) if target_and_writer(path)[1] not in living
        ]

    def finish_temporary(self, living: Collection[str] = ()) -> tuple[int, int]:
        """Finish what killed writers began: rename files that are whole, remove the others; the writer's lock must be held.

        Returns
        -------
        tuple of int
            Blobs that were finished, and temporary files that were removed.
        """
        waiting: dict[Path, list[Path]] = {}
        for path in self.temporary_files(living):
            waiting.setdefault(path.with_name(path.name[1:65]), []).append(path)
        finished = removed = 0
        for blob, paths in waiting.items():
            sides = [path for path in paths if target_and_writer(path)[0].suffix == ".json"]
            whole = next(
                (path for path in paths if path not in sides and photo_id_of(path.read_bytes()) == blob.name), None
            )
            is_there = _is_plain(str(blob))
            if whole is not None or is_there:
                for path in sides:
                    place = _place_of_side(f"{blob}.json", None, path.read_bytes(), fresh=False)
                    if place is not None and _parsed(path.read_bytes()) is not None:
                        path.replace(place)
            if whole is not None and not is_there and blob.with_name(f"{blob.name}.json").exists():
                whole.replace(blob)
                finished += 1
            for path in paths:
                if path.exists():
                    path.unlink()
                    removed += 1
            sync_folder(blob.parent)
        return finished, removed


def _place_of_side(path: str, pending: bytes | None, side: bytes, *, fresh: bool) -> str | None:
    """Return where a side record goes: to `path`, or beside it where another candidate's is; None where it is there already.

    `pending` is what is about to be written to `path`; with `fresh` an older record of the same candidate is replaced.
    """
    first = pending if pending is not None else _read_side(path)
    known = _candidate(first)
    if known is None:
        return path
    candidate = _candidate(side)
    if known == candidate:
        return path if fresh else None
    key = hashlib.sha256(str(candidate).encode("utf-8", "replace")).hexdigest()[:16]
    extra = f"{path.removesuffix('.json')}.{key}.json"
    return None if Path(extra).exists() else extra


def _candidate(side: bytes | None) -> str | None:
    parsed = _parsed(side) if side is not None else None
    return None if parsed is None else str(parsed.get("candidate_id") or "")


def _is_plain(path: str) -> bool:
    """Say whether an ordinary file is there; raises IntegrityError for links and everything else that somebody planted."""
    try:
        found, folder = os.lstat(path), os.lstat(path.rpartition("/")[0])
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or stat.S_ISLNK(folder.st_mode):
        raise IntegrityError(f"{path} is a link or no ordinary file; remove it and run `counteranimal recover`")
    return True


def _read_side(path: str) -> bytes | None:
    try:
        if os.lstat(path).st_size > _MOST_SIDE:
            return b""
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def _parsed(data: bytes) -> Side | None:
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
