"""Classifiers with their own 1,000-way ImageNet head: timm's by name, torchvision's by name, and any timm module given.

Decides what "features" of a classifier are: the pooled activations before its last layer where that layer can be named, else
the logits themselves. Weights from the network are fetched only when the machine can reach their host; see `hub`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.models.closed_form import ANIMALS
from counteranimal.models.compat import library_versions, model_library
from counteranimal.models.files import read_weights, weights_digest
from counteranimal.models.preprocessing import Frame
from counteranimal.models.protocol import ModelIdentity
from counteranimal.models.runtime import OnRunner, Runner, device_for

__all__ = [
    "Seen",
    "SurroundClassifier",
    "TimmClassifier",
    "TorchvisionClassifier",
    "frame_of_timm",
    "frame_of_torchvision",
    "load_timm",
    "load_torchvision",
]

_OBJECTS = 1000 - ANIMALS


class TimmClassifier(OnRunner):
    """A timm module; features are the pooled activations before its classifier."""

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return pooled features, shape (n, d), float32."""
        module = self._runner.module
        return self._runner.images(
            lambda batch: module.forward_head(module.forward_features(batch), pre_logits=True), crops
        )

    def head_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits, shape (n, 1000), float32."""
        return self._runner.call(self._runner.module.get_classifier(), features)

    def scene_reader(self) -> SurroundClassifier:
        """Return the same network reading only the border of what it is shown; it shares this one's weights."""
        own = self.identity
        border = replace(own, spec=f"{own.spec} (border)", architecture=f"{own.architecture} border and cells")
        return SurroundClassifier(border, self.preprocessing, self._runner)


class Seen(NamedTuple):
    """What single cells of the feature map show: probability of any animal, shape (n, side, side), and of each class that is
    no animal in the cell where it is highest, shape (n, 602).
    """

    animal: NDArray[np.float32]
    objects: NDArray[np.float32]


class SurroundClassifier(TimmClassifier):
    """A convolutional classifier whose features are pooled over the outer ring of its last feature map.

    An animal photo's classes are the animal's wherever the whole map is pooled; its outermost cells see what is around it.
    Behind the pooled features stand the numbers of `Seen`, from the same forward pass.
    """

    ring = 1

    @property
    def _width(self) -> int:
        return int(self._runner.module.num_features)

    def head_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of the border, shape (n, 1000), float32."""
        return super().head_logits(features[:, : self._width])

    def seen(self, features: NDArray[np.float32]) -> Seen:
        """Return what single cells show, from stored features."""
        animal = features[:, self._width : -_OBJECTS]
        side = math.isqrt(animal.shape[1])
        return Seen(animal.reshape(len(features), side, side), features[:, -_OBJECTS:])

    def scene_reader(self) -> SurroundClassifier:
        """Return itself."""
        return self

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features pooled over the border cells and the numbers of `Seen`, shape (n, d + side * side + 602), float32.

        Raises
        ------
        UsageError
            If the network has no two-dimensional feature map.
        """
        return self._runner.images(self._border, crops)

    def _border(self, batch: Any) -> Any:
        import torch

        cells = self._runner.module.forward_features(batch)
        if cells.ndim != 4 or min(cells.shape[2:]) <= 2 * self.ring:
            raise UsageError(f"model {self.identity.spec} has no feature map with a border; score with another model")
        inner = cells[:, :, self.ring : -self.ring, self.ring : -self.ring]
        total = cells.sum(dim=(2, 3)) - inner.sum(dim=(2, 3))
        border = total / (cells.shape[2] * cells.shape[3] - inner.shape[2] * inner.shape[3])
        by_cell = self._runner.module.get_classifier()(cells.flatten(2).transpose(1, 2)).softmax(dim=-1)
        objects = by_cell[:, :, ANIMALS:].amax(dim=1)
        return torch.cat([border, by_cell[:, :, :ANIMALS].sum(dim=-1), objects], dim=1)


class TorchvisionClassifier(OnRunner):
    """A torchvision module; its families name their last layers differently, so the logits serve as features."""

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, shape (n, 1000), float32."""
        return self._runner.images(self._runner.module, crops)

    def head_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features, which are the logits already."""
        return features


def frame_of_timm(config: dict[str, Any]) -> Frame:
    """Return the frame that a resolved timm data configuration stands for.

    Raises
    ------
    UsageError
        For an input that is not square, or a crop mode other than centre and squash.
    """
    _, height, width = config["input_size"]
    mode = config.get("crop_mode", "center")
    if height != width or mode not in {"center", "squash"}:
        raise UsageError(f"a model with input {height}x{width} and crop mode {mode} is not supported; choose another")
    if mode == "squash":
        return Frame(height, height, config["interpolation"], "squash")
    return Frame(height, math.floor(height / config["crop_pct"]), config["interpolation"])


