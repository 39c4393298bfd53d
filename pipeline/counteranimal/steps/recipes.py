"""A curator's recipe before anything is crawled: begun from class names (`init`), checked, and its taxa pinned (`pin`).

Decides what a new recipe holds and that an existing file is never overwritten by `init`. Taxa are never guessed: the synset's
own words are put beside a class as a comment, for a person to check. Leaves what a recipe may say to `recipe`.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from counteranimal.crawl.pin import pin
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.session import openings
from counteranimal.crawl.sources.dump import Dump
from counteranimal.crawl.sources.inaturalist import INaturalistOptions
from counteranimal.crawl.sources.protocol import api_of, read_options
from counteranimal.crawl.sources.taxa import TaxaApi, TaxaTable
from counteranimal.errors import RecipeError, UsageError
from counteranimal.recipe import Recipe, imagenet_classes, load_recipe
from counteranimal.settings import Settings
from counteranimal.steps.curation import check_sources
from counteranimal.steps.models import check_models
from counteranimal.workspace import Workspace, write_atomically

__all__ = ["begin_recipe", "check_recipe", "pin_recipe"]

_MEMORY_MB = 500
_SPECIES = re.compile(r"[A-Z][a-z]+ [a-z]+")
_HEAD = """\
# A recipe for `counteranimal`; docs/reference/recipe.md says what every key means. Give each class its taxa (a wrong taxon is worse
# than none), then: counteranimal recipe check {file} && counteranimal recipe pin {file}
name = {name}
seed = {name}

[licences]
allow = ["CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"]

# iNaturalist's published limits; set COUNTERANIMAL_CONTACT to an address that its operators can write to.
[[sources]]
name = "inaturalist"
kind = "inaturalist"
hosts = ["api.inaturalist.org", "static.inaturalist.org", "inaturalist-open-data.s3.amazonaws.com"]
requests_per_minute = 60
requests_per_day = 10000
bytes_per_hour = 5000000000
bytes_per_day = 24000000000

[sources.options]
photos_per_taxon = 500
"""


def check_recipe(file: Path) -> Recipe:
    """Return a sound recipe.

    Raises
    ------
    RecipeError
        With every problem, each with its place: what the file says wrong, unknown kinds of sources and unknown models. Where a
        part of the file is wrong, the kinds and models of its other parts are looked at all the same.
    """
    problems = []
    try:
        recipe = load_recipe(file)
    except RecipeError as error:
        problems.append(str(error))
        recipe = _sound_parts(file)
    for check in (check_sources, check_models):
        try:
            check(recipe)
        except RecipeError as error:
            problems.append(str(error))
    if problems:
        raise RecipeError("; ".join(problems))
    return recipe


def _sound_parts(file: Path) -> Recipe:
    """Return those parts of a recipe that are right in themselves, the defaults in place of the others; only for further checks."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    parts: dict[str, Any] = {"sources": (), "classes": ()}
    for name, field in Recipe.model_fields.items():
        with suppress(ValidationError):
            parts |= (
                {name: TypeAdapter(field.rebuild_annotation()).validate_python(content[name])}
                if name in content
                else {}
            )
    return Recipe.model_construct(**parts)


def pin_recipe(file: Path, *, settings: Settings, dump: Path | None = None) -> dict[str, Any]:
    """Write the ids of a recipe's taxa into its file, from a folder with the taxa table or from the recipe's iNaturalist source.

    Returns
    -------
    dict
        pinned (now), known (before), and `unpinned`: one sentence for every taxon that has no id.

    Raises
    ------
    RecipeError, UsageError
        If the recipe is not sound, or no source of it can be asked and no table is given.
    UpstreamError
        If the table or the API cannot be read; the file is as it was.
    """
    recipe = load_recipe(file)
    if dump is not None:
        table = Dump(dump.resolve(), "taxa", names=("taxa",))
        with table.opened(memory_mb=_MEMORY_MB, threads=settings.workers) as tables:
            found = pin(recipe, TaxaTable(tables, table.reading("taxa")))
    else:
        with _api(recipe, settings) as taxa:
            found = pin(recipe, taxa)
    if found.new:
        write_atomically(file, found.text.encode())
    return {"pinned": found.new, "known": found.known, "unpinned": list(found.problems)}


