"""A run over a real, small release: complete or refused, the same every time, resumed and not repeated."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counteranimal import tables
from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.evaluate import Evaluator, Labels, PhotoSet, evaluate, predict
from counteranimal.release.read import Release, open_release
from counteranimal.settings import Settings
from tests.fakes.small_release import Released
from tests.fakes.tiny_model import TinyModel


@pytest.fixture(scope="module")
def release(released: Released) -> Release:
    """The opened release: four classes, 40 photos, one split chosen by the stand-in."""
    return open_release(released.folder)


def settings_in(folder: Path, batch_size: int = 16) -> Settings:
    return Settings(cache=folder / "cache", batch_size=batch_size, workers=1, device="cpu")


def document(out: Path) -> dict[str, Any]:
    """Return results.json without its time block, which must be there."""
    found = json.loads((out / "results.json").read_bytes())
    assert set(found.pop("time")) == {"started", "finished"}
    return found


def test_every_photo_is_judged_under_both_protocols(release: Release, released: Released, tmp_path: Path) -> None:
    """As many predictions as the manifest has photos, for each protocol, and a row for each figure."""
    results = evaluate(
        release, [TinyModel()], photos=released.photos, settings=settings_in(tmp_path), out=tmp_path / "out"
    )
    predictions = tables.read(tmp_path / "out" / "predictions-tiny.parquet", "predictions")
    assert len(predictions) == 2 * release.manifest["counts"]["entries"] == 80
    assert tables.read(tmp_path / "out" / "results.parquet", "results").equals(results)
    assert set(results.column("protocol").to_pylist()) == {"1v1000", "1v20"}
    assert "macro_drop" in results.column("figure").to_pylist()


@pytest.mark.case("I04")
@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_missing_or_changed_photo_stops_before_any_metric(
    release: Release, released: Released, tmp_path: Path, damage: str
) -> None:
    """The first bad photo is named with the number of all; no model ran and nothing was written."""
    model, photos = TinyModel(), tmp_path / "photos"
    photos.mkdir()
    files = sorted(released.photos.rglob("*.*"))
    for file in files:
        (photos / file.name).write_bytes(file.read_bytes())
    for file in files[:2]:
        target = photos / file.name
        if damage == "missing":
            target.unlink()
        else:
            data = bytearray(target.read_bytes())
            data[-3] ^= 1
            target.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"nothing was evaluated: photo .*; 2 of 40 photos are missing or changed"):
        evaluate(release, [model], photos=photos, settings=settings_in(tmp_path), out=tmp_path / "out")
    assert model.batches == []
    assert not (tmp_path / "out").exists()


@pytest.mark.case("I05")
def test_runs_are_alike_whatever_the_batch(release: Release, released: Released, tmp_path: Path) -> None:
    """Batches of 1, 7 and 64 give the same files, byte for byte but for the time block."""
    found = []
    for batch in (1, 7, 64):
        place = tmp_path / str(batch)
        evaluator = Evaluator(settings_in(place, batch), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
        evaluator.evaluate(release, [TinyModel()], photos=released.photos, out=place / "out")
        names = ("results.json", "results.parquet", "predictions-tiny.parquet")
        found.append([(place / "out" / name).read_bytes() for name in names])
    assert found[0] == found[1] == found[2]
    evaluate(release, [TinyModel()], photos=released.photos, settings=settings_in(tmp_path), out=tmp_path / "again")
    assert document(tmp_path / "again") == document(tmp_path / "7" / "out")


def test_originals_and_published_copies_give_the_same(release: Release, released: Released, tmp_path: Path) -> None:
    """Published copies have equal pixels, so evaluating the workspace's originals changes no prediction."""
    found = []
    for place, photos in (("copies", released.photos), ("originals", released.small.workspace.home / "blobs")):
        evaluate(
            release, [TinyModel()], photos=photos, settings=settings_in(tmp_path / place), out=tmp_path / place / "out"
        )
        found.append(tables.read(tmp_path / place / "out" / "predictions-tiny.parquet", "predictions"))
    assert found[0].equals(found[1])


def test_a_second_run_computes_nothing(release: Release, released: Released, tmp_path: Path) -> None:
    """Predictions of the same release, model and labels are reused, and the results are the same."""
    out, settings = tmp_path / "out", settings_in(tmp_path)
    first = evaluate(release, [TinyModel()], photos=released.photos, settings=settings, out=out)
    before = document(out)
    for file in settings.cache_folder.rglob("*.parquet"):
        file.unlink()
    again = TinyModel()
    assert evaluate(release, [again], photos=released.photos, settings=settings, out=out).equals(first)
    assert again.batches == []
    assert document(out) == before


def test_other_weights_are_not_taken_for_the_same_model(release: Release, released: Released, tmp_path: Path) -> None:
    """A file of predictions made by other weights under the same name is made again."""
    out, settings = tmp_path / "out", settings_in(tmp_path)
    evaluate(release, [TinyModel(seed=1)], photos=released.photos, settings=settings, out=out)
    before = pq.read_table(out / "predictions-tiny.parquet")
    evaluate(release, [TinyModel(seed=2)], photos=released.photos, settings=settings, out=out)
    assert not pq.read_table(out / "predictions-tiny.parquet").equals(before)


@pytest.mark.case("I15")
def test_a_run_that_died_between_models_goes_on(release: Release, released: Released, tmp_path: Path) -> None:
    """What was finished is kept, a torn file is made again, and the end equals an undisturbed run."""
    out, settings = tmp_path / "out", settings_in(tmp_path)
    broken = TinyModel("b", seed=2, limit=0)
    with pytest.raises(EnvironmentFailure):
        evaluate(release, [TinyModel("a", seed=1), broken], photos=released.photos, settings=settings, out=out)
    assert (out / "predictions-a.parquet").exists()
    assert not (out / "results.json").exists()
    (out / "predictions-b.parquet").write_bytes(b"PAR1 torn")
    resumed = TinyModel("a", seed=1)
    evaluate(release, [resumed, TinyModel("b", seed=2)], photos=released.photos, settings=settings, out=out)
    assert resumed.batches == []
    whole = [TinyModel("a", seed=1), TinyModel("b", seed=2)]
    evaluate(release, whole, photos=released.photos, settings=settings_in(tmp_path / "w"), out=tmp_path / "whole")
    assert document(out) == document(tmp_path / "whole")


@pytest.mark.case("I16")
def test_the_batch_halves_when_memory_runs_out(release: Release, released: Released, tmp_path: Path) -> None:
    """A model that fits three photos starts at 16, goes down to 2, and ends with the same predictions."""
    tight, roomy = TinyModel(limit=3), TinyModel()
    for place, model in (("tight", tight), ("roomy", roomy)):
        evaluate(
            release, [model], photos=released.photos, settings=settings_in(tmp_path / place), out=tmp_path / place / "o"
        )
    assert tight.batches[:4] == [16, 8, 4, 2]
    found = [(tmp_path / place / "o" / "results.parquet").read_bytes() for place in ("tight", "roomy")]
    assert found[0] == found[1]


def test_too_little_memory_for_one_photo_says_so(release: Release, released: Released, tmp_path: Path) -> None:
    """When even one photo does not fit, the sentence says what to do."""
    with pytest.raises(EnvironmentFailure, match="one photo at a time"):
        evaluate(
            release, [TinyModel(limit=0)], photos=released.photos, settings=settings_in(tmp_path), out=tmp_path / "out"
        )


@pytest.mark.case("I18")
def test_the_result_file_says_where_its_numbers_come_from(release: Release, released: Released, tmp_path: Path) -> None:
    """Release and digest, model identity, versions, seed, dtype, device, prompts and tie rule; CLIP_benchmark's keys."""
    out = tmp_path / "out"
    results = evaluate(
        release, [TinyModel("open_clip:Tiny/tag")], photos=released.photos, settings=settings_in(tmp_path), out=out
    )
    found = document(out)
    about = found["counteranimal"]
    assert about["release"] | {"seed": "small-1"} == about["release"]
    assert (about["release"]["id"], about["release"]["digest"]) == ("small-1.0.0", release.digest)
    assert about["release"]["photos_evaluated"] == release.manifest["counts"]["entries"]
    assert (about["device"], about["dtype"], about["names"], about["templates"]) == (
        "cpu",
        ["float32"],
        "wordnet",
        "paper",
    )
    assert about["tie_rule"] == "among equal logits the lower ImageNet index wins"
    assert about["training_overlap"] == "not checked"
    assert {"torch", "numpy", "counteranimal", "python"} <= set(about["versions"])
    one, other = found["results"]
    assert {"dataset", "model", "pretrained", "task", "metrics", "language"} <= set(one)
    assert (one["model"], one["pretrained"], one["language"]) == ("Tiny", "tag", "en")
    assert {one["counteranimal"]["protocol"], other["counteranimal"]["protocol"]} == {"1v1000", "1v20"}
    assert one["counteranimal"]["identity"]["weights_sha256"] == "0" * 64
    figures = one["counteranimal"]["splits"]["first"]["folds"]["report"]["figures"]
    stated = [
        row["value"]
        for row in results.to_pylist()
        if (row["fold"], row["protocol"], row["figure"]) == ("report", "1v1000", "macro_drop")
    ]
    assert [figures["macro_drop"]["value"]] == stated


@pytest.mark.case("I13")
def test_headlines_put_models_that_took_no_part_first(release: Release, released: Released, tmp_path: Path) -> None:
    """A relative of the selector is marked and listed after the model that took no part; both headlines are on report."""
    models = [TinyModel("a-relative", lineage=("efficientnet-lite2",)), TinyModel("b-stranger")]
    evaluate(release, models, photos=released.photos, settings=settings_in(tmp_path), out=tmp_path / "out")
    rows = document(tmp_path / "out")["counteranimal"]["headline"]["first"]
    assert [(row["model"], row["mark"], row["fold"]) for row in rows] == [
        ("b-stranger", "", "report"),
        ("a-relative", "relative", "report"),
    ]


@pytest.mark.parametrize(("specs", "said"), [([], "no model"), ([TinyModel(), TinyModel()], "once")])
def test_models_are_named_once(
    release: Release, released: Released, tmp_path: Path, specs: list[TinyModel], said: str
) -> None:
    """No model, or one twice, is a mistake of the command."""
    with pytest.raises(UsageError, match=said):
        evaluate(release, specs, photos=released.photos, settings=settings_in(tmp_path), out=tmp_path / "out")


@pytest.mark.case("I08")
@pytest.mark.parametrize(
    ("indices", "said"),
    [({"fox": [1], "owl": []}, "owl has no ImageNet index"), ({"fox": [1], "owl": [1]}, "two classes")],
)
def test_classes_without_an_index_or_with_one_in_common_are_refused(indices: dict[str, list[int]], said: str) -> None:
    """A class that nothing can be right for, and two names for one class, are errors."""
    with pytest.raises(UsageError, match=said):
        PhotoSet({"a": "fox", "b": "owl"}, indices, lambda _: b"")


def test_a_protocol_without_candidates_is_left_out_and_said(
    release: Release, released: Released, tmp_path: Path
) -> None:
    """Without candidate lists 1 vs 20 has no predictions."""
    entries = {row["photo_id"]: row for row in release.entries.to_pylist()}
    photos = PhotoSet.of(
        release.entries, release.class_indices, lambda photo: (released.photos / _name(entries[photo])).read_bytes()
    )
    found = predict(TinyModel(), photos, Labels(), settings=settings_in(tmp_path), store=tmp_path / "store")
    assert set(found.column("protocol").to_pylist()) == {"1v1000"}
    with pytest.raises(UsageError, match="unknown protocol"):
        predict(
            TinyModel(), photos, Labels(protocols=("1v5",)), settings=settings_in(tmp_path), store=tmp_path / "store"
        )


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['published_sha256']}.jpg"


def test_predictions_are_scored_again_without_models(release: Release, released: Released, tmp_path: Path) -> None:
    """Files of predictions alone give results.json and results.parquet again, bit for bit but for the time."""
    out, again = tmp_path / "out", tmp_path / "again"
    evaluator = Evaluator(settings_in(tmp_path), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    evaluator.evaluate(release, [TinyModel("b", seed=2), TinyModel("a")], photos=released.photos, out=out)
    evaluator.rescore(release, [out / "predictions-b.parquet", out / "predictions-a.parquet"], out=again)
    for name in ("results.json", "results.parquet"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_predictions_that_contradict_the_release_are_refused(
    release: Release, released: Released, tmp_path: Path
) -> None:
    """Another release, an edited answer, a missing photo, no statement, and mixed templates each stop with a sentence."""
    out = tmp_path / "out"
    evaluator = Evaluator(settings_in(tmp_path))
    evaluator.evaluate(release, [TinyModel()], photos=released.photos, out=out)
    path, edited = out / "predictions-tiny.parquet", tmp_path / "edited.parquet"
    table = pq.read_table(path)

    def refused(made: pa.Table, error: type[Exception], said: str, *, of: Release = release) -> None:
        pq.write_table(made, edited)
        with pytest.raises(error, match=said):
            evaluator.rescore(of, [edited], out=tmp_path / "again")

    flipped = pc.invert(table.column("correct"))
    place = table.schema.get_field_index("correct")
    refused(table.set_column(place, "correct", flipped), IntegrityError, "contradicts the release")
    refused(table.slice(1), IntegrityError, "judged|no 1v20 prediction")
    refused(table.replace_schema_metadata(None), IntegrityError, "does not say which release")
    refused(table, IntegrityError, "made on another release", of=replace(release, digest="0" * 64))
    Evaluator(settings_in(tmp_path), labels=Labels(templates="openai80")).evaluate(
        release, [TinyModel("other")], photos=released.photos, out=out
    )
    with pytest.raises(UsageError, match="score them apart"):
        evaluator.rescore(release, [path, out / "predictions-other.parquet"], out=tmp_path / "again")
    assert not (tmp_path / "again").exists()


_KILLED = """
import os, signal, sys

from pathlib import Path
from counteranimal.evaluate import evaluate
from counteranimal.release.read import open_release
from tests.evaluate.test_run import settings_in
from tests.fakes.tiny_model import TinyModel

class Dying(TinyModel):
    def features(self, crops):
        found = super().features(crops)
        if len(self.batches) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

release, photos, home = map(Path, sys.argv[1:])
models = [TinyModel("a", seed=1), Dying("b", seed=2)]
evaluate(open_release(release), models, photos=photos, settings=settings_in(home, 8), out=home / "out")
"""


@pytest.mark.case("I15")
def test_a_killed_run_ends_as_an_undisturbed_one(release: Release, released: Released, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second model's photos: the first is not run again, and every file is the same."""
    home, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", _KILLED, str(released.folder), str(released.photos), str(home)]
    died = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert [path.name for path in (home / "out").iterdir()] == ["predictions-a.parquet"]
    models = [TinyModel("a", seed=1), TinyModel("b", seed=2)]
    evaluate(release, models, photos=released.photos, settings=settings_in(home, 8), out=home / "out")
    assert models[0].batches == []
    again = [TinyModel("a", seed=1), TinyModel("b", seed=2)]
    evaluate(release, again, photos=released.photos, settings=settings_in(whole, 8), out=whole / "out")
    assert document(home / "out") == document(whole / "out")
    for name in ("results.parquet", "predictions-a.parquet", "predictions-b.parquet"):
        assert (home / "out" / name).read_bytes() == (whole / "out" / name).read_bytes()
