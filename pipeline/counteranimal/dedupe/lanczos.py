"""The two tiny grey pictures that hashes are made of, 32 x 32 and 9 x 8, in one go.

Decides the resampling: first every square of k x k pixels becomes their mean, with k as large as leaves 64 pixels on the shorter side,
then Lanczos of three lobes, along the rows, then along the columns. That is what `Image.resize` does when told a
`reducing_gap`. The arithmetic is fixed-point, as in Pillow (weights are
whole multiples of 2**-15, each pass is rounded to 8 bits); as products and sums of less than 24 bits it is exact in 32-bit
floats, so every machine has the same result, in a tenth of the time. Leaves bits to `fingerprint`.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["tiny_pictures"]

_LOBES, _BITS = 3.0, 15
_WIDTHS, _HEIGHTS = (32, 9), (32, 8)
_LEAST = 64
# Products above this many multiplications are spread over threads, which cost more than they bring here.
_ONE_THREAD = 1 << 18

_Grey = NDArray[np.uint8]
_Exact = NDArray[np.float32]


def tiny_pictures(grey: Image.Image) -> tuple[_Grey, _Grey]:
    """Return an image in mode L as 32 x 32 and as 9 x 8 (width x height) grey levels: arrays (32, 32) and (8, 9)."""
    side = max(1, min(grey.size) // _LEAST)
    pixels = np.asarray(grey.reduce(side) if side > 1 else grey)
    narrow = _along_rows(pixels, grey.width / side)
    # Both heights of both widths are less work than twice one of each: every call costs more than its arithmetic.
    small = _rounded(_weights(len(pixels), grey.height / side, _HEIGHTS) @ narrow).astype(np.uint8)
    return small[: _HEIGHTS[0], : _WIDTHS[0]], small[_HEIGHTS[0] :, _WIDTHS[0] :]


def _along_rows(pixels: _Grey, extent: float) -> _Exact:
    """Return (height, 41): every row at both widths, side by side."""
    weights = _weights(pixels.shape[1], extent, _WIDTHS).T
    step = max(1, _ONE_THREAD // weights.size)
    blocks = [pixels[at : at + step].astype(np.float32) @ weights for at in range(0, len(pixels), step)]
    return _rounded(np.concatenate(blocks))


def _rounded(sums: _Exact) -> _Exact:
    sums += 0.5
    np.floor(sums, out=sums)
    return sums.clip(0, 255, out=sums)


@functools.lru_cache(maxsize=512)
def _weights(size: int, extent: float, targets: tuple[int, ...]) -> _Exact:
    """Return the weights (sum of targets, size), multiples of 2**-15, by which `size` pixels become each of `targets`, one below the other.

    The picture is `extent` pixels long: less than `size` where the last one is the mean of fewer.
    """
    found = []
    for target in targets:
        scale = extent / target
        centres = (np.arange(target) + 0.5) * scale
        x = (np.arange(size) - centres[:, None] + 0.5) / max(scale, 1.0)
        lobes = np.where(np.abs(x) < _LOBES, np.sinc(x) * np.sinc(x / _LOBES), 0.0)
        weights: NDArray[np.float64] = np.rint(lobes / lobes.sum(axis=1, keepdims=True) * (1 << _BITS))
        # Rounding must not make a row brighter: the largest weight takes up what is left over.
        weights[np.arange(target), weights.argmax(axis=1)] += (1 << _BITS) - weights.sum(axis=1)
        found.append(weights * 2.0**-_BITS)
    return np.concatenate(found).astype(np.float32)
