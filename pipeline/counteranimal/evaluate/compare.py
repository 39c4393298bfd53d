"""Compares models with a named baseline on the photos of one release, and a run's figures with those that the paper printed.

Decides which photos enter (the headline's fold, classes with both groups), which p-values Holm's correction takes together (all
models of one split and protocol), where chance comes from, and how far from the paper a figure may lie. The tests are `stats`'.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal.discovery import Outcomes, sides_of
from counteranimal.errors import UsageError
from counteranimal.evaluate.document import rules_of
from counteranimal.evaluate.results import ALL_CLASSES, headline_fold, outcomes_of
from counteranimal.ids import digest_of
from counteranimal.models.lineage import mark
from counteranimal.release.read import Release
from counteranimal.resources import resource
from counteranimal.stats import PairedSample, holm, mcnemar_exact, paired_difference

__all__ = ["BANDS", "compare_models", "compare_with_paper", "paper_models"]

BANDS = {"1v1000": 0.3, "1v20": 1.0}
"""Percentage points by which a group's macro accuracy may differ from the paper's: what an independent reproduction reached
for 12 of 15 CLIP checkpoints; the paper's lists of 20 are not published, hence the wider band."""


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
    weights = np.ones_like(model.weights) if rule.get("rule") == "paper" else model.weights
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


def compare_with_paper(results: pa.Table, splits: Sequence[str]) -> list[dict[str, Any]]:
    """Return macro accuracies beside those of the paper's tables 3, 4, 13 and 14, in percent.

    Parameters
    ----------
    results : pa.Table
        Table `results`.
    splits : sequence of str
        Splits made by the paper's rule; no other is comparable.

    Returns
    -------
    list of dict
        One row a split, model, protocol and group: `table`, `ours`, `paper`, `difference`, `band` and whether it is `within`.

    Raises
    ------
    UsageError
        If no split is the paper's, or none of the models is in its tables.
    """
    if not splits:
        raise UsageError(
            "no split here is made by the paper's rule; evaluate the imported original to compare with the paper"
        )
    printed = {(row["model"], row["protocol"]): row for row in _printed()}
    rows = []
    for row in results.to_pylist():
        stated = printed.get((row["model"].removesuffix("/IMAGENET1K_V1"), row["protocol"]))
        group = row["figure"].removeprefix("macro_accuracy_")
        if stated is None or row["class_id"] != ALL_CLASSES or row["split"] not in splits or row["fold"] != "all":
            continue
        if group in {"common", "counter"}:
            ours, paper, band = 100.0 * row["value"], float(stated[group]), BANDS[row["protocol"]]
            rows.append(
                {name: row[name] for name in ("split", "model", "protocol")}
                | {"table": int(stated["table"]), "group": group, "ours": ours, "paper": paper}
                # Printed figures have two places, so a difference of the band itself must not fail by floating point.
                | {"difference": ours - paper, "band": band, "within": abs(ours - paper) <= band + 1e-9}
            )
    if not rows:
        raise UsageError("none of these models is in the paper's tables; data_manifest/paper/macro.csv lists them")
    return rows


def paper_models() -> list[str]:
    """Return the specs of the paper's 43 models, in the order of its tables 3 and 4."""
    return [row["model"] for row in _printed() if row["protocol"] == "1v1000"]


def _printed() -> Iterator[dict[str, str]]:
    with resource("data_manifest/paper/macro.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
