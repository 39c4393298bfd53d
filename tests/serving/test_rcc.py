"""The reader of Qt resource files."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from counteranimal.errors import IntegrityError
from counteranimal.serving.animals import SINGLES
from counteranimal.serving.rcc import read_rcc


def small_archive(*, first_child: int = 1) -> bytes:
    """Write an archive of one folder `photos` with a plain file and a compressed one, as Qt's compiler lays it out."""
    names, offsets = b"", []
    for name in ("photos", "plain.txt", "packed.txt"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    packed = struct.pack(">I", 6) + zlib.compress(b"packed")
    payload = struct.pack(">I", 5) + b"plain" + struct.pack(">I", len(packed)) + packed
    nodes = [
        struct.pack(">IHII", 0, 2, 1, first_child),
        struct.pack(">IHII", offsets[0], 2, 2, 2),
        struct.pack(">IHHHI", offsets[1], 0, 0, 0, 0),
        struct.pack(">IHHHI", offsets[2], 1, 0, 0, 9),
    ]
    tree = b"".join(node + struct.pack(">Q", 0) for node in nodes)
    head = 20
    return (
        struct.pack(">4sIIII", b"qres", 3, head, head + len(tree), head + len(tree) + len(payload))
        + tree
        + payload
        + names
    )


def test_files_are_found_by_their_path() -> None:
    """Plain and compressed files come out whole, under the folders they lie in."""
    assert read_rcc(small_archive()) == {"photos/plain.txt": b"plain", "photos/packed.txt": b"packed"}


@pytest.mark.parametrize("cut", [0, 10, 30, 100, 140])
def test_a_short_archive_is_refused(cut: int) -> None:
    """An archive that ends too early is an integrity failure, not a crash."""
    with pytest.raises(IntegrityError, match="damaged"):
        read_rcc(small_archive()[:cut])


def test_a_tree_that_points_back_is_refused() -> None:
    """A folder that holds itself does not send the reader in circles."""
    with pytest.raises(IntegrityError, match="backwards"):
        read_rcc(small_archive(first_child=0))


@pytest.mark.material
@pytest.mark.parametrize("archive", ["explore_world_animals", "explore_farm_animals"])
def test_real_archives_hold_the_photos(material_root: Path, archive: str) -> None:
    """Every single photo of the demo is a WebP file inside GCompris' archives."""
    files = read_rcc((material_root / f"usr/share/gcompris-qt/rcc/{archive}.rcc").read_bytes())
    by_name = {path.rpartition("/")[2]: data for path, data in files.items()}
    for single in (item for item in SINGLES if item.archive == archive):
        assert min(Image.open(io.BytesIO(by_name[f"{single.name}.webp"]), formats=("WEBP",)).size) > 400
