"""The classifiers from the package index: pinned, loaded exactly, seen through their own preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counteranimal.errors import IntegrityError, MissingDependency
from counteranimal.models import Classifier, load_model
from counteranimal.models.compat import model_library
from counteranimal.models.embedded import PINS, installed_folder, lite_module, lite_weights
from counteranimal.settings import Settings
from counteranimal.zeroshot import top_one

GOLDEN = {
    "efficientnet-lite0": ([198, 253, 235, 258, 7], [7.837, 6.111, 6.640, 9.562, 10.445]),
    "efficientnet-lite1": ([285, 227, 255, 258, 7], [7.500, 5.100, 4.931, 7.592, 8.195]),
    "efficientnet-lite2": ([281, 158, 235, 258, 7], [7.436, 5.339, 5.100, 8.298, 7.791]),
}


@pytest.mark.model
@pytest.mark.shared
@pytest.mark.case("I07")
@pytest.mark.parametrize("name", GOLDEN)
def test_five_photos_get_the_golden_answers(
    name: str, real_photos: dict[str, Image.Image], offline_settings: Settings
) -> None:
    """Best class exactly, its logit to 0.01; and what the model is shown is what timm's own transform would show it."""
    model: Any = load_model(name, settings=offline_settings)
    assert isinstance(model, Classifier)
    crops = np.stack([model.preprocessing.crop(image) for image in real_photos.values()])
    logits = model.head_logits(model.features(crops))
    winners, best = GOLDEN[name]
    assert top_one(logits).winner.tolist() == winners
    np.testing.assert_allclose(logits.max(axis=1), best, atol=0.01)
    data = model_library("timm").data
    own = data.create_transform(**data.resolve_model_data_config(model._runner.module), is_training=False)
    for image, crop in zip(real_photos.values(), crops, strict=True):
        np.testing.assert_allclose((crop.transpose(2, 0, 1) / 255.0 - 0.5) / 0.5, own(image).numpy(), atol=1e-4)


@pytest.mark.model
@pytest.mark.case("I02")
def test_weights_with_one_changed_byte_are_refused(tmp_path: Path) -> None:
    """Before anything reads them."""
    data = bytearray(lite_weights("efficientnet-lite0").read_bytes())
    data[-1] ^= 1
    changed = tmp_path / "changed.pth"
    changed.write_bytes(data)
    with pytest.raises(IntegrityError, match=PINS["efficientnet-lite0"]):
        lite_module("efficientnet-lite0", changed, PINS["efficientnet-lite0"])


@pytest.mark.model
def test_the_identity_records_what_decides_the_numbers(lite2: Any) -> None:
    """Weights, preprocessing, dtype and library versions."""
    record = lite2.identity.record()
    assert record["weights_sha256"] == PINS["efficientnet-lite2"]
    assert record["preprocessing"] == "crop292-260-bicubic"
    assert record["dtype"] == "float32"
    assert {"torch", "timm", "pillow", "numpy"} <= record["versions"].keys()


def test_a_missing_package_names_the_extra() -> None:
    """The next step is a command."""
    with pytest.raises(MissingDependency, match=r"pip install 'counteranimal\[offline-models\]'"):
        installed_folder("efficientnet_lite9_pytorch_model")


@pytest.mark.model
def test_the_border_reader_ignores_the_middle(lite2: Any) -> None:
    """A patch in the centre moves the pooled features much more than those of the border."""
    plain = np.full((1, 260, 260, 3), 90, np.uint8)
    marked = plain.copy()
    marked[:, 110:150, 110:150] = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    reader = lite2.scene_reader()
    moved = [np.linalg.norm(model.features(marked) - model.features(plain)) for model in (lite2, reader)]
    assert moved[1] < 0.5 * moved[0]
    assert reader.identity.key() != lite2.identity.key()
