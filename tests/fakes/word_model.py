"""An image-text model without weights: a text is the sum of its words' random directions, a photo its mean colour's.

It speaks the protocol of `counteranimal.models.protocol` and counts how many texts it was asked to read.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counteranimal.models import ModelIdentity

WIDTH = 16


@functools.cache
def direction(word: str) -> NDArray[np.float64]:
    """Return the word's own direction, shape (16,)."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=WIDTH)


class MeanColour:
    """One pixel a photo."""

    key = "mean-colour"

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.convert("RGB").resize((1, 1), Image.Resampling.BOX), dtype=np.uint8)


@dataclass
class WordModel:
    """`weights` stands in for the weights' digest; `texts_read` counts texts."""

    weights: str = "0" * 64
    texts_read: int = 0
    spec: str = "words"

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(spec=self.spec, family="stand-in", architecture="words", weights_sha256=self.weights)

    @property
    def preprocessing(self) -> MeanColour:
        return MeanColour()

    def preprocessing_for(self, view: str) -> MeanColour:
        del view  # one pixel shows the whole frame already
        return MeanColour()

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        spread = np.random.default_rng(0).normal(size=(3, WIDTH))
        rows = crops.reshape(len(crops), 3) / 255.0 @ spread + 0.1
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def text_features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts_read += len(texts)
        rows = np.stack([sum((direction(word) for word in text.split()), np.zeros(WIDTH)) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
