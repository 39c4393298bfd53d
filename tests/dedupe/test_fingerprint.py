"""Fingerprints: the same bits as the format everybody uses, and the same digest for the same pixels."""

from __future__ import annotations

import io

import imagehash
import pytest
from PIL import Image, ImageOps

from counteranimal.dedupe.fingerprint import fast_hashes, fingerprint_of
from counteranimal.images import grey_thumbnail


def as_number(found: imagehash.ImageHash) -> int:
    """Return an imagehash as one number."""
    return int(str(found), 16)


def bits_apart(a: int, b: int) -> int:
    """Return the Hamming distance."""
    return (a ^ b).bit_count()


def test_reference_hashes_equal_imagehash_on_scenes(scene, encode):
    """The reference recipe returns imagehash's pHash and dHash, bit for bit."""
    for seed in range(20):
        data = encode(scene(seed))
        with Image.open(io.BytesIO(data)) as image:
            found = fingerprint_of(data, "reference-1").hashes
            assert found.phash == as_number(imagehash.phash(image))
            assert found.dhash == as_number(imagehash.dhash(image))


@pytest.mark.shared
def test_reference_hashes_equal_imagehash_on_photos_and_scaled_ones_are_close(shared_data):
    """On real photos the reference recipe differs in no bit, the scaled one in at most four."""
    for path in sorted((shared_data / "photos" / "pets").iterdir())[::6]:
        data = path.read_bytes()
        with Image.open(path) as image:
            if "icc_profile" in image.info:
                continue  # hashed in sRGB here, and as stored there
            expected = as_number(imagehash.phash(image)), as_number(imagehash.dhash(image))
        reference = fingerprint_of(data, "reference-1").hashes
        assert (reference.phash, reference.dhash) == expected
        assert bits_apart(fast_hashes(grey_thumbnail(data)).phash, expected[0]) <= 4


def test_mirrored_hashes_are_those_of_the_mirror_image(scene, encode):
    """The hash of the mirror image comes from the same decode."""
    for seed in range(10):
        picture = scene(seed)
        plain = fingerprint_of(encode(picture, "PNG")).hashes
        flipped = fingerprint_of(encode(ImageOps.mirror(picture), "PNG")).hashes
        assert bits_apart(plain.phash_mirrored, flipped.phash) <= 2
        assert bits_apart(plain.dhash_mirrored, flipped.dhash) <= 2


def test_equal_pixels_have_one_digest_whatever_the_container(scene, encode):
    """A PNG, a lossless WebP and a turned PNG with its orientation noted have one pixel digest; another picture has not."""
    picture = scene(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    files = [encode(picture, "PNG"), encode(picture, "WEBP", lossless=True), encode(turned, "PNG", exif=exif)]
    assert len({fingerprint_of(data).pixel_digest for data in files}) == 1
    assert fingerprint_of(encode(scene(2), "PNG")).pixel_digest != fingerprint_of(files[0]).pixel_digest


def test_a_fingerprint_names_its_recipe_and_an_even_picture_has_a_stable_hash(encode):
    """Every hash says how it was made, and a picture of one tone hashes to no noise."""
    found = fingerprint_of(encode(Image.new("RGB", (300, 200), (200, 210, 220)), "PNG"))
    assert found.recipe == "turbo128-1+pillow-rgb-1"
    assert (found.hashes.dhash, found.hashes.dhash_mirrored, found.hashes.entropy) == (0, 0, 0.0)
    assert found.hashes.phash == found.hashes.phash_mirrored == 1 << 63
