"""uint8 crops of a set of photos under one preprocessing, in one file that models and runs share.

Decides the file and its name, what of it may be believed, and how much disk all of them may take. A file is named by a digest
of everything that decides its pixels: the photo ids (digests of the bytes), the preprocessing's key, the decoder and
Pillow's version; so a stale one is never found, only a new one begun. Each row carries a checksum: a row that a killed process, a
full disk or a bad sector left wrong is absent, and its photo is decoded again. Nothing here is worth a backup or a sync.

Layout, little-endian: `MAGIC`, the number of rows N and the side S (uint32 each), zeros to 64 bytes; N checks (uint64: 0 absent,
else 2**32 + crc32 of the row); zeros to a multiple of 4,096; N rows of S * S * 3 bytes, in the order of the sorted photo ids. So
the rows can be mapped into memory; here they are read one by one, since mapped pages would count as this process's memory.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from counteranimal.ids import digest_of
from counteranimal.images import DECODER
from counteranimal.models.protocol import Preprocessing
from counteranimal.progress import note
from counteranimal.settings import Settings

__all__ = ["SUFFIX", "CropFile", "CropSet", "Room", "crop_file_name"]

MAGIC: Final = b"CACROPS1"
SUFFIX: Final = ".crops"
_HEADER = struct.Struct("<8sII")
_CHECKS_AT, _PAGE = 64, 4096
_PRESENT = 1 << 32
_WORTH_SAYING = 10**9  # bytes


class CropSet(NamedTuple):
    """The folder of such files, and the photo ids, sorted, of the set that one is for: all of a release, whoever asks for some."""

    folder: Path
    photo_ids: Sequence[str]


class Room(NamedTuple):
    """How many bytes the files of a folder may take together, and how many must stay free on its disk."""

    limit: int
    floor: int

    @classmethod
    def of(cls, settings: Settings) -> Room:
        """Return what the machine's settings allow."""
        return cls(int(settings.crop_cache_gb * 1e9), settings.free_space_floor_mb * 1_000_000)


def crop_file_name(preprocessing: Preprocessing, photo_ids: Sequence[str]) -> str:
    """Return the name of the file of these photos (sorted) under a preprocessing."""
    digest = digest_of(MAGIC.decode(), DECODER, PIL.__version__, preprocessing.key, *photo_ids)
    return f"{re.sub(r'[^a-z0-9.-]+', '-', preprocessing.key.lower())}-{digest[:32]}{SUFFIX}"


