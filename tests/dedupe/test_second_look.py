"""The second look confirms copies and keeps different animals, and empty scenes, apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from counteranimal.dedupe.second_look import compare, judge, look_at, mirrored
from counteranimal.images import decode
from counteranimal.recipe import DedupeRules

RULES = DedupeRules()


def verdict(a: bytes, b: bytes) -> str:
    """Return what the second look says of two files."""
    return judge(compare(look_at(a), look_at(b), RULES), RULES)


EDITS = {
    "half size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.4),
    "cropped by a tenth": lambda image: ImageOps.crop(image, border=image.height // 20),
    "turned by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BICUBIC),
    "narrower": lambda image: image.resize((image.width * 9 // 10, image.height)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_copies_are_confirmed(scene, with_animal, encode, edit):
    """A copy under a common edit is the same photo."""
    for seed in range(4):
        picture = with_animal(scene(seed), seed)
        assert verdict(encode(picture), encode(EDITS[edit](picture), quality=70)) == "same"


def test_different_animals_on_one_scene_are_not_one_photo(scene, with_animal, encode):
    """The same background and another animal is never confirmed as a copy."""
    for place in range(3):
        files = [encode(with_animal(scene(place), animal)) for animal in range(8)]
        found = {verdict(files[a], files[b]) for a in range(8) for b in range(a)}
        assert "same" not in found


def test_a_mirror_image_is_confirmed_only_as_one(scene, with_animal, encode):
    """A mirrored copy is the same photo once mirrored back, and a different one as it stands."""
    picture = with_animal(scene(1), 1)
    plain, flipped = look_at(encode(picture)), look_at(encode(ImageOps.mirror(picture)))
    assert judge(compare(plain, mirrored(flipped), RULES), RULES) == "same"
    assert judge(compare(plain, flipped, RULES), RULES) == "different"


def test_evenly_lit_photos_are_never_confirmed(encode):
    """Two skies of one gradient, or two fields of snow, differ in their noise alone; that confirms nothing."""
    rng = np.random.default_rng(3)
    fall = np.linspace(215, 170, 270)[:, None, None] * np.array([0.8, 0.9, 1.0])
    skies = [np.clip(fall + rng.normal(0, 3, (270, 360, 3)), 0, 255) for _ in range(4)]
    snow = [np.clip(248 + rng.normal(0, 4, (270, 360, 3)), 0, 255) for _ in range(4)]
    for pictures in (skies, snow):
        files = [encode(Image.fromarray(picture.astype(np.uint8))) for picture in pictures]
        assert {verdict(files[a], files[b]) for a in range(4) for b in range(a)} == {"unsure"}


def test_small_animals_on_burnt_out_white_are_told_apart(encode):
    """Where one photo is clipped white and the other shows an animal, that counts as a difference."""
    files = []
    for left in (60, 240):
        picture = Image.new("RGB", (360, 270), "white")
        picture.paste((60, 40, 30), (left, 120, left + 50, 180))
        files.append(encode(picture))
    assert verdict(*files) != "same"


@pytest.mark.case("E02")
@pytest.mark.shared
def test_real_photos_edits_are_confirmed(shared_data, encode):
    """On real photos quality 40, half size, grey and brighter copies are the same photo, every time."""
    for path in sorted((shared_data / "photos" / "wikimedia").iterdir())[::12]:
        data = path.read_bytes()
        for edit in ("half size", "grey", "brighter"):
            assert verdict(data, encode(EDITS[edit](decode(data)), quality=40)) == "same", (path.name, edit)
