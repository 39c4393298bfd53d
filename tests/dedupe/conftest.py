"""Generated scenes, animals of one colour on them, edited copies, and a workspace that holds given photos."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from counteranimal import tables
from counteranimal.ids import photo_id_of
from counteranimal.images import inspect
from counteranimal.workspace import Blob, Workspace
from tests.serving.conftest import material_root, quick_sample

__all__ = ["material_root", "quick_sample"]


def _scene(seed: int, size: tuple[int, int] = (360, 270)) -> Image.Image:
    """Return a scene with structure at all scales, as photos have: the sum of ever finer random fields."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (3, 6, 12, 24, 48, 96):
        field = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        layers = [Image.fromarray(field[:, :, band]).resize(size, Image.Resampling.BICUBIC) for band in range(3)]
        total += np.stack([np.asarray(layer) for layer in layers], axis=2) / cells**0.6
    spread = (total - total.mean()) / total.std()
    return Image.fromarray(
        np.clip(128 + 40 * (0.4 * spread + 0.6 * spread.mean(axis=2, keepdims=True)), 0, 255).astype(np.uint8)
    )


def _with_animal(scene: Image.Image, seed: int) -> Image.Image:
    """Return the scene with a patterned shape of its own, about half as high as the picture."""
    rng = np.random.default_rng(1000 + seed)
    width, height = scene.size
    mask = Image.new("L", scene.size)
    draw = ImageDraw.Draw(mask)
    left, top = int(rng.integers(20, width // 2)), int(rng.integers(height // 4, height // 2))
    for _ in range(4):
        x, y = left + int(rng.integers(0, width // 4)), top + int(rng.integers(0, height // 6))
        draw.ellipse((x, y, x + int(rng.integers(40, 110)), y + int(rng.integers(50, 120))), fill=255)
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    coat = Image.blend(_scene(2000 + seed, scene.size), Image.new("RGB", scene.size, colour), 0.6)
    return Image.composite(coat, scene, mask)


@pytest.fixture(scope="session")
def scene() -> Callable[..., Image.Image]:
    """Return a function (seed, size) -> a scene."""
    return _scene


@pytest.fixture(scope="session")
def with_animal() -> Callable[[Image.Image, int], Image.Image]:
    """Return a function (scene, seed) -> the scene with an animal."""
    return _with_animal


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Return a function (image, format, **options) -> the file's bytes."""

    def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **({"quality": 90} | options if kind == "JPEG" else options))
        return buffer.getvalue()

    return encoded


@pytest.fixture
def fill(workspace: Workspace) -> Callable[..., list[str]]:
    """Return a function that stores photos with their candidates' fields and writes tables photos and candidates."""

    def filled(files: list[bytes], fields: list[dict[str, Any]] | None = None) -> list[str]:
        ids = workspace.blobs.put_many([Blob(data) for data in files])
        photos: dict[str, dict[str, Any]] = {}
        candidates = []
        for number, (photo_id, data) in enumerate(zip(ids, files, strict=True)):
            given = {"source": "made", "class_id": "fox", "kind": "photo"} | (fields[number] if fields else {})
            candidate = f"made:{number:04d}"
            candidates.append(given | {"candidate_id": candidate, "status": "ok"})
            info = inspect(data)
            photo = photos.setdefault(
                photo_id,
                {
                    "photo_id": photo_id_of(data), "candidate_ids": [], "class_id": given["class_id"], "mime": info.mime,
                    "bytes": len(data), "width": info.width, "height": info.height, "status": "ok",
                },
            )  # fmt: skip
            photo["candidate_ids"].append(candidate)
        workspace.write_table("candidates", tables.conform("candidates", candidates))
        workspace.write_table("photos", tables.conform("photos", photos.values()))
        return ids

    return filled
