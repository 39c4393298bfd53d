"""Searches one small grey picture inside another: a crop lies in its original, an original in its framed copy.

Decides how well the best place fits: normalised cross-correlation (Lewis 1995) over all places and seven sizes, either picture in the
other, as it stands and mirrored. Unlike `align`, it starts from no guess, so it finds corners and thick borders; it knows no
turns. Leaves what a fit means to `similar`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, rfft2

__all__ = ["SIDE", "Searchable", "best_fit", "searchable"]

SIDE = 32
"""Side of the pictures that are compared: coarse, so that a place between two pixels still fits."""
_SIZES = (32, 30, 28, 26, 24, 22, 20)
# Below this contrast (standard deviation, grey levels of 255) a window is one tone, which anything would fit.
_LEAST_CONTRAST = 4.0

Look = NDArray[np.uint8]
_Grey = NDArray[np.float64]
_Spectra = NDArray[np.complex128]


class Searchable(NamedTuple):
    """A picture prepared for searching: as a whole, its spectrum and the contrast of its windows; as a part, at every size."""

    whole: _Spectra
    contrasts: list[_Grey]
    parts: _Spectra
    mirrored_parts: _Spectra


def searchable(look: Look) -> Searchable:
    """Return a square look prepared for `best_fit`."""
    small = np.asarray(Image.fromarray(look).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    centred = small - small.mean()
    sums, squares = (np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1) for values in (centred, centred**2))
    return Searchable(
        rfft2(centred), [_contrast(sums, squares, size) for size in _SIZES], _parts(small), _parts(small[:, ::-1])
    )


def best_fit(a: Searchable, b: Searchable) -> float:
    """Return the best correlation, -1..1, of one picture inside the other, whichever way and mirrored or not."""
    return max(_fit(a, b.parts), _fit(a, b.mirrored_parts), _fit(b, a.parts), _fit(b, a.mirrored_parts))


def _parts(small: _Grey) -> _Spectra:
    """Return the conjugate spectra (sizes, SIDE, SIDE // 2 + 1) of the picture at each size, with mean 0 and norm 1."""
    image = Image.fromarray(small.astype(np.float32))
    templates = np.zeros((len(_SIZES), SIDE, SIDE))
    for index, size in enumerate(_SIZES):
        template = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float64)
        template = template - template.mean()
        templates[index, :size, :size] = template / max(float(np.linalg.norm(template)), 1e-9)
    return np.asarray(np.conj(rfft2(templates)))


def _fit(whole: Searchable, parts: _Spectra) -> float:
    """Return the best correlation of a part, at each size, over its places; inside the picture nothing wraps round its edge."""
    shared = irfft2(whole.whole[None] * parts, (SIDE, SIDE))
    return max(
        float((shared[index, : len(contrast), : len(contrast)] / contrast).max())
        for index, contrast in enumerate(whole.contrasts)
    )


def _contrast(sums: _Grey, squares: _Grey, size: int) -> _Grey:
    """Return the norm of every window of a size about its mean, from summed-area tables."""
    total, power = (
        table[size:, size:] - table[:-size, size:] - table[size:, :-size] + table[:-size, :-size]
        for table in (sums, squares)
    )
    return np.asarray(np.sqrt(np.maximum(power - total**2 / size**2, (_LEAST_CONTRAST * size) ** 2)))
