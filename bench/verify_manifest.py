"""What verifying a long release costs: peak memory and CPU of `counteranimal verify`, and hashing beside coreutils' sha256sum.

The release is made up row by row, so that its length is free: one split, one model, a person behind every third photo. `--quick`:
100,000 entries, else 1,000,000. Hashing is timed on the release's own files, warm, ours and sha256sum in turn, best of three.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import rfc8785
from measure import Figure, cpu_seconds, own_peak_mb, run_apart

from counteranimal import ids, tables
from counteranimal.cli import app
from counteranimal.release import sums
from counteranimal.release.flat import csv_pieces
from counteranimal.release.layout import MANIFEST, PUBLISHED_TABLES, SUMMED_FILES, SUMS, table_file

CHUNK = 1 << 15
SEED, MODEL = "long-1", "made-up"
CLASSES = {"ostrich": 9, "lion": 291, "zebra": 340, "otter": 360}
BACKGROUNDS = ("grass", "water", "sky")
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


def photo(number: int) -> str:
    """Return a photo id; they rise with the number."""
    return f"{number:012x}{hashlib.sha256(str(number).encode()).hexdigest()[:52]}"


def entry(number: int) -> dict[str, Any]:
    """Return one row of `entries`."""
    class_id, name = tuple(CLASSES)[number % 4], photo(number)
    unit = f"person:{number // 6:012x}" if number % 3 == 0 else name
    fold = ("select", "report")[number // 6 % 2] if number % 3 == 0 else ids.fold_of(SEED, unit)
    return {
        "photo_id": name, "class_id": class_id, "imagenet_indices": [CLASSES[class_id]], "background": BACKGROUNDS[number % 3],
        "codes": [], "source": "sample", "native_id": str(number), "url": f"https://photos.example.org/{number}/original.jpg",
        "page_url": f"https://photos.example.org/{number}", "kind": "photo", "licence": "CC-BY-4.0", "author": f"Person {number % 9973}",
        "attribution": f"(c) Person {number % 9973}, some rights reserved (CC BY)", "retrieved_at": MOMENT, "mime": "image/jpeg",
        "bytes": 400_000 + number, "width": 1024, "height": 768, "published_sha256": photo(number + 1_000_000_000),
        "published_bytes": 390_000, "fold_unit": unit, "fold": fold, "n_votes": 2, "method": "unanimous",
        "inclusion_probability": 1.0, "selector_model": MODEL, "selector_sha256": "ab" * 32,
    }  # fmt: skip


def rows_of(name: str, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table that follow from some entries."""
    if name == "entries":
        return list(entries)
    if name == "splits":
        kept = ("photo_id", "class_id", "background", "fold")
        groups = {"grass": "common", "water": "counter"}
        return [
            {"split": "first", "group": groups.get(row["background"], "other"), **{key: row[key] for key in kept}}
            for row in entries
        ]
    return [
        {
            "photo_id": row["photo_id"], "model": MODEL, "protocol": "1v1000", "predicted": row["imagenet_indices"][0], "rank": 1,
            "margin": 1.5, "tied": False, "correct": True,
        }
        for row in entries
    ]  # fmt: skip


