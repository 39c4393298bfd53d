"""CARD.md and CHANGES.md: the release in words, every figure computed from its tables.

Decides which figures the card shows and with which interval; the template decides only the words around them. Accuracies that
the card shows are the selecting models' own, since a release is frozen before others are evaluated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.freeze.draft import Draft, counted
from counteranimal.freeze.markdown import escape, percent, points

__all__ = ["card", "changes"]


def card(draft: Draft) -> str:
    """Return the data card as Markdown, with front matter that dataset hubs read."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("counteranimal.freeze"),
        # The template is Markdown; every text from outside goes through the filter `md`, which escapes HTML too.
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(md=escape, percent=percent, points=points)
    entries = draft.tables["entries"]
    return environment.get_template("CARD.md.j2").render(
        m=draft.manifest,
        agreement=_agreement(draft.agreement),
        composition=_composition(entries, draft.manifest["backgrounds"]),
        folds=Counter(counted(entries, "fold")),
        units=pc.count_distinct(entries["fold_unit"]).as_py(),
        methods=counted(entries, "method").items(),
        sources=counted(entries, "source").items(),
        splits=[_split(draft, record) for record in draft.manifest["splits"]],
        size_band=_size_band(len(entries)),
    )


def changes(draft: Draft) -> str:
    """Return CHANGES.md: what this release changes against its predecessor."""
    manifest = draft.manifest
    follows = f"Follows {manifest['predecessor']}." if manifest["predecessor"] else "Follows no earlier release."
    lines = [
        f"# Changes of {escape(manifest['name'])}",
        "",
        f"## {manifest['version']} ({manifest['date']})",
        "",
        follows,
        "",
    ]
    return "\n".join([*lines, *(f"- {escape(line)}" for line in draft.terms.changes)]) + "\n"


def _agreement(figures: Mapping[str, Any]) -> dict[str, Any]:
    background = figures.get("background") or {}
    return {name: background.get(name) for name in ("alpha", "low", "high", "n_photos", "n_votes", "raw")} | {
        "gate": figures.get("gate"),
        "workers": len(figures.get("workers") or {}),
    }


def _composition(entries: pa.Table, vocabulary: Sequence[str]) -> dict[str, Any]:
    """Count photos by class and background, over the backgrounds that occur."""
    pairs = (
        entries.select(["class_id", "background"]).group_by(["class_id", "background"]).aggregate([([], "count_all")])
    )
    cells = Counter({(row["class_id"], row["background"]): row["count_all"] for row in pairs.to_pylist()})
    occurring = {background for _, background in cells}
    columns = [name for name in vocabulary if name in occurring] + sorted(occurring - set(vocabulary))
    classes = sorted({class_id for class_id, _ in cells})
    return {
        "columns": columns,
        "rows": [(class_id, [cells[class_id, name] for name in columns]) for class_id in classes],
        "totals": [sum(cells[class_id, name] for class_id in classes) for name in columns],
    }


def _split(draft: Draft, record: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [row for row in draft.tables["pairs"].to_pylist() if row["split"] == record["name"]]
    splits = draft.tables["splits"]
    on_report = pc.and_(pc.equal(splits["split"], record["name"]), pc.equal(splits["fold"], "report"))
    groups = Counter(counted(splits.filter(on_report), "group"))
    return {
        **record,
        "pairs": [row for row in pairs if row["status"] == "pair"],
        "without": [row["class_id"] for row in pairs if row["status"] != "pair"],
        "report": {name: groups[name] for name in ("common", "counter", "other")},
        "balance": draft.terms.covariates.get(record["name"], {}),
    }


def _size_band(n: int) -> str:
    """Return the size category that dataset hubs use."""
    for limit, band in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if n < limit:
            return band
    return "n>1M"
