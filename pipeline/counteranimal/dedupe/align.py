"""Aligns one small grey picture with another: crops, turns of a few degrees, borders and changed shapes.

Decides only geometry. Leaves whether the aligned pictures show the same photo to `second_look`.

The method is Lucas and Kanade's (1981): an affine warp together with gain and offset of brightness, solved by Gauss-Newton
steps. Weights fade with the residual, so that a part that differs (another animal, a watermark) does not pull on the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

__all__ = ["Aligned", "aligned"]

Grey = NDArray[np.float64]

_COARSE_STEPS, _FINE_STEPS = 10, 6
_SETTLED = 2e-4
# Beyond this share of the picture's half side, a warp invents a resemblance rather than undoing an edit.
_FURTHEST = 0.35


class Aligned(NamedTuple):
    """A picture warped onto another: its grey values, and where they come from inside the picture."""

    picture: Grey
    valid: NDArray[np.bool_]


class _Grid(NamedTuple):
    """Pixel centres of a square picture in -1..1."""

    x: Grey
    y: Grey
    half: float

    def look_up(self, warp: Grey) -> tuple[Grey, NDArray[np.bool_]]:
        """Return (2, side, side) row and column numbers where the warp (2, 3) looks, and which lie inside."""
        columns = (warp[0, 0] * self.x + warp[0, 1] * self.y + warp[0, 2]) * self.half + self.half - 0.5
        rows = (warp[1, 0] * self.x + warp[1, 1] * self.y + warp[1, 2]) * self.half + self.half - 0.5
        last = 2 * self.half - 1
        return np.stack([rows, columns]), (rows >= 0) & (rows <= last) & (columns >= 0) & (columns <= last)


def _grid(side: int) -> _Grid:
    centres = (np.arange(side) - (side - 1) / 2) / (side / 2)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return _Grid(x, y, side / 2)


def aligned(a: Grey, b: Grey) -> Aligned | None:
    """Return `a` warped onto `b`, or None where no modest warp settles.

    Parameters
    ----------
    a, b : ndarray of float64, (side, side)
        Grey values 0..255; the side is even.
    """
    warp = _settle(_halved(a), _halved(b), np.eye(2, 3), _COARSE_STEPS)
    warp = _settle(a, b, warp, _FINE_STEPS) if warp is not None else None
    if warp is None:
        return None
    places, valid = _grid(len(a)).look_up(warp)
    return Aligned(map_coordinates(a, places, order=1, mode="nearest"), valid)


def _halved(picture: Grey) -> Grey:
    side = len(picture) // 2
    return np.asarray(picture.reshape(side, 2, side, 2).mean(axis=(1, 3)))


def _settle(a: Grey, b: Grey, warp: Grey, steps: int) -> Grey | None:
    """Return the warp after at most `steps` Gauss-Newton steps, None once it runs away."""
    grid = _grid(len(a))
    slopes = np.gradient(a)
    for _ in range(steps):
        places, inside = grid.look_up(warp)
        if np.count_nonzero(inside) < a.size // 4:
            return None
        change = _step(a, b[inside], slopes, (places[:, inside], grid.x[inside], grid.y[inside], grid.half))
        warp = warp + change
        if np.abs(warp - np.eye(2, 3)).max() > _FURTHEST:
            return None
        if np.abs(change).max() < _SETTLED:
            break
    return warp


def _step(a: Grey, target: Grey, slopes: list[Grey], where: tuple[Grey, Grey, Grey, float]) -> Grey:
    """Return the (2, 3) change of the warp that fits `a` to `target` best to first order, with gain and offset free."""
    places, x, y, half = where
    values = map_coordinates(a, places, order=1)
    down, across = (map_coordinates(slope, places, order=1) * half for slope in slopes)
    gain = values.std() / max(float(target.std()), 1e-6)
    residual = np.abs((values - values.mean()) - gain * (target - target.mean()))
    weights = 1 / np.maximum(residual, 0.5 * np.median(residual) + 1)
    design = np.stack(
        [across * x, across * y, across, down * x, down * y, down, -target, -np.ones_like(target)], axis=1
    )
    weighted = design * weights[:, None]
    normal = weighted.T @ design
    # A featureless picture leaves directions open; a little damping keeps them where they are.
    normal[np.diag_indices(8)] *= 1 + 1e-6
    normal[np.diag_indices(8)] += 1e-9
    return np.asarray(np.linalg.solve(normal, -(weighted.T @ values))[:6].reshape(2, 3))
