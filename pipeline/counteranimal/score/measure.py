"""How well proposed backgrounds agree with people's: accuracy and macro-F1 beside the best constant answer.

Decides the figures and which half of labelled photos may be tuned on. Pure functions on labels; reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from counteranimal.errors import UsageError
from counteranimal.ids import fold_of

__all__ = ["Agreement", "may_tune_on", "measure"]


class Agreement(NamedTuple):
    """Fractions 0..1 over `n` photos; `majority` is the accuracy of always naming the most frequent label."""

    n: int
    accuracy: float
    macro_f1: float
    majority: float

    def __str__(self) -> str:
        return f"n = {self.n}, accuracy {self.accuracy:.3f}, macro-F1 {self.macro_f1:.3f}, majority class {self.majority:.3f}"


def may_tune_on(photo_id: str) -> bool:
    """Say whether a labelled photo belongs to the fixed half that tuning may look at; the other half only reports."""
    return fold_of("tune", photo_id) == "select"


def measure(proposed: Mapping[str, str], labelled: Mapping[str, str]) -> Agreement:
    """Compare proposals with labels (photo id -> background) on the photos that have both.

    Macro-F1 is the unweighted mean over the labels that occur; a label that is never proposed counts 0.

    Raises
    ------
    UsageError
        If no photo has both.

    Examples
    --------
    >>> print(measure({"a": "grass", "b": "sky"}, {"a": "grass", "b": "grass"}))
    n = 2, accuracy 0.500, macro-F1 0.667, majority class 1.000
    """
    both = sorted(set(proposed) & set(labelled))
    if not both:
        raise UsageError("no photo has both a proposal and a label; score the labelled photos first")
    counted = Counter(labelled[photo_id] for photo_id in both)
    named = Counter(proposed[photo_id] for photo_id in both)
    right = Counter(labelled[photo_id] for photo_id in both if proposed[photo_id] == labelled[photo_id])
    f1 = [2 * right[word] / (counted[word] + named[word]) for word in counted]
    return Agreement(
        len(both), sum(right.values()) / len(both), sum(f1) / len(f1), counted.most_common(1)[0][1] / len(both)
    )
