"""Fingerprints: the same bits as the format everybody uses, and the same digest for the same pixels."""

from __future__ import annotations

import importlib
import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from counteranimal.dedupe.fingerprint import hashes_in, pixel_digest, recipe_name
from counteranimal.dedupe.lanczos import tiny_pictures
from counteranimal.images import grey_thumbnail

decoding = importlib.import_module("counteranimal.images.decode")


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
            found = hashes_in(data, "reference-1")
            assert found.phash == as_number(imagehash.phash(image))
            assert found.dhash == as_number(imagehash.dhash(image))


@pytest.mark.shared
def test_reference_hashes_equal_imagehash_on_photos_and_scaled_ones_are_close(shared_data):
    """On real photos the reference recipe differs in no bit, the scaled one in at most four (bench/dedupe_hash.py: two)."""
    for path in sorted((shared_data / "photos" / "pets").iterdir())[::6]:
        data = path.read_bytes()
        with Image.open(path) as image:
            if "icc_profile" in image.info:
                continue  # hashed in sRGB here, and as stored there
            expected = as_number(imagehash.phash(image)), as_number(imagehash.dhash(image))
        reference = hashes_in(data, "reference-1")
        assert (reference.phash, reference.dhash) == expected
        assert bits_apart(hashes_in(data).phash, expected[0]) <= 4


def test_mirrored_hashes_are_those_of_the_mirror_image(scene, encode):
    """The hash of the mirror image comes from the same decode."""
    for seed in range(10):
        picture = scene(seed)
        plain = hashes_in(encode(picture, "PNG"))
        flipped = hashes_in(encode(ImageOps.mirror(picture), "PNG"))
        assert bits_apart(plain.phash_mirrored, flipped.phash) <= 2
        assert bits_apart(plain.dhash_mirrored, flipped.dhash) <= 2


def test_equal_pixels_have_one_digest_whatever_the_container(scene, encode):
    """A PNG, a lossless WebP and a turned PNG with its orientation noted have one pixel digest; another picture has not."""
    picture = scene(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    files = [encode(picture, "PNG"), encode(picture, "WEBP", lossless=True), encode(turned, "PNG", exif=exif)]
    assert len({pixel_digest(data) for data in files}) == 1
    assert pixel_digest(encode(scene(2), "PNG")) != pixel_digest(files[0])


def test_the_recipe_has_a_name_and_an_even_picture_a_stable_hash(encode):
    """The name stored with every hash says how it was made, and a picture of one tone hashes to no noise."""
    assert recipe_name("draft128-2") == "draft128-2+pillow-rgb-1"
    found = hashes_in(encode(Image.new("RGB", (300, 200), (200, 210, 220)), "PNG"))
    assert (found.dhash, found.dhash_mirrored, found.entropy) == (0, 0, 0.0)
    assert found.phash == found.phash_mirrored == 1 << 63


def test_the_tiny_pictures_are_pillows_within_a_grey_level(scene):
    """Means of squares and then Lanczos give Pillow's grey levels; where the squares do not fit, a picture is not shifted."""
    rng = np.random.default_rng(0)
    for width, height, side in ((64, 64, 1), (250, 188, 2), (129, 128, 2), (900, 70, 1), (1200, 900, 14), (20, 7, 1)):
        picture = Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))
        fits = picture.resize((width // side * side, height // side * side))
        for found, size in zip(tiny_pictures(fits), ((32, 32), (9, 8)), strict=True):
            expected = np.asarray(fits.reduce(side).resize(size, Image.Resampling.LANCZOS)).astype(int)
            assert np.abs(found - expected).max() <= 1
    for size in ((263, 199), (511, 383), (193, 700)):
        picture = scene(6, size).convert("L")
        for found, small in zip(tiny_pictures(picture), ((32, 32), (9, 8)), strict=True):
            expected = np.asarray(picture.resize(small, Image.Resampling.LANCZOS)).astype(int)
            assert np.abs(found - expected).mean() < 1


@pytest.mark.parametrize("size", [(1100, 700), (513, 387), (129, 128), (64, 80)])
def test_both_decoders_give_the_same_small_picture(scene, encode, monkeypatch, size):
    """Where simplejpeg is not installed Pillow decodes, and not one pixel differs; so one name stands for both."""
    picture = scene(3, (size[0] // 2, size[1] // 2)).resize(size)
    kinds = [{"quality": 90}, {"quality": 60, "progressive": True}, {"quality": 80, "subsampling": 0}]
    files = [encode(picture.convert(mode), **options) for mode in ("RGB", "L", "CMYK") for options in kinds]
    fast = [grey_thumbnail(data) for data in files]
    monkeypatch.setattr(decoding, "_turbo", lambda: None)
    assert [(item.size, item.tobytes()) for item in fast] == [
        (item.size, item.tobytes()) for item in map(grey_thumbnail, files)
    ]


def test_a_damaged_scan_is_left_to_the_decoder_that_forgives_it(scene, encode, monkeypatch):
    """A photo with a broken code in its scan has the hash that Pillow's decoding gives it, and no error."""
    data = bytearray(encode(scene(4, (640, 480))))
    data[len(data) // 2 : len(data) // 2 + 60] = bytes(60)
    fast = grey_thumbnail(bytes(data))
    monkeypatch.setattr(decoding, "_turbo", lambda: None)
    assert fast.tobytes() == grey_thumbnail(bytes(data)).tobytes()
