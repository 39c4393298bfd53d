"""Reads Qt resource files (`.rcc`, format versions 1 to 3): the archives that Qt programs carry their pictures in.

Decides how names, tree and data hang together. Leaves what the files mean to the caller. The layout follows Qt's resource
compiler: a 16 to 20 byte header, a tree of 14 byte nodes (22 from version 2 on, which adds a time stamp), a block of names in
UTF-16 and a block of length-prefixed data. All numbers are big-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from counteranimal.errors import IntegrityError

__all__ = ["read_rcc"]

_COMPRESSED_ZLIB = 1
_DIRECTORY = 2
_COMPRESSED_ZSTD = 4
_LARGEST_FILE = 64 * 1024 * 1024
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class _Layout:
    data: bytes
    tree: int
    payload: int
    names: int
    node_size: int

    def name(self, offset: int) -> str:
        start = self.names + offset
        (length,) = struct.unpack_from(">H", self.data, start)
        return self.data[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def content(self, offset: int, flags: int) -> bytes | None:
        start = self.payload + offset
        (length,) = struct.unpack_from(">I", self.data, start)
        body = self.data[start + 4 : start + 4 + length]
        if len(body) != length:
            raise struct.error("a file runs past the end of the archive")
        if flags & _COMPRESSED_ZSTD:
            return None
        if not flags & _COMPRESSED_ZLIB:
            return body
        # Qt puts the unpacked length before the zlib stream; the decompressor is held to it.
        (unpacked,) = struct.unpack_from(">I", body)
        if unpacked > _LARGEST_FILE:
            raise struct.error(f"a file claims {unpacked} bytes")
        return zlib.decompressobj().decompress(body[4:], unpacked)


def read_rcc(data: bytes) -> dict[str, bytes]:
    """Return the files of a Qt resource archive by their path, without a leading slash.

    Files compressed with zstd, which photos never are, are left out.

    Raises
    ------
    IntegrityError
        If the bytes are no such archive or point outside themselves.
    """
    try:
        return dict(_walk(_layout(data), node=0, folder="", depth=0))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"a Qt resource file is damaged ({error}); install or unpack its Debian package again"
        ) from error


def _layout(data: bytes) -> _Layout:
    magic, version, tree, payload, names = struct.unpack_from(">4sIIII", data)
    if magic != b"qres" or version not in {1, 2, 3}:
        raise struct.error(f"magic {magic!r}, version {version}")
    return _Layout(data, tree, payload, names, 14 if version == 1 else 22)


def _walk(layout: _Layout, *, node: int, folder: str, depth: int) -> Iterator[tuple[str, bytes]]:
    if depth > _DEEPEST:
        raise struct.error("folders are nested too deep")
    start = layout.tree + node * layout.node_size
    name_offset, flags = struct.unpack_from(">IH", layout.data, start)
    path = f"{folder}{layout.name(name_offset)}" if node else ""
    if flags & _DIRECTORY:
        count, first = struct.unpack_from(">II", layout.data, start + 6)
        # A child always comes after its folder; anything else would be a loop.
        if first <= node:
            raise struct.error("a folder points backwards")
        for child in range(first, first + count):
            yield from _walk(layout, node=child, folder=f"{path}/" if path else "", depth=depth + 1)
        return
    _, offset = struct.unpack_from(">II", layout.data, start + 6)
    content = layout.content(offset, flags)
    if content is not None:
        yield path, content
