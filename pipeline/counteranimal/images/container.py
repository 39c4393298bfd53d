"""What the three readers of image files share: the result they return, the orientation note, and when a profile is sound.

Decides how little of a file's metadata is ever looked at: one orientation number and a colour profile. The readers (`jpeg`,
`png`, `webp`) take a file apart by its own syntax and put it together again from the pieces that make its pixels, so that
Pillow, and every reader of a published copy, never sees EXIF, XMP, IPTC, comments, previews or anything behind the image.
Leaves pixels to `decode`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from counteranimal.errors import Reason, Rejected

__all__ = [
    "MAX_PROFILE",
    "Container",
    "broken",
    "common_orientation",
    "orientation_note",
    "orientation_of",
    "sound_profile",
    "truncated",
]

MAX_PROFILE = 1_000_000
"""Bytes of a colour profile at most; Pillow refuses larger ones in PNG, and scene photos carry a few kilobytes."""

_ORIENTATION_TAG = 0x0112
_SHORT = 3


@dataclass(frozen=True, slots=True)
class Container:
    """One image file, taken apart.

    Attributes
    ----------
    mime : str
        image/jpeg, image/png or image/webp.
    width, height : int
        As stored, in pixels, before the orientation is applied.
    orientation : int
        1..8 as in EXIF; 1 where there is none or it is invalid.
    bare : bytes
        The file with nothing but what makes its pixels.
    published : bytes
        The same with a minimal orientation note where `orientation` is not 1.
    """

    mime: str
    width: int
    height: int
    orientation: int
    bare: bytes
    published: bytes


def truncated(what: str) -> Rejected:
    """Return the rejection of a file that ends before its image does."""
    return Rejected(Reason.TRUNCATED, f"the {what} ends before its image does")


def broken(what: str) -> Rejected:
    """Return the rejection of a file that breaks its format's syntax."""
    return Rejected(Reason.DECODE, what)


def orientation_note(orientation: int) -> bytes:
    """Return a big-endian TIFF block of 26 bytes that holds the orientation and nothing else."""
    return b"MM\x00*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION_TAG, _SHORT, 1, orientation, 0, 0)


def orientation_of(block: bytes) -> int:
    """Return the orientation (1..8) that an EXIF block states in its first directory; 1 for anything broken.

    Only one directory of fixed-size entries is walked and no offset but the first is followed, so loops, bad offsets and
    oversized counts cannot lead anywhere.
    """
    tiff = block.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if not 8 <= start <= len(tiff) - 2:
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            return value if kind == _SHORT and number == 1 and 1 <= value <= 8 else 1
    return 1


def common_orientation(blocks: list[bytes]) -> int:
    """Return the one orientation that all EXIF blocks of a file state; blocks that disagree count as none."""
    stated = {orientation_of(block) for block in blocks}
    return stated.pop() if len(stated) == 1 else 1


def sound_profile(profile: bytes) -> bool:
    """Say whether bytes can be an ICC profile: the header's own size and its signature `acsp`, within `MAX_PROFILE`."""
    return (
        128 <= len(profile) <= MAX_PROFILE
        and 128 <= int.from_bytes(profile[:4], "big") <= len(profile)
        and profile[36:40] == b"acsp"
    )
