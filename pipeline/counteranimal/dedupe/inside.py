"""Searches one small grey picture inside another: a crop lies in its original, an original in its framed copy.

Decides how well the best place fits: normalised cross-correlation (Lewis 1995) over all places and seven sizes, either picture in the
other, as it stands and mirrored. Unlike `align`, it starts from no guess, so it finds corners and thick borders; it knows no
turns. Leaves what a fit means to `similar`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, rfft2

__all__ = ["SIDE", "best_fit"]

SIDE = 32
"""Side of the pictures that are compared: coarse, so that a place between two pixels still fits."""
_SIZES = (32, 30, 28, 26, 24, 22, 20)
_PADDED = 64
# Below this contrast (standard deviation, grey levels of 255) a window is one tone, which anything would fit.
_LEAST_CONTRAST = 4.0

Look = NDArray[np.uint8]
_Grey = NDArray[np.float64]


def best_fit(a: Look, b: Look) -> float:
    """Return the best correlation, -1..1, of one square look inside the other, whichever way and mirrored or not."""
    first, second = _small(a), _small(b)
    return max(_fit(first, second), _fit(first, second[:, ::-1]), _fit(second, first), _fit(second, first[:, ::-1]))


def _small(look: Look) -> _Grey:
    return np.asarray(Image.fromarray(look).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)


def _fit(whole: _Grey, part: _Grey) -> float:
    """Return the best correlation of `part`, at each size, over its places in `whole`."""
    image = Image.fromarray(part.astype(np.float32))
    templates = np.zeros((len(_SIZES), _PADDED, _PADDED))
    for index, size in enumerate(_SIZES):
        template = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float64)
        template = template - template.mean()
        templates[index, :size, :size] = template / max(float(np.linalg.norm(template)), 1e-9)
    centred = whole - whole.mean()
    spectrum = rfft2(centred, (_PADDED, _PADDED))
    shared = irfft2(spectrum[None] * np.conj(rfft2(templates)), (_PADDED, _PADDED))
    sums, squares = (np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1) for values in (centred, centred**2))
    best = -1.0
    for index, size in enumerate(_SIZES):
        places = SIDE - size + 1
        total, power = (_window(table, size) for table in (sums, squares))
        spread = np.sqrt(np.maximum(power - total**2 / size**2, (_LEAST_CONTRAST * size) ** 2))
        best = max(best, float((shared[index, :places, :places] / spread).max()))
    return best


def _window(table: _Grey, size: int) -> _Grey:
    """Return the sums over all windows of a size from a summed-area table."""
    return table[size:, size:] - table[:-size, size:] - table[size:, :-size] + table[:-size, :-size]
