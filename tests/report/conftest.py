"""A made-up release and its evaluation, small enough to check by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from counteranimal import tables
from counteranimal.conservation import Conservation
from counteranimal.ids import photo_id_of
from counteranimal.report.context import Origin, ReportContext
from counteranimal.report.photos import examples_of, merged_of

CLASSES = {"ostrich": "ostrich", "zebra": "zebra", "pelican": "pelican", "otter": "otter"}
BACKGROUNDS = ("water", "grass", "rock")
MODELS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "stand-in")
STAND_IN = {
    "spec": "stand-in",
    "family": "stand-in",
    "architecture": "tf_efficientnet_lite2 + MiniLM",
    "weights_sha256": "5" * 64,
    "lineage": ["efficientnet-lite2"],
    "note": "closed-form head; not CLIP",
}

BALANCE = {
    "n": 30,
    "without_measures": 2,
    "left_out": [],
    "differences": {"sharpness": {"before": -0.41, "after": 0.02}, "animal_area": {"before": 0.25, "after": -0.01}},
    "drop": {"value": 0.3, "low": 0.1, "high": 0.5},
    "drop_weighted": {"value": 0.24, "low": 0.02, "high": 0.46},
    "remaining": 0.8,
}


def jpeg(number: int, *, size: tuple[int, int] = (420, 300)) -> bytes:
    """Return a drawn picture that differs by number."""
    image = Image.new("RGB", size, (70 + 13 * number % 150, 120 + 29 * number % 120, 90 + 47 * number % 150))
    draw = ImageDraw.Draw(image)
    draw.ellipse((110 + number % 40, 60, 310, 240), fill=(230, 220 - 9 * number % 150, 180))
    sink = io.BytesIO()
    image.save(sink, "JPEG", comment=b"made by Jane Doe", exif=_exif())
    return sink.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x013B] = "Jane Doe"
    return exif


def _results() -> list[dict[str, Any]]:
    rows = []
    for m, model in enumerate(MODELS):
        for fold, shift in (("report", 0.0), ("select", 0.03)):
            for protocol, lift in (("1v1000", 0.0), ("1v20", 0.08)):
                common, counter = 0.86 - 0.07 * m + lift, 0.71 - 0.09 * m + lift - shift
                figures = {"accuracy_common": common, "accuracy_counter": counter, "drop": common - counter}
                for average in ("macro", "micro"):
                    for name, value in figures.items():
                        rows.append(_result(model, (fold, protocol, "*", f"{average}_{name}"), value, 120))
                for c, class_id in enumerate(CLASSES):
                    if class_id != "otter":
                        rows.append(_result(model, (fold, protocol, class_id, "drop"), common - counter + 0.03 * c, 30))
    return rows


def _result(model: str, key: tuple[str, str, str, str], value: float, n: int) -> dict[str, Any]:
    fold, protocol, class_id, figure = key
    half = 0.9 / n**0.5
    return {
        "split": "stand-in", "fold": fold, "model": model, "protocol": protocol, "class_id": class_id, "figure": figure,
        "value": value, "n": n, "n_effective": n / 1.9, "low": value - half, "high": min(value + half, 1.0),
    }  # fmt: skip


def _pairs() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "split": "stand-in", "class_id": class_id, "status": "pair", "common": "water", "counter": "grass",
            "n_common_select": 40, "n_counter_select": 38, "n_common_report": 41, "n_counter_report": 37,
            "drop_select": 0.31 - 0.04 * c, "drop_report": 0.27 - 0.08 * c, "drop_report_low": 0.11 - 0.08 * c,
            "drop_report_high": 0.43 - 0.08 * c, "p_value": 0.0004 + 0.03 * c, "confirmed": c == 0, "unstable": c == 2,
        }
        for c, class_id in enumerate(("ostrich", "zebra", "pelican"))
    ]  # fmt: skip
    return [
        *rows,
        {
            "split": "stand-in",
            "class_id": "otter",
            "status": "no_pair",
            "reason": "fewer than two backgrounds have 20 photos",
        },
    ]


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Thirty-six drawn photos on disk by photo id; they carry an author in EXIF and in a comment."""
    folder = tmp_path_factory.mktemp("gallery")
    found = {}
    for number in range(36):
        data = jpeg(number)
        path = folder / photo_id_of(data)
        path.write_bytes(data)
        found[path.name] = path
    return found


