"""Photos that a training set holds: found in a release, and every figure with and without them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from counteranimal import tables
from counteranimal.dedupe.hash_list import list_folder
from counteranimal.dedupe.released import read_lists
from counteranimal.errors import UsageError
from counteranimal.evaluate import Labels
from counteranimal.ids import photo_id_of
from counteranimal.release.read import Release, open_release
from counteranimal.settings import Settings
from counteranimal.stats import wilson
from counteranimal.steps.publishing import evaluator_of, headline
from tests.fakes.small_release import Released
from tests.fakes.tiny_model import TinyModel

NUMBER, EVERY = 1000, 40


class BrightIsOstrich(TinyModel):
    """Calls a bright photo an ostrich (9) and a dark one a lion (291)."""

    def head_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.full((len(features), 1000), -1, np.float32)
        logits[:, 9] = features.mean(axis=1) - 0.5
        logits[:, 291] = -logits[:, 9]
        return logits


def drawn(number: int) -> Image.Image:
    """Return a picture of its own with coarse and fine structure, bright where the number is even."""
    rng = np.random.default_rng(number)
    fields = [rng.integers(0, 256, (rows, rows * 4 // 3, 3), dtype=np.uint8) for rows in (6, 24)]
    coarse, fine = (Image.fromarray(field).resize((192, 144), Image.Resampling.BICUBIC) for field in fields)
    tone = Image.new("RGB", (192, 144), (255, 255, 255) if number % 2 == 0 else (0, 0, 0))
    return Image.blend(Image.blend(coarse, fine, 0.3), tone, 0.4)


def encoded(picture: Image.Image, quality: int = 90) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def edited(picture: Image.Image, kind: int) -> bytes:
    """Return a poor, a smaller or a mirrored copy."""
    copies = (
        lambda: encoded(picture, 40),
        lambda: encoded(picture.resize((96, 72), Image.Resampling.LANCZOS)),
        lambda: encoded(ImageOps.mirror(picture)),
    )
    return copies[kind % 3]()


def a_release(photos: Path) -> Release:
    """Return a release of `NUMBER` drawn photos of one class, written into a folder: half of each background in each fold."""
    photos.mkdir()
    entries, splits = [], []
    for number in range(NUMBER):
        data = encoded(drawn(number))
        name = photo_id_of(data)
        (photos / f"{name}.jpg").write_bytes(data)
        shared = {
            "photo_id": name, "class_id": "ostrich", "background": "grass" if number % 4 < 2 else "water",
            "fold": "select" if number // 4 % 2 else "report",
        }  # fmt: skip
        more = {"bytes": len(data), "published_sha256": name, "published_bytes": len(data), "fold_unit": name}
        entries.append({**shared, **more, "inclusion_probability": 1.0})
        splits.append({**shared, "split": "one", "group": "common" if shared["background"] == "grass" else "counter"})
    manifest: dict[str, Any] = {
        "name": "drawn", "version": "1.0.0", "references": [], "seed": "s",
        "classes": [{"id": "ostrich", "name": "ostrich", "imagenet_indices": [9], "candidates_1v20": []}],
        "splits": [{"name": "one", "rule": {"rule": "roles"}, "selector": {"spec": "other"}}],
    }  # fmt: skip
    empty = {name: tables.empty(name) for name in ("pairs", "groups", "predictions")}
    read = {"entries": tables.conform("entries", entries), "splits": tables.conform("splits", splits)}
    return Release(path=photos, manifest=manifest, digest="0" * 64, agreement={}, **read, **empty)


def listed(folder: Path, files: list[bytes]) -> Path:
    """Return the hash list of some files, beside their folder."""
    folder.mkdir()
    for number, data in enumerate(files):
        (folder / f"{number:03d}").write_bytes(data)
    out = folder.with_suffix(".parquet")
    list_folder(folder, out)
    return out


@pytest.fixture(scope="module")
def other_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of a set that holds no photo of any release here."""
    return listed(tmp_path_factory.mktemp("lists") / "other", [encoded(drawn(1))])


def settings_in(folder: Path) -> Settings:
    return Settings(cache=folder / "cache", workers=1, device="cpu")


