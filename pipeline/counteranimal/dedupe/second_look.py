"""Looks at two photos side by side, since hashes alone join different animals on one scene and one sky with another.

Decides whether two small grey pictures show the same photo: brought to the same brightness and contrast, aligned where that
helps, and compared as a whole, part by part, and in their fine detail. There are three answers; what can be neither
confirmed nor refuted is for people. Leaves which pairs to look at to `neighbours`, and geometry to `align`.

Measured on 286 photos under 19 kinds of edits and on 744 composites of 24 animals on 31 scenes, 802 pairs of which the
hashes proposed: the worst cell of an aligned copy differs by at most 0.5 (heavy watermarks and borders apart), that of two
animals on one scene by at least 0.62. A watermark is a part that differs, so heavy ones are left to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

from counteranimal.dedupe.align import aligned
from counteranimal.images import grey_thumbnail
from counteranimal.recipe import DedupeRules

__all__ = ["RULE", "Difference", "Look", "Verdict", "compare", "judge", "look_at", "mirrored"]

RULE = "second-look-1"
"""Name of the measurements and their fixed limits; stored with every dropped photo."""

Look = NDArray[np.uint8]
_Grey = NDArray[np.float64]
Verdict = Literal["same", "different", "unsure"]

_SIDE, _CELLS = 64, 8
_DARK, _BRIGHT = 6.0, 249.0
# Grey levels of 255: below this contrast a picture is one tone, and its noise must not be blown up to look like content.
_LEAST_CONTRAST = 8.0
# Fine detail of true copies correlates at 0.84 or more; of unrelated photos at 0.2 or less.
_DETAIL_SAME, _DETAIL_DIFFERENT = 0.75, 0.5
# Snow, sky and sand leave less than one grey level of detail at this size: then nothing tells two such photos apart.
_LEAST_DETAIL = 1.5
_LEAST_OVERLAP = 0.7
_EXPLAINS = 0.8
# Local agreement of aligned copies: 0.54 or more where only values were changed, about 0.4 at worst after crops and turns;
# at most 0.30 where some part shows another animal, even one of the background's own brightness.
_AGREEMENT_SAME = 0.4
_WINDOW, _WINDOW_NOISE, _WORST = 9, 16.0, 0.02
# From this multiple of the limits on, the pictures are different for certain.
_CLEARLY = 1.65


@dataclass(frozen=True, slots=True)
class Difference:
    """How two looks differ once aligned.

    Attributes
    ----------
    whole : float
        Mean absolute difference, as a share of the pictures' own contrast (standard deviation); unrelated pictures: about 1.
    part : float
        The same in the worst of 8 x 8 cells: an animal that is not on the other photo shows here.
    detail : float
        Correlation of what a 5 x 5 mean leaves over, -1..1.
    strength : float
        Standard deviation of that detail in grey levels of 255, in the weaker picture.
    agreement : float
        How far the detail agrees where it agrees least: the 2nd percentile, over 9 x 9 windows, of the contrast and structure
        term of structural similarity (Wang et al. 2004), -1..1.
    overlap : float
        Share of the picture that both photos show.
    """

    whole: float
    part: float
    detail: float
    strength: float
    agreement: float
    overlap: float


def look_at(data: bytes) -> Look:
    """Return a photo's look: upright grey, (64, 64), 0..255; the photo's shape is not kept."""
    small = grey_thumbnail(data).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small)


def mirrored(look: Look) -> Look:
    """Return the look of the photo's mirror image."""
    return look[:, ::-1]


def compare(a: Look, b: Look, rules: DedupeRules) -> Difference:
    """Return the difference of two looks (64, 64): as they stand, or aligned where that brings them closer.

    Either may be warped onto the other, since a crop or a turned copy lies within its original but not the other way round.
    """
    first, second = a.astype(np.float64), b.astype(np.float64)
    closest = _measure(first, second, np.ones(b.shape, dtype=bool))
    direct = closest.whole
    for moved, still in ((first, second), (second, first)):
        if judge(closest, rules) == "same":
            break
        warped = aligned(moved, still)
        if warped is not None:
            found = _measure(warped.picture, still, warped.valid)
            # A warp has to explain a good part of the difference; else it only smooths it.
            if found.whole < _EXPLAINS * direct and (judge(found, rules) == "same" or found.whole < closest.whole):
                closest = found
    return closest


