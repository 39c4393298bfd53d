"""The gallery in a real browser, opened from disk: filters, the keyboard alone, and what a screen reader is told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from counteranimal.release.read import open_release
from counteranimal.report.gallery import write_gallery
from tests.fakes.small_release import Released, released, small

__all__ = ["released", "small"]

pytestmark = pytest.mark.browser

UNNAMED = """() => [...document.querySelectorAll('a, button, select, summary, img, table, section, form')].filter((item) => {
  const text = (item.textContent || '') + (item.getAttribute('aria-label') || '') + (item.getAttribute('alt') || '');
  const label = item.labels && item.labels.length ? item.labels[0].innerText : '';
  const by = document.getElementById(item.getAttribute('aria-labelledby') || '');
  return !(text.trim() || label.trim() || (by && by.innerText.trim()));
}).map((item) => item.outerHTML.slice(0, 80))"""
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (item) => { for (; item; item = item.parentElement) { const found = rgb(getComputedStyle(item).backgroundColor); if (found[3] === 255) return found; } return [255, 255, 255]; };
  const low = [];
  for (const item of document.querySelectorAll('main *, header *')) {
    if (![...item.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) || !item.offsetParent) continue;
    const [a, b] = [light(rgb(getComputedStyle(item).color)), light(behind(item))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) low.push(item.textContent.trim().slice(0, 40));
  }
  return low;
}"""


@pytest.fixture(scope="module")
def folder(released: Released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gallery")
    write_gallery(open_release(released.folder), released.photos, out)
    return out


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose every request and complaint is remembered."""
    found = browser.new_page()
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(message.text))
    found.on("pageerror", lambda error: complaints.append(str(error)))
    requested: list[str] = []
    found.on("request", lambda request: requested.append(request.url))
    yield found
    found.close()
    assert complaints == []
    assert all(url.startswith("file:") for url in requested)


@pytest.fixture
def lion(page: Page, folder: Path) -> Page:
    page.goto((folder / "class-lion.html").as_uri())
    return page


def shown(page: Page) -> int:
    return page.locator(".photo:visible").count()


def test_it_opens_from_disk(page: Page, folder: Path) -> None:
    """From the first page to a class and its neighbour by links; every picture near the top is painted."""
    page.goto((folder / "index.html").as_uri())
    page.get_by_role("link", name="lion").click()
    assert page.get_by_role("heading", level=1).inner_text() == "lion"
    assert page.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    page.get_by_role("link", name="ostrich").click()
    assert page.get_by_role("heading", level=1).inner_text() == "ostrich"


def test_common_stands_beside_counter(lion: Page) -> None:
    """On a wide window the two columns begin at one height; on a phone nothing is wider than the window."""
    boxes = [lion.locator(f"#{group}").bounding_box() for group in ("common", "counter")]
    assert boxes[0] is not None and boxes[1] is not None  # noqa: PT018 - one fact
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    lion.set_viewport_size({"width": 360, "height": 640})
    assert lion.evaluate("document.documentElement.scrollWidth") <= 360


def test_filters_hide_and_count(lion: Page) -> None:
    """Fold and right or wrong narrow what is shown together, and the number is said."""
    total = shown(lion)
    lion.get_by_label("Fold").select_option("report")
    report = shown(lion)
    assert 0 < report < total == 10
    lion.get_by_label("Selecting model").select_option("wrong")
    assert shown(lion) == lion.locator('[data-fold="report"][data-right="wrong"]').count() < report
    assert lion.locator("output").inner_text() == f"{shown(lion)} of 10 photos"
    assert lion.locator("output").get_attribute("aria-live") == "polite"


def test_the_keyboard_alone_reaches_everything(lion: Page) -> None:
    """Tab skips to the content and reaches the photos, arrows go on from one to the next that is shown, Enter opens what is known."""
    lion.keyboard.press("Tab")
    assert lion.evaluate("document.activeElement.className") == "skip"
    lion.get_by_label("Fold").focus()
    lion.keyboard.press("ArrowDown")
    while lion.evaluate("document.activeElement.tagName") != "SUMMARY":
        lion.keyboard.press("Tab")
    first = lion.evaluate("document.activeElement.closest('.photo').querySelector('code').textContent")
    assert lion.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    lion.keyboard.press("ArrowRight")
    second = lion.evaluate("document.activeElement.closest('.photo').querySelector('code').textContent")
    assert first != second
    lion.keyboard.press("ArrowLeft")
    lion.keyboard.press("Enter")
    assert lion.get_by_text(first).is_visible()


@pytest.mark.parametrize("name", ["index.html", "class-lion.html", "class-otter.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(page: Page, folder: Path, name: str, scheme: str) -> None:
    """A language, one main part, headings in order, names for all controls and pictures, unique ids, and contrast of 4.5."""
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto((folder / name).as_uri())
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("main").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((item) => Number(item.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    assert page.evaluate(UNNAMED) == []
    assert (
        page.evaluate(
            "[...document.querySelectorAll('[id]')].length - new Set([...document.querySelectorAll('[id]')].map((i) => i.id)).size"
        )
        == 0
    )
    assert page.evaluate(CONTRAST) == []


def test_without_script_everything_is_shown(browser: Browser, folder: Path) -> None:
    """The filters do nothing then; no photo is hidden."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "class-lion.html").as_uri())
    assert shown(page) == 10
    context.close()
