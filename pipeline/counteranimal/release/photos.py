"""A folder of photos beside a release: finds a photo by its digest and refuses other bytes.

Decides where a photo may lie. Photos are never part of a release; a folder of them is exported by whoever froze it or restored
from the sources, and holds originals (`ab/<sha256>`, as in a workspace) or published copies (`<sha256>.<extension>`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.ids import is_photo_id

__all__ = ["EXTENSIONS", "PhotoFolder"]

# By media type, in the order in which they are looked for.
EXTENSIONS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_SUFFIXES = (*EXTENSIONS.values(), ".jpeg", "")


class PhotoFolder:
    """Photos below one folder.

    Raises
    ------
    UsageError
        If there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"photo folder {folder} does not exist; fetch the photos or name another folder")
        self.folder = folder

    def path(self, entry: Mapping[str, Any]) -> tuple[Path, str, int]:
        """Return the file of an entry's photo, the sha256 that it must have, and its length in bytes.

        Parameters
        ----------
        entry : mapping
            A row of `entries`: `photo_id`, `bytes`, `published_sha256` and `published_bytes` are read.

        Raises
        ------
        IntegrityError
            If the photo is in the folder under neither digest.
        """
        for digest, length in (
            (entry["photo_id"], entry["bytes"]),
            (entry["published_sha256"], entry["published_bytes"]),
        ):
            if not is_photo_id(digest):
                raise IntegrityError(f"{digest!r} is no photo id (64 hexadecimal characters); verify the release")
            for place in (self.folder / digest[:2] / digest, *(self.folder / f"{digest}{end}" for end in _SUFFIXES)):
                if place.is_file():
                    return place, digest, length
        raise IntegrityError(
            f"photo {entry['photo_id']} is not in {self.folder}; fetch it, or name the folder that has it"
        )

    def read(self, entry: Mapping[str, Any]) -> bytes:
        """Return the bytes of an entry's photo, original or published copy, after holding them against their digest.

        Raises
        ------
        IntegrityError
            If the photo is missing or its bytes are others; the sentence names photo and file.
        """
        place, digest, length = self.path(entry)
        try:
            # The length first, so that a wrong file is never read whole.
            data = place.read_bytes() if place.stat().st_size == length else None
        except OSError as error:
            raise IntegrityError(
                f"photo {entry['photo_id']} at {place} cannot be read ({error.strerror}); fetch it again"
            ) from error
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            raise IntegrityError(f"photo {entry['photo_id']} has changed; delete {place} and fetch it again")
        return data
