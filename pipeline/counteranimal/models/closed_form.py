"""The stand-in's projection, in closed form: from a classifier's logits to the space of a text tower. Pure arithmetic.

Decides the formula and nothing about files. With class-name embeddings E (1000 x 384) and a classifier's logits L = C f + b,
ridge regression from logits to name embeddings is W = (E'E + lambda I)^-1 E'. Animals (rows 0-397) and everything else are
centred and solved apart, since otherwise the 602 other classes would bend the animals; the two maps are brought to the same
mean row norm and added. All of it is linear in f, so what remains is one matrix and one bias.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANIMALS", "RIDGE", "projection"]

ANIMALS = 398  # ImageNet-1K indices below this are animals
RIDGE = 3.0


def projection(
    classifier: NDArray[np.float32], bias: NDArray[np.float32], names: NDArray[np.float32], *, ridge: float = RIDGE
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weight (d, k) and bias (d,) of the linear map from pooled features to the text space, float32.

    Parameters
    ----------
    classifier : array of shape (1000, k)
        The classifier's last layer C, rows in ImageNet-1K index order.
    bias : array of shape (1000,)
        Its bias b.
    names : array of shape (1000, d)
        Unit text features E of the class names, in the same order.
    ridge : float
        Lambda.
    """
    weight = np.zeros((names.shape[1], classifier.shape[1]))
    offset = np.zeros(names.shape[1])
    for rows in (slice(0, ANIMALS), slice(ANIMALS, None)):
        embedded = names[rows].astype(np.float64)
        embedded -= embedded.mean(axis=0)
        gram = embedded.T @ embedded + ridge * np.eye(embedded.shape[1])
        regression = np.linalg.solve(gram, embedded.T)
        composed = regression @ classifier[rows].astype(np.float64)
        scale = np.linalg.norm(composed, axis=1).mean()
        weight += composed / scale
        offset += regression @ bias[rows].astype(np.float64) / scale
    return weight.astype(np.float32), offset.astype(np.float32)
