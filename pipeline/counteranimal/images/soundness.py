"""Looks for damage that decoders forgive: a file of the right length whose bytes were lost on the way, mostly to zeros.

Decides what proves damage (the photo is turned away) and what only speaks for it (the photo is suspect: kept, counted, and left out
of everything that follows). An image's compressed bytes end where its last pixel does, so bytes that are missing, left over or
wrong show in how a strict decoder ends. PNG needs no such look, since it carries checksums. Leaves pixels to `decode`.

Needs simplejpeg, which comes with `counteranimal[crawl]`; only intake looks this closely.
"""

from __future__ import annotations

import io

from PIL import Image

from counteranimal.errors import MissingDependency, Reason, Rejected
from counteranimal.images.container import Container
from counteranimal.images.jpeg import looks_whole
from counteranimal.images.webp import without_end

__all__ = ["is_suspect"]

_PROOFS = {
    "premature end of data segment": Reason.TRUNCATED,
    "bad Huffman code": Reason.DECODE,
    "instead of RST": Reason.DECODE,
}


def is_suspect(container: Container) -> bool:
    """Say whether something speaks for damage without proving it; the file has been decoded before.

    JPEG: a scan holds more bytes than its pixels need or a run of zeros, or coefficients were never sent to their last bit. WebP:
    the image holds a run of zeros and needs none of its last bytes.

    Raises
    ------
    Rejected
        E_TRUNCATED or E_DECODE where a JPEG's scan ends before its pixels do, or holds a code that its tables lack.
    """
    if container.mime == "image/jpeg":
        return _complaint(container.bare) or not looks_whole(container.bare)
    if container.mime == "image/webp":
        shortened = without_end(container.bare)
        return shortened is not None and _decodes(shortened)
    return False


def _complaint(data: bytes) -> bool:
    """Say whether libjpeg warns of a file; decoding at an eighth reads all of its compressed bytes and few of its pixels."""
    try:
        import simplejpeg
    except ImportError as error:
        raise MissingDependency("looking for damage needs simplejpeg; install counteranimal[crawl]") from error
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(data)
        wanted = "CMYK" if colours in {"CMYK", "YCCK"} else "GRAY"
        simplejpeg.decode_jpeg(data, wanted, min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        for words, reason in _PROOFS.items():
            if words in str(error):
                raise Rejected(reason, f"the JPEG's image is damaged ({error})") from error
        return True
    return False


def _decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data), formats=("WEBP",)).load()
    except (OSError, ValueError, SyntaxError, EOFError):
        return False
    return True
