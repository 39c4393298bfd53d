"""What a freeze costs: peak memory and CPU from a workspace's tables and photos to a signed release; no peer.

The photos are one small JPEG under as many comments as there are entries, so that each has bytes of its own and reading them costs
little: the figure is that of the tables, files and digests. `--quick`: 10,000 entries, else 100,000.
"""

from __future__ import annotations

import argparse
import functools
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import Figure, own_peak_mb, run_apart
from PIL import Image
from verify_manifest import BACKGROUNDS, CLASSES, MODEL, MOMENT

from counteranimal import ids, tables
from counteranimal.freeze.draft import draft
from counteranimal.freeze.inputs import Terms
from counteranimal.freeze.sign import keygen
from counteranimal.freeze.write import write_release
from counteranimal.recipe import load_recipe
from counteranimal.workspace import Blob, Workspace

BATCH = 2000


def recipe() -> str:
    """Return the recipe's text."""
    classes = "".join(
        f'[[classes]]\nid = "{name}"\nname = "{name}"\nimagenet = [{index}]\n' for name, index in CLASSES.items()
    )
    return (
        f'name = "many"\nbackgrounds = {list(BACKGROUNDS)}\n{classes}[[sources]]\nname = "sample"\nkind = "folder"\n'
        f'[[splits]]\nname = "first"\nselector = "{MODEL}"\n'
    )


@functools.cache
def jpeg() -> bytes:
    """Return a small photo without metadata."""
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


def commented(number: int) -> bytes:
    """Return the small photo with a comment that makes its bytes its own."""
    text = f"photo {number:012}".encode()
    plain = jpeg()
    return plain[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + plain[2:]


def fill(home: Path, number: int, photo: Callable[[int], bytes] = commented) -> None:
    """Write photos and tables as the stages before a freeze leave them; `photo` draws each of the photos."""
    home.mkdir()
    (home / "recipe.toml").write_text(recipe())
    workspace = Workspace(home / "workspace")
    made = []
    for start in range(0, number, BATCH):
        blobs = [Blob(photo(each)) for each in range(start, min(start + BATCH, number))]
        workspace.blobs.put_many(blobs)
        made += [(blob.photo_id, len(blob.data)) for blob in blobs]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("candidates", "fetches", "photos", "clusters", "verdicts", "pool", "predictions", "splits")}  # fmt: skip
    cells: dict[tuple[str, str, str, str], int] = {}
    for place, (photo_id, length) in enumerate(made):
        for name, row in of_photo(place, photo_id, length).items():
            rows[name].append(row)
        split = rows["splits"][-1]
        cell = (split["class_id"], split["background"], split["group"], split["fold"])
        cells[cell] = cells.get(cell, 0) + 1
    rows["pairs"] = [
        {"split": "first", "class_id": name, "status": "pair", "common": "grass", "counter": "water"}
        for name in CLASSES
    ]
    rows["groups"] = [
        {
            "split": "first", "class_id": cell[0], "background": cell[1], "group": cell[2], "fold": cell[3], "model": MODEL, "n": n,
            "n_effective": float(n), "correct": n, "accuracy": 1.0, "low": 0.9, "high": 1.0,
        }
        for cell, n in cells.items()
    ]  # fmt: skip
    for name, listed in rows.items():
        workspace.write_table(name, tables.conform(name, listed))


def of_photo(number: int, photo_id: str, length: int) -> dict[str, dict[str, Any]]:
    """Return the row of every table for one photo."""
    class_id, background, name = tuple(CLASSES)[number % 4], BACKGROUNDS[number % 3], f"sample:{number}"
    fold, place = ids.fold_of("counteranimal", photo_id), f"https://photos.example.org/{number}"
    labelled = {"photo_id": photo_id, "class_id": class_id, "background": background, "fold": fold}
    group = {"grass": "common", "water": "counter"}.get(background, "other")
    return {
        "candidates": {
            "candidate_id": name, "source": "sample", "native_id": str(number), "class_id": class_id, "url": f"{place}.jpg",
            "page_url": place, "licence": "CC0-1.0", "kind": "photo", "seen_at": MOMENT, "status": "ok",
        },
        "fetches": {"candidate_id": name, "attempt": 1, "at": MOMENT, "status": "stored", "photo_id": photo_id},
        "photos": {
            "photo_id": photo_id, "candidate_ids": [name], "class_id": class_id, "mime": "image/jpeg", "bytes": length, "width": 64,
            "height": 64, "fold_unit": photo_id, "stored_at": MOMENT, "status": "ok",
        },
        "clusters": {"photo_id": photo_id, "cluster": photo_id, "kept": True, "reason": "unique"},
        "verdicts": {
            "photo_id": photo_id, "background": background, "usable": True, "codes": [], "n_votes": 2, "method": "unanimous",
            "inclusion_probability": 1.0, "status": "ok",
        },
        "pool": {**labelled, "fold_unit": photo_id, "inclusion_probability": 1.0},
        "predictions": {
            "photo_id": photo_id, "model": MODEL, "protocol": "1v1000", "predicted": CLASSES[class_id], "rank": 1, "margin": 1.5,
            "tied": False, "correct": True,
        },
        "splits": {**labelled, "split": "first", "group": group},
    }  # fmt: skip


def freeze(home: Path) -> None:
    """Freeze what `fill` left; runs in a process of its own."""
    identity = {"spec": MODEL, "family": "made-up", "weights_sha256": "ab" * 32}
    terms = Terms(
        version="1.0.0",
        date="2026-11-02",
        agreement={
            "background": {"alpha": 0.9, "low": 0.8, "high": 1.0, "n_photos": 1, "n_votes": 2, "raw": 0.9},
            "gate": "pass",
        },
        selectors={"first": identity},
    )
    private, _ = keygen(home / "keys")
    made = draft(load_recipe(home / "recipe.toml"), Workspace(home / "workspace"), terms)
    write_release(made, home / "releases", private_key=private)
    print(own_peak_mb())


def main() -> None:
    """Print the cost of one freeze, and a JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--freeze", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("home", nargs="?", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.freeze:
        freeze(given.home)
        return
    number = 10_000 if given.quick else 100_000
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        fill(home, number)
        spent = run_apart([sys.executable, __file__, "--freeze", str(home)])
    peak = float(spent.output.split()[-1])
    print(f"freeze of {number:,} entries: {spent.cpu:.1f} CPU s, {peak:.0f} MB at most")
    print(Figure(f"freeze {number:,} entries, peak MB", peak, None, 1000.0, "lower").line())


if __name__ == "__main__":
    main()
