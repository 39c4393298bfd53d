"""The one safe decoder: foreign bytes in, one defined kind of pixels out, or a reason.

Decides what a photo may be (JPEG, PNG or WebP, whole, one frame, of sane size) and what its pixels are: upright 8-bit sRGB,
alpha over white. `decode` and `inspect` run in this process and are for bytes that intake has proved; `DecoderPool` is for
bytes from outside. Leaves what is published of a photo to `published`.
"""

from counteranimal.images.decode import (
    DECODER,
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SIDE,
    ImageInfo,
    decode,
    grey_thumbnail,
    inspect,
    read_container,
    sniff,
)
from counteranimal.images.workers import DecoderPool

__all__ = [
    "DECODER",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "DecoderPool",
    "ImageInfo",
    "decode",
    "grey_thumbnail",
    "inspect",
    "read_container",
    "sniff",
]