@contextmanager
def _api(recipe: Recipe, settings: Settings) -> Iterator[TaxaApi]:
    asked = [spec for spec in recipe.sources if spec.kind == "inaturalist"]
    if not asked:
        raise UsageError(
            "no source of the recipe is an iNaturalist API; give the folder of a taxa table with --taxa-dump"
        )
    journal = Workspace(settings.home, settings.journal_url, settings.store).journal
    opening = next(
        item for item in openings(recipe, journal, settings, Clock(datetime.now(UTC))) if item.spec == asked[0]
    )
    try:
        yield TaxaApi(api_of(opening), read_options(INaturalistOptions, asked[0]).base_url)
    finally:
        opening.ledger.close()


def begin_recipe(file: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Write a recipe for classes given by ImageNet-1K index, wnid or name; the result is sound and has no taxa yet.

    Raises
    ------
    UsageError
        If the file exists, no class is given, one is unknown (with the nearest names) or its name means several.
    """
    if file.exists():
        raise UsageError(f"{file} exists and is not overwritten; choose another name")
    if not classes:
        raise UsageError("no class is named; give --class with an ImageNet-1K index, wnid or name, once for each")
    indices = [_index_of(text) for text in classes]
    twice = sorted({str(index) for index in indices if indices.count(index) > 1})
    if twice:
        raise UsageError(f"class {twice[0]} is named twice; name it once")
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.casefold()).strip("-") or "recipe"
    text = _HEAD.format(name=json.dumps(name), file=file) + "".join(_class_text(index) for index in indices)
    write_atomically(file, text.encode())
    try:
        load_recipe(file)
    except RecipeError:
        file.unlink()
        raise
    return {"recipe": str(file), "classes": len(indices)}


def _index_of(text: str) -> int:
    known = imagenet_classes()
    wanted = " ".join(text.casefold().split())
    if wanted.isdigit():
        if int(wanted) < len(known):
            return int(wanted)
        raise UsageError(f"unknown ImageNet-1K class {wanted}; indices run from 0 to {len(known) - 1}")
    by_name: dict[str, set[int]] = {}
    for index, (wnid, wordnet, openai) in enumerate(known):
        for word in (wnid, openai, wordnet, *wordnet.split(",")):
            by_name.setdefault(" ".join(word.casefold().split()), set()).add(index)
    found = sorted(by_name.get(wanted, ()))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"class {text!r} means several ImageNet-1K classes ({', '.join(map(str, found))}); give the index"
        )
    near = difflib.get_close_matches(wanted, by_name, n=3)
    raise UsageError(
        f"unknown ImageNet-1K class {text!r}" + (f"; did you mean {' or '.join(near)}?" if near else "; give its index")
    )


def _class_text(index: int) -> str:
    wnid, wordnet, openai = imagenet_classes()[index]
    identifier = re.sub(r"[^a-z0-9]+", "-", openai.casefold()).strip("-")
    words = [word.strip() for word in wordnet.split(",")]
    species = next((word for word in words if _SPECIES.fullmatch(word)), None)
    hint = (
        f'# taxa = [{{ name = "{species}", rank = "species" }}]  # the synset\'s own words: check, then remove the #\n'
        if species
        else '# taxa = [{ name = "Genus species", rank = "species" }]\n'
    )
    return (
        f"\n[[classes]]\nid = {json.dumps(f'{identifier}-{index}')}\nname = {json.dumps(openai)}\n"
        f"imagenet = [{index}]  # {wnid}\nlabels = [{json.dumps(words[0])}]\n{hint}"
    )