class CropFile:
    """The crops of one set of photos; safe to use from many threads and processes, since equal rows are written.

    Parameters
    ----------
    photos : CropSet
        The folder is made when the first crop is kept.
    preprocessing : Preprocessing
    room : Room
        Where the file does not fit, older ones go; where it never fits, nothing is kept and a note says so.
    """

    def __init__(self, photos: CropSet, preprocessing: Preprocessing, room: Room) -> None:
        self.path = photos.folder / crop_file_name(preprocessing, photos.photo_ids)
        self._place = {photo_id: row for row, photo_id in enumerate(photos.photo_ids)}
        self._room = room
        self._lock = threading.Lock()
        self._side = 0
        self._descriptor: int | None = None
        self._keeps = room.limit > 0
        if self._keeps and self.path.is_file():
            try:
                self._open()
            except OSError as error:
                self._give_up(f"{error.strerror} at {self.path.parent}")

    def close(self) -> None:
        """Let go of the file; call it when no thread uses it any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def get(self, photo_id: str) -> NDArray[np.uint8] | None:
        """Return a crop, shape (side, side, 3), or None where it is absent or not what was written."""
        descriptor = self._descriptor
        if descriptor is None:
            return None
        row = self._place[photo_id]
        try:
            check = int.from_bytes(os.pread(descriptor, 8, _CHECKS_AT + 8 * row), "little")
            if not check:
                return None
            pixels = np.empty((self._side, self._side, 3), np.uint8)
            read = os.preadv(descriptor, [pixels.data], self._offset(row))
        except OSError:  # a bad sector: the photo itself is still there
            return None
        return pixels if read == pixels.nbytes and check == _PRESENT + zlib.crc32(pixels.data) else None

    def put(self, photo_id: str, crop: NDArray[np.uint8]) -> None:
        """Keep a crop; what cannot be kept is only computed again another time."""
        if not self._keeps:
            return
        pixels = np.ascontiguousarray(crop)
        row = self._place[photo_id]
        try:
            if self._descriptor is None:
                with self._lock:
                    self._begin(crop.shape[0])
            descriptor = self._descriptor
            if descriptor is None or pixels.shape != (self._side, self._side, 3):
                return
            # The row first: a check without its row is what a reader would take for damage, and decode again.
            if os.pwrite(descriptor, pixels.data, self._offset(row)) == pixels.nbytes:
                os.pwrite(descriptor, (_PRESENT + zlib.crc32(pixels.data)).to_bytes(8, "little"), _CHECKS_AT + 8 * row)
        except OSError as error:
            self._give_up(f"{error.strerror} at {self.path.parent}")

    def _offset(self, row: int) -> int:
        return self._rows_at() + row * self._side * self._side * 3

    def _rows_at(self) -> int:
        return -(-(_CHECKS_AT + 8 * len(self._place)) // _PAGE) * _PAGE

    def _size(self, side: int) -> int:
        return self._rows_at() + len(self._place) * side * side * 3

    def _open(self) -> None:
        """Open the file that is there; one whose header or length is wrong is begun anew, one that is read-only is read."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # somebody else's, as on a node that shares a cache
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._keeps = False
        header = os.pread(descriptor, _HEADER.size, 0)
        magic, rows, side = _HEADER.unpack(header) if len(header) == _HEADER.size else (b"", 0, 0)
        if (magic, rows) != (MAGIC, len(self._place)) or os.fstat(descriptor).st_size != self._size(side):
            os.close(descriptor)
            if self._keeps:
                self.path.unlink(missing_ok=True)
            return
        if self._keeps:
            os.utime(descriptor)  # when it was last used decides which file goes first
        self._side, self._descriptor = side, descriptor

    def _begin(self, side: int) -> None:
        if self._descriptor is not None or not self._keeps:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._make_room(self._size(side)):
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(descriptor, self._size(side))  # without blocks: disk is taken as rows come
        os.pwrite(descriptor, _HEADER.pack(MAGIC, len(self._place), side), 0)
        self._side, self._descriptor = side, descriptor

    def _make_room(self, needed: int) -> bool:
        """Remove files that were used longest ago until this one fits; False, with a note, where it cannot."""
        folder = self.path.parent
        others = sorted(
            (path for path in folder.glob(f"*{SUFFIX}") if path != self.path), key=lambda path: path.stat().st_mtime
        )
        taken = sum(path.stat().st_size for path in others)
        if needed <= self._room.limit:
            for path in others:
                if taken + needed <= self._room.limit:
                    break
                taken -= path.stat().st_size
                path.unlink(missing_ok=True)
        if needed > self._room.limit:
            self._give_up(f"they take {needed / 1e9:.1f} GB, crop_cache_gb allows {self._room.limit / 1e9:g}")
        elif shutil.disk_usage(folder).free - needed < self._room.floor:
            self._give_up(f"they take {needed / 1e9:.1f} GB, too much for the disk of {folder}")
        elif needed >= _WORTH_SAYING:
            note(f"crops of {len(self._place):,} photos are kept in {folder}: up to {needed / 1e9:.1f} GB there")
        return self._keeps

    def _give_up(self, why: str) -> None:
        if self._keeps:
            self._keeps = False
            note(f"crops of {len(self._place):,} photos are not kept: {why}; each model decodes the photos itself")
