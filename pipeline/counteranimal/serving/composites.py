"""Puts an animal cut-out on a scene: a photo whose class and background are both known, called a composite everywhere.

Decides size, place and framing, from nothing but the names of cut-out and scene, so that the same packages always give the
same bytes. Leaves which pairs are made to `sample`. Nothing is drawn to help the eye (no shadow, no colour match): the edge's
contrast is part of what a composite is, and reports say so.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from counteranimal.errors import IntegrityError

__all__ = ["LONGEST_SIDE", "QUALITY", "Placement", "compose", "jpeg_bytes", "open_cut_out", "open_scene", "place"]

LONGEST_SIDE = 500
QUALITY = 90
_LOWEST_SHARE, _HIGHEST_SHARE = 0.60, 0.85
_WIDEST_SHARE = 0.94
# A photographer turns to a wider format for a long animal; only so does it reach 60 % of the height.
_FORMATS = ((1.8, (500, 300)), (1.0, (500, 334)), (0.0, (500, 376)))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the animal stands, in pixels of the finished photo, and which part of the scene is behind it.

    `window` is (left, top, right, bottom) in fractions of the scene frame.
    """

    size: tuple[int, int]
    animal: tuple[int, int]
    corner: tuple[int, int]
    window: tuple[float, float, float, float]


def _unit_interval(cut_out: str, scene: str, what: str) -> float:
    """Return a number in [0, 1) that follows from the names alone (first 32 bits of sha256)."""
    digest = hashlib.sha256(f"{cut_out}\n{scene}\n{what}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def place(cut_out: str, scene: str, *, cut_out_size: tuple[int, int], scene_size: tuple[int, int]) -> Placement:
    """Decide size and place of an animal on a scene.

    The animal's height is 60 to 85 % of the photo's, its feet stand 3 to 8 % above the lower edge, and the scene is framed
    with 85 to 100 % of what its shape allows.

    Parameters
    ----------
    cut_out, scene : str
        Names that the choice follows from.
    cut_out_size, scene_size : tuple of int
        Width and height in pixels of the trimmed cut-out and of the scene frame.
    """
    aspect = cut_out_size[0] / cut_out_size[1]
    width, height = next(size for least, size in _FORMATS if aspect >= least)
    highest = min(_HIGHEST_SHARE, _WIDEST_SHARE * width / (aspect * height))
    lowest = min(_LOWEST_SHARE, highest)
    share = lowest + (highest - lowest) * _unit_interval(cut_out, scene, "height")
    animal = (max(1, round(share * height * aspect)), max(1, round(share * height)))
    feet = 0.03 + 0.05 * _unit_interval(cut_out, scene, "feet")
    left = round((width - animal[0]) * (0.2 + 0.6 * _unit_interval(cut_out, scene, "left")))
    return Placement(
        size=(width, height),
        animal=animal,
        corner=(left, height - animal[1] - round(feet * height)),
        window=_window(cut_out, scene, aspect=width / height, scene_aspect=scene_size[0] / scene_size[1]),
    )


def _window(cut_out: str, scene: str, *, aspect: float, scene_aspect: float) -> tuple[float, float, float, float]:
    zoom = 0.85 + 0.15 * _unit_interval(cut_out, scene, "zoom")
    wide = zoom * min(1.0, aspect / scene_aspect)
    tall = zoom * min(1.0, scene_aspect / aspect)
    left = (1 - wide) * _unit_interval(cut_out, scene, "across")
    top = (1 - tall) * _unit_interval(cut_out, scene, "down")
    return (left, top, left + wide, top + tall)


def open_cut_out(data: bytes) -> Image.Image:
    """Return a cut-out as RGBA, trimmed to what is opaque.

    Raises
    ------
    IntegrityError
        If the file is no picture or shows nothing.
    """
    image = _open(data).convert("RGBA")
    # Faint specks far from the animal would make it look smaller than it is.
    box = image.getchannel("A").point(lambda value: 255 if value > 32 else 0).getbbox()
    if box is None:
        raise IntegrityError("a cut-out is wholly transparent; install tuxpaint-stamps-default again")
    return image.crop(box)


def open_scene(data: bytes, box: tuple[float, float, float, float]) -> Image.Image:
    """Return the frame `box` (fractions) of a scene photo as RGB."""
    image = _open(data).convert("RGB")
    width, height = image.size
    return image.crop((round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)))


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise IntegrityError(
            f"a photo of a Debian package is damaged ({error}); install or unpack the package again"
        ) from error
    return image


def compose(animal: Image.Image, scene: Image.Image, placement: Placement) -> Image.Image:
    """Return the composite, RGB, of exactly `placement.size` pixels."""
    left, top, right, bottom = placement.window
    box = (left * scene.width, top * scene.height, right * scene.width, bottom * scene.height)
    photo = scene.resize(placement.size, Image.Resampling.LANCZOS, box=box)
    figure = animal.resize(placement.animal, Image.Resampling.LANCZOS)
    photo.paste(figure, placement.corner, mask=figure.getchannel("A"))
    return photo


def jpeg_bytes(photo: Image.Image, *, quality: int = QUALITY) -> bytes:
    """Return a baseline JPEG, the same bytes for the same pixels and the same imaging library."""
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=quality, subsampling=2, optimize=False, progressive=False)
    return stream.getvalue()
