"""The 20 candidates of a class in the 1-vs-20 protocol.

Decides the paper's rule (appendix C.1): the labels with the highest similarity, summed over all photos of the class in both
groups, under the selecting model. Equal sums go to the lower index. The true label is not forced in: where the selector never
ranked it high, the protocol says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError

__all__ = ["N_CANDIDATES", "top20"]

N_CANDIDATES = 20


def top20(logits: NDArray[np.float32], class_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return class id -> its 20 candidate indices, best first.

    Parameters
    ----------
    logits : array of shape (n, 1000), float32
        The selector's logits (cosine similarities for an image-text model), one row a photo.
    class_ids : sequence of n str
        The class of each photo.

    Raises
    ------
    IntegrityError
        If the lengths differ or a logit is not finite.

    Examples
    --------
    >>> logits = np.zeros((2, 1000), dtype=np.float32)
    >>> logits[:, 9] = 1
    >>> top20(logits, ["ostrich", "ostrich"])["ostrich"][:3]
    [9, 0, 1]
    """
    if len(logits) != len(class_ids):
        raise IntegrityError(f"{len(logits)} rows of logits meet {len(class_ids)} photos; give one row a photo")
    if not np.isfinite(logits).all():
        raise IntegrityError("a logit is not finite; check the selector's weights before choosing candidates")
    classes = np.asarray(class_ids, dtype=object)
    listed: dict[str, list[int]] = {}
    for class_id in sorted(set(class_ids)):
        # float64, so that the order of the photos cannot decide a close call
        total = logits[classes == class_id].sum(axis=0, dtype=np.float64)
        listed[class_id] = [int(index) for index in np.argsort(-total, kind="stable")[:N_CANDIDATES]]
    return listed
