"""Three numbers that order photos."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from counteranimal.annotate.codes import codes
from counteranimal.score.quality import LIMITS, Content, Quality, content_of, proposals, quality_of


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
    assert quality_of(Image.new("RGB", (64, 64), (51, 51, 51))) == pytest.approx((0.0, 0.0, 0.2, 0.0, 0.0), abs=1e-3)


def test_a_sharp_animal_before_a_blurred_background_is_not_blurred() -> None:
    """The sharpest tiles decide; blurred everywhere, the same picture is proposed as blurred."""
    blurred = texture().filter(ImageFilter.GaussianBlur(6))
    animal = blurred.copy()
    animal.paste(texture().crop((100, 60, 300, 240)), (100, 60))
    assert "blurred" in proposals(quality_of(blurred)._asdict())
    assert "blurred" not in proposals(quality_of(animal)._asdict())


def test_black_and_white_pixels_are_badly_exposed() -> None:
    """More than half of the picture without any detail in shadow or light."""
    image = Image.new("L", (200, 200), 255)
    image.paste(128, (0, 0, 200, 80))
    found = quality_of(image)
    assert found.clipped == pytest.approx(0.6, abs=0.01)
    assert "badly_exposed" in proposals(found._asdict())


def cells(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A 9 x 9 map with an animal in each box (top, left, bottom, right)."""
    found = np.zeros((9, 9), np.float32)
    for top, left, bottom, right in boxes:
        found[top:bottom, left:right] = 0.9
    return found


def test_two_patches_are_several_animals_and_one_is_not() -> None:
    """The second largest patch counts."""
    nothing = np.zeros(602, np.float32)
    one, two = (content_of(cells(*boxes), nothing) for boxes in ([(2, 2, 7, 7)], [(0, 0, 4, 3), (5, 5, 9, 8)]))
    assert one.second_animal == 0.0
    assert two.second_animal == pytest.approx(12 / 81)
    assert ["several_animals" in proposals(found._asdict()) for found in (one, two)] == [False, True]


def test_where_the_animal_is_and_how_much_of_it_is_told() -> None:
    """In the middle the offset is 0; in a corner it is large, and little of it is proposed as small."""
    nothing = np.zeros(602, np.float32)
    middle, corner = content_of(cells((3, 3, 6, 6)), nothing), content_of(cells((0, 0, 2, 2)), nothing)
    assert middle.animal_offset == pytest.approx(0.0, abs=1e-6)
    assert corner.animal_offset > 1.0
    assert corner.animal_area == pytest.approx(0.9 * 4 / 81)
    assert "animal_small" in proposals(corner._asdict())


def test_what_is_worn_and_what_is_printed_is_seen_apart() -> None:
    """A jersey speaks of a person, a web site of text."""
    for index, name in ((610, "person_visible"), (916, "text_or_drawing")):
        objects = np.zeros(602, np.float32)
        objects[index - 398] = 0.8
        found = proposals(content_of(cells((0, 0, 9, 9)), objects)._asdict())
        assert found == [name]


def test_every_limit_has_a_measure_and_a_code_of_the_paper() -> None:
    """And without measures nothing is proposed."""
    families = {item.family for item in codes().values()}
    assert {limit.measure for limit in LIMITS.values()} <= {*Quality._fields, *Content._fields}
    assert {limit.code for limit in LIMITS.values()} <= families
    assert proposals(dict.fromkeys([*Quality._fields, *Content._fields])) == []


def test_contrast_is_the_spread_of_grey() -> None:
    """Half black, half white."""
    image = Image.new("L", (256, 256))
    image.paste(255, (128, 0, 256, 256))
    assert quality_of(image).contrast == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [(1, 900), (900, 1), (3, 3), (2000, 1500)])
def test_any_shape_has_finite_measures(size: tuple[int, int]) -> None:
    """A line of pixels included."""
    assert np.isfinite(quality_of(Image.new("RGB", size, (9, 99, 199)))).all()
