"""iNaturalist's open-data tables: which photos come out, in which order, and what a bad table is called."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.candidates import Offer, judge
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.run import discover
from counteranimal.crawl.sources import Opening, open_source
from counteranimal.errors import Reason, RecipeError, UpstreamError
from counteranimal.recipe import RecipeClass, SourceSpec, Taxon
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace
from tests.crawl.conftest import AGENT, NOW, recipe_of

TABLES = {
    "taxa": [
        "taxon_id ancestry rank_level rank name active", "1 - 70 kingdom Animalia true", "7 1 20 genus Canis true",
        "70 1/7 10 species Lupus true", "700 1/7/70 5 subspecies Arctos true", "77 1 20 genus Canisoides true",
        "8 1 20 genus Vulpes true", "9 1 20 genus Twin true", "10 1 20 genus Twin true", "11 1 20 genus Gone false",
    ],
    "observations": [
        "observation_uuid observer_id latitude longitude positional_accuracy taxon_id quality_grade observed_on anomaly_score",
        "a 5 12.3456 65.4321 9 700 research 2020-01-01 0.1", "b 6 12.3456 65.4321 9 7 needs_id 2020-01-02 0.1",
        "c 6 12.3456 65.4321 - 70 research - -", "d 5 12.3456 65.4321 9 77 research 2020-01-04 0.1",
    ],
    "photos": [
        "photo_uuid photo_id observation_uuid observer_id extension license width height position",
        "u 30 a 5 jpeg CC-BY 1 1 0", "u 20 a 5 jpg CC-BY-ND 1 1 1", "u 10 c 6 jpg CC0 1 1 1", "u 11 c 6 jpg CC-BY-ND 1 1 0",
        "u 12 b 6 jpg CC0 1 1 0", "u 13 d 5 jpg CC0 1 1 0", "u 30 c 6 jpg CC-BY 1 1 3",
    ],
    "observers": ["observer_id login name", '5 ada "Ada', "6 ben -"],
}  # fmt: skip


def write(folder: Path, *, zipped: bool = False, **changes: list[str]) -> Path:
    """Write the tables, a dash for an empty value."""
    for name, lines in {**TABLES, **changes}.items():
        text = "".join("\t".join("" if v == "-" else v for v in line.split(" ")) + "\n" for line in lines).encode()
        place = folder / (f"{name}.csv.gz" if zipped else f"{name}.csv")
        place.write_bytes(gzip.compress(text) if zipped else text)
    return folder


def dump_spec(**options: Any) -> SourceSpec:
    return SourceSpec(name="dump", kind="inaturalist-open-data", options={"folder": ".", **options})


def opened(folder: Path, *taxa: Taxon, **options: Any) -> Any:
    spec, clock = dump_spec(**options), Clock(NOW)
    dog = RecipeClass(id="dog", name="dog", imagenet=(207,), taxa=taxa or (Taxon(name="Canis", id=7),))
    recipe = recipe_of(spec, classes=(dog,), base=folder)
    return open_source(Opening(spec, recipe, Ledger(Journal("sqlite://"), spec, clock), clock, AGENT))


def offers(source: Any, cursor: str = "") -> list[Offer]:
    return [offer for page in source.pages(cursor) for offer in page.offers]


@pytest.mark.parametrize("zipped", [False, True])
def test_taxon_with_descendants_by_grade_and_the_photos_own_licence(tmp_path: Path, zipped: bool):
    """One allowed photo an observation of the taxon or below comes out, ordered by id, and no coordinate anywhere."""
    found = offers(opened(write(tmp_path, zipped=zipped)))
    assert [(o.native_id, o.observation_id, o.taxon, o.author, o.licence_raw, o.observed_at) for o in found] == [
        ("10", "c", "Lupus", "ben", "CC0", None), ("30", "a", "Arctos", '"Ada', "CC-BY", "2020-01-01"),
    ]  # fmt: skip
    assert found[1].url == "https://inaturalist-open-data.s3.amazonaws.com/photos/30/medium.jpeg"
    assert judge("dump", found[1], ("CC-BY-4.0",), NOW)["licence"] == "CC-BY-4.0"
    assert not any("12.3456" in str(offer) or "65.4321" in str(offer) for offer in found)


def test_options_widen_what_comes_out(tmp_path: Path):
    """Any grade, any licence and several photos an observation are options; a photo of two observations comes once."""
    source = opened(write(tmp_path), quality_grade="any", only_licensed=False, photos_per_observation=9)
    assert [offer.native_id for offer in offers(source)] == ["10", "11", "12", "20", "30"]


def test_reading_goes_on_behind_the_cursor_and_another_dump_begins_anew(tmp_path: Path):
    """The cursor is the last id, then the end; a table that changed is another query."""
    source = opened(write(tmp_path))
    assert [offer.native_id for offer in offers(source, "10")] == ["30"]
    pages = list(source.pages(""))
    assert [page.cursor for page in pages] == ["30", "end"]
    assert offers(source, "end") == []
    write(tmp_path, observers=[*TABLES["observers"], "7 eve -"])
    assert opened(tmp_path).query != source.query


def test_unpinned_taxon_is_found_by_name_and_rank(tmp_path: Path):
    """A name of one active taxon of its rank is enough."""
    assert len(offers(opened(write(tmp_path), Taxon(name="Canis", rank="genus")))) == 2


@pytest.mark.parametrize(
    ("name", "rank", "words"),
    [
        ("Twin", "genus", "genus Twin is borne by taxa 9, 10"), ("Gone", "genus", "genus Gone is inactive"),
        ("Canis", "species", "species Canis is unknown"),
    ],
)  # fmt: skip
def test_taxon_that_cannot_be_told_is_refused(tmp_path: Path, name: str, rank: str, words: str):
    """An unknown, inactive or ambiguous name is never guessed."""
    with pytest.raises(RecipeError, match=words):
        offers(opened(write(tmp_path), Taxon(name=name, rank=rank)))


def test_taxon_of_two_classes_is_refused(tmp_path: Path):
    """A photo cannot belong to a class and to another one that holds it."""
    spec, clock = dump_spec(), Clock(NOW)
    classes = (
        RecipeClass(id="dog", name="dog", imagenet=(207,), taxa=(Taxon(name="Canis", id=7),)),
        RecipeClass(id="wolf", name="wolf", imagenet=(269,), taxa=(Taxon(name="Lupus", id=70),)),
    )
    opening = Opening(
        spec, recipe_of(spec, classes=classes, base=write(tmp_path)), Ledger(Journal("sqlite://"), spec, clock), clock, AGENT
    )  # fmt: skip
    with pytest.raises(RecipeError, match=r"taxon Lupus \(70\) belongs to classes dog and wolf"):
        offers(open_source(opening))


def test_bad_tables_are_said_with_their_place(tmp_path: Path):
    """A missing table, a missing column and a cut archive are each one sentence."""
    with pytest.raises(RecipeError, match=r"neither photos\.csv nor"):
        opened(tmp_path)
    write(tmp_path)
    write(tmp_path, taxa=["taxon_id rank name active"])
    with pytest.raises(RecipeError, match=r"taxa\.csv has no column 'ancestry'"):
        offers(opened(tmp_path))
    (tmp_path / "photos.csv").unlink()
    write(tmp_path / ".", zipped=True)
    (tmp_path / "taxa.csv.gz").write_bytes((tmp_path / "taxa.csv.gz").read_bytes()[:5])
    (tmp_path / "taxa.csv").unlink()
    with pytest.raises(UpstreamError, match=r"taxa\.csv\.gz cannot be read"):
        offers(opened(tmp_path))


def test_broken_line_is_refused_by_number_and_the_rest_is_read(tmp_path: Path):
    """A photo without a number and an observation with too many fields are refusals that tell no coordinate."""
    photos = [TABLES["photos"][0], "u x a 5 jpg CC0 1 1 0", *TABLES["photos"][1:]]
    observations = [*TABLES["observations"], "e 5 12.3456 65.4321 9 7 research - - x"]
    found = offers(opened(write(tmp_path, photos=photos, observations=observations)))
    assert [offer.native_id for offer in found] == ["10", "30", "observations-line-6", "photos-line-2"]
    assert [offer.note for offer in found[2:]] == ["observations, line 6: too many columns", "photos, line 2: cast"]
    assert {offer.refused for offer in found[2:]} == {Reason.LINE}


@pytest.mark.shared
def test_published_tables_are_read(shared_data: Path, tmp_path: Path):
    """Fifty real rows of every table, with taxa of our own, come out under their licences and names."""
    real = shared_data / "upstream/inaturalist/open-data"
    for name in ("photos", "observations", "observers"):
        (tmp_path / f"{name}.csv").write_bytes((real / f"{name}.csv").read_bytes())
    rows = [line.split("\t") for line in (real / "observations.csv").read_text().splitlines()[1:]]
    taxa = [
        f"{number}\t1\t10\tspecies\tS{number}\ttrue"
        for number in sorted({row[5] for row in rows if len(row) == 8 and row[5]})
    ]
    (tmp_path / "taxa.csv").write_text("\n".join(["taxon_id\tancestry\trank_level\trank\tname\tactive", *taxa]) + "\n")
    found = offers(opened(tmp_path, Taxon(name="Animalia", id=1), only_licensed=False, quality_grade="any"))
    whole = {row[0] for row in rows if len(row) == 8 and row[5]}
    shown = {line.split("\t")[2] for line in (real / "photos.csv").read_text().splitlines()}
    assert {offer.observation_id for offer in found if not offer.refused} == whole & shown
    assert [offer.native_id for offer in found if offer.refused] == [
        f"observations-line-{number}" for number, row in enumerate(rows, 2) if len(row) != 8
    ]
    assert all(offer.author != "None" for offer in found)
    assert any(offer.author for offer in found)


def test_class_added_to_a_recipe_adds_only_its_photos(tmp_path: Path, workspace: Workspace, settings: Settings):
    """After a class is added, its photos are new, and nothing is journalled again for the others."""
    spec = dump_spec(quality_grade="any")
    write(tmp_path)
    dog = RecipeClass(id="dog", name="dog", imagenet=(207,), taxa=(Taxon(name="Canis", id=7),))
    other = RecipeClass(id="other", name="other", imagenet=(277,), taxa=(Taxon(name="Canisoides", id=77),))
    recipe = recipe_of(spec, classes=(dog,), base=tmp_path)
    assert discover(recipe, workspace, settings=settings, now=NOW)["new"] == 3
    assert discover(recipe, workspace, settings=settings, now=NOW)["offered"] == 0
    counts = discover(recipe.model_copy(update={"classes": (dog, other)}), workspace, settings=settings, now=NOW)
    assert (counts["offered"], counts["new"], counts["changed"]) == (4, 1, 0)
