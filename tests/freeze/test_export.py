"""Exports: what other people's loaders read, photo for photo, and nothing that must stay inside."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.freeze.export import LAYOUTS, Choice, export
from counteranimal.images import decode
from counteranimal.release.layout import PUBLISHED_TABLES
from counteranimal.release.read import Release, open_release
from counteranimal.release.sums import digest_of_bytes, digest_of_file
from tests.fakes.foreign_readers import read_by
from tests.fakes.small_release import Released


@pytest.fixture(scope="module")
def release(released: Released) -> Release:
    return open_release(released.folder)


@pytest.fixture(scope="module")
def exported(released: Released, release: Release, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The release's report fold in every layout."""
    place = tmp_path_factory.mktemp("exported")
    for layout in LAYOUTS:
        export(release, released.photos, place / layout, layout=layout, choice=Choice())
    return {layout: place / layout for layout in LAYOUTS}


def expected(release: Release, fold: str = "report") -> dict[str, list[str]]:
    """Return group -> photo ids of a fold."""
    found: dict[str, list[str]] = {}
    for row in release.splits.to_pylist():
        if fold in {"all", row["fold"]}:
            found.setdefault(row["group"], []).append(row["photo_id"])
    return {group: sorted(names) for group, names in found.items()}


def test_image_folders_hold_each_photo_once(release: Release, exported: dict[str, Path]) -> None:
    """A folder a class inside a folder a group, and a table beside them that names every file."""
    root = exported["imagefolder"]
    for group, photo_ids in expected(release).items():
        rows = list(csv.DictReader((root / group / "metadata.csv").open(newline="", encoding="utf-8")))
        assert sorted(row["photo_id"] for row in rows) == photo_ids
        assert {str(path.relative_to(root / group)) for path in (root / group).rglob("*.jpg")} == {
            row["file_name"] for row in rows
        }
        assert {row["file_name"].split("/")[0] for row in rows} == {row["class_id"] for row in rows}


def test_shards_hold_photo_label_and_record_under_one_key(release: Release, exported: dict[str, Path]) -> None:
    """Labels are places among the 1,000 names, and headers say neither when nor by whom."""
    root = exported["webdataset"]
    names = (root / "classnames.txt").read_text().splitlines()
    assert len(names) == 1000
    assert (names[9], names[291]) == ("ostrich", "lion")
    for group, photo_ids in expected(release).items():
        assert (root / group / "nshards.txt").read_text() == "1\n"
        with tarfile.open(root / group / "0.tar") as tar:
            members = tar.getmembers()
            assert {(item.mtime, item.uid, item.uname, item.mode) for item in members} == {(0, 0, "", 0o644)}
            records = [json.load(tar.extractfile(item)) for item in members if item.name.endswith(".json")]  # type: ignore[arg-type]
            labels = [int(tar.extractfile(item).read()) for item in members if item.name.endswith(".cls")]  # type: ignore[union-attr]
        assert [row["photo_id"] for row in records] == photo_ids
        assert [[label] for label in labels] == [row["imagenet_indices"] for row in records]


def test_parquet_holds_the_bytes(release: Release, exported: dict[str, Path]) -> None:
    """The column image has bytes and a name, label the place of the class among those of the release."""
    for group, photo_ids in expected(release).items():
        table = pq.read_table(exported["parquet"] / "data" / f"{group}-00000-of-00001.parquet")
        assert table.column("photo_id").to_pylist() == photo_ids
        names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
        for row in table.to_pylist():
            assert names[row["label"]] == row["class_id"]
            assert digest_of_bytes(row["image"]["bytes"]) == row["image"]["path"].removesuffix(".jpg")


