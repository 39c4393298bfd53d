"""Takes a PNG apart and rebuilds it from the chunks that make its pixels (PNG specification, third edition).

Kept: header, palette, transparency, colour information, and the one compressed stream of pixels without anything behind its
end. Text, time, EXIF and private chunks go. Checksums are verified. An animation is turned away.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from counteranimal.errors import Reason, Rejected
from counteranimal.images.container import (
    MAX_PROFILE,
    Container,
    broken,
    common_orientation,
    orientation_note,
    sound_profile,
    truncated,
)

__all__ = ["PNG_SIGNATURE", "read_png"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BEFORE_PALETTE = (b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB")
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
# Input is fed in small pieces: zlib hands back what it did not consume, and copying a whole file's rest each time is quadratic.
_STEP, _UNPACKED = 1 << 16, 1 << 20


def read_png(data: bytes) -> Container:
    """Return the PNG's parts.

    Raises
    ------
    Rejected
        E_TRUNCATED without an end chunk or end of stream, E_ANIMATED, E_BOMB when the stream holds far more than the header
        announces, E_DECODE for broken syntax.
    """
    kept: dict[bytes, bytes] = {}
    stream: list[bytes] = []
    exif: list[bytes] = []
    for kind, payload in _chunks(data):
        if kind == b"acTL":
            raise Rejected(Reason.ANIMATED, "the PNG is an animation")
        if kind == b"IDAT":
            stream.append(payload)
        elif kind == b"eXIf":
            exif.append(payload)
        elif kind in _CRITICAL and kind in kept:
            raise broken(f"the PNG holds its {kind.decode()} chunk twice")
        elif kind in _CRITICAL or kind in _BEFORE_PALETTE or kind == b"tRNS":
            kept.setdefault(kind, payload)
        elif not kind[0] & 0x20:
            raise broken("the PNG needs a chunk that is not part of the standard")
    header = kept.get(b"IHDR", b"")
    if len(header) != 13 or not stream:
        raise broken("the PNG has no image in it")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    orientation = common_orientation(exif)
    note = _chunk(b"eXIf", orientation_note(orientation)) if orientation != 1 else b""
    front, back = _assemble(kept, _pixels(b"".join(stream), width, height))
    return Container("image/png", width, height, orientation, front + back, front + note + back)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, payload) up to and with the end chunk; the first must be the header."""
    at = len(PNG_SIGNATURE)
    first = True
    while True:
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(data) < at + 12 or end > len(data):
            raise truncated("PNG")
        kind = data[at + 4 : at + 8]
        if not (kind.isascii() and kind.isalpha()) or (kind == b"IHDR") is not first:
            raise broken("the PNG's chunks are not in order")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise broken(f"the checksum of the PNG's {kind.decode()} chunk is wrong")
        yield kind, data[at + 8 : end - 4]
        if kind == b"IEND":
            return
        at, first = end, False


def _pixels(stream: bytes, width: int, height: int) -> bytes:
    """Return the compressed pixels without what follows the stream's end, after running through them once."""
    # At most 8 bytes a pixel and a filter byte a row; an interlaced picture has fewer than two such rows for each of its own.
    left = 2 * height * (8 * min(width, 1 << 20) + 2)
    decompressor = zlib.decompressobj()
    behind = len(stream)
    try:
        for start in range(0, len(stream), _STEP):
            piece = stream[start : start + _STEP]
            # An empty tail is no end: output may wait where the last input was consumed exactly at the limit.
            while not decompressor.eof and (unpacked := len(decompressor.decompress(piece, _UNPACKED))) + len(piece):
                left -= unpacked
                piece = decompressor.unconsumed_tail
                if left < 0:
                    raise Rejected(Reason.BOMB, "the PNG unpacks to far more than its header announces")
            if decompressor.eof:
                behind = start + min(_STEP, len(stream) - start) - len(decompressor.unused_data)
                break
    except zlib.error as error:
        raise broken("the PNG's pixels cannot be unpacked") from error
    if not decompressor.eof:
        raise truncated("PNG")
    return stream[:behind]


def _assemble(kept: dict[bytes, bytes], pixels: bytes) -> tuple[bytes, bytes]:
    """Return the file up to where an orientation note may stand, and the rest."""
    front = [PNG_SIGNATURE, _chunk(b"IHDR", kept[b"IHDR"])]
    for kind in _BEFORE_PALETTE:
        payload = _bare_profile(kept.get(kind, b"")) if kind == b"iCCP" else kept.get(kind, b"")
        front += [_chunk(kind, payload)] if payload else []
    back = [_chunk(kind, kept[kind]) for kind in (b"PLTE", b"tRNS") if kind in kept]
    back += [_chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    return b"".join(front), b"".join(back)


def _bare_profile(payload: bytes) -> bytes:
    """Return an iCCP payload under a neutral name, or nothing where it holds no sound profile."""
    _, _, rest = payload.partition(b"\x00")
    decompressor = zlib.decompressobj()
    try:
        profile = decompressor.decompress(rest[1:], MAX_PROFILE + 1)
    except zlib.error:
        return b""
    if rest[:1] != b"\x00" or not decompressor.eof or not sound_profile(profile):
        return b""
    return b"icc\x00" + rest[: len(rest) - len(decompressor.unused_data)]


def _chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + payload
    return len(payload).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