def published_timm(name: str) -> Any:
    """Return timm's record of a model's published weights.

    Raises
    ------
    UsageError
        If timm has no such model, or none with 1,000 classes.
    """
    timm = model_library("timm")
    if not timm.models.is_model(name.partition(".")[0]):
        raise UsageError(f"timm has no model {name!r}; see timm.list_models(pretrained=True)")
    published = timm.models.get_pretrained_cfg(name)
    if published is None or not published.has_weights or published.num_classes != 1000:
        raise UsageError(f"timm:{name} has no weights with a 1,000-way ImageNet head; name one with a tag that has")
    return published


def load_timm(name: str, *, spec: str, device: str) -> TimmClassifier:
    """Load `timm:NAME` with its published ImageNet-1K weights.

    Raises
    ------
    UsageError
        If timm has no such model, or none with 1,000 classes.
    EnvironmentFailure
        If the weights are not on this machine and their host cannot be reached.
    """
    from counteranimal.models.hub import timm_weights

    timm, published = model_library("timm"), published_timm(name)
    path = timm_weights(name, published)
    digest = weights_digest(path)
    module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    config = timm.data.resolve_model_data_config(module)
    frame = frame_of_timm(config)
    identity = ModelIdentity(
        spec=spec,
        family="imagenet",
        architecture=name,
        weights_sha256=digest,
        lineage=(f"timm:{name}",),
        preprocessing=frame.key,
        versions=library_versions("timm"),
    )
    return TimmClassifier(identity, frame, Runner(module, device_for(device), mean=config["mean"], std=config["std"]))


def published_torchvision(name: str) -> Any:
    """Return torchvision's record of the weights of `NAME` or `NAME/WEIGHTS`.

    Raises
    ------
    UsageError
        If torchvision has no such model or weights, or they have no 1,000 classes.
    """
    torchvision = model_library("torchvision")
    architecture, _, tag = name.partition("/")
    try:
        weights = torchvision.models.get_model_weights(architecture)[tag or "IMAGENET1K_V1"]
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"torchvision has no model {architecture!r} with weights {tag or 'IMAGENET1K_V1'}; see torchvision.models"
        ) from error
    if len(weights.meta.get("categories", ())) != 1000:
        raise UsageError(f"torchvision:{name} has no 1,000-way ImageNet head; choose another model")
    return weights


def load_torchvision(name: str, *, spec: str, device: str) -> TorchvisionClassifier:
    """Load `torchvision:NAME` or `torchvision:NAME/WEIGHTS`; without a name the paper's IMAGENET1K_V1 is meant.

    Raises
    ------
    UsageError
        If torchvision has no such model or weights.
    EnvironmentFailure
        If the weights are not on this machine and their host cannot be reached.
    """
    from counteranimal.models.hub import torchvision_weights

    weights = published_torchvision(name)
    path = torchvision_weights(name, weights.url)
    return torchvision_classifier(name.partition("/")[0], weights, path, spec=spec, device=device)


def torchvision_classifier(
    architecture: str, weights: Any, path: Path, *, spec: str, device: str
) -> TorchvisionClassifier:
    """Return a torchvision model with the tensors of a file; `weights` is torchvision's record, for its transforms.

    Raises
    ------
    IntegrityError
        If the file holds more than tensors, or tensors of another architecture.
    """
    state, digest = read_weights(path)
    module = model_library("torchvision").models.get_model(architecture, weights=None)
    try:
        module.load_state_dict(_renamed(state))
    except RuntimeError as error:
        raise IntegrityError(f"weight file {path} does not fit torchvision's {architecture}; get it again") from error
    preset = weights.transforms()
    frame = frame_of_torchvision(preset)
    identity = ModelIdentity(
        spec=spec,
        family="imagenet",
        architecture=f"torchvision {architecture}",
        weights_sha256=digest,
        lineage=(f"torchvision:{architecture}/{weights.name}",),
        preprocessing=frame.key,
        versions=library_versions("torchvision"),
    )
    return TorchvisionClassifier(identity, frame, Runner(module, device_for(device), mean=preset.mean, std=preset.std))


def frame_of_torchvision(preset: Any) -> Frame:
    """Return the frame that the transforms of torchvision weights stand for."""
    return Frame(int(preset.crop_size[0]), int(preset.resize_size[0]), preset.interpolation.value)


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    # Checkpoints of torchvision's DenseNets carry dots that module names have long ceased to have (norm.1 -> norm1).
    import re

    pattern = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
    return {pattern.sub(r"\1\2", key): value for key, value in state.items()}