def judge(difference: Difference, rules: DedupeRules) -> Verdict:
    """Return what a difference means under the recipe's limits `pixel_difference` (whole) and `part_difference` (part)."""
    agrees = difference.agreement >= _AGREEMENT_SAME
    if (
        difference.whole > _CLEARLY * rules.pixel_difference
        or (difference.part > _CLEARLY * rules.part_difference and not agrees)
        or (difference.strength >= _LEAST_DETAIL and difference.detail < _DETAIL_DIFFERENT)
    ):
        return "different"
    if (
        difference.whole <= rules.pixel_difference
        and difference.part <= rules.part_difference
        and difference.detail >= _DETAIL_SAME
        and difference.strength >= _LEAST_DETAIL
        and agrees
        and difference.overlap >= _LEAST_OVERLAP
    ):
        return "same"
    return "unsure"


def _measure(a: _Grey, b: _Grey, valid: NDArray[np.bool_]) -> Difference:
    """Measure looks as they lie on each other, over the pixels that both show."""
    fits = [(picture, _fitted(picture, other, valid)) for picture, other in ((a, b), (b, a))]
    apart = min((_apart(*fit, valid) for fit in fits), key=lambda grey: float(grey[valid].mean()))
    share = _cell_means(valid.astype(np.float64))
    known = share >= 0.5
    # The 5 x 5 mean must not reach into what only one photo shows.
    inner = uniform_filter(valid.astype(np.float64), 5, mode="nearest") > 0.99
    detail_a, detail_b = _detail(a)[inner], _detail(b)[inner]
    strength = float(min(detail_a.std(), detail_b.std())) if inner.any() else 0.0
    return Difference(
        whole=float(apart[valid].mean()),
        part=float(np.max(_cell_means(apart)[known] / share[known], initial=0.0)),
        detail=float(np.corrcoef(detail_a, detail_b)[0, 1]) if strength > 0.01 else 0.0,
        strength=strength,
        agreement=max(_agreement(*fit, valid) for fit in fits),
        overlap=float(valid.mean()),
    )


def _fitted(a: _Grey, b: _Grey, valid: NDArray[np.bool_]) -> _Grey:
    """Return b at a's brightness and contrast, clipped as a file would clip it.

    Gain and offset come from pixels that neither picture clips, so that a brightened copy with burnt-out parts still fits.
    """
    usable = valid & (np.minimum(a, b) > _DARK) & (np.maximum(a, b) < _BRIGHT)
    gain, offset = 1.0, 0.0
    if np.count_nonzero(usable) >= a.size // 20:
        gain = float(np.clip(a[usable].std() / max(float(b[usable].std()), 1.0), 1 / 3, 3.0))
        offset = float(a[usable].mean() - gain * b[usable].mean())
    return np.asarray(np.clip(gain * b + offset, 0.0, 255.0))


def _apart(a: _Grey, fitted: _Grey, valid: NDArray[np.bool_]) -> _Grey:
    """Return the absolute difference over a's contrast, 0 where only one photo shows something."""
    return np.where(valid, np.abs(a - fitted) / max(float(a[valid].std()), _LEAST_CONTRAST), 0.0)


def _agreement(a: _Grey, fitted: _Grey, valid: NDArray[np.bool_]) -> float:
    """Return the local agreement (see `Difference`) over windows of which most is valid."""
    weight = uniform_filter(valid.astype(np.float64), _WINDOW, mode="constant")
    most = weight > 0.6
    if not most.any():
        return 0.0

    def mean(values: _Grey) -> _Grey:
        return np.asarray(uniform_filter(values * valid, _WINDOW, mode="constant") / np.maximum(weight, 1e-9))

    detail_a, detail_b = _detail(a), _detail(fitted)
    mean_a, mean_b = mean(detail_a), mean(detail_b)
    both = mean(detail_a**2) - mean_a**2 + mean(detail_b**2) - mean_b**2
    shared = mean(detail_a * detail_b) - mean_a * mean_b
    # The constant is the variance of compression noise: windows that are flat in both pictures agree.
    return float(np.quantile(((2 * shared + _WINDOW_NOISE) / (both + _WINDOW_NOISE))[most], _WORST))


def _cell_means(picture: _Grey) -> _Grey:
    size = _SIDE // _CELLS
    return np.asarray(picture.reshape(_CELLS, size, _CELLS, size).mean(axis=(1, 3)))


def _detail(picture: _Grey) -> _Grey:
    return np.asarray(picture - uniform_filter(picture, 5, mode="nearest"))
