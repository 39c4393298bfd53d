"""What a photo is recognised by: 64-bit hashes that survive re-encoding, and a digest of its pixels.

Decides the named, versioned recipes from bytes to hashes. Leaves searching to `neighbours`, judging to `second_look`, and which photos
need a digest, which takes a full decode, to `exact`: a hash proposes, it never decides.

* `draft128-2`, the default, hashes a JPEG decoded at reduced scale with at least 128 pixels on its shorter side: at most 2
  bits off in 99 % of photos and several times faster than a full decode.
* `reference-1` hashes the fully decoded photo: bit for bit what `imagehash.phash` and `imagehash.dhash` return for it.

The bits follow imagehash: row by row, the first one the most significant. pHash: 32 x 32 grey by Lanczos, DCT-II, the 8 x 8
lowest frequencies against their median. dHash: 9 x 8 grey by Lanczos, each pixel against its left neighbour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counteranimal.dedupe.lanczos import tiny_pictures
from counteranimal.errors import IntegrityError, Rejected
from counteranimal.images import DECODER, decode, grey_thumbnail
from counteranimal.pool import shards_of
from counteranimal.workspace import Blobs

__all__ = [
    "BATCH",
    "DEFAULT_RECIPE",
    "FingerprintRecipe",
    "Hashes",
    "grey_of",
    "hashes_in",
    "hashes_of",
    "of_stored",
    "pixel_digest",
    "recipe_name",
    "stored_hashes",
]

Result = TypeVar("Result")
FingerprintRecipe = Literal["draft128-2", "reference-1"]
DEFAULT_RECIPE: FingerprintRecipe = "draft128-2"

# Photos hashed together; their grey pictures are in memory at once, of formats without scaled decoding in full.
BATCH = 16

_SIDE, _LOW = 32, 8
# The DCT-II of scipy (type 2, no normalisation), restricted to the frequencies that are used: (8, 32).
_DCT: NDArray[np.float64] = 2 * np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))
# Mirroring an image changes the sign of its odd horizontal frequencies and nothing else. As it is, and mirrored: (2, 1, 8).
_SIGNS: NDArray[np.float64] = np.stack([np.ones(_LOW), np.where(np.arange(_LOW) % 2, -1.0, 1.0)])[:, None]
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


def recipe_name(recipe: FingerprintRecipe) -> str:
    """Return the name stored with every hash: the fingerprint recipe on the decoder's rule."""
    return f"{recipe}+{DECODER}"


def hashes_in(data: bytes, recipe: FingerprintRecipe = DEFAULT_RECIPE) -> Hashes:
    """Return the hashes of a photo's bytes; raises Rejected where they do not decode."""
    return hashes_of([grey_of(data, recipe)], recipe)[0]


def grey_of(data: bytes, recipe: FingerprintRecipe = DEFAULT_RECIPE) -> Image.Image:
    """Return the upright grey picture (mode L) that a recipe makes hashes of; raises Rejected where the bytes do not decode."""
    return decode(data).convert("L") if recipe == "reference-1" else grey_thumbnail(data)


def hashes_of(greys: Sequence[Image.Image], recipe: FingerprintRecipe = DEFAULT_RECIPE) -> list[Hashes]:
    """Return the hashes of pictures that `grey_of` made.

    A batch is faster than one by one: every decode pushes the code and the tables of hashing out of the caches, and most of a
    hash's arithmetic costs less than numpy's calls.
    """
    tiny = [_by_pillow(grey) if recipe == "reference-1" else tiny_pictures(grey) for grey in greys]
    squares, steps = (np.stack(pictures) for pictures in zip(*tiny, strict=True))
    low = np.round(_DCT @ squares.astype(np.float64) @ _DCT.T, _DECIMALS)
    both = (low[:, None] * _SIGNS).reshape(len(greys), 2, -1)
    # The mean of the two middle ones, as `np.median` has it, which takes longer than all the rest of a hash.
    middle = np.sort(both, axis=-1)[..., 31:33]
    above = both > middle.mean(axis=-1, keepdims=True)
    rising = steps[..., 1:] > steps[..., :-1]
    falling = steps[..., :-1] > steps[..., 1:]
    words = (above[:, 0], above[:, 1], rising, falling[..., ::-1])
    bits = np.concatenate([word.reshape(len(greys), -1) for word in words], axis=1)
    numbers = np.packbits(bits, axis=1).view(">u8").tolist()
    return [
        Hashes(phash, dhash, phash_mirrored, dhash_mirrored, float(grey.entropy()))
        for (phash, phash_mirrored, dhash, dhash_mirrored), grey in zip(numbers, greys, strict=True)
    ]


def _by_pillow(grey: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    square, steps = (np.asarray(grey.resize(size, Image.Resampling.LANCZOS)) for size in ((_SIDE, _SIDE), (9, 8)))
    return square, steps


def of_stored(blobs: Blobs, photo_id: str, made_of: Callable[[bytes], Result]) -> Result:
    """Return what is made of a stored photo's bytes; raises IntegrityError, naming the photo, where it is gone or does not decode."""
    try:
        return made_of(blobs.read(photo_id))
    except Rejected as rejected:
        raise IntegrityError(
            f"photo {photo_id} was accepted but does not decode ({rejected}); run `counteranimal withdraw {photo_id}` or crawl it again"
        ) from rejected


def stored_hashes(blobs: Blobs, photo_ids: Sequence[str]) -> list[Hashes]:
    """Return the default hashes of stored photos, made in batches; raises IntegrityError as `of_stored` does."""
    batches = shards_of(photo_ids, BATCH)
    return [hashes for names in batches for hashes in hashes_of([of_stored(blobs, name, grey_of) for name in names])]


def pixel_digest(data: bytes) -> str:
    """Return the sha256 over a photo's size and pixels, upright RGB: equal for every lossless copy, whatever its container.

    Raises Rejected where the bytes do not decode.
    """
    rgb = decode(data)
    hasher = hashlib.sha256(f"{rgb.width}x{rgb.height}\n".encode())
    hasher.update(rgb.tobytes())
    return hasher.hexdigest()
