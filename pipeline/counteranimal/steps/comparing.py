"""Comparing what models have answered: with a baseline on one release, or with the paper's printed figures.

Decides the lines for people. Leaves the comparison to `evaluate.compare` and reading files to `evaluate.predictions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from counteranimal.errors import UsageError
from counteranimal.evaluate.compare import compare_models
from counteranimal.evaluate.document import rules_of
from counteranimal.evaluate.paper import compare_with_paper, paper_models
from counteranimal.evaluate.predictions import prediction_files, read_predictions
from counteranimal.evaluate.results import results_table
from counteranimal.release.read import Release

__all__ = ["against_baseline", "against_paper", "baseline_lines", "paper_lines", "paper_models"]

_MARKS = {"selector": " [selection model]", "relative": " [relative of the selection model]"}


def against_baseline(release: Release, places: Sequence[Path], baseline: str | None) -> list[dict[str, Any]]:
    """Compare the models of files or folders of predictions with a baseline; none: the first file's model."""
    predictions, identities = _read(release, places)
    return compare_models(release, predictions, identities, baseline=baseline or str(identities[0]["spec"]))


def against_paper(release: Release, places: Sequence[Path]) -> list[dict[str, Any]]:
    """Compare macro accuracies on splits by the paper's rule with the paper's."""
    predictions, _ = _read(release, places, of_the_paper=True)
    rules = {name: rule for name, rule in rules_of(release).items() if rule.get("rule") == "paper"}
    return compare_with_paper(results_table(release.entries, release.splits, rules, predictions), sorted(rules))


def _read(
    release: Release, places: Sequence[Path], *, of_the_paper: bool = False
) -> tuple[pa.Table, list[dict[str, Any]]]:
    read = [read_predictions(path, release) for path in prediction_files(places)]
    asked = [(statement.names, statement.templates, statement.label_space) for _, statement in read]
    if any(labels != asked[0] for labels in asked):
        raise UsageError(
            "these models chose between different labels, names or templates; compare those that are alike"
        )
    for _, statement in read:
        if of_the_paper and (statement.names, statement.templates) != ("wordnet", "paper"):
            raise UsageError(
                f"{statement.identity['spec']} was asked with names {statement.names} and templates {statement.templates}; "
                "the paper's tables are of names wordnet and templates paper"
            )
    identities = [statement.identity for _, statement in read]
    specs = [str(identity["spec"]) for identity in identities]
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice:
        raise UsageError(f"{twice[0]} has two files of predictions; name each model once")
    return pa.concat_tables([table.replace_schema_metadata(None) for table, _ in read]), identities


def baseline_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line a comparison, differences in percentage points, and what the p-values are."""
    lines = []
    for row in rows:
        names = f"{row['model']}{_MARKS.get(row['mark'], '')} - {row['baseline']}{_MARKS.get(row['baseline_mark'], '')}"
        drop = f"drop {100 * row['difference']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}] points"
        tests = f"p {row['p']:.4f}, Holm {row['p_holm']:.4f}"
        answers = f"McNemar {row['only_model']}:{row['only_baseline']} p {row['p_mcnemar']:.4f}"
        lines.append(
            f"{row['split']} {row['protocol']} {row['fold']} (n {row['n']}): {names}: {drop}, {tests}; "
            f"{answers}, Holm {row['p_mcnemar_holm']:.4f}"
        )
    return [*lines, "p: 2,000 paired draws of fold units; McNemar takes photos as independent, which clusters are not"]


def paper_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line a figure, in percent, and how many lie within their band."""
    lines = [
        f"table {row['table']} {row['protocol']} {row['model']} {row['group']}: ours {row['ours']:.2f}, paper "
        f"{row['paper']:.2f}, {row['difference']:+.2f} ({'within' if row['within'] else 'outside'} {row['band']})"
        for row in rows
    ]
    return [*lines, f"{sum(row['within'] for row in rows)} of {len(rows)} figures lie within their band"]
