"""Has a whole release read by the packages that people open one with, and holds what they found against the release."""

from __future__ import annotations

from pathlib import Path

from counteranimal.freeze.export import Choice, export
from counteranimal.release.layout import PUBLISHED_TABLES
from counteranimal.release.read import open_release
from tests.fakes.foreign_readers import read_by


def assert_read_elsewhere(path: Path, photos: Path, place: Path) -> None:
    """Export a release into `place` and compare rows, photos and labels as mlcroissant, datasets, webdataset and clip_benchmark see them."""
    release = open_release(path)
    for layout in ("parquet", "webdataset"):
        export(release, photos, place / layout, layout=layout, choice=Choice())
    found = read_by(
        mlcroissant=path,
        datasets=place / "parquet",
        webdataset=place / "webdataset" / "common" / "0.tar",
        clip_benchmark=place / "webdataset",
    )
    described = found["mlcroissant"]
    assert (described["errors"], described["warnings"]) == ([], [])
    assert described["rows"] == {
        name: len(getattr(release, name)) for name in PUBLISHED_TABLES if name in described["rows"]
    }
    told: dict[str, list[str]] = {}
    for row in release.splits.to_pylist():
        if row["fold"] == "report":
            told.setdefault(row["group"], []).append(row["photo_id"])
    assert {group: split["photos"] for group, split in found["datasets"].items()} == {
        group: sorted(photo_ids) for group, photo_ids in told.items()
    }
    assert sorted(found["webdataset"]["photos"]) == sorted(told["common"])
    assert 0 <= found["clip_benchmark"]["metrics"]["acc1"] <= 1
