"""Hashing photos beside imagehash, per core, with the bits that scaled decoding costs, and the share of what libjpeg-turbo needs.

Both sizes are made of the shared photos: 500 px as they are, 2048 px as mosaics of them. Ours returns pHash, dHash, both
of the mirror image, and the entropy; imagehash.phash returns the pHash. The floor decodes at an eighth in grey by
libjpeg-turbo and hashes nothing. Every method sees all photos in turn, a few times; a method's cost is its cheapest round.

Run as `.venv/bin/python bench/dedupe_hash.py [--quick]`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import imagehash
import numpy as np
import simplejpeg
from measure import Figure, cpu_seconds
from PIL import Image

from counteranimal.dedupe.fingerprint import hashes_in

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos" / "pets"
LARGE, QUALITY = 2048, 78
# At this quality a mosaic weighs about 0.8 MB, as an original of 2048 px on iNaturalist does.
GOALS = {"500 px": (2.0, 2.0), "2048 px": (3.5, 3.0)}


def small_photos() -> list[bytes]:
    """Return the shared photos whose longer side has 400 to 600 pixels."""
    files = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]
    return [data for data in files if 400 <= max(Image.open(io.BytesIO(data)).size) <= 600]


def mosaics(files: Sequence[bytes], number: int) -> list[bytes]:
    """Return so many JPEGs of 2048 x 1536 pixels, each of 4 x 4 photos scaled to fill their cell."""
    rng = np.random.default_rng(2)
    made = []
    for _ in range(number):
        whole = Image.new("RGB", (LARGE, LARGE * 3 // 4))
        for cell, choice in enumerate(rng.integers(0, len(files), 16)):
            with Image.open(io.BytesIO(files[choice])) as photo:
                place = cell % 4 * LARGE // 4, cell // 4 * LARGE * 3 // 16
                whole.paste(photo.convert("RGB").resize((LARGE // 4, LARGE * 3 // 16), Image.Resampling.LANCZOS), place)
        sink = io.BytesIO()
        whole.save(sink, "JPEG", quality=QUALITY)
        made.append(sink.getvalue())
    return made


def theirs(data: bytes) -> int:
    """Return imagehash's pHash."""
    return int(str(imagehash.phash(Image.open(io.BytesIO(data)))), 16)


def ours(data: bytes) -> int:
    """Return the pHash of the default recipe, after making all of its hashes."""
    return hashes_in(data).phash


def floor(data: bytes) -> int:
    """Decode as little as libjpeg-turbo can."""
    return len(simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8))


def compare(size: str, files: Sequence[bytes], rounds: int) -> list[Figure]:
    """Measure all methods on some photos, print a row each and return the figures."""
    methods: dict[str, Callable[[bytes], int]] = {
        "imagehash.phash": theirs,
        "ours": ours,
        "libjpeg-turbo alone": floor,
    }
    cost = dict.fromkeys(methods, float("inf"))
    hashes: dict[str, list[int]] = {}
    for _ in range(rounds):
        for name, method in methods.items():
            seconds, hashes[name] = cpu_seconds(lambda method=method: [method(data) for data in files])
            cost[name] = min(cost[name], seconds)
    peer = cost["imagehash.phash"]
    for name, seconds in cost.items():
        row = f"| {size} | {name} | {len(files) / seconds:.0f} | {peer / seconds:.2f} | {cost['libjpeg-turbo alone'] / seconds:.2f} |"
        if name == "ours":
            off = [(a ^ b).bit_count() for a, b in zip(hashes[name], hashes["imagehash.phash"], strict=True)]
            row += f" {np.mean(off):.2f} | {np.percentile(off, 99):.0f} | {max(off)} |"
        else:
            row += " | | |"
        print(row)
    speed, bits = GOALS[size]
    off = [(a ^ b).bit_count() for a, b in zip(hashes["ours"], hashes["imagehash.phash"], strict=True)]
    rate = {name: len(files) / seconds for name, seconds in cost.items()}
    return [
        Figure(f"hashing {size}: photos per CPU s", rate["ours"], rate["imagehash.phash"], speed, "higher"),
        Figure(f"hashing {size}: bits off, 99th percentile", float(np.percentile(off, 99)), None, bits, "lower"),
    ]


def main(*, quick: bool) -> None:
    """Measure and print the table and the figures."""
    files = small_photos()
    large = mosaics(files, 12 if quick else 100)
    files = files[:60] if quick else files
    print(f"{len(files)} photos of 500 px, {len(large)} of {LARGE} px" + (" (quick)" if quick else ""))
    print("| size | method | photos per CPU s | beside imagehash | share of the floor | bits off | p99 | most |")
    print("|---|---|---|---|---|---|---|---|")
    figures = compare("500 px", files, 2 if quick else 5) + compare("2048 px", large, 2 if quick else 5)
    for figure in figures:
        print(figure.line())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 and 12 photos, two rounds")
    main(quick=parser.parse_args().quick)
