"""The page says what report.json says, loads nothing from elsewhere, and survives hostile and empty input."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from counteranimal import tables
from counteranimal.conservation import Conservation
from counteranimal.report.context import ReportContext
from counteranimal.report.formats import at, number_text
from counteranimal.report.page import write_report

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
LOADING = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """Collects numbers with their place, attributes that load something, tags, and the text of table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.numbers: list[tuple[str, str, str | None, str]] = []
        self.loads: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.bare: list[str] = []
        self._open: list[dict[str, str | None]] = []
        self._stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.loads += [(tag, value or "") for name, value in attrs if name in LOADING]
        if tag not in {"meta", "img", "br", "link"}:
            self._stack.append(tag)
            self._open.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        while self._stack:
            self._open.pop()
            if self._stack.pop() == tag:
                break

    def handle_data(self, data: str) -> None:
        if not self._stack:
            return
        attributes = self._open[-1]
        if "data-json" in attributes:
            self.numbers.append(
                (str(attributes["data-json"]), str(attributes["data-style"]), attributes.get("value"), data)
            )
        elif self._stack[-1] == "td":
            self.bare.append(data.strip())


@pytest.fixture
def written(tmp_path: Path, context: ReportContext) -> Path:
    """The folder of a written report."""
    return write_report(tmp_path / "report", context=context).parent


def pages(folder: Path) -> list[Page]:
    return [Page((folder / name).read_text(encoding="utf-8")) for name in ("index.html", "clusters.html")]


def test_every_number_on_the_pages_equals_report_json(written: Path) -> None:
    """Each figure in text, tables and plots is the value at its place in report.json, spelled by one rule."""
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    seen = 0
    for page in pages(written):
        for pointer, style, value, shown in page.numbers:
            expected = at(document, pointer)
            assert shown == number_text(expected, style), pointer
            if value is not None:
                assert float(value) == expected, pointer
            seen += 1
    assert seen > 200


def test_table_cells_hold_no_number_of_their_own(written: Path) -> None:
    """A digit in a table cell that is not tied to report.json would be a second source."""
    bare = [text for page in pages(written) for text in page.bare if text.replace(".", "").replace("%", "").isdigit()]
    assert bare == []


def test_report_json_holds_the_tables_values_unrounded(written: Path, context: ReportContext) -> None:
    """report.json carries the results as they are in the table."""
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    fold = document["splits"][0]["protocols"][0]["folds"][0]
    rows = {
        row["model"]: row
        for row in context.results.to_pylist()
        if (row["fold"], row["protocol"], row["figure"]) == ("report", "1v1000", "macro_drop")
    }
    assert {model["model"]: model["macro"]["drop"]["value"] for model in fold["models"]} == {
        name: row["value"] for name, row in rows.items()
    }


def test_nothing_is_loaded_from_elsewhere(written: Path) -> None:
    """Only files beside the page are loaded; links that a reader may follow are plain anchors."""
    for page in pages(written):
        assert "script" not in page.tags
        assert "link" not in page.tags
        for tag, target in page.loads:
            if "://" in target or target.startswith("//"):
                assert tag == "a", target
            elif not target.startswith("#"):
                assert (written / target).is_file(), target
    assert "url(" not in (written / "index.html").read_text(encoding="utf-8")


@pytest.mark.case("F06")
def test_hostile_text_is_shown_as_text(
    tmp_path: Path, change: Callable[..., ReportContext], context: ReportContext
) -> None:
    """Names, licences and reasons that look like HTML stay text, and a script link is not offered."""
    photo = replace(
        context.examples[0], class_name=HOSTILE, author=HOSTILE, licence=HOSTILE, page_url="javascript:alert(1)"
    )
    results = context.results.to_pylist()
    entries = context.entries.to_pylist()
    entries[0]["background"] = HOSTILE
    hostile = change(
        title=HOSTILE,
        class_names=dict.fromkeys(context.class_names, HOSTILE),
        entries=tables.conform("entries", entries),
        results=tables.conform("results", [{**row, "model": HOSTILE + row["model"]} for row in results]),
        examples=[photo],
        merged=[replace(context.merged[0], rule=HOSTILE, dropped_id=HOSTILE, dropped_credit=HOSTILE)],
        caveats=[HOSTILE],
        conservation=Conservation(1, {"rejected": 1}, {f"rejected {HOSTILE}": 1}),
    )
    folder = write_report(tmp_path, context=hostile).parent
    for page in pages(folder):
        assert not {name for name in page.attributes if name.startswith("on")}
        assert all(not target.startswith("javascript:") for _, target in page.loads)
        assert all(target != "x" for _, target in page.loads)


