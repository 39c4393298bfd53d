"""The leaderboard of an evaluation alone: every figure with its interval, marks, the worst group, the line, and what to cite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from counteranimal.cli import app
from counteranimal.evaluate import Evaluator
from counteranimal.release.read import open_release
from counteranimal.report.context import ReportContext
from counteranimal.report.formats import at, number_text
from counteranimal.report.leaderboard import write_leaderboard
from counteranimal.report.page import write_report
from counteranimal.settings import Settings
from counteranimal.tables import conform
from tests.fakes.small_release import Released, released, small
from tests.fakes.tiny_model import TinyModel
from tests.report.conftest import MODELS
from tests.report.test_page import HOSTILE, Page

__all__ = ["released", "small"]

KEY = {"split": "stand-in", "fold": "report", "protocol": "1v1000"}
ASKED = {"names": "wordnet", "templates": "paper", "label_space": None, "device": "cpu", "dtype": ["float32"]}


@pytest.fixture
def evaluated(change: Callable[..., ReportContext], context: ReportContext) -> ReportContext:
    """The made-up release with a line, a worst group for one model, and a text to cite."""
    points = [
        {"model": name, "common_logit": 1.8 - 0.4 * m, "counter_logit": 1.0 - 0.4 * m, "draws_line": name != "stand-in"}
        for m, name in enumerate(MODELS)
    ]
    line = {
        **KEY, "status": "line", "why": "", "models": list(MODELS[:3]), "families": ["efficientnet", "vit"],
        "from": "evaluated", "intercept": -0.8, "slope": 1.0, "spread": 0.05, "points": points,
    }  # fmt: skip
    few = {
        **KEY, "protocol": "1v20", "status": "not enough models", "why": "3 ImageNet models of 1 families", "models": [],
        "families": [], "from": "evaluated",
    }  # fmt: skip
    row = {"n": 120, "n_effective": 60.0, "low": -0.05, "high": 0.09, "value": 0.021}
    own = [{**KEY, "model": name, "class_id": "*", "figure": "effective_robustness", **row} for name in MODELS]
    worst = {
        "class_id": "zebra",
        "group": "counter",
        "value": 0.4,
        "low": 0.2,
        "high": 0.6,
        "n": 21,
        "n_effective": 20.0,
    }
    return change(
        results=conform("results", [*context.results.to_pylist(), *own]),
        lines=[line, few],
        worst_groups={("stand-in", "report", "1v1000", "stand-in"): worst},
        asked=ASKED,
        caveats=["votes by programs"],
        citation=f"cite {HOSTILE}",
    )


def test_every_number_of_the_page_is_in_its_document(tmp_path: Path, evaluated: ReportContext) -> None:
    """Figures, intervals and n are the values of leaderboard.json; nothing is loaded, nothing is a digit of its own."""
    path = write_leaderboard(tmp_path, context=evaluated)
    document, page = json.loads((tmp_path / "leaderboard.json").read_bytes()), Page(path.read_text(encoding="utf-8"))
    for pointer, style, _, shown in page.numbers:
        assert shown == number_text(at(document, pointer), style), pointer
    shown = {pointer for pointer, *_ in page.numbers}
    place = "/splits/0/protocols/0/folds/0/models"
    for number, _ in enumerate(MODELS):
        figures = [
            f"{place}/{number}/{average}/{kind}"
            for average in ("macro", "micro")
            for kind in ("common", "counter", "drop")
        ]
        for figure in [*figures, f"{place}/{number}/robustness"]:
            assert {f"{figure}/value", f"{figure}/low", f"{figure}/high"} <= shown, figure
    assert "script" not in page.tags
    assert [target for tag, target in page.loads if tag != "a"] == []
    assert [text for text in page.bare if text.isdigit()] == []


def test_marks_worst_group_line_and_citation_are_said(tmp_path: Path, evaluated: ReportContext) -> None:
    """The selection model is marked, the worst group is named with its n, the line with its models, and the text to cite is text."""
    text = write_leaderboard(tmp_path, context=evaluated).read_text(encoding="utf-8")
    for words in ("◆", "selection model: it chose the backgrounds", "zebra, counter", "picked for being the lowest",
                  "drawn by 3 ImageNet models of the families efficientnet, vit",
                  "Effective robustness: not enough models (3 ImageNet models of 1 families)", "wordnet, paper",
                  "votes by programs", "cite &lt;img src=x"):  # fmt: skip
        assert words in text
    assert 'class="fit"' in text
    # The report of a workspace shows the same results.
    report = write_report(tmp_path / "report", context=evaluated).read_text(encoding="utf-8")
    assert 'class="fit"' in report
    assert "zebra, counter" in report


def test_the_table_has_an_interval_beside_every_figure(tmp_path: Path, evaluated: ReportContext) -> None:
    """Each row of the Markdown table gives macro beside micro, worst group and robustness in brackets, with n and marks."""
    write_leaderboard(tmp_path, context=evaluated)
    table = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    [row] = [line for line in table.splitlines() if line.startswith("| ◆ stand-in")][:1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3] == "21.0 [12.8, 29.2]"
    assert cells[5:] == ["zebra, counter: 40.0 [20.0, 60.0], n 21", "2.1 [−5.0, 9.0]", "120"]
    assert all("[" in cell for cell in cells[1:7])
    assert "not enough models (3 ImageNet models of 1 families)" in table


def test_a_release_without_a_pair_says_so(tmp_path: Path, change: Callable[..., ReportContext]) -> None:
    """No results: the page and the table say that there are none."""
    empty = change(
        results=conform("results", []), splits=conform("splits", []), pairs=conform("pairs", []), asked=ASKED
    )
    text = write_leaderboard(tmp_path, context=empty).read_text(encoding="utf-8")
    assert "Nothing has been evaluated yet" in text
    assert "no table" in (tmp_path / "leaderboard.md").read_text()


def _results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_bytes())
    return found


def test_an_evaluator_without_a_workspace_gets_page_table_and_citation(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`evaluate --from` alone writes them beside the results; page and results say the same, and the citation names the digest."""
    monkeypatch.chdir(tmp_path)
    release, out = open_release(released.folder), tmp_path / "out"
    models = [TinyModel(name, seed=seed, architecture=name) for seed, name in enumerate(("resnet1", "vit_b"))]
    settings = Settings(cache=tmp_path / "cache", workers=1, device="cpu")
    Evaluator(settings).evaluate(release, models, photos=released.photos, out=out)
    done = CliRunner().invoke(app, ["evaluate", str(released.folder), "--from", str(out), "-o", "again"])
    assert done.exit_code == 0, done.output
    again = tmp_path / "again"
    assert {path.name for path in again.iterdir()} == {
        "results.json", "results.parquet", "leaderboard.html", "leaderboard.json", "leaderboard.md", "CITATION.txt",
    }  # fmt: skip
    assert not (tmp_path / ".counteranimal").exists()
    board = json.loads((again / "leaderboard.json").read_bytes())
    about = _results(again)["counteranimal"]
    drops = {row["model"]: row["value"] for row in about["headline"]["first"]}
    models_shown = board["splits"][0]["protocols"][0]["folds"][0]["models"]
    assert {model["model"]: model["macro"]["drop"]["value"] for model in models_shown} == drops
    cited = (again / "CITATION.txt").read_text(encoding="utf-8")
    for words in (release.digest, f"{release.name} {release.version}", "arXiv:2403.11497", "names wordnet, templates paper",
                  f"counteranimal {about['versions']['counteranimal']}", "resnet1: 1 vs 1000 macro drop", "@misc{"):  # fmt: skip
        assert words in cited
    assert board["citation"] == cited
    assert {item["status"] for item in about["effective_robustness"]} == {"not enough models"}
