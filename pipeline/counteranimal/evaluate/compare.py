"""Compares models with a named baseline on the photos of one release.

Decides which photos enter (the headline's fold, classes with both groups), which p-values Holm's correction takes together (all
models of one split and protocol), and where chance comes from. The tests are `stats`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal.discovery import Outcomes, sides_of
from counteranimal.errors import UsageError
from counteranimal.evaluate.document import rules_of
from counteranimal.evaluate.results import headline_fold, outcomes_of, weighted
from counteranimal.ids import digest_of
from counteranimal.models.lineage import mark
from counteranimal.release.read import Release
from counteranimal.stats import PairedSample, holm, mcnemar_exact, paired_difference

__all__ = ["compare_models"]


def compare_models(
    release: Release, predictions: pa.Table, identities: Sequence[Mapping[str, Any]], *, baseline: str
) -> list[dict[str, Any]]:
    """Return how each model's macro drop differs from the baseline's, one row a split, protocol and model.

    Parameters
    ----------
    release : Release
        The release that all predictions are of.
    predictions : pa.Table
        Table `predictions` of all models.
    identities : sequence of mappings
        Their identity records, for the marks of models that chose a split and of their relatives.
    baseline : str
        The model whose drop is subtracted.

    Returns
    -------
    list of dict
        `difference` (model less baseline, as a fraction) with its 95 % interval `low`, `high` and `p` from 2,000 paired draws of
        fold units, `p_holm` over the models of the split and protocol; `only_model`, `only_baseline` (photos that one alone
        gets right), `p_mcnemar` and `p_mcnemar_holm`, which take photos as independent. Draws are seeded by the release.

    Raises
    ------
    UsageError
        If the baseline is not among the models, or there is no other.
    """
    by_spec = {str(identity["spec"]): identity for identity in identities}
    if baseline not in by_spec:
        raise UsageError(
            f"the baseline {baseline!r} has no predictions here; choose one of {', '.join(sorted(by_spec))}"
        )
    if len(by_spec) < 2:
        raise UsageError(f"there is no model to compare with {baseline}; name the predictions of at least two")
    judged: dict[str, dict[str, tuple[pa.Table, Outcomes]]] = {}
    for protocol, spec, photos, outcomes in outcomes_of(release.entries, predictions):
        judged.setdefault(protocol, {})[spec] = (photos, outcomes)
    rows: list[dict[str, Any]] = []
    for split, rule in sorted(rules_of(release).items()):
        selector = release.selectors.get(split)
        marks = {spec: mark(identity, selector) for spec, identity in by_spec.items()}
        for name, by_model in judged.items():
            about = {"split": split, "fold": headline_fold(rule), "protocol": name}
            family = _family(release, by_model, about, rule=rule, baseline=baseline)
            rows += [
                row | {"mark": marks[row["model"]], "baseline_mark": marks[baseline]} for row in _corrected(family)
            ]
    return rows


def _family(
    release: Release,
    by_model: Mapping[str, tuple[pa.Table, Outcomes]],
    about: Mapping[str, str],
    *,
    rule: Mapping[str, Any],
    baseline: str,
) -> list[dict[str, Any]]:
    """Return the tests of one split and protocol, in the order of the models' names; none where the baseline lacks it."""
    if baseline not in by_model:
        return []
    photos, base = by_model[baseline]
    side = sides_of(photos, release.splits, about["split"])
    family = []
    for spec in sorted(set(by_model) - {baseline}):
        sample = _sample(by_model[spec][1], base, side, rule)
        if sample is not None:
            seed = digest_of(release.digest, "compare", about["split"], about["protocol"], spec, baseline)
            tested = _tested(sample, np.random.default_rng(int(seed[:16], 16)))
            family.append({**about, "model": spec, "baseline": baseline, **tested})
    return family


def _sample(
    model: Outcomes, baseline: Outcomes, side: NDArray[np.int8], rule: Mapping[str, Any]
) -> PairedSample | None:
    """Return both models' answers on the headline's fold, in classes that have both groups there; None without any."""
    inside = model.in_fold(headline_fold(rule)) & (side != 0)
    common, counter = (np.unique(model.class_of[inside & (side == sign)]) for sign in (1, -1))
    chosen = inside & np.isin(model.class_of, np.intersect1d(common, counter))
    if not chosen.any():
        return None
    weights = weighted(model, rule).weights
    return PairedSample(
        classes=model.class_of[chosen],
        counter=side[chosen] < 0,
        units=model.unit_of[chosen],
        weights=weights[chosen],
        first=model.correct[chosen],
        second=baseline.correct[chosen],
    )


def _tested(sample: PairedSample, rng: np.random.Generator) -> dict[str, Any]:
    found = paired_difference(sample, "drop", rng=rng)
    only_model = int((sample.first > sample.second).sum())
    only_baseline = int((sample.second > sample.first).sum())
    return {
        "n": len(sample.classes),
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p_value,
        "only_model": only_model,
        "only_baseline": only_baseline,
        "p_mcnemar": mcnemar_exact(only_model, only_baseline),
    }


def _corrected(family: list[dict[str, Any]]) -> list[dict[str, Any]]:
    drops, answers = (holm([row[name] for row in family]) for name in ("p", "p_mcnemar"))
    return [
        row | {"p_holm": drop, "p_mcnemar_holm": answer}
        for row, drop, answer in zip(family, drops, answers, strict=True)
    ]
