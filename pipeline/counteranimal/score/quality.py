"""What may be wrong with a photo: measures and the proposals that follow from them. They order and inform; people decide.

Decides the measures, where each begins to be worth a word, and which of the paper's cleaning codes it speaks to. Pixels tell of
blur and exposure, on a grey version whose longer side is always 256 pixels, so that photos of different sizes compare. The cells of
a classifier's feature map tell of the animal and of what is worn or printed. No measure asks whether the photo's own class
was recognised: that would build a benchmark's conclusion into its data. The limits were set on one half of the shared labelled
photos (`bench/score_quality.py` prints both halves); exposure and size have too few labelled photos to set anything on, and their
limits are plain choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["LIMITS", "SIDE", "VERSION", "Content", "Limit", "Quality", "content_of", "proposals", "quality_of"]

SIDE = 256
VERSION = "quality-2"
_TILES = 8
_FIRST_OBJECT = 398
# ImageNet classes that are worn, or held and used by people: clothes, jewellery, glasses, and the three kinds of people.
_WORN = (
    411, 414, 433, 439, 445, 451, 457, 459, 465, 474, 501, 502, 514, 515, 518, 529, 552, 560, 568, 578, 601, 608, 610, 614,
    615, 617, 638, 639, 652, 655, 658, 667, 683, 689, 697, 735, 748, 770, 774, 775, 785, 788, 793, 796, 806, 808, 834, 837,
    841, 842, 858, 869, 879, 887, 903, 906, 911, 920, 981, 982, 983,
)  # fmt: skip
# What is printed, drawn or shown on a screen.
_PRINTED = (508, 527, 549, 591, 624, 664, 681, 692, 782, 851, 916, 917, 918, 919, 921, 922)


class Quality(NamedTuple):
    """All on grey values scaled to 0..1.

    `sharpness` is the variance of the 4-neighbour Laplacian (Pech-Pacheco et al. 2000) over the photo, `sharpest` its ninth
    decile over 8 x 8 tiles (a sharp animal before a blurred background is a sharp photo), `brightness` the mean, `contrast` the
    standard deviation, `clipped` the share of pixels that are black or white (below 0.03 or above 0.98).
    """

    sharpness: float
    sharpest: float
    brightness: float
    contrast: float
    clipped: float


class Content(NamedTuple):
    """What a classifier's cells say: mean probability of an animal, its centroid's distance from the middle (0 to about 1.3), the
    share of the second largest patch of animal, and the summed probabilities of things worn and of things printed, each class
    in its best cell. Receptive fields reach beyond a cell, so area and offset are proxies that order photos, not measurements.
    """

    animal_area: float
    animal_offset: float
    second_animal: float
    worn: float
    printed: float


class Limit(NamedTuple):
    """A proposal: the measure, the value beyond which it is made, on which side, and the paper's code that it speaks to."""

    measure: str
    value: float
    above: bool
    code: str


LIMITS: dict[str, Limit] = {
    "blurred": Limit("sharpest", 0.006, False, "feature noise"),
    "badly_exposed": Limit("clipped", 0.5, True, "feature noise"),
    "several_animals": Limit("second_animal", 0.02, True, "obscurity"),
    "person_visible": Limit("worn", 0.2, True, "clarity"),
    "text_or_drawing": Limit("printed", 0.06, True, "label noise"),
    "animal_small": Limit("animal_area", 0.4, False, "clarity"),
}


def quality_of(image: Image.Image) -> Quality:
    """Return the measures of an upright image of any mode and size."""
    grey = image.convert("L")
    scale = SIDE / max(grey.size)
    size = (max(3, round(grey.width * scale)), max(3, round(grey.height * scale)))
    values = np.asarray(grey.resize(size, Image.Resampling.BILINEAR), dtype=np.float64) / 255.0
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    tiles = [
        tile.var()
        for row in np.array_split(laplacian, _TILES)
        for tile in np.array_split(row, _TILES, axis=1)
        if tile.size
    ]
    clipped = float(((values < 0.03) | (values > 0.98)).mean())
    sharpest = float(np.quantile(tiles, 0.9))
    return Quality(float(laplacian.var()), sharpest, float(values.mean()), float(values.std()), clipped)


def content_of(animal: NDArray[np.float32], objects: NDArray[np.float32]) -> Content:
    """Return what one photo shows.

    Parameters
    ----------
    animal : array of shape (side, side), float32
        Probability of any animal in each cell of the frame.
    objects : array of shape (602,), float32
        Probability of each ImageNet class that is no animal (index 398 onwards), in the cell where it is highest.
    """
    from scipy import ndimage

    side = animal.shape[0]
    at = (np.arange(side) - (side - 1) / 2) / (side / 2)
    total = float(animal.sum()) + 1e-9
    offset = np.hypot(float((animal.sum(axis=0) * at).sum()) / total, float((animal.sum(axis=1) * at).sum()) / total)
    patches, number = ndimage.label(animal > 0.5)
    sizes = np.sort(np.bincount(patches.ravel(), minlength=3)[1:])[::-1]
    return Content(
        animal_area=float(animal.mean()),
        animal_offset=float(offset),
        second_animal=float(sizes[1]) / animal.size if number > 1 else 0.0,
        worn=float(objects[[index - _FIRST_OBJECT for index in _WORN]].sum()),
        printed=float(objects[[index - _FIRST_OBJECT for index in _PRINTED]].sum()),
    )


def proposals(measured: Mapping[str, Any]) -> list[str]:
    """Return the names of `LIMITS` that a photo's measures are beyond, in their order; a measure that is missing proposes nothing.

    Examples
    --------
    >>> proposals({"sharpest": 0.0001, "clipped": 0.1, "animal_area": None})
    ['blurred']
    """
    return [
        name
        for name, limit in LIMITS.items()
        if (value := measured.get(limit.measure)) is not None and (value > limit.value) == limit.above
    ]
