"""timm and torchvision classifiers through the one protocol, from files in the places where their libraries keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.models import Classifier, ImageTextModel, SceneModel, load_model
from counteranimal.models.classifiers import published_torchvision, torchvision_classifier
from counteranimal.models.compat import model_library
from counteranimal.models.contrastive import _require_activation_of_known
from counteranimal.models.files import sha256_of_file
from counteranimal.settings import Settings, load_settings
from tests.models.test_files import evil_checkpoint

TIMM = "mobilenetv3_small_050.lamb_in1k"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """On the processor; hub caches below the test's own folder, and no hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return load_settings(cache=tmp_path, device="cpu")


def cached(tmp_path: Path) -> Path:
    """Write random weights where a hub client would have left the published ones, and return the file."""
    import torch
    from safetensors.torch import save_file

    repository = tmp_path / "hub" / f"models--timm--{TIMM}"
    path = repository / "snapshots" / ("0" * 40) / "model.safetensors"
    path.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    torch.manual_seed(0)
    save_file(model_library("timm").create_model(TIMM, pretrained=False).state_dict(), path)
    return path


def crops(model: Any, number: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    side = model.preprocessing.size
    return np.random.default_rng(0).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


@pytest.mark.case("E07")
def test_a_timm_classifier_speaks_the_protocol(tmp_path: Path, settings: Settings) -> None:
    """Identity of the very file, features and logits that do not depend on the batch, and a reader for scenes."""
    path = cached(tmp_path)
    model: Any = load_model(f"timm:{TIMM}", settings=settings)
    assert isinstance(model, Classifier)
    assert isinstance(model, SceneModel)
    assert not isinstance(model, ImageTextModel)
    record = model.identity.record()
    assert (record["family"], record["weights_sha256"]) == ("imagenet", sha256_of_file(path))
    assert {"torch", "timm"} <= record["versions"].keys()
    together = model.head_logits(model.features(crops(model)))
    alone = np.concatenate([model.head_logits(model.features(crop[None])) for crop in crops(model)])
    assert together.shape == (3, 1000)
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_a_torchvision_classifier_speaks_the_protocol(tmp_path: Path, settings: Settings) -> None:
    """Its features are its logits; the transforms are those of the published weights."""
    import torch

    torch.manual_seed(0)
    module = model_library("torchvision").models.get_model("squeezenet1_1", weights=None)
    path = tmp_path / "weights.pth"
    torch.save(module.state_dict(), path)
    weights = published_torchvision("squeezenet1_1")
    model: Any = torchvision_classifier("squeezenet1_1", weights, path, spec="torchvision:squeezenet1_1", device="cpu")
    assert isinstance(model, Classifier)
    assert model.identity.weights_sha256 == sha256_of_file(path)
    assert model.preprocessing.key == "crop256-224-bilinear"
    logits = model.head_logits(model.features(crops(model, 2)))
    assert logits.shape == (2, 1000)
    with pytest.raises(IntegrityError, match="does not fit torchvision's resnet18"):
        torchvision_classifier("resnet18", weights, path, spec="torchvision:resnet18", device="cpu")


@pytest.mark.case("I02")
def test_a_file_that_is_not_what_its_name_promises_is_refused(tmp_path: Path, settings: Settings) -> None:
    """Torch writes the first digits of the sha256 into the name; a file already there is held against them too."""
    path = tmp_path / "torch" / "hub" / "checkpoints" / published_torchvision("squeezenet1_1").url.rsplit("/", 1)[-1]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other weights")
    with pytest.raises(IntegrityError, match=rf"{path.name}.*{sha256_of_file(path)}.*delete it"):
        load_model("torchvision:squeezenet1_1", settings=settings)


@pytest.mark.case("I01")
def test_a_torchvision_checkpoint_with_a_payload_is_not_run(tmp_path: Path, settings: Settings) -> None:
    """The same safe reader for every family."""
    path, canary = evil_checkpoint(tmp_path)
    weights = published_torchvision("squeezenet1_1")
    with pytest.raises(IntegrityError, match="nothing in it was run"):
        torchvision_classifier("squeezenet1_1", weights, path, spec="torchvision:squeezenet1_1", device="cpu")
    assert not canary.exists()


@pytest.mark.case("I02")
@pytest.mark.parametrize(
    ("digest", "architecture", "quick"),
    [
        ("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32", False),
        ("d867053b" + "0" * 56, "ViT-B-32", False),
    ],
)
def test_a_known_file_under_the_other_activation_is_refused(digest: str, architecture: str, quick: bool) -> None:
    """By its digest, whatever it is called: OpenAI's and LAION-400M's B/32 were trained with QuickGELU."""
    library = model_library("open_clip")
    with pytest.raises(UsageError, match=rf"other activation.*{architecture}-quickgelu"):
        _require_activation_of_known(library, architecture, digest, quick=quick)
    _require_activation_of_known(library, f"{architecture}-quickgelu", digest, quick=True)
    _require_activation_of_known(library, architecture, "ab" * 32, quick=False)
