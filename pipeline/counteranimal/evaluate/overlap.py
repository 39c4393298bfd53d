"""What of a release training or reference sets hold, and every model's accuracy with those photos and without them.

Decides what is published of it: the lists, how many photos they hold, and accuracies over all photos of the release, whatever their
group, with Wilson intervals at the effective n. The drop without them is a fold of its own in `results`. Leaves finding the photos
to whoever hands a run its `Compare`. Without one the answer is "not checked", and never that there is no overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal.discovery import Outcomes
from counteranimal.evaluate.results import is_among, outcomes_of
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import Release
from counteranimal.stats import group_accuracy

__all__ = ["NOT_CHECKED", "Compare", "TrainingOverlap", "overlap_record"]

NOT_CHECKED: Literal["not checked"] = "not checked"


class TrainingOverlap(NamedTuple):
    """What a release's photos were held against (table `references`) and what was found (table `reference_overlaps`)."""

    references: pa.Table
    overlaps: pa.Table

    def photos(self, verdict: Literal["overlap", "unsure"]) -> set[str]:
        """Return the ids of photos of which some list says so."""
        chosen = self.overlaps.filter(pc.equal(self.overlaps.column("verdict"), verdict))
        return set(chosen.column("photo_id").to_pylist())


Compare = Callable[[Release, PhotoFolder], TrainingOverlap]
"""Holds the photos of a release, all of which are in the folder and unchanged, against hash lists."""


def overlap_record(
    release: Release, predictions: pa.Table, overlap: TrainingOverlap | None
) -> Mapping[str, Any] | Literal["not checked"]:
    """Return what results.json says under `training_overlap`.

    Parameters
    ----------
    release : Release
        The release evaluated.
    predictions : pa.Table
        Of every model on all of its photos.
    overlap : TrainingOverlap or None
        None where nothing was compared.

    Returns
    -------
    mapping or str
        "not checked", or `photos`, `found`, `unsure` (counts; an unsure photo counts as not found), `lists`, and `accuracy`: for each
        protocol and model the accuracies `with` and `without` the photos found, and on those `found` alone.
    """
    if overlap is None:
        return NOT_CHECKED
    found, unsure = overlap.photos("overlap"), overlap.photos("unsure")
    return {
        "photos": len(release.entries),
        "found": len(found),
        "unsure": len(unsure - found),
        "lists": overlap.references.to_pylist(),
        "accuracy": list(_accuracies(release.entries, predictions, found)),
    }


def _accuracies(entries: pa.Table, predictions: pa.Table, found: set[str]) -> Iterator[dict[str, Any]]:
    for protocol, model, photos, outcomes in outcomes_of(entries, predictions):
        held = is_among(photos, found)
        correlation = outcomes.correlation()
        parts = {"with": np.ones_like(held), "without": ~held, "found": held}
        figures = {name: _accuracy(outcomes, part, correlation) for name, part in parts.items()}
        yield {"protocol": protocol, "model": model, **figures}


def _accuracy(outcomes: Outcomes, chosen: NDArray[np.bool_], correlation: float) -> dict[str, Any] | None:
    """Return the accuracy of the chosen photos with its interval; None where there is no photo."""
    if not chosen.any():
        return None
    part = outcomes.where(chosen)
    group = group_accuracy(part.correct, part.weights, part.unit_of, correlation=correlation)
    return {
        "value": group.accuracy,
        "low": group.low,
        "high": group.high,
        "n": group.n,
        "n_effective": group.n_effective,
    }
