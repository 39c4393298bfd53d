"""The stand-in: built from real parts, the same every time, and never called CLIP."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counteranimal.errors import IntegrityError
from counteranimal.models import ImageTextModel, SceneModel
from counteranimal.models.closed_form import projection
from counteranimal.models.embeddings import embed, embedding_key
from counteranimal.models.registry import trunk_of
from counteranimal.models.standin import input_digest, load_stand_in
from counteranimal.settings import Settings, load_settings
from counteranimal.workspace import Parts


@pytest.mark.model
def test_its_identity_says_what_it_is(stand_in: Any) -> None:
    """Every field is free of the name of what it stands in for; the note says outright that it is not that."""
    identity = stand_in.identity
    assert isinstance(stand_in, ImageTextModel)
    assert isinstance(stand_in, SceneModel)
    assert identity.family == "stand-in"
    named = " ".join([identity.spec, identity.family, identity.architecture, *identity.lineage, identity.activation])
    assert "clip" not in named.lower()
    assert "not CLIP" in identity.note
    assert "efficientnet-lite2" in identity.lineage
    assert identity.weights_sha256 == input_digest()


@pytest.mark.model
@pytest.mark.shared
@pytest.mark.case("E07")
def test_features_do_not_depend_on_the_batch(stand_in: Any, real_photos: dict[str, Image.Image]) -> None:
    """Three photos in one batch, in pairs, alone and backwards: within 1e-5."""
    crops = np.stack([stand_in.preprocessing.crop(image) for image in real_photos.values()])[:3]
    together = stand_in.features(crops)
    pieces = np.concatenate([stand_in.features(crops[:2]), stand_in.features(crops[2:])])
    alone = np.concatenate([stand_in.features(crops[place : place + 1]) for place in range(3)])
    backwards = stand_in.features(crops[::-1])[::-1]
    for other in (pieces, alone, backwards):
        np.testing.assert_allclose(other, together, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)


@pytest.mark.model
@pytest.mark.shared
def test_a_photo_is_seen_once_for_it_and_its_trunk(
    stand_in: Any, lite2: Any, real_photos: dict[str, Image.Image], tmp_path: Path, offline_settings: Settings
) -> None:
    """What the classifier stored serves the stand-in, and gives what it would have made of the photos itself."""
    data = {f"{place:064x}": _png(image) for place, image in enumerate(list(real_photos.values())[:2])}
    parts = Parts(tmp_path, "embeddings")
    embed(lite2, list(data), read=data.__getitem__, parts=parts, settings=offline_settings)
    assert embedding_key(stand_in, "centre") == embedding_key(lite2, "centre")
    assert parts.missing(data) == []
    found = embed(stand_in, list(data), read=data.__getitem__, parts=parts, settings=offline_settings)
    crops = np.stack([stand_in.preprocessing.crop(image) for image in list(real_photos.values())[:2]])
    np.testing.assert_allclose(found.features, stand_in.features(crops), atol=1e-5)
    assert trunk_of("stand-in") == lite2.identity.spec


@pytest.mark.model
@pytest.mark.case("E07")
def test_another_dtype_is_another_identity_all_the_way_down(stand_in: Any) -> None:
    """What it stores lies apart from what it stores in float32; its features are close to those and not the same."""
    reduced = stand_in.in_dtype("bfloat16")
    assert (reduced.identity.dtype, reduced.trunk().identity.dtype) == ("bfloat16", "bfloat16")
    assert reduced.scene_reader().identity.dtype == "bfloat16"
    assert embedding_key(reduced, "centre") != embedding_key(stand_in, "centre")
    crop = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    off = np.abs(reduced.features(crop) - stand_in.features(crop)).max()
    assert 1e-5 < off < 0.05


def _png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.model
def test_a_built_stand_in_is_used_again(stand_in: Any, offline_settings: Settings) -> None:
    """The second load writes nothing and answers the same."""
    folder = next((offline_settings.cache_folder / "models").iterdir())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = load_stand_in(settings=offline_settings)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    np.testing.assert_array_equal(again.text_features(["a lake"]), stand_in.text_features(["a lake"]))


@pytest.mark.model
@pytest.mark.case("I02")
def test_a_changed_build_is_refused(stand_in: Any, offline_settings: Settings, tmp_path: Path) -> None:
    """The built file is held against the digest written beside it."""
    folder = next((offline_settings.cache_folder / "models").iterdir())
    copy = tmp_path / "models" / folder.name
    copy.mkdir(parents=True)
    (copy / "SHA256").write_text((folder / "SHA256").read_text())
    (copy / "open_clip_model.safetensors").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match=r"open_clip_model\.safetensors"):
        load_stand_in(settings=load_settings(cache=tmp_path, device="cpu"))


@pytest.mark.model
def test_the_build_leaves_no_temporary_folder(stand_in: Any, offline_settings: Settings) -> None:
    """One folder, named by the digest of the inputs."""
    assert [path.name for path in (offline_settings.cache_folder / "models").iterdir()] == [
        f"stand-in-{input_digest()[:16]}"
    ]


def test_the_projection_ignores_what_all_animals_share() -> None:
    """Adding one number to every animal's logit moves no photo, since the names are centred."""
    rng = np.random.default_rng(0)
    classifier, bias, names = rng.normal(size=(1000, 8)), rng.normal(size=1000), rng.normal(size=(1000, 4))
    shifted = bias + np.where(np.arange(1000) < 398, 5.0, 0.0)
    weight, offset = projection(classifier, bias, names)
    same_weight, same_offset = projection(classifier, shifted, names)
    np.testing.assert_array_equal(weight, same_weight)
    np.testing.assert_allclose(offset, same_offset, atol=1e-6)
    assert weight.shape == (4, 8)
