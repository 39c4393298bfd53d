"""How sharp, bright and contrasty a photo is: three numbers that order what people look at, and turn nothing away.

Decides the measures, on a grey version whose longer side is always 256 pixels, so that photos of different sizes compare.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["SIDE", "VERSION", "Quality", "quality_of"]

SIDE = 256
VERSION = "quality-1"


class Quality(NamedTuple):
    """All on grey values scaled to 0..1.

    `sharpness` is the variance of the 4-neighbour Laplacian (Pech-Pacheco et al. 2000), `brightness` the mean, `contrast` the
    standard deviation.
    """

    sharpness: float
    brightness: float
    contrast: float


def quality_of(image: Image.Image) -> Quality:
    """Return the measures of an upright image of any mode and size."""
    grey = image.convert("L")
    scale = SIDE / max(grey.size)
    size = (max(3, round(grey.width * scale)), max(3, round(grey.height * scale)))
    values = np.asarray(grey.resize(size, Image.Resampling.BILINEAR), dtype=np.float64) / 255.0
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    return Quality(float(laplacian.var()), float(values.mean()), float(values.std()))
