"""Generated photos for the decoder: textured pictures, their files, and files taken apart by hand."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


def _texture(seed: int, size: tuple[int, int]) -> Image.Image:
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def photo() -> Callable[..., Image.Image]:
    """Return a function (seed, size) -> a textured RGB picture."""
    return lambda seed=0, size=(160, 120): _texture(seed, size)


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Return a function (image, format, **options) -> the file's bytes."""

    def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encoded


@pytest.fixture(scope="session")
def segment() -> Callable[[int, bytes], bytes]:
    """Return a function (marker, payload) -> a JPEG segment."""
    return lambda marker, payload: bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


@pytest.fixture(scope="session")
def insert() -> Callable[[bytes, bytes], bytes]:
    """Return a function that puts segments right behind a JPEG's start."""
    return lambda data, segments: data[:2] + segments + data[2:]
