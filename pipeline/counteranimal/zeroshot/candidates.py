"""The 20 labels of the 1-vs-20 protocol, per class.

Decides the paper's construction (PAPER appendix C.1): the labels with the highest similarity summed over the class's photos of
both groups, under the selecting model. The true label is not forced in. Leaves which photos and which model to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["CANDIDATES", "top20"]

CANDIDATES = 20


def top20(logits: NDArray[np.float32], class_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return class id -> the 20 label indices with the highest summed logits, best first.

    Parameters
    ----------
    logits : array, shape (n, 1000), float32
        Of the selecting model; similarities times a positive scale give the same lists.
    class_ids : sequence of str, length n
        The true class of each photo.

    Notes
    -----
    Equal sums go to the lower index, so that the list never depends on a sorting algorithm.

    Examples
    --------
    >>> logits = np.zeros((2, 1000), dtype=np.float32); logits[:, 9] = 1
    >>> top20(logits, ["ostrich", "ostrich"])["ostrich"][:3]
    [9, 0, 1]
    """
    truth = np.asarray(class_ids)
    lists = {}
    for class_id in sorted(set(class_ids)):
        total = logits[truth == class_id].sum(axis=0, dtype=np.float64)
        lists[class_id] = [int(index) for index in np.argsort(-total, kind="stable")[:CANDIDATES]]
    return lists
