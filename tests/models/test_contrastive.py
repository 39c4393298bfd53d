"""open_clip models from weight files, on an architecture small enough to draw at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.models import ImageTextModel, load_model
from counteranimal.settings import Settings, load_settings
from tests.models.test_files import evil_checkpoint


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """On the processor."""
    return load_settings(cache=tmp_path, device="cpu")


def test_a_file_by_path_loads_the_same_from_both_kinds(tiny_clip: Path, settings: Settings) -> None:
    """The identity records the file's own digest."""
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    safe = load_model(f"open_clip:tiny-test/{tiny_clip}/tiny.safetensors", settings=settings)
    pickled = load_model(f"open_clip:tiny-test/{tiny_clip}/tiny.pt", settings=settings)
    assert isinstance(safe, ImageTextModel)
    np.testing.assert_array_equal(safe.features(crops), pickled.features(crops))
    assert safe.identity.family == "clip"
    assert safe.identity.weights_sha256 != pickled.identity.weights_sha256


def test_features_of_both_kinds_are_unit_vectors_in_the_order_given(tiny_clip: Path, settings: Settings) -> None:
    """Texts are encoded in batches of similar length, and come back where they were."""
    model = load_model(f"open_clip:tiny-test/{tiny_clip}/tiny.safetensors", settings=settings)
    texts = ["a very long sentence about an ostrich on sand", "sky", "a lion"]
    together = model.text_features(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(together[1], model.text_features(["sky"])[0], atol=1e-6)


@pytest.mark.case("E08")
def test_an_empty_prompt_is_refused(tiny_clip: Path, settings: Settings) -> None:
    """It would have a feature like any other."""
    model = load_model(f"open_clip:tiny-test/{tiny_clip}/tiny.safetensors", settings=settings)
    with pytest.raises(UsageError, match="prompt is empty"):
        model.text_features(["sky", " "])


@pytest.mark.parametrize(("architecture", "activation"), [("tiny-test", "GELU"), ("tiny-test-quickgelu", "QuickGELU")])
def test_the_activation_of_a_file_follows_from_the_architecture_and_is_recorded(
    architecture: str, activation: str, tiny_clip: Path, settings: Settings
) -> None:
    """A weight file does not say which it was trained with."""
    model = load_model(f"open_clip:{architecture}/{tiny_clip}/tiny.safetensors", settings=settings)
    assert model.identity.activation == activation


@pytest.mark.case("I01")
def test_a_checkpoint_with_a_payload_is_not_run(tiny_clip: Path, settings: Settings, tmp_path: Path) -> None:
    """Through open_clip's own loader as well."""
    path, canary = evil_checkpoint(tmp_path)
    with pytest.raises(IntegrityError, match="nothing in it was run"):
        load_model(f"open_clip:tiny-test/{path}", settings=settings)
    assert not canary.exists()


def test_weights_of_another_architecture_do_not_fit(tiny_clip: Path, settings: Settings) -> None:
    """The sentence says to name the right one."""
    with pytest.raises(IntegrityError, match="does not fit RN50"):
        load_model(f"open_clip:RN50/{tiny_clip}/tiny.safetensors", settings=settings)
