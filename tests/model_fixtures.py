"""Fixtures with real weights: one cache a session, and each model loaded once."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counteranimal.models import load_model
from counteranimal.models.compat import model_library
from counteranimal.settings import Settings, load_settings

__all__ = ["lite2", "offline_settings", "real_photos", "stand_in", "tiny_clip"]


@pytest.fixture(scope="session")
def offline_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose cache is the session's own, so that the stand-in is really built, and built once."""
    return load_settings(cache=tmp_path_factory.getbasetemp() / "model-cache", device="cpu", workers=2)


@pytest.fixture(scope="session")
def lite2(offline_settings: Settings) -> Any:
    """EfficientNet-Lite2 with its real weights."""
    return load_model("efficientnet-lite2", settings=offline_settings)


@pytest.fixture(scope="session")
def stand_in(offline_settings: Settings) -> Any:
    """The stand-in, built from its real parts."""
    return load_model("stand-in", settings=offline_settings)


@pytest.fixture(scope="session")
def real_photos(shared_data: Path) -> dict[str, Image.Image]:
    """Five real photos of ImageNet classes, by file name."""
    with (shared_data / "photos" / "photos.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["imagenet_index"]]
    chosen = [rows[place] for place in range(0, len(rows), len(rows) // 5)][:5]
    return {row["file"]: Image.open(shared_data / "photos" / row["set"] / row["file"]).convert("RGB") for row in chosen}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one random model as tiny.safetensors and as tiny.pt, under two architectures that open_clip then knows."""
    import torch
    from safetensors.torch import save_file

    library = model_library("open_clip")
    folder = tmp_path_factory.mktemp("tiny")
    for name, quick_gelu in (("tiny-test", False), ("tiny-test-quickgelu", True)):
        (folder / f"{name}.json").write_text(json.dumps(_tiny(quick_gelu=quick_gelu)))
        library.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    module = library.create_model("tiny-test")
    save_file(module.state_dict(), folder / "tiny.safetensors")
    torch.save(module.state_dict(), folder / "tiny.pt")
    return folder


def _tiny(*, quick_gelu: bool) -> dict[str, object]:
    return {
        "embed_dim": 32,
        "quick_gelu": quick_gelu,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    }
