"""Takes a WebP file apart and rebuilds it from the chunks that make its pixels (WebP container specification).

Kept: the lossy or lossless bitstream, a separate alpha plane, a sound colour profile. EXIF, XMP, unknown chunks and anything
behind the RIFF's stated end go; flags and sizes are written anew. An animation is turned away.
"""

from __future__ import annotations

from collections.abc import Iterator

from counteranimal.errors import Reason, Rejected
from counteranimal.images.container import (
    Container,
    broken,
    common_orientation,
    orientation_note,
    sound_profile,
    truncated,
)

__all__ = ["read_webp", "without_end"]

_HOLE, _END = 64, 16
_FLAG_ICC, _FLAG_ALPHA, _FLAG_EXIF, _FLAG_ANIMATION = 0x20, 0x10, 0x08, 0x02


def read_webp(data: bytes) -> Container:
    """Return the WebP file's parts.

    Raises
    ------
    Rejected
        E_TRUNCATED when the stated size exceeds the data, E_ANIMATED, E_DECODE for broken syntax.
    """
    kept: dict[bytes, bytes] = {}
    exif: list[bytes] = []
    for kind, payload in _chunks(data):
        if kind in {b"ANIM", b"ANMF"} or (kind == b"VP8X" and payload[:1] and payload[0] & _FLAG_ANIMATION):
            raise Rejected(Reason.ANIMATED, "the WebP is an animation")
        if kind == b"EXIF":
            exif.append(payload)
        elif kind in {b"VP8 ", b"VP8L"} and (b"VP8 " in kept or b"VP8L" in kept):
            raise broken("the WebP holds two images")
        elif kind in {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"}:
            kept.setdefault(kind, payload)
    width, height = _size(kept)
    if b"VP8X" in kept and _canvas(kept[b"VP8X"]) != (width, height):
        raise broken("the WebP's canvas and its image differ in size")
    orientation = common_orientation(exif)
    bare = _assemble(kept, (width, height), b"")
    note = orientation_note(orientation) if orientation != 1 else b""
    return Container(
        "image/webp", width, height, orientation, bare, _assemble(kept, (width, height), note) if note else bare
    )


def without_end(bare: bytes) -> bytes | None:
    """Return a rebuilt file without the last 16 bytes of its image, or None where the image holds no run of 64 zero bytes.

    Entropy-coded data hardly ever holds such a run outside flat areas. Where one stands for lost bytes, the decoder's place in the
    data is a matter of chance from there on, so that it ends early or asks for more than there is; in a sound file it needs the
    last bytes.
    """
    kept = dict(_chunks(bare))
    kind = b"VP8 " if b"VP8 " in kept else b"VP8L"
    if bytes(_HOLE) not in kept[kind]:
        return None
    kept[kind] = kept[kind][:-_END]
    return _assemble(kept, _size(kept), b"")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated("WebP")
    at = 12
    while at + 8 <= end:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > end:
            raise truncated("WebP")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + (size & 1)


def _size(kept: dict[bytes, bytes]) -> tuple[int, int]:
    """Return (width, height) of the bitstream in pixels."""
    lossy, lossless = kept.get(b"VP8 "), kept.get(b"VP8L")
    if lossy is not None and len(lossy) >= 10 and lossy[3:6] == b"\x9d\x01\x2a":
        return (int.from_bytes(lossy[6:8], "little") & 0x3FFF, int.from_bytes(lossy[8:10], "little") & 0x3FFF)
    if lossless is not None and len(lossless) >= 5 and lossless[0] == 0x2F:
        bits = int.from_bytes(lossless[1:5], "little")
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    raise broken("the WebP has no image in it")


def _canvas(header: bytes) -> tuple[int, int]:
    return (int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1)


def _assemble(kept: dict[bytes, bytes], size: tuple[int, int], note: bytes) -> bytes:
    profile = kept.get(b"ICCP", b"")
    profile = profile if sound_profile(profile) else b""
    header = kept.get(b"VP8X", b"\x00")
    alpha = bool(header[:1] and header[0] & _FLAG_ALPHA) or (b"ALPH" in kept and b"VP8 " in kept)
    flags = (_FLAG_ICC if profile else 0) | (_FLAG_ALPHA if alpha else 0) | (_FLAG_EXIF if note else 0)
    body = [b"WEBP"]
    if flags:
        width, height = size
        extended = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body.append(_chunk(b"VP8X", extended))
    body += [_chunk(b"ICCP", profile)] if profile else []
    if b"VP8 " in kept:
        body += [_chunk(b"ALPH", kept[b"ALPH"])] if b"ALPH" in kept else []
        body.append(_chunk(b"VP8 ", kept[b"VP8 "]))
    else:
        body.append(_chunk(b"VP8L", kept[b"VP8L"]))
    body += [_chunk(b"EXIF", note)] if note else []
    whole = b"".join(body)
    return b"RIFF" + len(whole).to_bytes(4, "little") + whole


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4, "little") + payload + (b"\x00" if len(payload) & 1 else b"")
