"""Takes a JPEG apart and rebuilds it from the segments that make its pixels (ITU-T T.81 Annex B, JFIF 1.02, ICC.1 Annex B.4).

Kept: JFIF header without its thumbnail, a complete colour profile, the Adobe colour transform, tables, frame and scans up to
the first end marker. Everything else goes: other application segments, comments, bytes between segments, and whatever
follows the image (archives, scripts, further pictures of a multi-picture file).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from counteranimal.images.container import (
    Container,
    broken,
    common_orientation,
    orientation_note,
    sound_profile,
    truncated,
)

__all__ = ["looks_whole", "read_jpeg"]

_EXIF = b"Exif\x00\x00"
_ICC = b"ICC_PROFILE\x00"
_ICC_PIECE = 65_519
_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_PROGRESSIVE, _HUFFMAN = 0xC2, 0xC4
_NEVER, _HOLE = 255, 64
# Baseline, extended and progressive Huffman frames: what every browser and every decoder of the evaluation can read.
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0xDE, 0xDF})
_TABLES = frozenset({0xC4, 0xDB, 0xDD})
# Patterns that begin with one literal byte are searched for at the speed of memchr; `\xff+` would be twenty times slower, and
# quadratic in a run of FF. A marker's fill bytes are what the match does not hold.
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
# Inside a scan, FF 00 is a stuffed byte and FF D0..D7 a restart; any other marker ends it.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


@dataclass(slots=True)
class _Pieces:
    jfif: bytes = b""
    adobe: bytes = b""
    exif: list[bytes] = field(default_factory=list)
    icc: dict[tuple[int, int], bytes] = field(default_factory=dict)
    # Segments, and scans as views of the file: they are most of it, and are copied once, when the file is put together again.
    image: list[bytes | memoryview] = field(default_factory=list)
    size: tuple[int, int] | None = None
    scans: int = 0


def read_jpeg(data: bytes) -> Container:
    """Return the JPEG's parts.

    Raises
    ------
    Rejected
        E_TRUNCATED without an end marker, E_DECODE for broken syntax or an unusual coding process.
    """
    pieces = _Pieces()
    at = 2
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise truncated("JPEG")
        marker, at = found.group()[-1], found.end()
        if marker == _EOI:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        if marker == _SOI:
            raise broken("the JPEG starts a second image inside the first")
        at = _segment(pieces, data, marker, at)
    if pieces.size is None or not pieces.scans:
        raise broken("the JPEG has no image in it")
    orientation = common_orientation(pieces.exif)
    bare = _assemble(pieces, b"")
    note = _as_segment(0xE1, _EXIF + orientation_note(orientation)) if orientation != 1 else b""
    width, height = pieces.size
    return Container("image/jpeg", width, height, orientation, bare, _assemble(pieces, note) if note else bare)


def looks_whole(bare: bytes) -> bool:
    """Say whether a file that `read_jpeg` rebuilt sends every coefficient to its last bit, and holds no run of 64 zero bytes by chance.

    A progressive file may legally end before its last bits, but no encoder makes one; a file that lost its later scans looks like
    that. A run of zeros is the work of an encoder only where the code of nothing but zeros means an empty block, as in flat areas.
    """
    sent: dict[int, list[int]] = {}
    firsts: dict[int, int] = {}
    progressive = False
    for marker, payload, scan in _segments(bare):
        if marker in _FRAMES:
            progressive = marker == _PROGRESSIVE
            sent = {component: [_NEVER] * 64 for component in payload[6::3]}
        elif marker == _HUFFMAN:
            firsts.update(_first_symbols(payload))
        elif marker == _SOS:
            first, last, bits = payload[-3:] if progressive else (0, 63, 0)
            for component in payload[1:-3:2]:
                sent.setdefault(component, [_NEVER] * 64)[first : last + 1] = [bits & 0x0F] * (last + 1 - first)
            # Refinements (bits >> 4) send plain bits, which flat areas may leave at zero.
            if not bits >> 4 and bytes(_HOLE) in scan:
                used = {selector >> 4 for selector in payload[2:-3:2] if first == 0}
                used |= {0x10 | selector & 0x0F for selector in payload[2:-3:2] if last > 0}
                if any(firsts.get(table, 0) & 0x0F for table in used):
                    return False
    return not any(any(bits) for bits in sent.values())


def _segments(bare: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield marker, payload and, behind a scan's header, its compressed bytes."""
    at = 2
    while (found := _MARKER.search(bare, at)) is not None and found.group()[-1] != _EOI:
        end = found.end() + int.from_bytes(bare[found.end() : found.end() + 2], "big")
        at = _scan_end(bare, end) if found.group()[-1] == _SOS else end
        yield found.group()[-1], bare[found.end() + 2 : end], bare[end:at]


