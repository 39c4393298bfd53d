"""How fast photos are hashed, and how far the fast hashes are from imagehash's, beside imagehash and the floor of libjpeg-turbo.

Run `.venv/bin/python bench/dedupe_hash.py [--quick]`. The shared photos are written anew at 500 pixels on the longer side, and
as mosaics of 4 x 4 of them at 2048 x 1536, as JPEG of quality 90; the mosaics also of quality 83, which gives them the 0.76 MB that photos of that
size mostly have, and of 80: the more bytes, the less any decoder can be faster than another. Three things read the same bytes in one process, in
turns of 16 photos, each timed by its best of several rounds, since the machine is shared: our hash, `imagehash.phash` on Pillow's decoding (the very code of
`.venv-peers`; two hashes and their mirrors against its one), and libjpeg-turbo alone, decoding to grey at an eighth: the floor.
*Stage* is the whole of `dedupe`'s first step on a workspace of the same photos: files read and held against their digest, hashed,
table written.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path

# One thread a process, as `fingerprint` spreads photos over processes; numpy reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import imagehash
import numpy as np
import simplejpeg
from measure import Figure, cpu_seconds
from PIL import Image, ImageOps, UnidentifiedImageError

from counteranimal import tables
from counteranimal.dedupe.fingerprint import BATCH, grey_of, hashes_of
from counteranimal.dedupe.run import fingerprint
from counteranimal.pool import shards_of
from counteranimal.settings import Settings
from counteranimal.workspace import Blob, Workspace

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos"
LONG, MOSAIC, TILES = 500, (2048, 1536), 4


@dataclass(frozen=True)
class Goals:
    """What a size has to reach: times imagehash, bits off at the 99th percentile, and share of the floor where one is asked for."""

    ratio: float
    p99: float
    floor: float | None


def pictures() -> list[Image.Image]:
    """Return the shared photos, decoded; the collection's truncated file and whatever else does not decode is left out."""
    found = []
    for path in sorted(PHOTOS.rglob("*")):
        if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
            try:
                found.append(Image.open(path, formats=("JPEG", "PNG", "WEBP")).convert("RGB"))
            except (OSError, UnidentifiedImageError) as error:
                print(f"{path.name} is left out ({error})", file=sys.stderr)
    return found


def encoded(picture: Image.Image, quality: int = 90) -> bytes:
    """Return a picture as JPEG."""
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def small(pool: Sequence[Image.Image], limit: int) -> list[bytes]:
    """Return photos at 500 pixels on the longer side."""
    return [encoded(ImageOps.contain(picture, (LONG, LONG), Image.Resampling.LANCZOS)) for picture in pool[:limit]]


