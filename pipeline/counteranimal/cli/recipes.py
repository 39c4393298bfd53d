"""Verbs on a recipe before anything is crawled: `init`, `recipe check`, `recipe pin`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counteranimal.cli.common import AsJson, Home, emit, verb
from counteranimal.settings import load_settings
from counteranimal.steps.recipes import begin_recipe, check_recipe, pin_recipe

__all__ = ["recipe", "register"]

recipe = typer.Typer(help="Check a recipe, and pin its taxa.", no_args_is_help=True)

RecipePath = Annotated[Path, typer.Argument(help="The recipe (TOML).")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command(epilog="Example: counteranimal init wild.toml --class ostrich --class 291 --class n02129604")(init)
    app.add_typer(recipe, name="recipe")


@verb
def init(
    file: Annotated[Path, typer.Argument(help="The recipe to write; an existing file is left alone.")],
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="An ImageNet-1K index, wnid or name; repeat for each.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Begin a recipe for classes of your own; taxa are yours to give, the synset's own words stand beside as comments."""
    found = begin_recipe(file, classes or [])
    sentence = f"{file} has {found['classes']} classes; give them taxa, then run `counteranimal recipe check {file}`"
    emit(found, as_json=as_json, sentence=sentence)


@recipe.command(name="check", epilog="Example: counteranimal recipe check data_manifest/recipes/demo.toml")
@verb
def check(file: RecipePath, as_json: AsJson = False) -> None:
    """Check a recipe: every problem at once, with its place."""
    checked = check_recipe(file)
    unpinned = checked.unpinned
    bare = [item.id for item in checked.classes if not item.taxa]
    sentence = f"recipe {checked.name} is sound: {len(checked.classes)} classes, {len(checked.sources)} sources, {len(checked.splits)} splits"
    if unpinned:
        sentence += (
            f"; {len(unpinned)} taxa have no id yet and are asked for by name (`counteranimal recipe pin {file}`)"
        )
    if bare and any(spec.kind.startswith("inaturalist") for spec in checked.sources):
        sentence += f"; {len(bare)} classes have no taxa, so that iNaturalist is not asked for them"
    counts = {"classes": len(checked.classes), "sources": len(checked.sources), "unpinned_taxa": len(unpinned)}
    emit({"name": checked.name, **counts, "classes_without_taxa": bare}, as_json=as_json, sentence=sentence)


@recipe.command(name="pin", epilog="Example: counteranimal recipe pin recipe.toml --taxa-dump open-data/")
@verb
def pin(
    file: RecipePath,
    taxa_dump: Annotated[
        Path | None, typer.Option("--taxa-dump", help="Folder with open data's taxa.csv or taxa.csv.gz; asks nobody.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write the ids of taxa into the recipe, from a table or politely from its API; doubtful names stay unpinned and are told."""
    found = pin_recipe(file, settings=load_settings(home=home), dump=taxa_dump)
    lines = [f"{file}: {found['pinned']} taxa pinned now, {found['known']} before, {len(found['unpinned'])} without id"]
    emit(found, as_json=as_json, sentence="\n".join([*lines, *(f"not pinned: {why}" for why in found["unpinned"])]))
