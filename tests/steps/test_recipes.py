"""A recipe is begun from class names, and its taxa get ids without a word of it being lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from counteranimal.cli import app
from counteranimal.errors import UpstreamError, UsageError
from counteranimal.recipe import load_recipe
from counteranimal.settings import Settings
from counteranimal.steps.recipes import begin_recipe, pin_recipe
from counteranimal.workspace import Workspace
from tests.fakes.crawled_site import CrawledSite, answer

TAXA = """taxon_id\tancestry\trank_level\trank\tname\tactive
1\t\t70\tkingdom\tAnimalia\ttrue
20\t1\t10\tspecies\tStruthio camelus\ttrue
21\t1\t20\tgenus\tTwin\ttrue
22\t1\t20\tgenus\tTwin\ttrue
23\t1\t10\tspecies\tAnas gone\tfalse
"""
RECIPE = """\
# a comment that stays
name = "pins"   # and this one
[[sources]]
name = "site"
kind = "inaturalist"
loopback = ["PAIR"]
requests_per_minute = 6000
[sources.options]
base_url = "http://PAIR"
[[classes]]
id = "ostrich"
name = "ostrich"
imagenet = [9]
taxa = [{ name = "Struthio camelus", rank = "species" }]  # beside a taxon
[[classes]]
id = "twin"
name = "twin"
imagenet = [10]
taxa = [{ name = "Twin", rank = "genus" }, { name = "Anas gone", rank = "species" },
        { name = "Nobody", rank = "genus" }, { name = "Kept", rank = "genus", id = 5 }]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "taxa.csv").write_text(TAXA)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("PAIR", "127.0.0.1:9"))
    return path


def test_taxa_are_pinned_from_a_table_and_doubtful_ones_told(file: Path) -> None:
    """One id is written, nothing else of the text changes, and the others keep their names with the reason beside."""
    before = file.read_text()
    found = pin_recipe(file, settings=Settings(home=file.parent / "home"), dump=file.parent / "dump")
    assert (found["pinned"], found["known"]) == (1, 1)
    assert [why.partition(": ")[2] for why in found["unpinned"]] == [
        "genus Twin is borne by taxa 21, 22",
        "species Anas gone is inactive (taxon 23)",
        "genus Nobody is unknown",
    ]
    assert file.read_text() == before.replace('rank = "species" }]  # beside', 'rank = "species", id = 20}]  # beside')
    assert load_recipe(file).classes[0].taxa[0].id == 20


def test_pinning_again_changes_nothing(file: Path) -> None:
    """What is pinned is not asked again."""
    settings = Settings(home=file.parent / "home")
    pin_recipe(file, settings=settings, dump=file.parent / "dump")
    once = file.read_text()
    assert pin_recipe(file, settings=settings, dump=file.parent / "dump")["pinned"] == 0
    assert file.read_text() == once


def test_taxa_are_pinned_from_the_api(file: Path) -> None:
    """The recipe's own source is asked, under its budget, for exactly that name and rank."""
    with CrawledSite() as site:
        file.write_text(RECIPE.replace("PAIR", site.pair))
        site.pages["/v1/taxa"] = answer(
            b'{"results": [{"id": 7, "name": "Struthio camelus", "rank": "species", "is_active": true},'
            b' {"id": 8, "name": "Struthio camelus", "rank": "subspecies"}, {"id": 9, "name": null, "rank": null}]}'
        )
        found = pin_recipe(file, settings=Settings(home=file.parent / "home"))
        assert load_recipe(file).classes[0].taxa[0].id == 7
        assert len(found["unpinned"]) == 3
        assert site.seen[0].query == {"q": "Struthio camelus", "rank": "species", "is_active": "any", "per_page": "200"}
        assert Workspace(file.parent / "home").journal.rows("requests")[0]["kind"] == "api"


def test_an_api_that_fails_leaves_the_recipe_as_it_was(file: Path) -> None:
    """A bad answer in the middle writes nothing."""
    with CrawledSite() as site:
        file.write_text(RECIPE.replace("PAIR", site.pair))
        before = file.read_text()
        site.pages["/v1/taxa"] = answer(b'{"results": 3}')
        with pytest.raises(UpstreamError, match="Struthio camelus"):
            pin_recipe(file, settings=Settings(home=file.parent / "home"))
        assert file.read_text() == before


def test_a_recipe_begun_is_sound_and_never_overwrites(tmp_path: Path) -> None:
    """By index, wnid or name; the synset's words are a comment, since a wrong taxon is worse than none."""
    path = tmp_path / "wild.toml"
    begin_recipe(path, ["ostrich", "291", "n02129604"])
    recipe = load_recipe(path)
    assert [item.imagenet for item in recipe.classes] == [(9,), (291,), (292,)]
    assert not any(item.taxa for item in recipe.classes)
    assert '# taxa = [{ name = "Struthio camelus"' in path.read_text()
    uncommented = path.read_text().replace("# taxa", "taxa")
    path.write_text(uncommented)
    assert load_recipe(path).classes[0].taxa[0].name == "Struthio camelus"
    with pytest.raises(UsageError, match="not overwritten"):
        begin_recipe(path, ["ostrich"])
    assert path.read_text() == uncommented


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["ostrichh"], "did you mean ostrich"),
        (["crane"], "134, 517"),
        (["1000"], "0 to 999"),
        (["9", "ostrich"], "named twice"),
        ([], "--class"),
    ],
)
def test_a_class_that_cannot_be_told_is_refused(tmp_path: Path, classes: list[str], said: str) -> None:
    """Unknown, several or repeated: one sentence, no file."""
    with pytest.raises(UsageError, match=said):
        begin_recipe(tmp_path / "r.toml", classes)
    assert not (tmp_path / "r.toml").exists()


def test_verbs_say_what_is_left_to_do(file: Path) -> None:
    """Check names the taxa without id, pin the ones that stay so, and a missing table is a usage error."""
    runner = CliRunner()
    assert "4 taxa have no id yet" in runner.invoke(app, ["recipe", "check", str(file)]).stdout
    pinned = runner.invoke(app, ["recipe", "pin", str(file), "--taxa-dump", str(file.parent / "dump")])
    assert "1 taxa pinned now, 1 before, 3 without id" in pinned.stdout
    assert runner.invoke(app, ["recipe", "pin", str(file), "--taxa-dump", str(file.parent)]).exit_code == 2
    assert runner.invoke(app, ["init", str(file), "--class", "ostrich"]).exit_code == 2
