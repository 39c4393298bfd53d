"""Scoring meets what it cannot score: a reason for the photo, or one sentence for the run, and nothing that was there is lost."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from PIL import Image

from counteranimal import tables
from counteranimal.errors import IntegrityError
from counteranimal.models import load_model as load_real_model
from counteranimal.score import propose as score_propose
from counteranimal.score import run as score_run
from counteranimal.score.propose import preview
from counteranimal.score.run import score
from counteranimal.settings import Settings, load_settings
from tests.fakes.scoring import filled, noise, recipe
from tests.fakes.tiny_model import TinyModel

RECIPE = recipe("tiny")


@dataclass
class Uneven(TinyModel):
    """Gives features of no finite value for a black photo."""

    value: float = np.nan

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = super().features(crops)
        found[found.max(axis=1) < 0.01, 0] = self.value
        return found


def black() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (96, 80)).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Small batches, on the processor."""
    return load_settings(cache=tmp_path / "cache", device="cpu", batch_size=4, workers=1)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Uneven:
    """The model that every step loads."""
    found = Uneven()
    for module in (score_run, score_propose):
        monkeypatch.setattr(module, "load_model", lambda *_, **__: found)
    return found


@pytest.mark.case("E08")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_photo_without_finite_features_is_a_row_and_changes_no_other(
    model: Uneven, settings: Settings, tmp_path: Path, value: float
) -> None:
    """It has its code and no probabilities; the rest is scored as if it were not there, and the preview counts it."""
    model.value = value
    photos = [noise(seed) for seed in range(9)]
    with_it, without = (filled(tmp_path / name, data) for name, data in (("a", [*photos, black()]), ("b", photos)))
    counts = score(RECIPE, with_it, settings=settings)
    score(RECIPE, without, settings=settings)
    assert (counts["photos"], counts["scored"], counts["rejected"]) == (10, 9, 1)
    found = with_it.table("scores")
    (row,) = found.filter(pc.equal(found.column("status"), "rejected")).to_pylist()
    assert (row["reason"], row["probabilities"], row["background"]) == ("E_NOT_FINITE", None, None)
    assert found.filter(pc.equal(found.column("status"), "ok")).equals(without.table("scores"))
    told = preview(RECIPE, with_it, settings=settings)
    assert (told["photos"], told["left_out"]) == (9, {"E_NOT_FINITE": 1})


def test_the_preview_accounts_for_every_kept_photo(model: Uneven, settings: Settings, tmp_path: Path) -> None:
    """Those of a class that the recipe does not have, and those that came after scoring."""
    workspace = filled(tmp_path, [noise(seed) for seed in range(6)])
    score(RECIPE, workspace, settings=settings)
    rows = workspace.table("photos").to_pylist()
    rows[0]["class_id"] = "gnu"
    late = {"photo_id": "f" * 64, "class_id": "lion", "fold_unit": "f" * 64, "status": "ok"}
    workspace.write_table("photos", tables.conform("photos", [*rows, late]))
    kept = [{"photo_id": row["photo_id"], "kept": True} for row in [*rows, late]]
    workspace.write_table("clusters", tables.conform("clusters", kept))
    told = preview(RECIPE, workspace, settings=settings)
    assert (told["photos"], told["left_out"]) == (5, {"E_CLASS": 1, "not_scored": 1})


@pytest.mark.case("E08")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_stored_feature_that_went_bad_stops_the_run(
    model: Uneven, settings: Settings, tmp_path: Path, value: float
) -> None:
    """With its code and what to do; the scores that were there stay."""
    workspace = filled(tmp_path, [noise(seed) for seed in range(5)])
    score(RECIPE, workspace, settings=settings)
    before = workspace.table_path("scores").read_bytes()
    (part,) = (workspace.home / "tables" / "embeddings").rglob("part-*.parquet")
    rows = tables.read(part, "embeddings").to_pylist()
    rows[2]["embedding"][5] = value
    tables.write(part, tables.conform("embeddings", rows))
    with pytest.raises(IntegrityError, match=r"E_NOT_FINITE.*tables/embeddings") as caught:
        score(RECIPE, workspace, settings=settings)
    assert caught.value.exit_code == 3
    assert workspace.table_path("scores").read_bytes() == before


@pytest.mark.case("E08")
def test_a_photo_that_is_not_what_its_name_says_stops_the_run(
    model: Uneven, settings: Settings, tmp_path: Path
) -> None:
    """The sentence names it; what was embedded before stays, and the run goes on once the photo is back."""
    workspace = filled(tmp_path, [noise(seed) for seed in range(5)])
    last = max(workspace.kept_photos())
    path = workspace.blobs.path(last)
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(good[:-1] + b"!")
    with pytest.raises(IntegrityError, match=last) as caught:
        score(RECIPE, workspace, settings=settings)
    assert caught.value.exit_code == 3
    assert not workspace.table_path("scores").exists()
    path.write_bytes(good)
    assert score(RECIPE, workspace, settings=settings)["new"] == 1


@pytest.mark.case("E08")
def test_other_weights_under_the_same_path_share_no_features(
    tiny_clip: Path, settings: Settings, tmp_path: Path
) -> None:
    """A file by path has no pin, so its digest is part of what features are kept under: nothing old is mixed in."""
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "weights.safetensors"
    path.write_bytes((tiny_clip / "tiny.safetensors").read_bytes())
    by_file = recipe(f"open_clip:tiny-test/{path}")
    workspace = filled(tmp_path / "home", [noise(seed) for seed in range(4)])
    assert [score(by_file, workspace, settings=settings)["new"] for _ in range(2)] == [4, 0]
    before = _digest(by_file.score.model, settings)
    save_file({name: np.asarray(values * 2) for name, values in load_file(path).items()}, path)
    assert score(by_file, workspace, settings=settings)["new"] == 4
    assert _digest(by_file.score.model, settings) != before


def _digest(spec: str, settings: Settings) -> str:
    return load_real_model(spec, settings=settings).identity.weights_sha256
