"""Composites: where the animal stands, and that it always stands there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from counteranimal.errors import IntegrityError
from counteranimal.recipe import backgrounds
from counteranimal.serving.animals import CUT_OUTS
from counteranimal.serving.composites import compose, jpeg_bytes, open_cut_out, open_scene, place
from counteranimal.serving.scenes import SCENES


def drawn_animal() -> Image.Image:
    animal = Image.new("RGBA", (60, 50), (0, 0, 0, 0))
    ImageDraw.Draw(animal).ellipse((5, 5, 55, 45), fill=(200, 40, 40, 255))
    return animal


@pytest.mark.parametrize("scene", [scene.name for scene in SCENES])
@pytest.mark.parametrize("size", [(404, 190), (191, 75), (142, 199), (215, 357), (184, 141)])
def test_the_animal_fills_sixty_to_eighty_five_percent_of_the_height(scene: str, size: tuple[int, int]) -> None:
    """Long and tall animals alike, and never beyond the frame; the feet stand near the lower edge."""
    found = place("animal", scene, cut_out_size=size, scene_size=(960, 638))
    assert max(found.size) == 500
    assert 0.595 <= found.animal[1] / found.size[1] <= 0.855
    left, top = found.corner
    assert left >= 0
    assert left + found.animal[0] <= found.size[0]
    assert 0.88 <= (top + found.animal[1]) / found.size[1] <= 0.98
    assert top >= 0
    assert 0 <= found.window[0] < found.window[2] <= 1.000001
    assert 0 <= found.window[1] < found.window[3] <= 1.000001


def test_the_scene_is_not_stretched() -> None:
    """The window has the photo's shape in the scene's pixels."""
    found = place("animal", "scene", cut_out_size=(60, 50), scene_size=(960, 638))
    left, top, right, bottom = found.window
    assert (right - left) * 960 / ((bottom - top) * 638) == pytest.approx(found.size[0] / found.size[1])


def test_the_same_names_give_the_same_bytes() -> None:
    """Nothing but the names decides, so a second build is byte for byte the first."""
    scene = Image.linear_gradient("L").convert("RGB").resize((640, 400))
    one, two = (
        jpeg_bytes(compose(drawn_animal(), scene, place("a", "s", cut_out_size=(60, 50), scene_size=scene.size)))
        for _ in range(2)
    )
    other = jpeg_bytes(compose(drawn_animal(), scene, place("b", "s", cut_out_size=(60, 50), scene_size=scene.size)))
    assert one == two
    assert one != other


def test_cut_outs_are_trimmed_to_the_animal(tmp_path: Path) -> None:
    """Transparent margins do not count as height; a wholly transparent file is refused."""
    drawn_animal().save(tmp_path / "a.png")
    assert open_cut_out((tmp_path / "a.png").read_bytes()).size == (51, 41)
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "b.png")
    with pytest.raises(IntegrityError, match="transparent"):
        open_cut_out((tmp_path / "b.png").read_bytes())


def test_scenes_carry_words_of_the_vocabulary() -> None:
    """At least 19 frames on at least 4 backgrounds, and frames of one photo do not overlap."""
    assert len({scene.name for scene in SCENES}) >= 19
    words = [scene.background for scene in SCENES]
    assert set(words) <= set(backgrounds())
    assert sum(words.count(word) >= 3 for word in set(words)) >= 4
    for one in SCENES:
        for two in SCENES:
            if one is not two and one.path == two.path:
                assert one.box[2] <= two.box[0] or two.box[2] <= one.box[0]


@pytest.mark.material
def test_every_cut_out_and_scene_is_there(material_root: Path) -> None:
    """All cut-outs have alpha and all frames are large enough."""
    for item in CUT_OUTS:
        stamp = open_cut_out((material_root / f"usr/share/tuxpaint/stamps/animals/{item.stamp}.png").read_bytes())
        assert min(stamp.getchannel("A").getextrema()) == 0
    seen = set()
    for scene in SCENES:
        frame = open_scene((material_root / scene.path).read_bytes(), scene.box)
        assert min(frame.size) >= 270
        seen.add(hashlib.sha256(frame.tobytes()).hexdigest())
    assert len(seen) == len(SCENES)
