"""What each kind of model is shown: five generated pictures against stored tensors and against the library's own transform.

No weights are needed: preprocessing comes from each model's published configuration. `python -m tests.models.test_golden_frames`
writes the stored tensors anew; that is a decision, to be taken when a library changed what it shows and we follow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from counteranimal.models.classifiers import frame_of_timm, frame_of_torchvision, published_torchvision
from counteranimal.models.compat import model_library
from counteranimal.models.contrastive import frame_of_open_clip
from counteranimal.models.preprocessing import Frame

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "frames.safetensors"
SIZES = ((333, 500), (500, 281), (260, 260), (1024, 40), (97, 131))
Shown = Callable[[Image.Image], NDArray[np.float32]]


def pictures() -> list[Image.Image]:
    """Five pictures with detail at several scales, of five shapes."""
    found = []
    for seed, (width, height) in enumerate(SIZES):
        x, y = np.meshgrid(np.arange(width) / 17.0, np.arange(height) / 23.0)
        noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
        waves = np.stack([np.sin(x + seed), np.cos(y * (seed + 1)), np.sin(x * y / 9.0)], axis=-1)
        found.append(Image.fromarray((90 * (waves + 1) + noise).astype(np.uint8)))
    return found


def _timm(name: str) -> tuple[Frame, Any, Any, Shown]:
    timm = model_library("timm")
    config = timm.data.resolve_model_data_config(timm.create_model(name, pretrained=False))
    own = timm.data.create_transform(**config, is_training=False)
    return frame_of_timm(config), config["mean"], config["std"], lambda image: own(image).numpy()


def _torchvision(name: str) -> tuple[Frame, Any, Any, Shown]:
    preset = published_torchvision(name).transforms()
    return frame_of_torchvision(preset), preset.mean, preset.std, lambda image: preset(image).numpy()


def _open_clip(architecture: str, tag: str) -> tuple[Frame, Any, Any, Shown]:
    library = model_library("open_clip")
    published = library.get_pretrained_cfg(architecture, tag)
    size = library.get_model_config(architecture)["vision_cfg"]["image_size"]
    settings = {"size": size, "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
    settings |= {key: published[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in published}
    own = library.transform.image_transform_v2(library.transform.PreprocessCfg(**settings), is_train=False)
    return frame_of_open_clip(settings), settings["mean"], settings["std"], lambda image: own(image).numpy()


MODELS: dict[str, Callable[[], tuple[Frame, Any, Any, Shown]]] = {
    "efficientnet-lite0": lambda: _timm("tf_efficientnet_lite0"),
    "efficientnet-lite2": lambda: _timm("tf_efficientnet_lite2"),
    "timm:mobilenetv3_small_050": lambda: _timm("mobilenetv3_small_050.lamb_in1k"),
    "torchvision:resnet50": lambda: _torchvision("resnet50"),
    "torchvision:efficientnet_b0": lambda: _torchvision("efficientnet_b0"),
    "open_clip:ViT-B-32-quickgelu": lambda: _open_clip("ViT-B-32-quickgelu", "openai"),
    "open_clip:ViT-B-16-SigLIP": lambda: _open_clip("ViT-B-16-SigLIP", "webli"),
}


def shown(frame: Frame, mean: Any, std: Any, image: Image.Image) -> NDArray[np.float32]:
    """What the model sees, shape (3, size, size): the crop, normalised as `Runner` does it."""
    crop = frame.crop(image).astype(np.float32) / 255.0
    normalised = (crop - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.asarray(normalised.transpose(2, 0, 1), dtype=np.float32)


def sampled(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """A fixed grid of 8 x 8 pixels of every channel: enough to catch a shifted crop or another filter, small enough to keep."""
    places = np.linspace(0, tensor.shape[1] - 1, 8).round().astype(int)
    return tensor[:, places][:, :, places]


@pytest.mark.case("I07")
@pytest.mark.parametrize("name", MODELS)
def test_five_pictures_are_shown_as_ever_and_as_the_library_shows_them(name: str) -> None:
    """Both to 1e-4: the first catches a Pillow or torchvision that changed, the second a mistake of ours."""
    frame, mean, std, own = MODELS[name]()
    with safe_open(GOLDEN, framework="np") as golden:
        for place, image in enumerate(pictures()):
            found = shown(frame, mean, std, image)
            np.testing.assert_allclose(sampled(found), golden.get_tensor(f"{name}/{place}"), atol=1e-4)
            np.testing.assert_allclose(found, own(image), atol=1e-4)


if __name__ == "__main__":
    kept = {}
    for name, made in MODELS.items():
        frame, mean, std, _ = made()
        kept |= {f"{name}/{place}": sampled(shown(frame, mean, std, image)) for place, image in enumerate(pictures())}
    save_file(kept, GOLDEN)
