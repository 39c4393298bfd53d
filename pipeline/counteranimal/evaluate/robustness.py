"""Effective robustness of every model on a release: its counter accuracy beside what ImageNet models of its common accuracy reach.

Decides which models draw the line: ImageNet classifiers that took no part in choosing the backgrounds, at least five of two
families, on the same photos. On the imported original the paper's 15 draw it, as evaluated here where all of them were, else
as the paper printed them. Leaves the line and its intervals to `stats`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.discovery import Outcomes, sides_of
from counteranimal.discovery.figures import contrast_of, overall
from counteranimal.errors import UsageError
from counteranimal.evaluate.document import rules_of
from counteranimal.evaluate.paper import printed_models
from counteranimal.evaluate.results import ALL_CLASSES, folds_of, outcomes_of, weighted
from counteranimal.models.lineage import mark
from counteranimal.release.layout import ORIGINAL
from counteranimal.release.read import Release
from counteranimal.stats import Accuracies, effective_robustness, linearise, smoothed_logit

__all__ = ["FIGURE", "LEAST_FAMILIES", "LEAST_MODELS", "Lines", "architecture_family", "robustness"]

FIGURE = "effective_robustness"
LEAST_MODELS, LEAST_FAMILIES = 5, 2
_SIDES: tuple[Literal["common", "counter"], ...] = ("common", "counter")


@dataclass(frozen=True)
class Lines:
    """Rows of the table `results`, and a record for each split, fold and protocol of what drew the line, or why none is drawn."""

    rows: list[dict[str, Any]]
    records: list[dict[str, Any]]

    def added_to(self, results: pa.Table) -> pa.Table:
        """Return the table `results` with these rows."""
        return tables.conform("results", [*results.to_pylist(), *self.rows])


@dataclass(frozen=True)
class _Judged:
    """One model's answers on the two groups of a split and fold."""

    spec: str
    part: Outcomes
    side: NDArray[np.int8]


def robustness(release: Release, predictions: pa.Table, identities: Sequence[Mapping[str, Any]]) -> Lines:
    """Return effective robustness for each split, fold, protocol and model.

    Parameters
    ----------
    release : Release
        The release that the predictions are of.
    predictions : pa.Table
        Table `predictions` of all models.
    identities : sequence of mappings
        Their identity records: `family`, `architecture` and what `lineage.mark` reads.

    Returns
    -------
    Lines
        A row's value is a fraction: the macro accuracy on counter less what the line expects. A record holds `status` (`line` or
        `not enough models`), `why`, the models and families that draw the line and whether they were evaluated here or printed by
        the paper, intercept, slope, spread, and every model's two logits.
    """
    by_spec = {str(identity["spec"]): identity for identity in identities}
    rows: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    judged: dict[str, list[tuple[str, pa.Table, Outcomes]]] = {}
    for name, spec, photos, outcomes in outcomes_of(release.entries, predictions):
        judged.setdefault(name, []).append((spec, photos, outcomes))
    for split, rule in sorted(rules_of(release).items()):
        selector = release.selectors.get(split)
        stranger = {spec: one for spec, one in by_spec.items() if not mark(one, selector)}
        for protocol, models in judged.items():
            side = sides_of(models[0][1], release.splits, split)
            for fold in folds_of(rule):
                inside = models[0][2].in_fold(fold)
                parts = [_Judged(spec, weighted(one, rule).where(inside), side[inside]) for spec, _, one in models]
                key = {"split": split, "fold": fold, "protocol": protocol}
                found, record = _one(parts, stranger, original=release.name == ORIGINAL, protocol=protocol)
                rows += [key | row for row in found]
                records += [key | record] if record else []
    return Lines(rows, records)


