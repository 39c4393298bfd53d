"""Makes the bytes of the sample's photos from the Debian packages' files.

Decides how a planned photo becomes a JPEG file, near duplicates included. Leaves placing to `composites`, and where files go to
`sample`.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence

from PIL import Image, ImageEnhance

from counteranimal.errors import IntegrityError
from counteranimal.serving.animals import CUT_OUTS, SINGLES, CutOut, Single
from counteranimal.serving.composites import compose, jpeg_bytes, open_cut_out, open_scene, place
from counteranimal.serving.material import Material
from counteranimal.serving.origins import Origin, readme_origins
from counteranimal.serving.plan import EXACT, NEAR, Photo
from counteranimal.serving.rcc import read_rcc
from counteranimal.serving.scenes import SCENES, Scene

__all__ = ["MaterialReader", "render"]

_STAMPS = "usr/share/tuxpaint/stamps/animals"
_SINGLE_SIDE = 1024


class MaterialReader:
    """Reads and keeps what several composites share: cut-outs, scene frames, archives."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self.cut_out: Callable[[str], Image.Image] = functools.cache(self._cut_out)
        self.scene: Callable[[str], Image.Image] = functools.cache(self._scene)
        self._archive = functools.cache(self._read_archive)

    def _cut_out(self, name: str) -> Image.Image:
        item = next(item for item in CUT_OUTS if item.name == name)
        return open_cut_out(self._material.read(f"{_STAMPS}/{item.stamp}.png"))

    def _scene(self, name: str) -> Image.Image:
        item = next(item for item in SCENES if item.name == name)
        return open_scene(self._material.read(item.path), item.box)

    def _read_archive(self, name: str) -> dict[str, bytes]:
        files = read_rcc(self._material.read(f"usr/share/gcompris-qt/rcc/{name}.rcc"))
        return {path.rpartition("/")[2]: data for path, data in files.items() if "/animals/" in path}

    def single(self, name: str) -> bytes:
        """Return the WebP bytes of a GCompris photo."""
        item = next(item for item in SINGLES if item.name == name)
        data = self._archive(item.archive).get(f"{name}.webp")
        if data is None:
            raise IntegrityError(
                f"gcompris-qt-data holds no photo {name}; the demo was written for Debian 12's version"
            )
        return data

    def origin(self, item: CutOut | Scene | Single) -> Origin:
        """Return author and licence as the item's package states them."""
        if isinstance(item, Single):
            readme = self._archive(item.archive).get("README", b"").decode("utf-8", errors="replace")
            return readme_origins(readme).get(f"{item.name}.webp", Origin(author="", licence=None))
        if isinstance(item, Scene):
            return self._material.origin(item.package, item.source_path)
        return self._material.origin("tuxpaint-stamps-default", f"stamps/animals/{item.stamp}.png")


def render(photo: Photo, photos: Sequence[Photo], reader: MaterialReader) -> bytes:
    """Return the JPEG bytes of a photo; `photos` is the whole plan, in which a duplicate finds what it repeats.

    Raises
    ------
    IntegrityError
        If a package's file is missing or damaged.
    """
    if photo.planted in {EXACT, NEAR}:
        original = next(item for item in photos if item.photo_id == photo.copy_of)
        data = render(original, photos, reader)
        return data if photo.planted == EXACT else _nearly(data, variant=photo.photo_id % 4)
    if photo.kind == "composite":
        animal, scene = reader.cut_out(photo.cut_out), reader.scene(photo.scene)
        placement = place(photo.cut_out, photo.scene, cut_out_size=animal.size, scene_size=scene.size)
        return jpeg_bytes(compose(animal, scene, placement))
    name = photo.name.removeprefix("gcompris-")
    picture = Image.open(io.BytesIO(reader.single(name)), formats=("WEBP",)).convert("RGB")
    picture.thumbnail((_SINGLE_SIDE, _SINGLE_SIDE), Image.Resampling.LANCZOS)
    return jpeg_bytes(picture)


def _nearly(data: bytes, *, variant: int) -> bytes:
    """Return the photo as other people's programs would pass it on: smaller, packed harder, a little brighter."""
    photo = Image.open(io.BytesIO(data), formats=("JPEG",)).convert("RGB")
    smaller = (round(photo.width * 0.8), round(photo.height * 0.8))
    if variant == 0:
        return jpeg_bytes(photo, quality=60)
    if variant == 1:
        return jpeg_bytes(photo.resize(smaller, Image.Resampling.LANCZOS), quality=85)
    if variant == 2:
        return jpeg_bytes(ImageEnhance.Brightness(photo).enhance(1.06))
    return jpeg_bytes(
        ImageEnhance.Brightness(photo.resize(smaller, Image.Resampling.LANCZOS)).enhance(1.04), quality=75
    )