def test_empty_tables_give_a_page_that_says_so(tmp_path: Path) -> None:
    """A report before the first crawl is a readable page, not an error."""
    text = write_report(
        tmp_path, context=ReportContext(title="Nothing yet", conservation=Conservation(0, {}))
    ).read_text(encoding="utf-8")
    for sentence in (
        "No model has been evaluated yet",
        "No candidate has been discovered yet",
        "There is no split yet",
        "No photo has been verified yet",
        "No vote has been cast yet",
        "not frozen yet",
    ):
        assert sentence in text
    assert "No photo was merged" in (tmp_path / "clusters.html").read_text(encoding="utf-8")


def test_a_class_without_a_pair_is_shown_as_no_pair(written: Path) -> None:
    """A class for which the rule found nothing is listed with its reason."""
    text = (written / "index.html").read_text(encoding="utf-8")
    row = next(row for row in text.split("<tr>") if ">otter<" in row and "no_pair" in row)
    assert "fewer than two backgrounds" in row


@pytest.mark.case("I13")
def test_the_selection_model_and_its_relative_are_marked(written: Path) -> None:
    """The chooser carries one sign, a model that shares its weights another, and the legend explains both."""
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    marks = {m["model"]: m["mark"] for m in document["splits"][0]["protocols"][0]["folds"][0]["models"]}
    assert marks == {
        "stand-in": "selector", "efficientnet-lite2": "relative", "efficientnet-lite0": "", "efficientnet-lite1": "",
    }  # fmt: skip
    text = (written / "index.html").read_text(encoding="utf-8")
    assert "◆ stand-in (not CLIP)" in text
    assert "◇ efficientnet-lite2" in text
    assert "◆ selection model" in text


@pytest.mark.case("I13")
def test_what_else_differs_between_the_groups_is_shown(written: Path) -> None:
    """Each measure before and after weighting, and the drop that remains."""
    page = (written / "index.html").read_text(encoding="utf-8")
    for part in ("What else differs between the groups", "animal area", "weighted until the groups are alike"):
        assert part in page
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    (split,) = document["splits"]
    assert [row["name"] for row in split["balance"]["rows"]] == ["sharpness", "animal area"]
    assert split["balance"]["drop_weighted"]["value"] == 0.24


def test_merged_photos_stand_side_by_side_on_a_page_that_the_report_links(written: Path) -> None:
    """The dropped photo and the kept one, both distances, the pixel difference and the rule."""
    assert '<a href="clusters.html">' in (written / "index.html").read_text(encoding="utf-8")
    page = (written / "clusters.html").read_text(encoding="utf-8")
    first = page[page.index("<article") : page.index("</article>")]
    assert first.count("<img") == 2
    assert "pHash 12, dHash 14, pixels 0.06" in first
    shown = {pointer: text for pointer, _, _, text in Page(first).numbers}
    assert shown == {
        "/merged/0/phash_distance": "4", "/merged/0/dhash_distance": "6", "/merged/0/pixel_difference": "0.021",
    }  # fmt: skip


