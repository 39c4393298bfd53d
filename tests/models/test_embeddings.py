"""Features are computed once, do not depend on batches, and are turned away when they are not finite."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from counteranimal.errors import EnvironmentFailure, Reason
from counteranimal.ids import photo_id_of
from counteranimal.models.embeddings import Embedded, embed, embedding_key
from counteranimal.settings import load_settings
from counteranimal.workspace import Parts
from tests.fakes.tiny_model import TinyModel

N = 30


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    """Small generated photos by id."""
    found = {}
    for seed in range(N):
        pixels = np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        found[photo_id_of(sink.getvalue())] = sink.getvalue()
    return found


@dataclass
class DarkIsNan(TinyModel):
    """Gives features that are not finite for one photo in a batch."""

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = super().features(crops)
        found[found.mean(axis=1) < 0.1] = np.nan
        return found


def run(folder: Path, photos: dict[str, bytes], model: TinyModel, *, batch: int = 7, workers: int = 1) -> Embedded:
    """Embed all photos into parts below `folder`."""
    parts = Parts(folder, "embeddings")
    settings = load_settings(batch_size=batch, workers=workers)
    return embed(model, list(photos)[::-1], read=photos.__getitem__, parts=parts, settings=settings)


@pytest.mark.case("E07")
@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (7, 4), (64, 4)])
def test_batches_and_workers_change_nothing(tmp_path: Path, photos: dict[str, bytes], batch: int, workers: int) -> None:
    """The ids come back sorted, each with its own feature."""
    found = run(tmp_path, photos, TinyModel(), batch=batch, workers=workers)
    reference = run(tmp_path / "reference", photos, TinyModel(), batch=3)
    assert found.photo_ids == sorted(photos)
    np.testing.assert_allclose(found.features, reference.features, atol=1e-5)


def test_what_is_stored_is_not_computed_again(tmp_path: Path, photos: dict[str, bytes]) -> None:
    """A second run shows the model nothing."""
    run(tmp_path, dict(list(photos.items())[:20]), TinyModel())
    second = TinyModel()
    found = run(tmp_path, photos, second)
    assert sum(second.batches) == N - 20
    assert len(found.photo_ids) == N
    third = TinyModel()
    run(tmp_path, photos, third)
    assert third.batches == []


def test_batches_done_before_memory_ran_out_stay(tmp_path: Path, photos: dict[str, bytes]) -> None:
    """So that a run that gave up goes on, instead of starting again."""

    class Tired(TinyModel):
        def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            if len(self.batches) == 2:
                raise RuntimeError("tiny device: out of memory")
            return super().features(crops)

    with pytest.raises(EnvironmentFailure, match="one photo at a time"):
        run(tmp_path, photos, Tired())
    assert len(Parts(tmp_path, "embeddings").ids()) == 14


@pytest.mark.case("E08")
def test_a_feature_that_is_not_finite_is_turned_away(tmp_path: Path, photos: dict[str, bytes]) -> None:
    """It has a reason and no row."""
    sink = io.BytesIO()
    Image.new("RGB", (80, 80)).save(sink, "PNG")
    black = photo_id_of(sink.getvalue())
    found = run(tmp_path, {**photos, black: sink.getvalue()}, DarkIsNan())
    assert found.rejected[black].reason is Reason.NOT_FINITE
    assert found.photo_ids == sorted(photos)
    assert black not in Parts(tmp_path, "embeddings").ids()


def test_a_photo_that_does_not_decode_is_turned_away(tmp_path: Path, photos: dict[str, bytes]) -> None:
    """And the rest of its batch is not."""
    broken = next(iter(photos.values()))[:100]
    found = run(tmp_path, {**photos, photo_id_of(broken): broken}, TinyModel())
    assert list(found.rejected) == [photo_id_of(broken)]
    assert len(found.photo_ids) == N


def test_no_photos_are_no_features(tmp_path: Path) -> None:
    """An empty collection is not an error."""
    found = run(tmp_path, {}, TinyModel())
    assert found.features.shape == (0, 0)


def test_the_key_names_model_and_view() -> None:
    """Another view or other weights start a folder of their own."""
    keys = {embedding_key(model, view) for model in (TinyModel(), TinyModel(seed=1)) for view in ("centre", "whole")}
    assert len(keys) == 4
