"""Three numbers that order photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from counteranimal.score.quality import quality_of


def texture(size: tuple[int, int] = (400, 300)) -> Image.Image:
    """A picture with detail at the scale that is looked at."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 2, size[0] // 2), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def test_blur_lowers_sharpness_and_leaves_brightness() -> None:
    """The measure is of detail."""
    sharp, blurred = quality_of(texture()), quality_of(texture().filter(ImageFilter.GaussianBlur(3)))
    assert blurred.sharpness < 0.2 * sharp.sharpness
    assert blurred.brightness == pytest.approx(sharp.brightness, abs=0.02)


def test_a_uniform_picture_has_its_grey_and_nothing_else() -> None:
    """No detail, no contrast."""
    assert quality_of(Image.new("RGB", (64, 64), (51, 51, 51))) == pytest.approx((0.0, 0.2, 0.0), abs=1e-3)


def test_contrast_is_the_spread_of_grey() -> None:
    """Half black, half white."""
    image = Image.new("L", (256, 256))
    image.paste(255, (128, 0, 256, 256))
    assert quality_of(image).contrast == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [(1, 900), (900, 1), (3, 3), (2000, 1500)])
def test_any_shape_has_finite_measures(size: tuple[int, int]) -> None:
    """A line of pixels included."""
    assert np.isfinite(quality_of(Image.new("RGB", size, (9, 99, 199)))).all()