def chunks(number: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the entries a few thousand at a time."""
    for start in range(0, number, CHUNK):
        yield [entry(each) for each in range(start, min(start + CHUNK, number))]


def make(folder: Path, number: int) -> None:
    """Write an unsigned release of so many entries that verifies."""
    writers = {
        name: pq.ParquetWriter(folder / table_file(name), tables.schema_of(name), compression="zstd", version="2.6")
        for name in ("entries", "splits", "predictions")
    }
    cells: dict[tuple[str, str, str], int] = {}
    with (folder / "entries.csv").open("wb") as text:
        for place, entries in enumerate(chunks(number)):
            for name, writer in writers.items():
                table = pa.Table.from_pylist(rows_of(name, entries), schema=tables.schema_of(name))
                writer.write_table(table)
                if name == "entries":
                    pieces = csv_pieces(table.column_names, table.to_batches())
                    text.writelines(piece for line, piece in enumerate(pieces) if line or not place)
            for row in entries:
                cell = (row["class_id"], row["background"], row["fold"])
                cells[cell] = cells.get(cell, 0) + 1
    for writer in writers.values():
        writer.close()
    finish(folder, number, cells)


def finish(folder: Path, number: int, cells: dict[tuple[str, str, str], int]) -> None:
    """Write the short files, release.json and the digests."""
    groups = {"grass": "common", "water": "counter"}
    short = {
        "pairs": [
            {"split": "first", "class_id": name, "status": "pair", "common": "grass", "counter": "water"} for name in CLASSES
        ],
        "groups": [
            {
                "split": "first", "class_id": name, "background": background, "fold": fold, "group": groups.get(background, "other"),
                "model": MODEL, "n": n, "n_effective": float(n), "correct": n, "accuracy": 1.0, "low": 0.9, "high": 1.0,
            }
            for (name, background, fold), n in cells.items()
        ],
    }  # fmt: skip
    for name, rows in short.items():
        (folder / table_file(name)).write_bytes(tables.parquet_bytes(tables.conform(name, rows)))
    for name in ("ATTRIBUTION.md", "CARD.md", "CHANGES.md"):
        (folder / name).write_text("A made-up release.\n")
    for name in ("agreement.json", "croissant.json"):
        (folder / name).write_text("{}")
    (folder / "recipe.toml").write_text('name = "long"\n')
    files = {}
    for name in SUMMED_FILES:
        if name != MANIFEST:
            digest, length = sums.digest_of_file(folder / name)
            files[name] = {"sha256": digest, "bytes": length}
    lengths = {name: pq.ParquetFile(folder / table_file(name)).metadata.num_rows for name in PUBLISHED_TABLES}
    manifest = {
        "format": "counteranimal-release/1", "name": "long", "title": "A long release", "version": "1.0.0", "date": "2026-11-01",
        "predecessor": None, "made_with": {}, "seed": SEED, "backgrounds": list(BACKGROUNDS), "undecided": [],
        "classes": [
            {"id": name, "name": name, "imagenet_indices": [index], "candidates_1v20": []} for name, index in CLASSES.items()
        ],
        "licences": ["CC-BY-4.0"], "splits": [{"name": "first", "selector": {}, "rule": {"rule": "roles", "selector": MODEL}}],
        "counts": {**lengths, "votes": 2 * number, "kinds": {"photo": number}, "licences": {"CC-BY-4.0": number}},
        "conservation": {"discovered": number, "states": {"stored": number}, "reasons": {}},
        "photos": {"kept": number, "published": number, "left_out": {}}, "recipe": {}, "caveats": [], "signed_by": None,
        "files": files,
    }  # fmt: skip
    (folder / MANIFEST).write_bytes(rfc8785.dumps(manifest))
    digests = {name: record["sha256"] for name, record in files.items()}
    digests[MANIFEST] = sums.digest_of_file(folder / MANIFEST)[0]
    (folder / SUMS).write_bytes(sums.render(digests))


def main() -> None:
    """Print the figures, and a JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.verify:
        app(["verify", str(given.verify)], standalone_mode=False)
        print(own_peak_mb())
        return
    number = 100_000 if given.quick else 1_000_000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "1.0.0"
        folder.mkdir()
        make(folder, number)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{number:,} entries, {size / 1e6:.0f} MB")
        spent = run_apart([sys.executable, __file__, "--verify", str(folder)])
        *_, said, peak = spent.output.strip().splitlines()
        print(f"verify: {spent.cpu:.1f} CPU s, {float(peak):.0f} MB at most; {said}")
        files = [folder / name for name in SUMMED_FILES]
        ours = min(cpu_seconds(lambda: [sums.digest_of_file(path) for path in files])[0] for _ in range(3))
        peer = min(run_apart(["sha256sum", *map(str, files)]).cpu for _ in range(3))
        print(
            f"hashing: ours {ours:.2f} CPU s, sha256sum {peer:.2f} CPU s ({size / ours / 1e6:.0f} and {size / peer / 1e6:.0f} MB/s)"
        )
    print(Figure(f"verify {number:,} entries, peak MB", float(peak), None, 300.0, "lower").line())
    print(Figure("hashing, MB a CPU second", size / ours / 1e6, size / peer / 1e6, 0.8, "higher").line())


if __name__ == "__main__":
    main()
