"""Judges logits: which class is predicted among which candidates, whether that is right, and by how much.

Decides the protocols (1 vs 1000; 1 vs 20 with the release's candidates; a label space of the evaluator's own), what right means for a class of several ImageNet
indices (any of them), and the tie rule: among equal logits the lower index wins. Every photo is judged alone, so no batch can
change an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError, UsageError

__all__ = ["PROTOCOLS", "STANDARD", "Judged", "ProtocolName", "judge"]

ProtocolName = Literal["1v1000", "1v20", "custom"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
STANDARD: tuple[ProtocolName, ...] = ("1v1000", "1v20")
"""What is evaluated where nothing else is asked for."""
N_CLASSES = 1000


class Judged(NamedTuple):
    """Arrays of shape (n,).

    `predicted` is the ImageNet index that wins. `rank` is the place of the best right index, 1 = right, 0 = no right index among
    the candidates. `margin` is the best right logit less the best wrong one, NaN where either is missing. `tied` says that these
    two are equal, so that the tie rule decided. `correct` says that the prediction is right.
    """

    predicted: NDArray[np.int64]
    rank: NDArray[np.int64]
    margin: NDArray[np.float32]
    tied: NDArray[np.bool_]
    correct: NDArray[np.bool_]


def judge(
    logits: NDArray[np.float32],
    right: Sequence[int],
    candidates: Sequence[int] | None = None,
    groups: Sequence[Sequence[int]] = (),
) -> Judged:
    """Judge photos of one class.

    Parameters
    ----------
    logits : array of shape (n, 1000), float32
        In ImageNet-1K index order.
    right : sequence of int
        Indices that count as right, at least one.
    candidates : sequence of int, optional
        Indices that may be predicted; all 1,000 by default. The right ones are not forced in: the paper's 1-vs-20 lists lack
        them where the selecting model did not rank them high.
    groups : sequence of sequences of int, optional
        Candidates that are one answer, for `rank`: of a wrong label of several indices, only the best one stands ahead.

    Raises
    ------
    IntegrityError
        If a logit is not finite.
    UsageError
        If an index is unknown or named twice, or none is given.
    """
    columns = _indices(range(N_CLASSES) if candidates is None else candidates)
    is_right = np.isin(columns, _indices(right))
    if logits.ndim != 2 or logits.shape[1] != N_CLASSES:
        raise UsageError(f"logits must have shape (n, {N_CLASSES}), not {logits.shape}")
    if not np.isfinite(logits).all():
        raise IntegrityError("a logit is not finite; check the model's weights, no photo is judged by it")
    offered = logits[:, columns]
    n = len(offered)
    # argmax returns the first of equals, and columns ascend: the lower index wins.
    predicted = columns[np.argmax(offered, axis=1)] if n else np.zeros(0, np.int64)
    nothing = np.full(n, np.nan, np.float32)
    if not is_right.any():
        no = np.zeros(n, bool)
        return Judged(predicted, np.zeros(n, np.int64), nothing, no, no)
    right_place = np.flatnonzero(is_right)[np.argmax(offered[:, is_right], axis=1)] if n else np.zeros(0, np.int64)
    best_right = offered[np.arange(n), right_place][:, None]
    place = np.arange(columns.size)[None, :]
    ahead = (offered > best_right) | ((offered == best_right) & (place < right_place[:, None]))
    if groups:
        label_of = {index: label for label, group in enumerate(groups) for index in group}
        belongs = np.array([label_of[index] for index in columns.tolist()])
        ahead = np.stack([ahead[:, belongs == label].any(axis=1) for label in range(len(groups))], axis=1)
    rank = 1 + ahead.sum(axis=1)
    if is_right.all():
        return Judged(predicted, rank, nothing, np.zeros(n, bool), rank == 1)
    best_wrong = offered[:, ~is_right].max(axis=1)
    margin = best_right[:, 0] - best_wrong
    return Judged(predicted, rank, margin, best_right[:, 0] == best_wrong, rank == 1)


def _indices(given: Sequence[int] | range) -> NDArray[np.int64]:
    """Return indices ascending, each once."""
    found = np.unique(np.asarray(list(given), dtype=np.int64))
    if found.size == 0 or found.size < len(given):
        raise UsageError("a list of class indices is empty or names an index twice; correct the release's classes")
    if found[0] < 0 or found[-1] >= N_CLASSES:
        raise UsageError(f"class indices run from 0 to {N_CLASSES - 1}, got {found[0]} to {found[-1]}")
    return found
