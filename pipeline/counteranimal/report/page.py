"""Writes the report: index.html, clusters.html, report.json and small photos, readable from disk without a server.

Decides which numbers become which plot and hands everything to the templates. The pages load nothing but the photos beside
them: no script, no font, no request to anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2

from counteranimal.report import plots
from counteranimal.report.context import ExamplePhoto, ReportContext
from counteranimal.report.formats import at, credit_text, number_text
from counteranimal.report.marks import DUPLICATES, MARKS
from counteranimal.report.numbers import json_bytes, report_numbers
from counteranimal.report.photos import Thumbnails
from counteranimal.report.svg import Number
from counteranimal.workspace import write_atomically

__all__ = ["TEMPLATES", "environment", "outcome_plots", "shared_words", "write_report"]

TEMPLATES = Path(__file__).parent / "templates"


def write_report(out: Path, *, context: ReportContext) -> Path:
    """Write the report into the folder `out` and return the path of its first page.

    Files of an earlier report there are replaced; small copies of photos that are no longer shown are removed.

    Raises
    ------
    EnvironmentFailure
        If the folder cannot be written or the disk is full.
    """
    numbers = report_numbers(context)
    thumbnails = Thumbnails(out / "photos")
    shared = {
        **shared_words(numbers),
        "duplicates": DUPLICATES,
        "examples": _examples(context, thumbnails),
        "merged": [
            {"pair": pair, "dropped": thumbnails.add(pair.dropped), "kept": thumbnails.add(pair.kept)}
            for pair in context.merged
        ],
        "plots": _plots(numbers),
    }
    pages = environment()
    for name in ("clusters.html", "index.html"):
        page = pages.get_template(f"{name}.j2").render(shared)
        write_atomically(out / name, page.encode())
    write_atomically(out / "report.json", json_bytes(numbers))
    thumbnails.forget_others()
    return out / "index.html"


def shared_words(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every page of results is rendered with."""
    return {"numbers": numbers, "signs": MARKS, "at": lambda pointer: at(numbers, pointer)}


def environment() -> jinja2.Environment:
    """Return the templates' environment: everything is escaped, and what is not defined is a bug."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["as_number"] = number_text
    pages.globals["credit"] = credit_text
    pages.filters["web_link"] = _web_link
    pages.filters["short"] = lambda digest: f"{digest[:12]}…" if len(digest) > 12 else digest
    return pages


def _web_link(url: str) -> str:
    """Return a link that may be followed, or nothing: only http and https, whatever a source sent."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and parts.netloc else ""


def _examples(context: ReportContext, thumbnails: Thumbnails) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return split -> group -> photos with the names of their small copies."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: {"common": [], "counter": []})
    for photo in context.examples:
        found[photo.split][photo.group].append(_shown(photo, thumbnails))
    return dict(found)


def _shown(photo: ExamplePhoto, thumbnails: Thumbnails) -> dict[str, Any]:
    return {"photo": photo, "file": thumbnails.add(photo.path)}


def _plots(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Return every plot of the page by the JSON pointer of what it shows."""
    states = numbers["flow"]["states"]
    backgrounds = numbers["backgrounds"]
    found = {
        "/flow": plots.flow(
            [plots.Part(s["state"], Number(s["n"], "count", f"/flow/states/{i}/n")) for i, s in enumerate(states)],
            title="Where the candidates went",
        ),
        "/backgrounds": plots.bars(
            [
                plots.Bar(b["background"], Number(b["n"], "count", f"/backgrounds/{i}/n"))
                for i, b in enumerate(backgrounds)
            ],
            title="Verified photos by background",
        ),
    }
    for s, split in enumerate(numbers["splits"]):
        found[f"/splits/{s}/pairs"] = _pairs_plot(split, f"/splits/{s}/pairs")
    return found | outcome_plots(numbers)


def outcome_plots(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots of what models did, by the JSON pointer of what each shows."""
    found = {}
    for s, split in enumerate(numbers["splits"]):
        for p, protocol in enumerate(split["protocols"]):
            for f, fold in enumerate(protocol["folds"]):
                place = f"/splits/{s}/protocols/{p}/folds/{f}"
                rows = [_gap(model, f"{place}/models/{m}") for m, model in enumerate(fold["models"])]
                what = f"{protocol['name']}, {fold['name']}"
                found[f"{place}/accuracy"] = plots.dumbbells(rows, title=f"Accuracy by model, {what}")
                found[f"{place}/drop"] = plots.drops(rows, title=f"Accuracy drop by model, {what}")
                found[f"{place}/line"] = _line_plot(fold["line"], f"Counter accuracy against common accuracy, {what}")
    return found


def _line_plot(line: Mapping[str, Any] | None, title: str) -> str:
    if line is None or line["status"] != "line":
        return ""
    points = [
        plots.Point(
            point["label"],
            MARKS[point["mark"]][0] if point["mark"] else "",
            (point["common_logit"], point["counter_logit"]),
            draws_line=point["draws_line"],
        )
        for point in line["points"]
    ]
    return plots.scatter(points, (line["intercept"], line["slope"]), title=title)


def _gap(model: Mapping[str, Any], place: str) -> plots.Gap:
    macro = model["macro"]
    # The tag of an open_clip model tells two of one architecture apart, so it must not be what is cut off.
    name, _, tag = str(model["label"]).partition("/")
    return plots.Gap(
        name,
        tag or model["sublabel"],
        MARKS[model["mark"]][0] if model["mark"] else "",
        _estimate(macro.get("common"), f"{place}/macro/common", "percent"),
        _estimate(macro.get("counter"), f"{place}/macro/counter", "percent"),
        _estimate(macro.get("drop"), f"{place}/macro/drop", "points"),
    )


def _estimate(figure: Mapping[str, Any] | None, place: str, style: str) -> plots.Estimate | None:
    if figure is None:
        return None
    styles = {"value": style, "low": style, "high": style, "n": "count"}
    return plots.Estimate(**{key: Number(figure[key], kind, f"{place}/{key}") for key, kind in styles.items()})


def _pairs_plot(split: Mapping[str, Any], place: str) -> str:
    """Draw the selection model's own drop of each class with a pair, on the report fold."""
    rows = []
    for i, pair in enumerate(split["pairs"]):
        if pair["status"] == "pair":
            drop = plots.Estimate(
                Number(pair["drop_report"], "points", f"{place}/{i}/drop_report"),
                Number(pair["drop_report_low"], "points", f"{place}/{i}/drop_report_low"),
                Number(pair["drop_report_high"], "points", f"{place}/{i}/drop_report_high"),
                Number(pair["n_common_report"], "count", f"{place}/{i}/n_common_report"),
            )
            rows.append(plots.Gap(pair["name"], f"{pair['common']} → {pair['counter']}", drop=drop))
    caption = "in percentage points, report fold, 95 % intervals"
    return plots.drops(rows, title="Drop of the selection model by class", caption=caption)
