"""The batch: found where larger ones pay, halved where memory runs out, and without influence on features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from counteranimal.errors import EnvironmentFailure
from counteranimal.models.batches import LARGEST, BatchSize, features_of
from tests.fakes.tiny_model import SIDE, TinyModel

CROPS = np.random.default_rng(0).integers(0, 256, (21, SIDE, SIDE, 3), dtype=np.uint8)


@dataclass
class Tight(TinyModel):
    """Runs out of memory as an accelerator does: by torch's own error, whatever its words."""

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(crops))
        if len(crops) > self.limit:
            raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")
        return TinyModel().features(crops)


@pytest.mark.case("I16")
@pytest.mark.parametrize("limit", [1, 3, 8, 21])
def test_every_batch_that_fits_gives_the_same_features(limit: int) -> None:
    """Halved until it fits, once: later batches begin there."""
    model, size = Tight(limit=limit), BatchSize(16, grows=False)
    np.testing.assert_array_equal(features_of(model, CROPS, size), TinyModel().features(CROPS))
    failed = [batch for batch in model.batches if batch > limit]
    assert failed == [batch for batch in (16, 8, 4, 2) if batch > limit]
    before = len(model.batches)
    features_of(model, CROPS, size)
    assert max(model.batches[before:]) <= limit


@pytest.mark.case("I16")
def test_memory_that_does_not_suffice_for_one_photo_is_a_sentence() -> None:
    """It says what to do."""
    with pytest.raises(EnvironmentFailure, match="one photo at a time"):
        features_of(Tight(limit=0), CROPS, BatchSize(16, grows=False))


def test_another_error_is_not_taken_for_lack_of_memory() -> None:
    """Halving the batch would only hide it."""

    class Broken(TinyModel):
        def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise RuntimeError(f"shapes of {len(crops)} photos cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        features_of(Broken(), CROPS, BatchSize(16, grows=False))


def grown(cost: dict[int, float], start: int = 32) -> list[int]:
    """Return the sizes that are used when a photo costs what `cost` says, by size."""
    size, used = BatchSize(start, grows=True), []
    for _ in range(20):
        used.append(size.now)
        size.took(size.now, size.now * cost[size.now])
    return used


def test_the_batch_grows_as_long_as_photos_get_cheaper() -> None:
    """Two batches a size, the first of which lays out memory; the size that no longer pays is left again."""
    cost = {32: 1.0, 64: 0.6, 128: 0.4, 256: 0.39}
    assert grown(cost) == [32, 32, 64, 64, 128, 128, 256, 256] + [128] * 12


def test_the_batch_has_a_largest_size() -> None:
    """However much cheaper photos get."""
    used = grown({32 * 2**power: 0.5**power for power in range(9)})
    assert max(used) == used[-1] == LARGEST


def test_a_batch_that_did_not_fit_is_not_tried_again() -> None:
    """Memory ran out at 128: 64 stays, although larger ones would pay."""
    size = BatchSize(64, grows=True)
    for _ in range(2):
        size.took(64, 1.0)
    assert size.now == 128
    assert size.halve(128)
    for _ in range(6):
        size.took(64, 0.1)
    assert size.now == 64


def test_a_processor_keeps_the_size_it_is_given() -> None:
    """Only on an accelerator are larger ones tried."""
    model = TinyModel()
    assert not BatchSize.for_model(model, 32)._grows
    model.device = "cuda:0"  # type: ignore[attr-defined]
    assert BatchSize.for_model(model, 32)._grows
