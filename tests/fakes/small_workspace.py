"""A workspace after its rebuild: 40 generated photos through the real blob store, journal and tables, in about a second.

Nothing here is random: the same arguments give the same rows, and `order` only shuffles the sequence in which they are written.
Beside the published photos it holds what a real workspace holds: duplicates, a refused licence, an unlabelled and an
unusable photo, composites, photos without observer, hostile author names, and metadata that must not be published.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counteranimal import ids
from counteranimal.freeze.inputs import Terms
from counteranimal.recipe import Recipe, load_recipe
from counteranimal.workspace import Blob, Workspace

RECIPE = """\
name = "small"
title = "Forty generated photos"
seed = "small-1"
backgrounds = ["grass", "water", "sky"]

[[classes]]
id = "ostrich"
name = "ostrich"
imagenet = [9]

[[classes]]
id = "lion"
name = "lion"
imagenet = [291]

[[classes]]
id = "zebra"
name = "zebra"
imagenet = [340]

[[classes]]
id = "otter"
name = "otter"
imagenet = [360]

[[sources]]
name = "sample"
kind = "folder"

[[splits]]
name = "first"
selector = "stand-in"
n_min = 1
"""
MOMENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MODEL = "stand-in"
IDENTITY = {
    "spec": MODEL,
    "family": "stand-in",
    "architecture": "efficientnet_lite2 + minilm",
    "weights_sha256": "ab" * 32,
    "lineage": ["efficientnet-lite2"],
    "activation": "",
    "note": "not CLIP",
    "versions": {"torch": "2.13.0"},
}
AGREEMENT = {
    "background": {"alpha": 0.91, "low": 0.84, "high": 0.96, "n_photos": 41, "n_votes": 82, "raw": 0.95},
    "usable": {
        "alpha": float("nan"),
        "low": float("nan"),
        "high": float("nan"),
        "n_photos": 41,
        "n_votes": 82,
        "raw": 1.0,
    },
    "per_class": {"lion": {"alpha": 1.0, "n_photos": 10}},
    "workers": {
        "annotator@example.org": {"n_votes": 41, "gold": [12, 12]},
        "second": {"n_votes": 41, "gold": [11, 12]},
    },
    "pairs": [{"workers": ["annotator@example.org", "second"], "kappa": 1.0, "n": 41}],
    "gate": "pass",
}
_LICENCES = (
    ("CC-BY-4.0", "=cmd|' /C calc'!A0"),
    ("CC0-1.0", "Nobody Asks"),
    ("CC-BY-SA-4.0", "<script>alert(1)</script>"),
    ("CC-BY-NC-4.0", "名前 Ωμέγα"),
)
_CLASSES = {"ostrich": 9, "lion": 291, "zebra": 340, "otter": 360}


@dataclass(frozen=True)
class Small:
    """The built workspace, its recipe, and terms that pass every gate."""

    recipe: Recipe
    workspace: Workspace
    terms: Terms


def terms(**changed: Any) -> Terms:
    """Terms of a first release, with the given fields changed."""
    given: dict[str, Any] = {
        "version": "1.0.0",
        "date": "2026-11-02",
        "agreement": AGREEMENT,
        "selectors": {"first": IDENTITY},
        "candidates_1v20": {name: range(index, index + 20) for name, index in _CLASSES.items()},
    }
    return Terms(**given | changed)


def build(home: Path, *, order: int = 0) -> Small:
    """Make the workspace under `home`; rows are written in an order that `order` seeds."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "recipe.toml"
    path.write_bytes(RECIPE.encode())
    workspace = Workspace(home / "workspace")
    shuffler = random.Random(order)
    made = [_photo(number) for number in range(43)]
    workspace.blobs.put_many([Blob(item["data"]) for item in _shuffled(made, shuffler)])
    written = {
        "candidates": [_candidate(item) for item in made] + _extra_candidates(made[0]),
        "fetches": [_fetch(item["candidate_id"], item["photo_id"]) for item in made]
        + [_fetch("sample:copy", made[0]["photo_id"])],
        "photos": [_photo_row(item, first=number == 0) for number, item in enumerate(made)],
        "clusters": [_cluster(item, kept=number != 42) for number, item in enumerate(made)],
        "verdicts": [_verdict(item, number) for number, item in enumerate(made) if number != 41],
        "pool": [_pooled(item) for item in made[:40]],
        "predictions": [_prediction(item) for item in made[:40]],
        "splits": [_split_row(item) for item in made[:40]],
        "pairs": [_pair(name, made[:40]) for name in _CLASSES],
        "groups": _groups(made[:40]),
        "unsure_pairs": [],
    }
    for name, rows in written.items():
        _write(workspace, name, _shuffled(rows, shuffler))
    stored = [_stored(workspace, item, item["candidate_id"]) for item in made]
    stored.append(_stored(workspace, made[0], "sample:copy"))
    journal = {"candidates": written["candidates"], "fetches": written["fetches"], "stored": stored}
    workspace.journal.append_all(journal)
    workspace.journal.close(sealed=True)
    return Small(load_recipe(path), workspace, terms())


