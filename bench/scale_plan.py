"""What 1, 100 and 250 million photos cost: hours, CPU, requests, storage and memory, computed from measured costs; no peer.

Decides the arithmetic. Costs a photo are those of docs/performance.md, costs on tables those of `bench/scale_slopes.py`, all on one core of
the machine that is described there; `--measure` measures hash, quality, copy and decode again, here. The policy is
iNaturalist's: 60 requests a minute, 24 GB a day; all of iNaturalist is taken as 250 million photos. GPUs are quoted, never measured here.
"""

from __future__ import annotations

import argparse
import functools
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from measure import cpu_seconds
from PIL import Image

NUMBERS = (1_000_000, 100_000_000, 250_000_000)
MILLION = 1_000_000
REPEATS = 20
REQUESTS_A_DAY, BYTES_A_DAY = 60 * 60 * 24, 24e9
GPU_RATE = 1500.0  # photos/s through a ViT-B/32 on an RTX 3080, as clip-retrieval states; not measured here


@dataclass(frozen=True, slots=True)
class Size:
    """A size that photos are fetched in, its pixels, and what one costs: bytes, and CPU milliseconds a stage."""

    name: str
    pixels: tuple[int, int]
    bytes: float
    fetch: float
    hash: float
    quality: float
    copy: float


# fetch: bench/crawl_fetch.py with the full decode in worker processes; at 2048 px with the decode that `--measure` gives. hash: the stage in
# bench/dedupe_hash.py. quality and copy: `--measure`. Bytes: the photos of those benches.
SIZES = (
    Size("medium, 500 px", (500, 375), 57e3, fetch=9.0, hash=1.28, quality=6.0, copy=0.13),
    Size("original, 2048 px", (2048, 1536), 676e3, fetch=53.0, hash=8.0, quality=11.0, copy=0.36),
)
EMBED = 162.0  # CPU ms a photo and view, EfficientNet-Lite2: bench/score_embed.py
VIEWS = 2  # the background's and the selector's
FEATURES = 4 * 1280  # bytes of such a feature


@dataclass(frozen=True, slots=True)
class Metadata:
    """A stage on tables: CPU seconds and peak MB at a million photos, and the exponent of its growth from 100,000 to a million."""

    name: str
    cpu: float
    exponent: float
    peak_mb: float


# bench/scale_slopes.py
METADATA = (
    Metadata("snapshot", 89.1, 0.93, 3064),
    Metadata("fingerprints", 26.6, 0.91, 1237),
    Metadata("clusters", 195.2, 1.05, 3404),
    Metadata("sampling", 30.9, 0.86, 2121),
    Metadata("splits", 49.6, 0.95, 2147),
    Metadata("freeze", 156.0, 1.01, 4392),
)
JOURNAL, TABLES, RELEASE = 776.0, 759.0, 816.0  # bytes a photo, at a million of `bench/scale_slopes.py`
SEARCH = {1: 16.0, 10: 850.0}  # CPU s at radius 14 by millions of hashes, by the cost model: bench/dedupe_neighbours.py


def metadata_cpu(number: int) -> float:
    """Return the CPU seconds of all stages on tables but the search for pairs; what bends upwards goes on bending, the rest is linear."""
    times = number / MILLION
    return sum(stage.cpu * times ** max(1.0, stage.exponent) for stage in METADATA)


def search_cpu(number: int) -> float:
    """Return the CPU seconds of the search for pairs, by the power law through one and ten million."""
    exponent = np.log10(SEARCH[10] / SEARCH[1])
    return float(SEARCH[1] * (number / MILLION) ** exponent)


def rows(size: Size, number: int) -> dict[str, str]:
    """Return what a number of photos of a size costs, by line of the table."""
    requests, received = number, number * size.bytes
    days = max(requests / REQUESTS_A_DAY, received / BYTES_A_DAY)
    hours = {name: number * getattr(size, name) / 3.6e6 for name in ("fetch", "hash", "quality", "copy")}
    embed = number * EMBED * VIEWS / 3.6e6
    tables, search = metadata_cpu(number) / 3600, search_cpu(number) / 3600
    return {
        "requests, one a photo": f"{requests:,.0f}",
        "bytes received, and stored": scaled(received),
        "days under the policy": f"{days:,.0f}",
        "fetch, digest, decode: CPU h": shown(hours["fetch"]),
        "hash: CPU h": shown(hours["hash"]),
        "measures of quality: CPU h": shown(hours["quality"]),
        f"features, {VIEWS} views, on CPUs: CPU h": shown(embed),
        "the same on one GPU (quoted): h": shown(number * VIEWS / GPU_RATE / 3600),
        "search for pairs: CPU h": shown(search),
        "published copies, if all were: CPU h": shown(hours["copy"]),
        "stages on tables: CPU h": shown(tables),
        "journal": scaled(number * JOURNAL),
        "tables and parts": scaled(number * TABLES),
        f"features, {VIEWS} views": scaled(number * VIEWS * FEATURES),
        "release, if all were published": scaled(number * RELEASE),
        "memory of the largest stage, as written": scaled(
            max(stage.peak_mb for stage in METADATA) * 1e6 * number / MILLION
        ),
    }


def shown(value: float) -> str:
    """Return a number with the digits that it deserves."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def scaled(value: float) -> str:
    """Return bytes in GB, or TB from a thousand of them on."""
    return f"{value / 1e12:,.1f} TB" if value >= 1e12 else f"{value / 1e9:,.1f} GB"


def table(size: Size) -> str:
    """Return the plan for a size as Markdown."""
    columns = [rows(size, number) for number in NUMBERS]
    head = f"| {size.name} | " + " | ".join(f"{number // MILLION} million" for number in NUMBERS) + " |"
    lines = [f"| {name} | " + " | ".join(column[name] for column in columns) + " |" for name in columns[0]]
    return "\n".join([head, "|---|" + "--:|" * len(NUMBERS), *lines])


def measure(size: Size) -> str:
    """Return what a photo of a size costs here, in CPU milliseconds."""
    from counteranimal.dedupe.fingerprint import hashes_in
    from counteranimal.images import grey_thumbnail, inspect
    from counteranimal.published import published_copy
    from counteranimal.score.quality import SIDE, quality_of

    photo = drawn(size.pixels)
    works: dict[str, Callable[[], object]] = {
        "decode": lambda: inspect(photo),
        "hash": lambda: hashes_in(photo),
        "quality": lambda: quality_of(grey_thumbnail(photo, least_side=SIDE)),
        "copy": lambda: published_copy(photo),
    }
    told = []
    for name, work in works.items():
        work()
        told.append(f"{name} {1000 * cpu_seconds(functools.partial(repeated, work))[0] / REPEATS:.2f}")
    return f"{size.name}, {len(photo) / 1e3:.0f} kB, CPU ms a photo: " + ", ".join(told)


def repeated(work: Callable[[], object]) -> None:
    """Do a piece of work a few times."""
    for _ in range(REPEATS):
        work()


def drawn(pixels: tuple[int, int]) -> bytes:
    """Return a JPEG with structure at several scales."""
    rng = np.random.default_rng(1)
    fields = [
        Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).resize(pixels)
        for side in (4, 16, 64, 128)
    ]
    sink = io.BytesIO()
    picture = np.mean([np.asarray(field) for field in fields], axis=0).astype(np.uint8)
    Image.fromarray(picture).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def main() -> None:
    """Print the plan for both sizes, or with `--measure` what a photo costs here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    work = measure if parser.parse_args().measure else table
    print("\n\n".join(map(work, SIZES)))


if __name__ == "__main__":
    main()
