"""How many photos a model is shown at once: found on an accelerator, halved wherever memory runs out.

Decides sizes only. Another size moves features in their last bits at most; a processor gains nothing by larger ones, so that none
are tried there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import EnvironmentFailure
from counteranimal.models.protocol import Model

__all__ = ["LARGEST", "BatchSize", "features_of"]

LARGEST = 256
"""What fills any accelerator of today, and no more than a part of stored features, from which batches are cut."""
_WORTH = 1.1  # a doubling that gains less costs memory for nothing
_MEASURED = 2  # batches a size is tried on, the first of which lays out memory


class BatchSize:
    """The size in use; `now` may change between two batches.

    Parameters
    ----------
    start : int
        Where to begin.
    grows : bool
        Whether larger ones are tried: doubled as long as that makes photos at least a tenth cheaper, up to `LARGEST`.
    """

    def __init__(self, start: int, *, grows: bool) -> None:
        self.now = start
        self._grows = grows
        self._tried = 0
        self._before: float | None = None

    @classmethod
    def for_model(cls, model: Model, start: int) -> BatchSize:
        """Return the size to begin with for a model; only one on an accelerator gains by larger batches."""
        return cls(start, grows=getattr(model, "device", "cpu") != "cpu")

    def took(self, photos: int, seconds: float) -> None:
        """Note what a batch took, and grow where that still pays."""
        if not self._grows or photos < self.now:
            return
        self._tried += 1
        if self._tried < _MEASURED:
            return
        rate = photos / max(seconds, 1e-9)
        if self._before is not None and rate < _WORTH * self._before:
            self.now, self._grows = self.now // 2, False
            return
        self._before, self._tried = rate, 0
        if 2 * self.now > LARGEST:
            self._grows = False
        else:
            self.now *= 2

    def halve(self, photos: int) -> bool:
        """Take half of a batch that did not fit, and grow no more; False where it was one photo."""
        self._grows = False
        self.now = max(1, min(self.now, photos) // 2)
        return photos > 1


def features_of(
    model: Model, crops: NDArray[np.uint8], size: BatchSize, *, clock: Callable[[], float] = time.perf_counter
) -> NDArray[np.float32]:
    """Return a model's features of crops, shape (n, d), in batches that fit.

    Raises
    ------
    EnvironmentFailure
        If memory runs out even for one photo.
    """
    found: list[NDArray[np.float32]] = []
    start = 0
    while start < len(crops):
        piece = crops[start : start + size.now]
        began = clock()
        features = _tried(model, piece)
        if features is not None:
            size.took(len(piece), clock() - began)
            found.append(features)
            start += len(piece)
        elif size.halve(len(piece)):
            _free(model)
        else:
            raise EnvironmentFailure(
                f"memory ran out with one photo at a time ({model.identity.spec}); use a smaller model, or another device"
            )
    return found[0] if len(found) == 1 else np.concatenate(found)


def _tried(model: Model, crops: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return features, or None where memory ran out; the error is gone on return, and with it what its frames held."""
    try:
        return model.features(crops)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return None


def _out_of_memory(error: Exception) -> bool:
    """Say whether an error means too little memory; beside torch's type there are processors and drivers that only say so."""
    import torch

    said = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "out of memory" in said
        or "can't allocate memory" in said
    )


def _free(model: Model) -> None:
    """Give blocks that an accelerator's allocator kept back to it, so that the smaller batch finds them in one piece."""
    if str(getattr(model, "device", "cpu")).startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