def _shuffled(rows: Iterable[dict[str, Any]], shuffler: random.Random) -> list[dict[str, Any]]:
    listed = list(rows)
    shuffler.shuffle(listed)
    return listed


def _write(workspace: Workspace, name: str, rows: list[dict[str, Any]]) -> None:
    from counteranimal import tables

    workspace.write_table(name, tables.conform(name, rows))


def _photo(number: int) -> dict[str, Any]:
    """Everything that is decided about one photo; the numbers 40 to 42 are not published."""
    class_id = list(_CLASSES)[number % 4]
    background = ("grass", "water", "sky")[(number // 4) % 3 if number < 36 else 0]
    composite = number % 5 == 4
    licence, author = ("CC0-1.0", None) if composite else _LICENCES[number % 4]
    data = _jpeg(number)
    photo_id = ids.photo_id_of(data)
    observer = class_id if composite else (f"person-{number % 7}" if number % 3 else None)
    return {
        "number": number, "data": data, "photo_id": photo_id, "class_id": class_id, "background": background,
        "composite": composite, "licence": licence, "author": author, "observer": observer,
        "candidate_id": f"sample:{number:03}", "correct": background != "water" or number % 2 == 0,
        "unit": ids.fold_unit("sample", observer_id=observer, observation_id=None, photo_id=photo_id),
    }  # fmt: skip


def _fold(item: dict[str, Any]) -> str:
    return ids.fold_of("small-1", item["unit"])


def _jpeg(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 255, (72, 96, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x013B] = "Private Person"  # Artist
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)  # GPSLatitude
    sink = io.BytesIO()
    Image.fromarray(noise).save(sink, "JPEG", quality=80, exif=exif)
    return sink.getvalue()


def _candidate(item: dict[str, Any]) -> dict[str, Any]:
    native = item["candidate_id"].partition(":")[2]
    return {
        "candidate_id": item["candidate_id"], "source": "sample", "native_id": native, "class_id": item["class_id"],
        "observer_id": item["observer"], "author": item["author"], "url": f"https://photos.example.org/{native}.jpg",
        "page_url": f"https://photos.example.org/{native}", "licence_raw": item["licence"], "licence": item["licence"],
        "attribution": f"© {item['author']}" if item["author"] else None, "kind": "composite" if item["composite"] else "photo",
        "seen_at": MOMENT, "status": "ok",
    }  # fmt: skip


def _extra_candidates(first: dict[str, Any]) -> list[dict[str, Any]]:
    """A second find of the first photo, and one that was refused before any byte was fetched."""
    refused = {
        "candidate_id": "sample:refused",
        "native_id": "refused",
        "licence": None,
        "status": "rejected",
        "reason": "E_LICENSE",
    }
    return [
        {**_candidate(first), "candidate_id": "sample:copy", "native_id": "copy"},
        {**_candidate(first), **refused},
    ]


def _fetch(candidate_id: str, photo_id: str) -> dict[str, Any]:
    at = MOMENT + timedelta(seconds=1)
    return {
        "candidate_id": candidate_id,
        "attempt": 1,
        "at": at,
        "status": "stored",
        "http_status": 200,
        "photo_id": photo_id,
    }


def _stored(workspace: Workspace, item: dict[str, Any], candidate_id: str) -> dict[str, Any]:
    return {
        "photo_id": item["photo_id"], "candidate_id": candidate_id, "mime": "image/jpeg", "bytes": len(item["data"]),
        "width": 96, "height": 72, "fold_unit": item["unit"], "stored_at": MOMENT + timedelta(seconds=1),
        "store": workspace.blobs.identity(), "suspect": False,
    }  # fmt: skip


def _photo_row(item: dict[str, Any], *, first: bool) -> dict[str, Any]:
    found = [item["candidate_id"], *(["sample:copy"] if first else [])]
    return {
        "photo_id": item["photo_id"], "candidate_ids": found, "class_id": item["class_id"], "mime": "image/jpeg",
        "bytes": len(item["data"]), "width": 96, "height": 72, "fold_unit": item["unit"],
        "stored_at": MOMENT + timedelta(seconds=1), "status": "ok",
    }  # fmt: skip


def _cluster(item: dict[str, Any], *, kept: bool) -> dict[str, Any]:
    return {
        "photo_id": item["photo_id"],
        "cluster": item["photo_id"],
        "kept": kept,
        "reason": "unique" if kept else "near",
    }


def _verdict(item: dict[str, Any], number: int) -> dict[str, Any]:
    usable = number < 40
    return {
        "photo_id": item["photo_id"], "background": item["background"], "usable": usable,
        "codes": ["hand_or_body"] if number == 3 else [], "n_votes": 2, "method": "unanimous" if number % 6 else "adjudicated",
        "inclusion_probability": _probability(item), "status": "ok" if usable else "rejected",
        "reason": None if usable else "unusable",
    }  # fmt: skip


def _probability(item: dict[str, Any]) -> float:
    return 0.5 if item["number"] % 8 == 0 else 1.0


def _pooled(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "photo_id": item["photo_id"], "class_id": item["class_id"], "background": item["background"],
        "fold_unit": item["unit"], "fold": _fold(item), "inclusion_probability": _probability(item),
    }  # fmt: skip


def _prediction(item: dict[str, Any]) -> dict[str, Any]:
    right = _CLASSES[item["class_id"]]
    correct = item["correct"]
    return {
        "photo_id": item["photo_id"], "model": MODEL, "protocol": "1v1000", "predicted": right if correct else right + 1,
        "rank": 1 if correct else 4, "margin": 1.5 if correct else -0.5, "tied": False, "correct": correct,
    }  # fmt: skip


def _group(item: dict[str, Any]) -> str:
    if item["class_id"] == "otter":
        return "other"
    return {"grass": "common", "water": "counter"}.get(item["background"], "other")


def _split_row(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "split": "first", "photo_id": item["photo_id"], "class_id": item["class_id"], "background": item["background"],
        "group": _group(item), "fold": _fold(item),
    }  # fmt: skip


def _pair(class_id: str, made: list[dict[str, Any]]) -> dict[str, Any]:
    if class_id == "otter":
        return {"split": "first", "class_id": class_id, "status": "no_pair", "reason": "no two backgrounds qualify"}
    counted = {
        f"n_{group}_{fold}": sum(
            (item["class_id"], _group(item), _fold(item)) == (class_id, group, fold) for item in made
        )
        for group in ("common", "counter")
        for fold in ("select", "report")
    }
    return {
        "split": "first", "class_id": class_id, "status": "pair", "common": "grass", "counter": "water", **counted,
        "drop_select": 0.5, "drop_report": 0.4, "drop_report_low": -0.1, "drop_report_high": 0.7, "p_value": 0.11,
        "confirmed": False, "unstable": False,
    }  # fmt: skip


def _groups(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cells: dict[tuple[str, str, str, str], list[bool]] = {}
    for item in made:
        key = (item["class_id"], item["background"], _group(item), _fold(item))
        cells.setdefault(key, []).append(item["correct"])
    return [
        {
            "split": "first", "class_id": class_id, "background": background, "group": group, "fold": fold, "model": MODEL,
            "n": len(correct), "n_effective": float(len(correct)), "correct": sum(correct),
            "accuracy": sum(correct) / len(correct), "low": 0.0, "high": 1.0,
        }
        for (class_id, background, group, fold), correct in cells.items()
    ]  # fmt: skip
