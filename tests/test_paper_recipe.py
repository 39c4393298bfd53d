"""The paper's recipe holds against the paper's own table, ImageNet's list and the vocabulary."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from counteranimal.recipe import Recipe, background_mapping, imagenet_classes, load_recipe
from counteranimal.resources import resource

REPOSITORY = Path(__file__).resolve().parents[1]
# What is known of which taxa lie inside which: a family or genus of one class must not hold a taxon of another.
ABOVE = {
    "Canidae", "Felidae", "Ursidae", "Mustelidae", "Mustelinae", "Lutrinae", "Hyaenidae", "Viperidae", "Colubridae",
    "Natricidae", "Arachnida", "Araneae", "Phasianidae", "Tetraonini", "Ciconiidae", "Ardeidae", "Accipitridae",
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(resource("data_manifest/recipes/counteranimal-45.toml"))


def test_there_are_45_classes_whose_taxa_have_ranks(recipe: Recipe) -> None:
    """Each class is one ImageNet class and names at least one taxon with its rank written down."""
    assert len(recipe.classes) == 45
    assert all(len(item.imagenet) == 1 and item.taxa for item in recipe.classes)
    assert recipe.text.count("rank = ") == sum(len(item.taxa) for item in recipe.classes)


def test_every_index_stands_beside_its_wnid(recipe: Recipe) -> None:
    """The synset in the comment is that of the index in ImageNet's list, and the name is its first word."""
    names = imagenet_classes()
    for item in recipe.classes:
        [index] = item.imagenet
        wnid, wordnet, _ = names[index]
        assert f"imagenet = [{index}]  # {wnid}\n" in recipe.text
        assert wordnet.split(",")[0].casefold() == item.name.casefold()


def test_no_taxon_serves_two_classes(recipe: Recipe) -> None:
    """No taxon is named twice, none is a genus whose species another class has, and none is a known group above others."""
    taxa = [(item.id, taxon) for item in recipe.classes for taxon in item.taxa]
    assert len({taxon.name for _, taxon in taxa}) == len(taxa)
    genera = {taxon.name: class_id for class_id, taxon in taxa if taxon.rank == "genus"}
    assert not [taxon.name for _, taxon in taxa if taxon.rank == "species" and taxon.name.split()[0] in genera]
    assert not ABOVE & {taxon.name for _, taxon in taxa}
    assert all((" " in taxon.name) == (taxon.rank == "species") for _, taxon in taxa)


def test_backgrounds_are_the_papers(recipe: Recipe) -> None:
    """Indices, synsets and both backgrounds of every class agree with the paper's table, in our words."""
    place = REPOSITORY.parent / "shared" / "paper_tables" / "classes.csv"
    if not place.is_file():
        pytest.skip(f"the paper's table is not at {place}")
    ours = background_mapping("paper")
    with place.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(item.imagenet[0], item.paper and (item.paper.common, item.paper.counter)) for item in recipe.classes]
    assert found == [
        (int(row["imagenet1k_index"]), (ours[row["common_background"]], ours[row["counter_background"]]))
        for row in rows
    ]
    assert all(imagenet_classes()[int(row["imagenet1k_index"])][0] == row["wnid"] for row in rows)
