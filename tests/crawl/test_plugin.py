"""A source that somebody else wrote: the example of docs/how-to/add-a-source.md, installed by its entry point and crawled."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from aiohttp import web

from counteranimal.conservation import account
from counteranimal.crawl.run import discover, fetch_pending
from counteranimal.crawl.snapshot import candidates_table, fetches_table, photos_table
from counteranimal.errors import RecipeError
from counteranimal.ids import photo_id_of
from counteranimal.recipe import Recipe, SourceSpec
from counteranimal.settings import Settings
from counteranimal.tables import empty
from counteranimal.workspace import Workspace
from tests.crawl.conftest import recipe_of
from tests.fakes.crawled_site import CrawledSite, answer, jpeg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-source.md"


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SourceSpec]:
    """Lay the page's package on the path as an installer would, and return its recipe's source."""
    [code] = blocks("python")
    project, recipe = (tomllib.loads(text) for text in blocks("toml"))
    groups = project["project"]["entry-points"]
    [(kind, target)] = groups["counteranimal.sources"].items()
    module = target.partition(":")[0]
    place = tmp_path / "site-packages"
    metadata = place / f"{module}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (place / f"{module}.py").write_text(code, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[counteranimal.sources]\n{kind} = {target}\n")
    monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()
    [source] = recipe["sources"]
    yield SourceSpec(**source)
    sys.modules.pop(module, None)


def at(site: CrawledSite, spec: SourceSpec) -> Recipe:
    """Return a recipe that asks the page's source at a site on loopback."""
    changes = {"loopback": (site.pair,), "options": {"base_url": site.url}, "requests_per_minute": 1000}
    return recipe_of(spec.model_copy(update={**changes, "interval_seconds": 0.0}))


def test_the_example_is_found_crawled_and_resumed(
    installed: SourceSpec, site: CrawledSite, workspace: Workspace, settings: Settings, now: datetime
):
    """Its offers are judged as any source's: licence, author, class and digest decide; a second run goes on behind its cursor."""
    museum = [
        {"number": 1, "animal": "dog", "photographer": "Ada", "licence": "CC-BY-4.0", "file": f"{site.url}/1.jpg"},
        {"number": 2, "animal": "dog", "photographer": None, "licence": "CC-BY-4.0", "file": f"{site.url}/2.jpg"},
        {"number": 3, "animal": "dog", "licence": None, "file": f"{site.url}/3.jpg"},
        {"number": 4, "animal": "vase", "licence": "CC0-1.0", "file": f"{site.url}/4.jpg"},
        {"number": 5, "animal": "dog", "licence": "CC0-1.0"},
        {"number": 6, "animal": "dog", "licence": "CC0-1.0", "file": f"{site.url}/6.jpg", "sha256": photo_id_of(b"x")},
    ]
    site.pages.update({f"/{number}.jpg": answer(jpeg(number)) for number in range(1, 9)})

    async def listed(request: web.Request) -> web.StreamResponse:
        after = int(request.query["after"])
        return web.json_response({"pictures": [item for item in museum if item["number"] > after][:2]})

    site.pages["/list"] = listed
    recipe = at(site, installed)
    assert discover(recipe, workspace, settings=settings, now=now)["new"] == 6
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 1
    museum.append({"number": 7, "animal": "dog", "licence": "CC0-1.0", "file": f"{site.url}/7.jpg"})
    site.seen.clear()
    assert discover(recipe, workspace, settings=settings, now=now)["new"] == 1
    assert [seen.query["after"] for seen in site.seen if seen.path == "/list"] == ["6", "7"]
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 1
    journal = workspace.journal
    counted = account(
        candidates_table(journal), fetches_table(journal), photos_table(recipe, journal), empty("clusters")
    )
    assert counted.sentence() == (
        "discovered 7 = stored 2 + rejected 5 (E_ATTRIBUTION 1, E_CLASS 1, E_LICENSE 1, E_LINE 1, E_MISMATCH 1)"
    )


def test_a_wrong_option_of_the_example_is_named(
    installed: SourceSpec, site: CrawledSite, workspace: Workspace, settings: Settings, now: datetime
):
    """What a plug-in's own options forbid is a mistake in the recipe, said in one sentence."""
    recipe = recipe_of(installed.model_copy(update={"options": {"base": site.url}}))
    with pytest.raises(RecipeError, match="source 'museum' of kind museum: base: Extra inputs"):
        discover(recipe, workspace, settings=settings, now=now)
