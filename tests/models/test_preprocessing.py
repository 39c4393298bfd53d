"""Views and frames."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from counteranimal.errors import UsageError
from counteranimal.models.preprocessing import Frame


def wide_photo() -> Image.Image:
    """A wide picture whose sides are red and whose middle is blue."""
    image = Image.new("RGB", (400, 100), (255, 0, 0))
    image.paste((0, 0, 255), (150, 0, 250, 100))
    return image


def test_the_whole_view_shows_the_sides_that_a_centre_crop_hides() -> None:
    """Backgrounds are at the sides."""
    centre = Frame(32, 36)
    assert not (centre.crop(wide_photo())[..., 0] > 200).any()
    assert (centre.view("whole").crop(wide_photo())[..., 0] > 200).mean() > 0.5


def test_padding_keeps_the_proportions() -> None:
    """A wide picture becomes a band between grey bars."""
    square = Frame(32, 32, fit="pad", fill=128).crop(wide_photo())
    assert (square[0] == 128).all()
    assert (square[16] != 128).any()


def test_keys_are_equal_exactly_when_crops_are() -> None:
    """Size, crop, interpolation and fit are all in it."""
    frames = [
        Frame(32, 36),
        Frame(32, 40),
        Frame(33, 36),
        Frame(32, 36, "bilinear"),
        Frame(32, 36).view("whole"),
        Frame(32, 32, fit="pad"),
        Frame(32, 32, fit="pad", fill=9),
    ]
    assert len({frame.key for frame in frames}) == len(frames)
    assert Frame(32, 36).view("whole").key == Frame(32, 40).view("whole").key


def test_unknown_words_are_refused() -> None:
    """With what is possible."""
    with pytest.raises(UsageError, match="centre or whole"):
        Frame(32, 36).view("left")
    with pytest.raises(UsageError, match="bicubic"):
        Frame(32, 36, "cubist")


def test_crops_are_square_rgb_bytes() -> None:
    """Whatever the mode and shape of the picture."""
    for size in ((50, 20), (20, 50), (33, 33)):
        crop = Frame(32, 36).crop(Image.new("L", size, 7))
        assert crop.shape == (32, 32, 3)
        assert crop.dtype == np.uint8
