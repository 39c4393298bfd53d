"""A hash list: the fingerprints of a folder of photos, to be held against other photos where those photos are not.

Decides the file (Parquet, the fingerprint recipe in its metadata) and how it is made: a shard at a time, each kept until the whole
list is written, so that a killed run goes on. The files come from anywhere, so they are decoded in processes of their own, and one
that is no photo, or kills its decoder, is a row with its reason. Leaves what a list is compared with to `reference`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.dedupe.fingerprint import DEFAULT_RECIPE, hashes_in, recipe_name
from counteranimal.errors import IntegrityError, Reason, Rejected, UsageError
from counteranimal.ids import digest_of
from counteranimal.images import DecoderPool
from counteranimal.pool import shards_of
from counteranimal.progress import track

__all__ = ["HashList", "list_folder", "read_hash_list"]

_FORMAT = "counteranimal-hash-list/1"
_SHARD = 256
_MAX_BYTES = 64 * 1024 * 1024
# A decoder loads numpy, whose threads reserve address space that they never touch.
_MEMORY_MB = 4096
_AGAIN = "make it again with `counteranimal fingerprint DIR`"


@dataclass(frozen=True, slots=True)
class HashList:
    """A list as read: its name (the file's, without its ending), the sha256 of the file, and its rows (table `hash_list`)."""

    name: str
    sha256: str
    rows: pa.Table

    @property
    def unreadable(self) -> int:
        """How many of its files could not be hashed."""
        return sum(status != "ok" for status in self.rows.column("status").to_pylist())


def list_folder(folder: Path, out: Path, *, workers: int = 1) -> dict[str, Any]:
    """Write the hash list of every regular file below a folder; links are not followed.

    Returns
    -------
    dict
        `files`, `hashed`, `unreadable`, the latter also by reason (`reasons`), and `recipe`.

    Raises
    ------
    UsageError
        If there is no such folder, no photo in it, or the list exists.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the folder whose photos are to be hashed")
    if out.exists():
        raise UsageError(f"{out} exists; remove it, or choose another file with --out")
    if not out.parent.is_dir():
        raise UsageError(f"the folder of {out} does not exist; make it first")
    # The list itself, and what a killed run left of it, may lie inside the folder.
    kept = out.with_name(f".{out.name}.parts")
    found = [item for item in _files(folder) if kept not in item[0].parents]
    with DecoderPool(workers, memory_mb=_MEMORY_MB) as decoders, ThreadPoolExecutor(workers) as readers:
        hashed_by = functools.partial(_list_shard, folder, kept, (decoders, readers))
        parts = [hashed_by(shard) for shard in track(shards_of(found, _SHARD), "fingerprint")]
    whole = tables.conform(
        "hash_list", pa.concat_tables([tables.read(path, "hash_list") for path in parts] or [tables.empty("hash_list")])
    )
    hashed = whole.column("status").to_pylist().count("ok")
    if not hashed:
        raise UsageError(f"no file in {folder} is a photo that can be read; give a folder of JPEG, PNG or WebP files")
    told = {"format": _FORMAT, "recipe": recipe_name(DEFAULT_RECIPE)}
    tables.write(out, whole.replace_schema_metadata(told))
    shutil.rmtree(kept, ignore_errors=True)
    counted = whole.group_by("reason").aggregate([([], "count_all")]).to_pylist()
    reasons = {row["reason"]: row["count_all"] for row in counted if row["reason"]}
    return {
        "files": len(whole),
        "hashed": hashed,
        "unreadable": len(whole) - hashed,
        "reasons": dict(sorted(reasons.items())),
        "recipe": told["recipe"],
    }


def read_hash_list(path: Path) -> HashList:
    """Read a hash list.

    Raises
    ------
    UsageError
        If it does not exist, or was made by another fingerprint recipe than this version's.
    IntegrityError
        If it is damaged or no hash list.
    """
    if not path.is_file():
        raise UsageError(f"hash list {path} does not exist; make one with `counteranimal fingerprint DIR --out {path}`")
    try:
        told = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"hash list {path} is damaged or no Parquet file ({error}); get it again or {_AGAIN}"
        ) from error
    if told.get("format") != _FORMAT:
        raise IntegrityError(f"{path} is no hash list of this version ({_FORMAT}); {_AGAIN}")
    if told.get("recipe") != recipe_name(DEFAULT_RECIPE):
        raise UsageError(
            f"hash list {path} was made by the fingerprint recipe {told.get('recipe')}, photos here are hashed by "
            f"{recipe_name(DEFAULT_RECIPE)}, and the two cannot be compared; {_AGAIN}"
        )
    try:
        rows = tables.read(path, "hash_list")
    except IntegrityError as error:
        raise IntegrityError(f"hash list {path} is damaged; get it again or {_AGAIN}") from error
    if any(
        rows.filter(rows.column("status").to_numpy() == "ok").column(name).null_count
        for name in ("sha256", "phash", "dhash")
    ):
        raise IntegrityError(f"hash list {path} lacks hashes of files that it says are sound; {_AGAIN}")
    return HashList(path.stem, hashlib.sha256(path.read_bytes()).hexdigest(), rows)


_Found = tuple[Path, int, int]


def _files(folder: Path) -> Iterator[_Found]:
    """Yield path, size in bytes and time of change of every regular file, in a fixed order."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where) / name
            if path.is_file() and not path.is_symlink():
                told = path.stat()
                yield path, told.st_size, told.st_mtime_ns


def _list_shard(folder: Path, kept: Path, by: tuple[DecoderPool, ThreadPoolExecutor], found: Sequence[_Found]) -> Path:
    decoders, readers = by
    names = [path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode() for path, _, _ in found]
    facts = (f"{name} {size} {changed}" for name, (_, size, changed) in zip(names, found, strict=True))
    part = kept / f"{digest_of(recipe_name(DEFAULT_RECIPE), *facts)[:32]}.parquet"
    if not part.exists():
        hashed = readers.map(lambda item: _hashed(item[0], item[1], decoders), found)
        rows = [{"path": name, **row} for name, row in zip(names, hashed, strict=True)]
        tables.write(part, tables.conform("hash_list", rows))
    return part


def _hashed(path: Path, size: int, decoders: DecoderPool) -> dict[str, Any]:
    if size > _MAX_BYTES:
        return {"status": "rejected", "reason": Reason.TOO_LARGE.value}
    try:
        data = path.read_bytes()
    except OSError:
        return {"status": "rejected", "reason": Reason.LOST.value}
    digest = hashlib.sha256(data).hexdigest()
    try:
        return {"sha256": digest, **asdict(decoders.apart(hashes_in, data)), "status": "ok"}
    except Rejected as rejected:
        return {"sha256": digest, "status": "rejected", "reason": rejected.reason.value}
