"""The one place where foreign bytes become pixels.

Decides which formats, sizes and syntax are accepted, and hands Pillow only files rebuilt from their pixel-bearing pieces.
Leaves limits on time, memory and crashes to `workers`, and what a photo is good for to the stages.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image

from counteranimal.errors import MissingDependency, Reason, Rejected
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
    image = _load(container)
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

    A JPEG is decoded by libjpeg-turbo at the smallest scale at which its shorter side keeps `least_side` pixels; its colour profile
    is ignored, since it hardly moves grey. Other formats, and four-colour JPEGs, are decoded in full.

    Raises
    ------
    Rejected
        As `decode` does.
    MissingDependency
        If simplejpeg, of `counteranimal[crawl]`, is not installed.
    """
    container = read_container(data)
    grey = _scaled_jpeg(container, least_side) if container.mime == "image/jpeg" else None
    if grey is None:
        image = _load(container)
        grey = image if image.mode == "L" else defined_rgb(image, None).convert("L")
    return upright(grey, container.orientation)


def _scaled_jpeg(container: Container, least_side: int) -> Image.Image | None:
    """Return None where libjpeg-turbo makes no grey of the file: four colours, or damage that the full decode has to name."""
    try:
        import simplejpeg
    except ImportError as error:
        raise MissingDependency("comparing photos needs simplejpeg; install counteranimal[crawl]") from error
    scale = min(1.0, least_side / min(container.width, container.height))
    wanted = {"min_height": int(container.height * scale), "min_width": int(container.width * scale)}
    try:
        pixels = simplejpeg.decode_jpeg(container.bare, "GRAY", fastdct=True, fastupsample=True, strict=False, **wanted)
    except ValueError:
        return None
    except MemoryError as error:
        raise Rejected(Reason.DECODE_MEMORY, "decoding needs more memory than a photo may take") from error
    return Image.fromarray(pixels[:, :, 0])


def _load(container: Container) -> Image.Image:
    """Return the loaded pixels as stored."""
    try:
        image = Image.open(io.BytesIO(container.bare), formats=(_FORMATS[container.mime],))
        if image.size != (container.width, container.height) or getattr(image, "n_frames", 1) != 1:
            raise Rejected(Reason.DECODE, "two readers of the file disagree on its size")
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Rejected(Reason.BOMB, "the image is larger than any photo") from error
    except MemoryError as error:
        raise Rejected(Reason.DECODE_MEMORY, "decoding needs more memory than a photo may take") from error
    except _BROKEN as error:
        reason = Reason.TRUNCATED if "truncated" in str(error) else Reason.DECODE
        raise Rejected(reason, f"the pixels cannot be decoded ({error})") from error
    return image