def _entries_and_splits(photo_ids: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows of `entries` and `splits`: four classes and three backgrounds in turn, both folds."""
    entries, splits = [], []
    for number, photo_id in enumerate(photo_ids):
        class_id, background = list(CLASSES)[number % 4], BACKGROUNDS[number % 3]
        shared = {
            "photo_id": photo_id, "class_id": class_id, "background": background,
            "fold": "report" if number % 2 else "select",
        }  # fmt: skip
        entries.append(
            {
                **shared, "kind": "composite" if number % 5 else "photo", "licence": "CC-BY-4.0", "author": f"Author {number}",
                "page_url": f"https://example.org/{number}",
            }
        )  # fmt: skip
        group = {"water": "common", "grass": "counter"}.get(background, "other")
        splits.append({**shared, "split": "stand-in", "group": group})
    return entries, splits


def _duplicates(photo_ids: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows of `clusters` (one near copy, dropped) and of `unsure_pairs` (one)."""
    first, second, third, fourth = photo_ids[:4]
    clusters = [
        {"photo_id": first, "cluster": second, "kept": False, "reason": "near", "partner": second, "phash_distance": 4,
         "dhash_distance": 6, "pixel_difference": 0.021, "rule": "pHash 12, dHash 14, pixels 0.06"},
        {"photo_id": second, "cluster": second, "kept": True, "reason": "kept"},
    ]  # fmt: skip
    unsure = [
        {"photo_a": third, "photo_b": fourth, "phash_distance": 9, "dhash_distance": 11, "pixel_difference": 0.07,
         "why": "same scene"},
    ]  # fmt: skip
    return clusters, unsure


def _agreement() -> dict[str, Any]:
    return {
        "background": {"alpha": 0.861, "low": 0.81, "high": 0.91, "n_photos": 36, "n_votes": 72, "raw": 0.93},
        "usable": {"alpha": 0.55, "low": None, "high": None, "n_photos": 36, "n_votes": 72, "raw": 0.98},
        "per_class": {"ostrich": {"alpha": 0.9, "low": 0.7, "high": 1.0, "n_photos": 9, "n_votes": 18, "raw": 0.95}},
        "workers": {"jane@example.org": {"n": 36}, "joe@example.org": {"n": 36}},
        "gate": "pass",
    }


def _overlap() -> dict[str, Any]:
    """What an evaluation says that found two of the photos, all of them right, in a hash list."""

    def figure(value: float, n: int) -> dict[str, Any]:
        return {"value": value, "low": value - 0.1, "high": min(value + 0.1, 1.0), "n": n, "n_effective": n / 1.2}

    row = {"with": figure(0.81, 36), "without": figure(0.79, 34), "found": figure(1.0, 2)}
    return {
        "photos": 36, "found": 2, "unsure": 1,
        "lists": [{"name": "train", "sha256": "a" * 64, "hashes": 1200, "unreadable": 0, "overlaps": 2, "unsure": 1}],
        "accuracy": [{"protocol": "1v1000", "model": model, **row} for model in MODELS],
    }  # fmt: skip


def _identities() -> dict[str, dict[str, Any]]:
    classifiers = {
        name: {"spec": name, "family": "imagenet", "architecture": name, "weights_sha256": f"{i}" * 64, "lineage": []}
        for i, name in enumerate(MODELS[:3])
    }
    return {**classifiers, "stand-in": STAND_IN}


@pytest.fixture
def context(gallery: dict[str, Path]) -> ReportContext:
    """A whole context: four classes, one without a pair, four models, 36 photos on three backgrounds."""
    ids = sorted(gallery)
    entries, splits = _entries_and_splits(ids)
    clusters, unsure = _duplicates(ids)
    entry_table, split_table = tables.conform("entries", entries), tables.conform("splits", splits)
    return ReportContext(
        title="Animals on water and on grass",
        release=Origin("demo", "1.0.0", "9f" * 32),
        conservation=Conservation(
            48,
            {"stored": 36, "duplicate": 5, "rejected": 4, "failed": 2, "pending": 1},
            {"duplicate near": 3, "duplicate exact": 2, "rejected E_LICENSE": 3, "rejected E_TYPE": 1, "failed E_GONE": 2},
        ),
        cluster_reasons={"unique": 34, "kept": 2, "near": 3},
        agreement=_agreement(),
        votes={"counted": 72, "skipped": 1},
        pairs=tables.conform("pairs", _pairs()),
        splits=split_table,
        entries=entry_table,
        results=tables.conform("results", _results()),
        identities=_identities(),
        selectors={"stand-in": STAND_IN},
        class_names=CLASSES,
        simulated_raters=True,
        covariates={"stand-in": BALANCE},
        training_overlap=_overlap(),
        examples=examples_of(split_table, entry_table, path_of=gallery.get, class_names=CLASSES),
        merged=merged_of(
            {"clusters": tables.conform("clusters", clusters), "unsure_pairs": tables.conform("unsure_pairs", unsure)},
            path_of=gallery.get,
            credit_of=lambda photo_id: f"Author of {photo_id[:4]}, CC-BY-4.0",
        ),
    )  # fmt: skip


@pytest.fixture
def change(context: ReportContext) -> Callable[..., ReportContext]:
    """Return the context with some fields replaced."""
    return lambda **fields: replace(context, **fields)