@pytest.mark.case("I14")
def test_training_photos_are_shown_with_their_weight_or_said_to_be_unchecked(
    tmp_path: Path, written: Path, change: Callable[..., ReportContext], context: ReportContext
) -> None:
    """Accuracies with and without the photos found, each with its interval; otherwise not checked. Neither page says clean."""
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    [found] = [row for row in document["training_overlap"]["accuracy"] if row["model"] == "stand-in"]
    assert (found["with"]["value"], found["without"]["value"], found["without"]["n"]) == (0.81, 0.79, 34)
    text = (written / "index.html").read_text(encoding="utf-8")
    assert "2 of 36 photos were found in the hash lists train (1 more are unsure)" in text
    place = "/training_overlap/accuracy/0/without/"
    assert all(f'data-json="{place}{key}"' in text for key in ("value", "low", "high", "n"))
    unchecked = change(training_overlap={}, references=["train"])
    other = write_report(tmp_path / "unchecked", context=unchecked).read_text(encoding="utf-8")
    assert "not checked in this evaluation" in other
    assert "was not checked beyond a comparison with the hash lists train" in other
    assert "clean" not in re.sub("<style>.*?</style>", "", text + other, flags=re.DOTALL)
    none = context.training_overlap | {"found": 0, "accuracy": []}
    assert (
        "0 of 36 photos were found"
        in write_report(tmp_path / "none", context=change(training_overlap=none)).read_text()
    )


def test_the_opening_sentence_speaks_of_a_model_that_took_no_part(written: Path) -> None:
    """The headline is the most accurate model that neither chose the backgrounds nor shares weights with the chooser."""
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert at(document, document["headline"])["model"] == "efficientnet-lite0"


def test_the_stand_in_is_never_called_clip(written: Path) -> None:
    """Wherever the word CLIP stands beside the stand-in, it says that it is not."""
    text = (written / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"(?<!not )CLIP", text) == []


def test_caveats_follow_from_the_data(written: Path) -> None:
    """Composites, scenes, simulated raters, the stand-in and the marked models are all named."""
    text = (written / "index.html").read_text(encoding="utf-8")
    for words in ("cut-outs", "not the choice of scenes", "simulated", "same logits", "share weights"):
        assert words in text


def test_what_the_per_class_rule_says_is_printed(
    tmp_path: Path, change: Callable[..., ReportContext], context: ReportContext
) -> None:
    """A pool-wide pair comes with the per-class rule's answer."""
    text = write_report(tmp_path, context=change(per_class_rule=context.pairs)).read_text(encoding="utf-8")
    assert "finds a pair in 3 of 4 classes and confirms 1" in text


def test_workers_names_stay_out_of_the_report(written: Path) -> None:
    """Agreement is shown without who answered."""
    assert b"jane@" not in b"".join(path.read_bytes() for path in written.glob("*.*"))


def test_the_same_context_writes_the_same_bytes(tmp_path: Path, context: ReportContext) -> None:
    """No clock and no order of a set gets into the report."""
    first = {p.name: p.read_bytes() for p in write_report(tmp_path / "a", context=context).parent.glob("*.*")}
    second = {p.name: p.read_bytes() for p in write_report(tmp_path / "b", context=context).parent.glob("*.*")}
    assert first == second


def test_not_a_number_becomes_null_and_a_dash(
    tmp_path: Path, change: Callable[..., ReportContext], context: ReportContext
) -> None:
    """A figure that could not be computed is missing, never zero, and the JSON stays JSON."""
    rows = [{**row, "low": float("nan"), "high": None} for row in context.results.to_pylist()]
    folder = write_report(tmp_path, context=change(results=tables.conform("results", rows))).parent
    document: Any = json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    model = document["splits"][0]["protocols"][0]["folds"][0]["models"][0]
    assert model["macro"]["drop"]["low"] is None


@pytest.mark.browser
def test_the_report_opens_from_disk_and_asks_nothing_of_the_network(
    tmp_path: Path, change: Callable[..., ReportContext], context: ReportContext
) -> None:
    """A real browser opens the file, shows every photo, reports no error, opens no dialog and fetches only local files."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    hostile = [replace(photo, author=HOSTILE) for photo in context.examples]
    path = write_report(tmp_path, context=change(examples=hostile, title=HOSTILE))
    asked, said = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        page.evaluate("for (const image of document.images) image.loading = 'eager'")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        missing = page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        browser.close()
    assert all(url.startswith("file:") for url in asked)
    assert (said, missing, wider) == ([], 0, 0)