@pytest.mark.case("C09")
def test_only_published_copies_leave(
    released: Released, release: Release, exported: dict[str, Path], tmp_path: Path
) -> None:
    """From a folder of originals, with positions and names inside, the export is the same as from the copies."""
    originals = released.small.workspace.blobs.root
    export(release, originals, tmp_path / "out", layout="imagefolder", choice=Choice())
    for path in exported["imagefolder"].rglob("*"):
        other = tmp_path / "out" / path.relative_to(exported["imagefolder"])
        assert path.is_dir() or path.read_bytes() == other.read_bytes()
    photo = next(exported["imagefolder"].rglob("*.jpg"))
    assert b"Private Person" not in photo.read_bytes()
    assert decode(photo.read_bytes()).size == (96, 72)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_is_the_same_each_time(
    released: Released, release: Release, exported: dict[str, Path], tmp_path: Path, layout: str
) -> None:
    """Byte for byte, and every fold is there when all are asked for."""
    counts = export(release, released.photos, tmp_path / "again", layout=layout, choice=Choice("first", "report"))
    files = [path for path in exported[layout].rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert digest_of_file(tmp_path / "again" / path.relative_to(exported[layout])) == digest_of_file(path)
    assert {group: counts[group] for group in expected(release)} == {
        group: len(ids) for group, ids in expected(release).items()
    }
    whole = export(release, released.photos, tmp_path / "whole", layout=layout, choice=Choice("", "all"))
    assert sum(whole[group] for group in ("common", "counter", "other")) == 40


def test_a_missing_or_changed_photo_stops_the_export(released: Released, release: Release, tmp_path: Path) -> None:
    """Nothing is written, nothing is left out."""
    photos = shutil.copytree(released.photos, tmp_path / "photos")
    wanted = {
        row["published_sha256"] for row in release.entries.to_pylist() if row["photo_id"] in expected(release)["common"]
    }
    first = next(path for path in sorted(photos.iterdir()) if path.stem in wanted)
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="has changed"):
        export(release, photos, tmp_path / "out", layout="parquet", choice=Choice())
    first.unlink()
    with pytest.raises(IntegrityError, match=r"1 of \d+ photos are not in"):
        export(release, photos, tmp_path / "out", layout="parquet", choice=Choice())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize(
    ("layout", "choice", "said"), [("csv", Choice(), "layout"), ("parquet", Choice("second"), "no split")]
)
def test_unknown_words_are_usage_errors(  # noqa: PLR0917
    released: Released, release: Release, tmp_path: Path, layout: str, choice: Choice, said: str
) -> None:
    """The sentence says what there is."""
    with pytest.raises(UsageError, match=said):
        export(release, released.photos, tmp_path / "out", layout=layout, choice=choice)


def test_an_existing_folder_is_not_overwritten(released: Released, release: Release, tmp_path: Path) -> None:
    """Whatever is in it."""
    with pytest.raises(UsageError, match="exists"):
        export(release, released.photos, tmp_path, layout="parquet", choice=Choice())


@pytest.mark.case("H17")
def test_mlcroissant_validates_and_reads(release: Release) -> None:
    """No error, no warning, the RAI statements are understood, and every table is read through the description."""
    found = read_by(mlcroissant=release.path)["mlcroissant"]
    assert (found["errors"], found["warnings"], found["rai"]) == ([], [], True)
    assert found["rows"] == {name: len(getattr(release, name)) for name in PUBLISHED_TABLES if name in found["rows"]}
    assert found["columns"] == sorted(f"entries/{name}" for name in release.entries.column_names)


@pytest.mark.parametrize("layout", ["imagefolder", "parquet"])
def test_datasets_loads(release: Release, exported: dict[str, Path], layout: str) -> None:
    """`datasets.load_dataset(folder)` gives a split a group with decoded photos and every column."""
    found = read_by(datasets=exported[layout])["datasets"]
    assert {name: split["photos"] for name, split in found.items()} == expected(release)
    for split in found.values():
        assert split["size"] == [96, 72]
        assert {"image", "background", "licence", "fold_unit", "class_id"} <= set(split["columns"])


def test_webdataset_reads(release: Release, exported: dict[str, Path]) -> None:
    """Photo, label and record come together."""
    found = read_by(webdataset=exported["webdataset"] / "counter" / "0.tar")["webdataset"]
    assert sorted(found["photos"]) == expected(release)["counter"]
    assert set(found["labels"]) <= {9, 291, 340}
    assert found["sizes"] == [[96, 72]] * len(found["keys"])


def test_clip_benchmark_evaluates(exported: dict[str, Path]) -> None:
    """`clip_benchmark eval` finds names, templates, shards and labels, and writes its figures."""
    found = read_by(clip_benchmark=exported["webdataset"])["clip_benchmark"]
    assert found["task"] == "zeroshot_classification"
    assert 0 <= found["metrics"]["acc1"] <= found["metrics"]["acc5"] <= 1
