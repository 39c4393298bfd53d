"""What a photo is recognised by: a digest of its pixels, and 64-bit hashes that survive re-encoding.

Decides the named, versioned recipes from bytes to hashes. Leaves searching to `neighbours` and judging to `second_look`: a
hash proposes, it never decides.

* `turbo128-1`, the default, hashes a JPEG decoded at reduced scale with at least 128 pixels on its shorter side, box-reduced to
  about twice the square before it is resized, the dHash from that square: at most 2 bits off in 99 % of photos (pHash) and
  several times faster than a full decode.
* `reference-1` hashes the fully decoded photo: bit for bit what `imagehash.phash` and `imagehash.dhash` return for it.

The bits follow imagehash: row by row, the first one the most significant. pHash: 32 x 32 grey by Lanczos, DCT-II, the 8 x 8
lowest frequencies against their median. dHash: 9 x 8 grey by Lanczos, each pixel against its left neighbour.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counteranimal.images import DECODER, decode, grey_thumbnail

__all__ = [
    "DEFAULT_RECIPE",
    "Fingerprint",
    "FingerprintRecipe",
    "Hashes",
    "fast_hashes",
    "fingerprint_of",
    "pixel_digest",
    "reference_hashes",
]

FingerprintRecipe = Literal["turbo128-1", "reference-1"]
DEFAULT_RECIPE: FingerprintRecipe = "turbo128-1"

_SIDE, _LOW = 32, 8
# The DCT-II of scipy (type 2, no normalisation), restricted to the frequencies that are used: (8, 32).
_DCT: NDArray[np.float64] = 2 * np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))
_MIRROR: NDArray[np.float64] = np.where(np.arange(_LOW) % 2, -1.0, 1.0)
# Coefficients of evenly lit pictures are rounding noise of about 1e-12, which differs between machines; photos' are above 1.
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Hashes:
    """64-bit hashes of a photo and of its mirror image (the mirrored ones from the same decode), and the grey entropy in bits."""

    phash: int
    dhash: int
    phash_mirrored: int
    dhash_mirrored: int
    entropy: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A photo's row of table `fingerprints`, but for its id."""

    pixel_digest: str
    hashes: Hashes
    recipe: str

    def row(self, photo_id: str) -> dict[str, Any]:
        """Return the row of table `fingerprints`."""
        return {
            "photo_id": photo_id,
            "pixel_digest": self.pixel_digest,
            **asdict(self.hashes),
            "recipe": self.recipe,
        }


def recipe_name(recipe: FingerprintRecipe) -> str:
    """Return the name stored with every hash: the fingerprint recipe on the decoder's rule."""
    return f"{recipe}+{DECODER}"


def fingerprint_of(data: bytes, recipe: FingerprintRecipe = DEFAULT_RECIPE) -> Fingerprint:
    """Return the fingerprint of a photo's bytes; raises Rejected where they do not decode."""
    rgb = decode(data)
    hashes = reference_hashes(rgb.convert("L")) if recipe == "reference-1" else fast_hashes(grey_thumbnail(data))
    return Fingerprint(pixel_digest(rgb), hashes, recipe_name(recipe))


def pixel_digest(rgb: Image.Image) -> str:
    """Return the sha256 over an upright RGB image's size and pixels: equal for every lossless copy, whatever its container."""
    hasher = hashlib.sha256(f"{rgb.width}x{rgb.height}\n".encode())
    hasher.update(rgb.tobytes())
    return hasher.hexdigest()


def reference_hashes(grey: Image.Image) -> Hashes:
    """Return the hashes of an upright image in mode L as imagehash defines them."""
    square = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return _hashes(grey, square, grey.resize((9, 8), Image.Resampling.LANCZOS))


def fast_hashes(grey: Image.Image) -> Hashes:
    """Return nearly the same hashes from one resize of few pixels."""
    square = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _hashes(grey, square, square.resize((9, 8), Image.Resampling.LANCZOS))


def _hashes(grey: Image.Image, square: Image.Image, small: Image.Image) -> Hashes:
    low = np.round(_DCT @ np.asarray(square, dtype=np.float64) @ _DCT.T, _DECIMALS)
    steps = np.asarray(small)
    # Mirroring an image changes the sign of its odd horizontal frequencies and nothing else.
    return Hashes(
        phash=_above_median(low),
        dhash=_rising(steps),
        phash_mirrored=_above_median(low * _MIRROR),
        dhash_mirrored=_rising(steps[:, ::-1]),
        entropy=float(grey.entropy()),
    )


def _above_median(low: NDArray[np.float64]) -> int:
    # The mean of the two in the middle, which numpy's own median takes ten times as long to find.
    below, above = np.partition(low.ravel(), (31, 32))[31:33]
    return _pack(low > (below + above) / 2)


def _rising(steps: NDArray[np.uint8]) -> int:
    return _pack(steps[:, 1:] > steps[:, :-1])


def _pack(bits: NDArray[np.bool_]) -> int:
    """Return 8 x 8 bits as one number below 2**64."""
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