def mosaics(pool: Sequence[Image.Image], limit: int, quality: int) -> list[bytes]:
    """Return mosaics of 16 photos each, drawn with a fixed seed."""
    draw = random.Random(1)
    width, height = MOSAIC[0] // TILES, MOSAIC[1] // TILES
    made = []
    for _ in range(limit):
        whole = Image.new("RGB", MOSAIC)
        for place in range(TILES * TILES):
            tile = ImageOps.fit(draw.choice(pool), (width, height), Image.Resampling.LANCZOS)
            whole.paste(tile, (place % TILES * width, place // TILES * height))
        made.append(encoded(whole, quality))
    return made


def ours(photos: Sequence[bytes]) -> list[int]:
    """Return our pHashes as numbers, made as the stage makes them: two hashes, their mirrors, and entropy."""
    return [hashes.phash for hashes in hashes_of([grey_of(data) for data in photos])]


def peer(photos: Sequence[bytes]) -> list[int]:
    """Return imagehash's pHashes as numbers."""
    found = []
    for data in photos:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            found.append(int(str(imagehash.phash(image)), 16))
    return found


def floor(photos: Sequence[bytes]) -> list[int]:
    """Decode to grey at an eighth and hash nothing."""
    for data in photos:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        simplejpeg.decode_jpeg(data, "GRAY", min_height=-(-height // 8), min_width=-(-width // 8))
    return [0] * len(photos)


def staged(files: Sequence[bytes]) -> float:
    """Return the CPU seconds that the step `fingerprint` takes on a new workspace with these photos."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        ids = workspace.blobs.put_many([Blob(data) for data in files])
        rows = [{"photo_id": name, "class_id": "fox", "status": "ok"} for name in sorted(set(ids))]
        workspace.write_table("photos", tables.conform("photos", rows))
        return cpu_seconds(lambda: fingerprint(workspace, settings=Settings(workers=1)))[0]


def measured(files: Sequence[bytes], rounds: int) -> tuple[dict[str, float], np.ndarray]:
    """Return photos a CPU second by method, the best of several rounds, and how many bits our pHash is off for each photo."""
    methods: dict[str, Callable[[Sequence[bytes]], list[int]]] = {"ours": ours, "imagehash": peer, "floor": floor}
    batches = shards_of(files, BATCH)
    best = {name: np.full(len(batches), np.inf) for name in methods}
    made: dict[str, list[list[int]]] = {name: [[] for _ in batches] for name in methods}
    stage = np.inf
    for turn in range(rounds):
        # A method stays in the caches for a batch, as in a run, and a neighbour's load of some seconds meets all of them.
        order = [*methods][turn % len(methods) :] + [*methods][: turn % len(methods)]
        for (place, batch), name in product(enumerate(batches), order):
            cost, made[name][place] = cpu_seconds(functools.partial(methods[name], batch))
            best[name][place] = min(best[name][place], cost)
        stage = min(stage, staged(files))
    hashes = {name: np.array(list(chain.from_iterable(found)), np.uint64) for name, found in made.items()}
    bits = np.bitwise_count(hashes["ours"] ^ hashes["imagehash"])
    rate = {name: len(files) / float(costs.sum()) for name, costs in best.items()}
    return {**rate, "stage": len(files) / stage}, bits


def figures(title: str, files: Sequence[bytes], rounds: int, goals: Goals) -> list[Figure]:
    """Measure one size, print its row of the table and return its figures."""
    rate, bits = measured(files, rounds)
    p99 = float(np.percentile(bits, 99))
    shown = [f"{rate[name]:,.0f}" for name in ("imagehash", "ours", "stage", "floor")]
    ratios = [rate["ours"] / rate["imagehash"], rate["stage"] / rate["imagehash"], rate["ours"] / rate["floor"]]
    size = f"{len(files)} of {np.mean([len(data) for data in files]) / 1000:.0f} kB"
    print(
        f"| {title} | {size} | {' | '.join(shown)} | {ratios[0]:.2f} | {ratios[1]:.2f} | {100 * ratios[2]:.0f} % "
        f"| {bits.mean():.2f} | {p99:.1f} | {bits.max()} |"
    )
    found = [
        Figure(f"hash {title}, photos a CPU second", rate["ours"], rate["imagehash"], goals.ratio, "higher"),
        Figure(
            f"fingerprint stage {title}, photos a CPU second", rate["stage"], rate["imagehash"], goals.ratio, "higher"
        ),
        Figure(f"hash {title}, bits off imagehash, 99th percentile", p99, None, goals.p99, "lower"),
        Figure(f"hash {title}, bits off imagehash, most", float(bits.max()), None, 4.0, "lower"),
    ]
    if goals.floor is not None:
        name = f"hash {title}, share of the libjpeg-turbo floor"
        found.append(Figure(name, rate["ours"], rate["floor"], goals.floor, "higher"))
    return found


def main() -> None:
    """Measure both sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer photos and rounds")
    quick = parser.parse_args().quick
    pool = pictures()
    print(
        "| size | photos | imagehash | ours | stage | floor | ours / imagehash | stage / imagehash | ours / floor | mean bits | p99 | max |"
    )
    print("|---|---|" + "--:|" * 10)
    found = figures("500 px", small(pool, 100 if quick else len(pool)), 5 if quick else 20, Goals(2.0, 2.0, None))
    for quality in (90, 83, 80):
        title, files = f"2048 px, quality {quality}", mosaics(pool, 20 if quick else 100, quality)
        found += figures(title, files, 3 if quick else 6, Goals(3.5, 3.0, 0.85))
    for figure in found:
        print(figure.line())


if __name__ == "__main__":
    main()
