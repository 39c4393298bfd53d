"""The one place where foreign bytes become pixels.

Decides which formats, sizes and syntax are accepted, and hands Pillow only files rebuilt from their pixel-bearing pieces.
Leaves limits on time, memory and crashes to `workers`, and what a photo is good for to the stages.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from dataclasses import dataclass
from types import ModuleType

from PIL import Image

from counteranimal.errors import Reason, Rejected
from counteranimal.images.colour import defined_rgb, upright
from counteranimal.images.container import Container
from counteranimal.images.jpeg import read_jpeg
from counteranimal.images.png import PNG_SIGNATURE, read_png
from counteranimal.images.soundness import is_suspect
from counteranimal.images.webp import read_webp

__all__ = [
    "DECODER",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "ImageInfo",
    "decode",
    "grey_thumbnail",
    "inspect",
    "read_container",
    "sniff",
]

DECODER = "pillow-rgb-1"
"""Name of the rule from bytes to pixels; anything that stores what it made from pixels stores this beside it."""

MAX_PIXELS = 50_000_000
MAX_SIDE = 12_000
MIN_SIDE = 64
"""Shorter sides than this show no animal on a background."""

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_READERS = {"image/jpeg": read_jpeg, "image/png": read_png, "image/webp": read_webp}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error, OverflowError)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What intake records of a photo: its type by magic bytes, its upright size in pixels, and whether its bytes look damaged."""

    mime: str
    width: int
    height: int
    suspect: bool = False


def sniff(data: bytes) -> str:
    """Return the media type that the first bytes prove; names and headers prove nothing.

    Raises
    ------
    Rejected
        E_EMPTY without bytes, E_TYPE for anything but JPEG, PNG and WebP.

    Examples
    --------
    >>> sniff(bytes.fromhex("ffd8ffe000104a464946"))
    'image/jpeg'
    """
    if not data:
        raise Rejected(Reason.EMPTY, "there are no bytes")
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    raise Rejected(Reason.TYPE, "the bytes are no JPEG, PNG or WebP image")


def read_container(data: bytes) -> Container:
    """Return a file's parts after checking its type, syntax and size, before any pixel is decoded.

    Raises
    ------
    Rejected
        E_EMPTY, E_TYPE, E_TRUNCATED, E_ANIMATED, E_BOMB, E_TOO_SMALL or E_DECODE.
    """
    container = _READERS[sniff(data)](data)
    width, height = container.width, container.height
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise Rejected(Reason.BOMB, f"{width} x {height} pixels are outside 1..{MAX_SIDE} a side, {MAX_PIXELS} in all")
    if min(width, height) < MIN_SIDE:
        raise Rejected(Reason.TOO_SMALL, f"{width} x {height} pixels; the shorter side must have {MIN_SIDE}")
    return container


def decode(data: bytes) -> Image.Image:
    """Return the photo as upright 8-bit sRGB in mode RGB, alpha over white; the rule is named `DECODER`.

    Raises
    ------
    Rejected
        With the reason code of what is wrong; E_DECODE_MEMORY where memory does not suffice.
    """
    return _pixels(read_container(data))


def _pixels(container: Container) -> Image.Image:
    image = _load(container, least_side=None)
    return upright(defined_rgb(image, image.info.get("icc_profile")), container.orientation)


def inspect(data: bytes) -> ImageInfo:
    """Decode the photo fully in this process and return what it is.

    Raises
    ------
    Rejected
        As `decode` does, and where damage shows that `decode` forgives; see `soundness`.
    """
    container = read_container(data)
    image = _pixels(container)
    return ImageInfo(container.mime, image.width, image.height, is_suspect(container))


def grey_thumbnail(data: bytes, *, least_side: int = 128) -> Image.Image:
    """Return an upright grey image (mode L) for comparisons, decoded at reduced scale where the format can.

    A JPEG is decoded at 1/2, 1/4 or 1/8 as long as its shorter side keeps `least_side` pixels; its colour profile is ignored,
    since it hardly moves grey. Other formats are decoded in full.

    Raises
    ------
    Rejected
        As `decode` does.
    """
    container = read_container(data)
    image = _scaled_grey(container, least_side) or _load(container, least_side=least_side)
    grey = image if image.mode == "L" else defined_rgb(image, None).convert("L")
    return upright(grey, container.orientation)


def _scaled_grey(container: Container, least_side: int) -> Image.Image | None:
    """Return what `_load` returns for a JPEG, by the library that wastes least time on it; None where that has to do it.

    Both are libjpeg-turbo at the same scale and give the same pixels (a test holds them together), so that an installation
    without simplejpeg makes the same hashes, only slower. Whatever is unusual (CMYK, damage) is left to Pillow.
    """
    turbo = _turbo()
    if turbo is None or container.mime != "image/jpeg":
        return None
    shorter = min(container.width, container.height)
    scale = next((scale for scale in (8, 4, 2) if shorter // scale >= least_side), 1)
    wanted = {"min_width": -(-container.width // scale), "min_height": -(-container.height // scale)}
    try:
        # It would also make grey of CMYK, and other grey than Pillow.
        if turbo.decode_jpeg_header(container.bare)[2] not in {"YCbCr", "Gray"}:
            return None
        pixels = turbo.decode_jpeg(container.bare, "GRAY", **wanted)
    except (ValueError, MemoryError):
        return None
    # Without its third axis it is one block of memory, which the image takes over as it is.
    return Image.fromarray(pixels.reshape(pixels.shape[:2]))


@functools.cache
def _turbo() -> ModuleType | None:
    try:
        import simplejpeg
    except ImportError:
        return None
    found: ModuleType = simplejpeg
    return found


def _load(container: Container, *, least_side: int | None) -> Image.Image:
    """Return the loaded pixels as stored; with `least_side`, a JPEG's in grey and scaled down."""
    try:
        image = Image.open(io.BytesIO(container.bare), formats=(_FORMATS[container.mime],))
        if image.size != (container.width, container.height) or getattr(image, "n_frames", 1) != 1:
            raise Rejected(Reason.DECODE, "two readers of the file disagree on its size")
        if least_side is not None and container.mime == "image/jpeg":
            ratio = least_side / min(image.size)
            wanted = (int(image.width * ratio), int(image.height * ratio))
            image.draft("L" if image.mode != "CMYK" else None, wanted if ratio < 1 else image.size)
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected(Reason.BOMB, "the image is larger than any photo") from error
    except MemoryError as error:
        raise Rejected(Reason.DECODE_MEMORY, "decoding needs more memory than a photo may take") from error
    except _BROKEN as error:
        reason = Reason.TRUNCATED if "truncated" in str(error) else Reason.DECODE
        raise Rejected(reason, f"the pixels cannot be decoded ({error})") from error
    return image