def _first_symbols(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield, for each Huffman table of a segment, its class and number in one byte, and the symbol whose code is all zeros."""
    at = 0
    while at + 17 < len(payload):
        yield payload[at], payload[at + 17]
        at += 17 + sum(payload[at + 1 : at + 17])


def _segment(pieces: _Pieces, data: bytes, marker: int, at: int) -> int:
    """Sort one segment whose length field stands at `at` into the pieces and return where the next marker is looked for."""
    length = int.from_bytes(data[at : at + 2], "big")
    end = at + length
    if end > len(data):
        raise truncated("JPEG")
    if length < 2:
        raise broken("a JPEG segment states an impossible length")
    payload = data[at + 2 : end]
    if 0xE0 <= marker <= 0xEF:
        _application(pieces, marker, payload)
    elif marker in _OTHER_FRAMES:
        raise broken(f"the JPEG uses a coding process that browsers cannot show (marker {marker:02X})")
    elif marker in _FRAMES:
        if pieces.size is not None or len(payload) < 6:
            raise broken("the JPEG's frame header is broken or stands there twice")
        pieces.size = (int.from_bytes(payload[3:5], "big"), int.from_bytes(payload[1:3], "big"))
        pieces.image.append(_as_segment(marker, payload))
    elif marker == _SOS:
        scan_end = _scan_end(data, end)
        pieces.image += (_as_segment(marker, payload), memoryview(data)[end:scan_end])
        pieces.scans += 1
        return scan_end
    elif marker in _TABLES or marker == _DNL:
        pieces.image.append(_as_segment(marker, payload))
    return end


def _scan_end(data: bytes, start: int) -> int:
    """Return where the scan that starts at `start` ends: at the next marker, and the fill bytes before it."""
    found = _END_OF_SCAN.search(data, start)
    if found is None:
        raise truncated("JPEG")
    end = found.start()
    while end > start and data[end - 1] == 0xFF:
        end -= 1
    return end


def _application(pieces: _Pieces, marker: int, payload: bytes) -> None:
    if marker == 0xE0 and payload.startswith(b"JFIF\x00") and len(payload) >= 14 and not pieces.jfif:
        # The last two bytes give the size of an embedded thumbnail, which may show what was cropped away.
        pieces.jfif = _as_segment(marker, payload[:12] + b"\x00\x00")
    elif marker == 0xE1 and payload.startswith(_EXIF):
        pieces.exif.append(payload)
    elif marker == 0xE2 and payload.startswith(_ICC) and len(payload) > 14:
        pieces.icc.setdefault((payload[12], payload[13]), payload[14:])
    elif marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12 and not pieces.adobe:
        pieces.adobe = _as_segment(marker, payload[:12])


def _assemble(pieces: _Pieces, note: bytes) -> bytes:
    return b"".join((b"\xff\xd8", pieces.jfif, note, _profile(pieces.icc), pieces.adobe, *pieces.image, b"\xff\xd9"))


def _profile(parts: dict[tuple[int, int], bytes]) -> bytes:
    """Return the colour profile's segments; nothing where a part is missing or the whole is no profile."""
    numbers = sorted(parts)
    if numbers != [(number, len(numbers)) for number in range(1, len(numbers) + 1)]:
        return b""
    profile = b"".join(parts[number] for number in numbers)
    if not sound_profile(profile):
        return b""
    cut = [profile[start : start + _ICC_PIECE] for start in range(0, len(profile), _ICC_PIECE)]
    return b"".join(
        _as_segment(0xE2, _ICC + bytes((number, len(cut))) + piece) for number, piece in enumerate(cut, start=1)
    )


def _as_segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload
