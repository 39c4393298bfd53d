"""How an evaluation works through photos: decoded once, in parts, on several devices, in less than float32, told how long."""

from __future__ import annotations

import functools
import hashlib
import json
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from counteranimal import tables
from counteranimal.cli import app
from counteranimal.errors import EnvironmentFailure
from counteranimal.evaluate import Evaluator, Labels, evaluate
from counteranimal.evaluate.precision import compared, sentences
from counteranimal.models import embeddings
from counteranimal.models.crops import SUFFIX
from counteranimal.release.read import Release, open_release
from tests.evaluate.test_run import document, settings_in
from tests.fakes.small_release import Released
from tests.fakes.tiny_model import TinyModel, TinyPreprocessing
from tests.model_fixtures import tiny_clip

__all__ = ["tiny_clip"]


@pytest.fixture(scope="module")
def release(released: Released) -> Release:
    """The opened release: 40 photos."""
    return open_release(released.folder)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each photo that is decoded from now on."""
    found: list[int] = []
    plain = embeddings.decode
    monkeypatch.setattr(embeddings, "decode", lambda data: (found.append(len(data)), plain(data))[1])
    return found


def predictions(out: Path, name: str = "tiny") -> pa.Table:
    return tables.read(out / f"predictions-{name}.parquet", "predictions")


def test_photos_are_decoded_once_for_all_models_and_runs(
    release: Release, released: Released, tmp_path: Path, decoded: list[int]
) -> None:
    """Three models of one preprocessing and a later run with a fourth decode 40 photos; another preprocessing decodes its own."""
    settings = settings_in(tmp_path)
    for place, seeds in (("first", (1, 2, 3)), ("later", (4,))):
        models = [TinyModel(f"m{seed}", seed=seed) for seed in seeds]
        evaluate(release, models, photos=released.photos, settings=settings, out=tmp_path / place)
        assert all(sum(model.batches) == 40 for model in models)
        assert len(decoded) == 40
    (kept,) = (settings.cache_folder / "crops").iterdir()
    assert kept.suffix == SUFFIX

    class Other(TinyModel):
        @property
        def preprocessing(self) -> TinyPreprocessing:
            return TinyPreprocessing("other")

    evaluate(release, [Other("other")], photos=released.photos, settings=settings, out=tmp_path / "other")
    assert len(decoded) == 80
    assert predictions(tmp_path / "later", "m4").num_rows == 80


def test_kept_crops_change_nothing_and_a_damaged_one_is_decoded_again(
    release: Release, released: Released, tmp_path: Path, decoded: list[int]
) -> None:
    """Without any cache, from a whole one and from one with a flipped bit: the same predictions, to the last bit."""
    settings = settings_in(tmp_path)
    found = []
    for place, change in (("none", {"crop_cache_gb": 0.0}), ("made", {}), ("read", {}), ("damaged", {})):
        if place == "damaged":
            (path,) = (settings.cache_folder / "crops").iterdir()
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
        model = TinyModel(place, seed=7)
        evaluator = Evaluator(settings.model_copy(update=change), store=tmp_path / place)
        evaluator.evaluate(release, [model], photos=released.photos, out=tmp_path / "out")
        found.append((predictions(tmp_path / "out", place).drop_columns(["model"]), len(decoded)))
    assert [number for _, number in found] == [40, 80, 80, 81]
    assert all(table.equals(found[0][0]) for table, _ in found)


def test_a_photo_that_changed_stops_the_run_although_its_crop_is_kept(
    release: Release, released: Released, tmp_path: Path
) -> None:
    """A cache never stands in for a photo: the number would not be that of the release."""
    settings, photos = settings_in(tmp_path), tmp_path / "photos"
    photos.mkdir()
    for file in released.photos.iterdir():
        (photos / file.name).write_bytes(file.read_bytes())
    evaluate(release, [TinyModel()], photos=photos, settings=settings, out=tmp_path / "out")
    min(photos.iterdir()).unlink()
    model = TinyModel("another", seed=2)
    with pytest.raises(Exception, match="nothing was evaluated"):
        evaluate(release, [model], photos=photos, settings=settings, out=tmp_path / "out")
    assert model.batches == []


def test_predictions_are_on_disk_while_the_run_goes_on(
    release: Release, released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each part its photos' answers can be read; in the end one file holds all, and the parts are gone."""
    monkeypatch.setattr(embeddings, "PART", 8)
    out, seen = tmp_path / "out", []

    class Watching(TinyModel):
        def features(self, crops: Any) -> Any:
            parts = sorted((out / "predictions-tiny.parts").glob("*/part-*.parquet"))
            seen.append(sum(len(tables.read(path, "predictions")) for path in parts))
            return super().features(crops)

    evaluate(release, [Watching()], photos=released.photos, settings=settings_in(tmp_path, 8), out=out)
    assert seen == [0, 16, 32, 48, 64]
    assert len(predictions(out)) == 80
    assert sorted(path.name for path in out.iterdir()) == [
        "predictions-tiny.parquet",
        "results.json",
        "results.parquet",
    ]


_KILLED = """
import os, signal, sys
from pathlib import Path
from counteranimal.evaluate import evaluate
from counteranimal.models import embeddings
from counteranimal.release.read import open_release
from tests.evaluate.test_run import settings_in
from tests.fakes.tiny_model import TinyModel

class Dying(TinyModel):
    def features(self, crops):
        if len(self.batches) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().features(crops)

embeddings.PART = 8
release, photos, home = map(Path, sys.argv[1:])
evaluate(open_release(release), [Dying()], photos=photos, settings=settings_in(home, 8), out=home / "out")
"""


@pytest.mark.case("I15")
def test_a_run_killed_between_parts_judges_only_what_is_missing(
    release: Release, released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[int]
) -> None:
    """SIGKILL after three parts of five: two are left to see, and the files are those of an undisturbed run."""
    monkeypatch.setattr(embeddings, "PART", 8)
    home, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", _KILLED, str(released.folder), str(released.photos), str(home)]
    died = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    parts = list((home / "out" / "predictions-tiny.parts").glob("*/part-*.parquet"))
    assert [len(tables.read(path, "predictions")) for path in parts] == [16, 16, 16]
    resumed = TinyModel()
    evaluate(release, [resumed], photos=released.photos, settings=settings_in(home, 8), out=home / "out")
    assert resumed.batches == [8, 8]
    assert len(decoded) <= 16  # what was decoded ahead when it died is kept too
    evaluate(release, [TinyModel()], photos=released.photos, settings=settings_in(whole, 8), out=whole / "out")
    assert document(home / "out") == document(whole / "out")
    for name in ("results.parquet", "predictions-tiny.parquet"):
        assert (home / "out" / name).read_bytes() == (whole / "out" / name).read_bytes()


# Real modules on real devices


@dataclass(frozen=True)
class Real:
    """A tiny open_clip module, the release that it is evaluated on, and its predictions in float32 on one processor."""

    spec: str
    release: Release
    photos: Path
    cache: Path

    def judged(
        self, place: Path, *kept: str, dtype: Any = "float32", **changed: Any
    ) -> tuple[pa.Table, dict[str, Any]]:
        """Evaluate in a place of its own that shares the named caches; return predictions and document."""
        (place / "cache").mkdir(parents=True)
        for name in kept:
            (place / "cache" / name).symlink_to(self.cache / name)
        settings = settings_in(place).model_copy(update=changed)
        evaluator = Evaluator(settings, labels=Labels(protocols=("1v1000",)), dtype=dtype)
        evaluator.evaluate(self.release, [self.spec], photos=self.photos, out=place / "out")
        (file,) = (place / "out").glob("predictions-*.parquet")
        return tables.read(file, "predictions"), document(place / "out")

    @functools.cached_property
    def plain(self) -> pa.Table:
        return self.judged(self.cache.parent)[0]

    def changed_by(self, found: pa.Table) -> int:
        """Return the number of other predictions."""
        both = zip(found["predicted"].to_pylist(), self.plain["predicted"].to_pylist(), strict=True)
        return sum(first != second for first, second in both)


def same_but_for_margins(found: pa.Table, other: pa.Table) -> bool:
    """Margins may move in their last digits."""
    np.testing.assert_allclose(found["margin"].to_numpy(), other["margin"].to_numpy(), atol=1e-5)
    return found.drop_columns(["margin"]).equals(other.drop_columns(["margin"]))


@pytest.fixture(scope="module")
def real(release: Release, released: Released, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Real:
    """The same for all tests below."""
    spec = f"open_clip:tiny-test/{tiny_clip}/tiny.safetensors"
    found = Real(spec, release, released.photos, tmp_path_factory.mktemp("plain") / "real" / "cache")
    assert len(found.plain) == 40
    return found


@pytest.mark.case("I05")
@pytest.mark.parametrize("change", [{"batch_size": 1}, {"batch_size": 7}, {"batch_size": 64, "workers": 4}])
def test_a_real_module_answers_the_same_in_every_batch(real: Real, tmp_path: Path, change: dict[str, int]) -> None:
    """Predictions, ranks and correctness are equal."""
    found, _ = real.judged(tmp_path, "classifiers", **change)
    assert same_but_for_margins(found, real.plain)


def test_several_devices_share_the_photos_and_change_nothing(
    real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor twice, as two devices: both see photos, none is seen twice, and the predictions are those of one."""
    monkeypatch.setattr(embeddings, "PART", 4)
    seen: dict[int, int] = {}
    plain = embeddings.features_of

    def counted(model: Any, crops: Any, size: Any) -> Any:
        seen[id(model)] = seen.get(id(model), 0) + len(crops)
        return plain(model, crops, size)

    monkeypatch.setattr(embeddings, "features_of", counted)
    found, about = real.judged(tmp_path, "classifiers", device="cpu,cpu")
    assert (len(seen), sum(seen.values())) == (2, 40)
    assert same_but_for_margins(found, real.plain)
    assert about["counteranimal"]["device"] == "cpu,cpu"


def test_an_error_on_one_device_ends_the_run_on_all(
    release: Release, released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first error is raised, in the thread that asked; no thread is left."""
    monkeypatch.setattr(embeddings, "PART", 4)
    models = [TinyModel(), TinyModel(limit=0)]
    monkeypatch.setattr("counteranimal.evaluate.run.load_replicas", lambda *_, **__: models)
    before = threading.active_count()
    with pytest.raises(EnvironmentFailure, match="one photo at a time"):
        evaluate(release, ["tiny"], photos=released.photos, settings=settings_in(tmp_path, 4), out=tmp_path / "out")
    assert threading.active_count() == before


@pytest.mark.case("I06")
def test_reduced_precision_says_how_many_predictions_it_changes(
    real: Real, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rate in results.json is that of two whole runs, a line says it, and scoring again keeps it."""
    found, about = real.judged(tmp_path, "embeddings", "classifiers", dtype="bfloat16")
    flipped = real.changed_by(found)
    (row,) = about["counteranimal"]["precision"][real.spec]
    assert (row["protocol"], row["n"], row["flipped"], row["rate"]) == ("1v1000", 40, flipped, flipped / 40)
    assert row["low"] <= row["rate"] <= row["high"]
    assert row["accuracy_float32"] == np.mean(real.plain["correct"].to_numpy())
    assert about["counteranimal"]["dtype"] == ["bfloat16"]
    assert f"bfloat16 changes {flipped} of 40 predictions" in capsys.readouterr().err
    again = tmp_path / "again"
    Evaluator(settings_in(tmp_path)).rescore(real.release, list((tmp_path / "out").glob("predictions-*")), out=again)
    assert document(again) == about


def test_the_command_takes_devices_and_precision_and_fetches_weights_alone(
    real: Real, released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--device` twice and `--dtype` reach results.json; `--weights-only` names the file and its sha256 and evaluates nothing."""
    (tmp_path / "cache").mkdir()
    for name in ("embeddings", "classifiers"):
        (tmp_path / "cache" / name).symlink_to(real.cache / name)
    monkeypatch.setenv("COUNTERANIMAL_CACHE", str(tmp_path / "cache"))
    asked = ["evaluate", str(released.folder), "--photos", str(released.photos), "--model", real.spec]
    out = ["-o", str(tmp_path / "out"), "--json"]
    only = CliRunner().invoke(app, [*asked, *out, "--weights-only"])
    named = json.loads(only.stdout)["files"][real.spec]
    assert hashlib.sha256(Path(named["file"]).read_bytes()).hexdigest() == named["sha256"]
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*asked, *out, "--device", "cpu", "--device", "cpu", "--dtype", "fp16"])
    assert done.exit_code == 0, done.output
    about = document(tmp_path / "out")["counteranimal"]
    assert (about["device"], about["dtype"]) == ("cpu,cpu", ["float16"])
    assert {row["n"] for row in about["precision"][real.spec]} == {40}


@pytest.mark.case("I06")
def test_more_flips_than_tolerated_are_a_warning() -> None:
    """One per cent of predictions, or half a point of accuracy."""
    n = 1000
    ids = [f"{place:064x}" for place in range(n)]
    whole = {"photo_id": ids, "model": ["m"] * n, "protocol": ["1v1000"] * n, "rank": [1] * n, "margin": [0.1] * n}

    def table(predicted: list[int]) -> pa.Table:
        correct = [index == 7 for index in predicted]
        return tables.conform(
            "predictions", pa.table({**whole, "predicted": predicted, "tied": [False] * n, "correct": correct})
        )

    for flips, warned in ((4, False), (11, True)):
        (row,) = rows = compared(table([3] * flips + [7] * (n - flips)), table([7] * n))
        assert (row["flipped"], row["n"]) == (flips, n)
        assert row["accuracy"] == pytest.approx(1 - flips / n)
        (said,) = sentences("m", "bfloat16", rows)
        assert said.startswith("warning: ") == warned


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_accelerator_answers_as_the_processor_does(real: Real, tmp_path: Path, dtype: str) -> None:
    """In float32 all of 40 predictions; below it, what results.json states."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    found, about = real.judged(tmp_path, device="cuda", dtype=dtype)
    assert about["counteranimal"]["device"].startswith("cuda")
    stated = about["counteranimal"]["precision"]
    assert bool(stated) == (dtype != "float32")
    if dtype == "float32":
        assert real.changed_by(found) == 0


@pytest.mark.gpu
def test_all_accelerators_of_a_machine_share_the_photos(real: Real, tmp_path: Path) -> None:
    """The predictions are those of one of them."""
    import torch

    number = torch.cuda.device_count()
    if number < 2:
        pytest.skip(f"this machine has {number} CUDA devices; two are needed")
    names = ",".join(f"cuda:{place}" for place in range(number))
    one, _ = real.judged(tmp_path / "one", device="cuda:0")
    every, _ = real.judged(tmp_path / "all", device=names)
    assert same_but_for_margins(one, every)