def _one(
    judged: Sequence[_Judged], stranger: Mapping[str, Mapping[str, Any]], *, original: bool, protocol: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return rows and record of one split, fold and protocol; nothing where it has no pair of groups."""
    accuracies = _accuracies(judged)
    if accuracies is None:
        return [], {}
    specs = [item.spec for item in judged]
    printed = _printed(specs, protocol) if original else {}
    drawing = _drawing(specs, stranger, original=original) if not printed else sorted(printed)
    families = sorted({architecture_family(stranger.get(spec, {}).get("architecture", spec)) for spec in drawing})
    record: dict[str, Any] = {"models": drawing, "families": families, "from": "the paper" if printed else "evaluated"}
    if len(drawing) < LEAST_MODELS or len(families) < LEAST_FAMILIES:
        why = (
            f"ImageNet models that took no part in the choice: {len(drawing)}, families: {len(families)}; "
            f"needed are {LEAST_MODELS} of {LEAST_FAMILIES}"
        )
        return [], {"status": "not enough models", "why": why, **record}
    whole = _with_printed(accuracies, printed)
    chosen = np.array([spec in drawing and not printed for spec in specs] + [True] * len(printed))
    try:
        line, found = effective_robustness(whole, chosen)
    except UsageError as error:
        return [], {"status": "not enough models", "why": str(error), **record}
    rows = [
        {"model": item.spec, "class_id": ALL_CLASSES, "figure": FIGURE, **one._asdict()}
        | {"n": whole.n_common + whole.n_counter, "n_effective": _n_effective(item)}
        for item, one in zip(judged, found, strict=False)
    ]
    points = zip(
        [*specs, *printed],
        smoothed_logit(whole.common, whole.n_common).tolist(),
        smoothed_logit(whole.counter, whole.n_counter).tolist(),
        chosen.tolist(),
        strict=True,
    )
    named = ("model", "common_logit", "counter_logit", "draws_line")
    return rows, {
        "status": "line", "why": "", **record, **line._asdict(),
        "points": [dict(zip(named, point, strict=True)) for point in points],
    }  # fmt: skip


def _drawing(specs: Sequence[str], stranger: Mapping[str, Mapping[str, Any]], *, original: bool) -> list[str]:
    """Return which evaluated models draw the line."""
    if original:
        return [spec for spec in specs if spec.removesuffix("/IMAGENET1K_V1") in printed_models("torchvision:")]
    return [spec for spec in specs if stranger.get(spec, {}).get("family") == "imagenet"]


def _printed(specs: Sequence[str], protocol: str) -> dict[str, tuple[float, float]]:
    """Return the paper's ImageNet models with their printed accuracies as fractions; none where all were evaluated here."""
    evaluated = {spec.removesuffix("/IMAGENET1K_V1") for spec in specs}
    found = printed_models("torchvision:", protocol)
    return {} if evaluated >= found.keys() else found


def _accuracies(judged: Sequence[_Judged]) -> Accuracies | None:
    """Return both macro accuracies of every model with their contributions; None where no class has both groups."""
    found, counts = [], []
    n_units = int(judged[0].part.unit_of.max(initial=0)) + 1
    for side in _SIDES:
        contrasts = [contrast_of(item.part, item.side, side, "macro") for item in judged]
        present = [contrast for contrast in contrasts if contrast is not None]
        if not present:
            return None
        counts.append(len(present[0].correct))
        found.append([linearise(contrast, n_units) for contrast in present])
    common, counter = (np.array([value for value, _ in part]) for part in found)
    moved = np.array([[by_unit for _, by_unit in part] for part in found])
    grouped = np.unique(judged[0].part.unit_of[judged[0].side != 0])
    return Accuracies(common, counter, moved, counts[0], counts[1], int(grouped.size))


def _n_effective(item: _Judged) -> float | None:
    found = overall(item.part, item.side, "drop", "macro", correlation=item.part.correlation())
    return None if found is None else found.n_effective


def _with_printed(given: Accuracies, printed: Mapping[str, tuple[float, float]]) -> Accuracies:
    """Return the accuracies with printed ones behind them, which are taken as given."""
    if not printed:
        return given
    more = np.array(list(printed.values()))
    nothing = np.zeros((2, len(more), given.contributions.shape[2]))
    return given._replace(
        common=np.concatenate([given.common, more[:, 0]]),
        counter=np.concatenate([given.counter, more[:, 1]]),
        contributions=np.concatenate([given.contributions, nothing], axis=1),
    )


def architecture_family(architecture: str) -> str:
    """Return the family that an architecture's name begins with, which is how timm and torchvision name them.

    Examples
    --------
    >>> [architecture_family(name) for name in ("tf_efficientnet_lite0", "torchvision:vit_b_16", "torchvision wide_resnet50_2")]
    ['efficientnet', 'vit', 'resnet']
    """
    name = re.split(r"[:/ ]", architecture.strip())[-1].lower() or architecture.lower()
    found = re.match(r"(?:tf_|wide_)*([a-z]+)", name)
    return found[1] if found else name
