"""Verified photos joined with one model's answers, as arrays that the rule and the figures work on.

Decides how photos are weighted and that none may be missing: a photo without a prediction is an error, never a smaller n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError, Reason
from counteranimal.stats import intraclass_correlation

__all__ = ["FoldName", "Outcomes", "join"]

FoldName = Literal["select", "report", "all"]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Arrays of shape (n,) over the rows of a pool, in its order.

    `class_of` and `background_of` index `classes` and `backgrounds`; `unit_of` numbers fold units; `report` is True in the
    report fold; `weights` are 1 / inclusion probability, or all 1; `correct` is 1 or 0.
    """

    classes: tuple[str, ...]
    backgrounds: tuple[str, ...]
    class_of: NDArray[np.intp]
    background_of: NDArray[np.intp]
    unit_of: NDArray[np.intp]
    report: NDArray[np.bool_]
    weights: NDArray[np.float64]
    correct: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Outcomes:
        """Return the chosen photos; codes keep their meaning."""
        arrays = ("class_of", "background_of", "unit_of", "report", "weights", "correct")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def in_fold(self, fold: FoldName) -> NDArray[np.bool_]:
        """Return which photos are in a fold; `all` is both."""
        return np.ones(len(self.report), dtype=bool) if fold == "all" else self.report == (fold == "report")

    def fold(self, fold: FoldName) -> Outcomes:
        """Return the photos of a fold."""
        return self.where(self.in_fold(fold))

    def correlation(self) -> float:
        """Return the intra-class correlation of correctness in fold units, pooled over class and background."""
        return intraclass_correlation(
            self.correct, self.class_of * len(self.backgrounds) + self.background_of, self.unit_of
        )


def join(
    photos: pa.Table,
    predictions: pa.Table,
    model: str,
    *,
    protocol: str = "1v1000",
    vocabulary: Sequence[str] = (),
) -> Outcomes:
    """Join verified photos with a model's predictions.

    Parameters
    ----------
    photos : pa.Table
        `pool`, or `entries` of a release: photo_id, class_id, background, fold, fold_unit, inclusion_probability.
    predictions : pa.Table
        May hold other models and protocols too.
    model : str
        The model's spec.
    vocabulary : sequence of str
        Gives `backgrounds` its order; other names that occur follow, sorted.

    Raises
    ------
    IntegrityError
        If a photo has no prediction of that model and protocol (the sentence names the first and counts them), if an answer
        is neither right nor wrong or rests on a score that is not finite (E_NOT_FINITE), if an inclusion probability is not
        above 0 and at most 1, or a fold neither select nor report.
    """
    chosen = predictions.filter(
        pc.and_(pc.equal(predictions.column("model"), model), pc.equal(predictions.column("protocol"), protocol))
    )
    ids = photos.column("photo_id")
    place = pc.index_in(ids, value_set=chosen.column("photo_id").combine_chunks())
    if place.null_count:
        absent = ids.filter(pc.is_null(place))
        raise IntegrityError(
            f"{place.null_count} verified photos have no {protocol} prediction of {model}, the first is {absent[0]}; "
            "run the model on the whole pool"
        )
    answers = chosen.take(place)
    _refuse_unusable(photos, answers, model)
    correct = answers.column("correct")
    names = set(pc.unique(photos.column("background")).to_pylist())
    backgrounds = (*vocabulary, *sorted(names - set(vocabulary)))
    classes = tuple(sorted(pc.unique(photos.column("class_id")).to_pylist()))
    units = photos.column("fold_unit").combine_chunks().dictionary_encode().indices
    return Outcomes(
        classes=classes,
        backgrounds=backgrounds,
        class_of=_codes(photos.column("class_id"), classes),
        background_of=_codes(photos.column("background"), backgrounds),
        unit_of=units.to_numpy(zero_copy_only=False).astype(np.intp),
        report=np.asarray(pc.equal(photos.column("fold"), "report").to_numpy(zero_copy_only=False), dtype=bool),
        weights=1.0 / photos.column("inclusion_probability").to_numpy(zero_copy_only=False).astype(np.float64),
        correct=correct.to_numpy(zero_copy_only=False).astype(np.float64),
    )


def _refuse_unusable(photos: pa.Table, answers: pa.Table, model: str) -> None:
    """A value that is missing or not a number would spread into every mean without a word."""
    margin, chance = answers.column("margin"), photos.column("inclusion_probability")
    finite = pc.fill_null(pc.is_finite(margin), fill_value=True)
    answered = pc.and_(pc.is_valid(answers.column("correct")), finite)
    _require(
        answers, answered, f"the answer of {model} rests on no finite score ({Reason.NOT_FINITE}); run the model again"
    )
    usable = pc.and_(pc.greater(chance, 0.0), pc.less_equal(chance, 1.0))
    _require(photos, usable, "the inclusion probability must lie above 0 and at most 1; rebuild the verdicts")
    fold = pc.is_in(photos.column("fold"), value_set=pa.array(["select", "report"]))
    _require(photos, fold, "the fold is neither select nor report; rebuild the pool")


def _require(table: pa.Table, sound: pa.ChunkedArray, sentence: str) -> None:
    bad = table.column("photo_id").filter(pc.invert(pc.fill_null(sound, fill_value=False)))
    if len(bad):
        raise IntegrityError(f"{len(bad)} photos cannot be counted, the first is {bad[0]}: {sentence}")


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> NDArray[np.intp]:
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.intp)
