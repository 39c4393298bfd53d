"""What a model is to this project: an identity, a preprocessing, and features that become 1,000 logits.

Decides the one protocol that scoring and evaluation speak. Leaves loading to the modules beside it and turning names into
classifier weights to `zeroshot`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counteranimal.ids import digest_of

__all__ = ["Classifier", "ImageTextModel", "Model", "ModelIdentity", "OnTrunk", "Preprocessing", "SceneModel"]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything that decides a model's numbers; recorded with every result.

    `family` groups models for comparisons (clip, imagenet, stand-in); `lineage` names the weights a model shares with others
    (the stand-in's image trunk is EfficientNet-Lite2), so that a selection model's relatives can be marked.
    """

    spec: str
    family: Literal["clip", "imagenet", "stand-in"]
    architecture: str
    weights_sha256: str
    lineage: tuple[str, ...] = ()
    activation: str = ""
    note: str = ""
    preprocessing: str = ""
    tokenizer: str = ""
    dtype: str = "float32"
    versions: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the identity as plain JSON values."""
        return asdict(self)

    def key(self) -> str:
        """Return a short text for file names: equal when architecture, activation, weights and dtype are equal."""
        name = re.sub(r"[^a-z0-9]+", "-", self.architecture.lower()).strip("-")
        return f"{name}-{digest_of(self.architecture, self.activation, self.weights_sha256, self.dtype)[:16]}"


@runtime_checkable
class Preprocessing(Protocol):
    """Turns an upright RGB image into the square uint8 crop that a model sees; normalisation happens on the device."""

    @property
    def key(self) -> str:
        """Text that is equal exactly when two preprocessings give equal crops (size, crop, interpolation)."""
        ...

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the crop, shape (size, size, 3), dtype uint8."""
        ...


class Model(Protocol):
    """What every family has in common."""

    @property
    def identity(self) -> ModelIdentity:
        """The identity record."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """The model's own preprocessing: the centre view."""
        ...

    def preprocessing_for(self, view: str) -> Preprocessing:
        """Return the preprocessing of a view: `centre`, or `whole` for the whole frame."""
        ...

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return image features, shape (n, d), float32, for crops of shape (n, size, size, 3)."""
        ...


@runtime_checkable
class Classifier(Model, Protocol):
    """A model with its own 1,000-way ImageNet head."""

    def head_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits in ImageNet-1K index order, shape (n, 1000), float32."""
        ...


@runtime_checkable
class ImageTextModel(Model, Protocol):
    """A model that embeds texts beside images; its features are unit vectors."""

    def text_features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit text features, shape (n, d), float32."""
        ...


@runtime_checkable
class OnTrunk(Model, Protocol):
    """A model whose features follow from those of another model for the same crop, so that a photo is seen once for both."""

    def trunk(self) -> Model:
        """Return that model; its preprocessing is this one's."""
        ...

    def from_trunk(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return this model's features, shape (n, d), float32, from the trunk's, shape (n, k)."""
        ...


@runtime_checkable
class SceneModel(Model, Protocol):
    """A model that can also tell what is around the animal, through a classifier that reads the border of the frame."""

    def scene_reader(self) -> Classifier:
        """Return that classifier; its features and logits are of the border."""
        ...
