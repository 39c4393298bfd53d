"""A whole model in forty lines: real crops, features and logits, no weights to load, the same answer whatever the batch.

It speaks the protocol of `counteranimal.models.protocol`. Its logits are sums over single photos, never matrix products, so that
equal inputs give equal bits in every batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counteranimal.models import ModelIdentity

SIDE = 4


@dataclass(frozen=True)
class TinyPreprocessing:
    """Shrinks the whole photo to 4 x 4 pixels."""

    view: str = "centre"

    @property
    def key(self) -> str:
        return f"tiny-{SIDE}-{self.view}"

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)


@dataclass
class TinyModel:
    """A classifier whose head is drawn from a seed; `batches` records the size of every forward pass.

    `limit` is the largest batch that fits into its imagined memory.
    """

    spec: str = "tiny"
    seed: int = 0
    lineage: tuple[str, ...] = ()
    limit: int = 10**9
    architecture: str = "tiny"
    batches: list[int] = field(default_factory=list)

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(
            spec=self.spec,
            family="imagenet",
            architecture=self.architecture,
            weights_sha256=f"{self.seed:064x}",
            lineage=self.lineage,
            preprocessing=self.preprocessing.key,
        )

    @property
    def preprocessing(self) -> TinyPreprocessing:
        return TinyPreprocessing()

    def preprocessing_for(self, view: str) -> TinyPreprocessing:
        return TinyPreprocessing(view)

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(crops))
        if len(crops) > self.limit:
            raise RuntimeError("tiny device: out of memory")
        return (crops.reshape(len(crops), -1) / np.float32(255.0)).astype(np.float32)

    def head_logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        weights = np.random.default_rng(self.seed).normal(size=(1000, SIDE * SIDE * 3)).astype(np.float32)
        rows = [(weights * row).sum(axis=1, dtype=np.float32) for row in features]
        return np.stack(rows) if rows else np.empty((0, 1000), np.float32)