@pytest.mark.case("I14")
def test_accuracy_stands_with_and_without_the_photos_of_a_training_set(tmp_path: Path) -> None:
    """Of 25 photos in 1,000 whose edited copies a training set holds at least 24 are found, no other, and the figures say what they do.

    The model is right on all of them and on every second photo beside, so that they carry the accuracy and the drop.
    """
    release = a_release(tmp_path / "photos")
    planted = [drawn(number) for number in range(0, NUMBER, EVERY)]
    training = [edited(picture, kind) for kind, picture in enumerate(planted)]
    path = listed(tmp_path / "train", training + [encoded(drawn(number)) for number in range(NUMBER, NUMBER + 50)])
    evaluator = evaluator_of(settings_in(tmp_path), [path, path])
    evaluator = type(evaluator)(evaluator.settings, Labels(protocols=("1v1000",)), compare=evaluator.compare)
    out = tmp_path / "out"
    evaluator.evaluate(release, [BrightIsOstrich()], photos=tmp_path / "photos", out=out)
    found = set(tables.read(out / "reference_overlaps.parquet", "reference_overlaps").column("photo_id").to_pylist())
    assert len(planted) == 25
    assert found <= {photo_id_of(encoded(picture)) for picture in planted}
    assert len(found) >= 24
    told = json.loads((out / "results.json").read_bytes())["counteranimal"]["training_overlap"]
    assert (told["photos"], told["found"], told["unsure"]) == (1000, len(found), 0)
    assert [(item["name"], item["hashes"], item["overlaps"]) for item in told["lists"]] == [("train", 75, len(found))]
    [row] = told["accuracy"]
    without = (500 - len(found)) / (1000 - len(found))
    assert (row["with"]["value"], row["without"]["value"], row["found"]["value"]) == (0.5, without, 1.0)
    assert [row[kind]["n"] for kind in ("with", "without", "found")] == [1000, 1000 - len(found), len(found)]
    assert (row["without"]["low"], row["without"]["high"]) == pytest.approx(wilson(without, 1000 - len(found)))
    drops = {
        row["fold"]: row
        for row in tables.read(out / "results.parquet", "results").to_pylist()
        if row["figure"] == "macro_drop"
    }
    grass = (125 - len(found)) / (250 - len(found))
    assert drops["report"]["value"] == 0
    assert drops["report_without_overlap"]["value"] == pytest.approx(grass - 0.5)
    assert drops["report_without_overlap"]["low"] < grass - 0.5 < drops["report_without_overlap"]["high"]
    assert "(report fold without photos in hash lists): macro drop" in headline(out)


@pytest.mark.case("I14")
def test_what_was_not_compared_is_not_checked_and_what_was_not_found_is_no_other_fold(
    released: Released, tmp_path: Path, other_list: Path
) -> None:
    """With a list that holds none of the photos, zero were found and no figure is doubled; a later run without lists says not checked."""
    release, out = open_release(released.folder), tmp_path / "out"
    evaluator_of(settings_in(tmp_path), [other_list]).evaluate(release, [TinyModel()], photos=released.photos, out=out)
    told = json.loads((out / "results.json").read_bytes())["counteranimal"]["training_overlap"]
    assert (told["found"], told["photos"]) == (0, 40)
    assert {row["without"]["n"] for row in told["accuracy"]} == {40}
    assert {row["found"] for row in told["accuracy"]} == {None}
    folds = set(tables.read(out / "results.parquet", "results").column("fold").to_pylist())
    assert folds == {"report", "select", "all"}
    evaluator_of(settings_in(tmp_path)).evaluate(release, [TinyModel()], photos=released.photos, out=out)
    said = (out / "results.json").read_text()
    assert json.loads(said)["counteranimal"]["training_overlap"] == "not checked"
    assert "clean" not in said
    assert not (out / "reference_overlaps.parquet").exists()


@pytest.mark.case("I14")
def test_a_release_that_a_set_holds_whole_has_no_figure_without_it(released: Released, tmp_path: Path) -> None:
    """Every photo is found by its published copy, whose bytes are not the original's; without them there is nothing to estimate."""
    out, path = tmp_path / "out", tmp_path / "all.parquet"
    list_folder(released.photos, path)
    evaluator = evaluator_of(settings_in(tmp_path), [path])
    evaluator.evaluate(open_release(released.folder), [TinyModel()], photos=released.photos, out=out)
    told = json.loads((out / "results.json").read_bytes())["counteranimal"]["training_overlap"]
    assert (told["found"], told["photos"]) == (40, 40)
    assert {row["without"] for row in told["accuracy"]} == {None}
    assert all(row["with"] == row["found"] for row in told["accuracy"])


def test_two_lists_of_one_name_are_refused(tmp_path: Path, other_list: Path) -> None:
    """A result names a list by its file, so two of them cannot be told apart."""
    table = pq.read_table(other_list)
    same_name = tmp_path / other_list.name
    tables.write(same_name, table.slice(0, 0).replace_schema_metadata(table.schema.metadata))
    with pytest.raises(UsageError, match="two hash lists have the name other; rename"):
        read_lists([other_list, same_name])
