"""A recipe that names something unknown is refused in one sentence that says what and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from counteranimal.errors import RecipeError
from counteranimal.recipe import Recipe, background_mapping, backgrounds, imagenet_classes, load_recipe

GOOD = """
name = "tiny"
seed = "s"
backgrounds = ["water", "grass", "other"]

[[classes]]
id = "ostrich"
name = "ostrich"
imagenet = [9]

[[classes]]
id = "chicken"
name = "chicken"
imagenet = [8, 7, 7]

[[sources]]
name = "photos"
kind = "folder"
options = { path = "photos" }
"""


def load(folder: Path, text: str) -> Recipe:
    """Write a recipe into a folder and read it."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def test_a_good_recipe_is_read_whole(tmp_path: Path) -> None:
    """Indices are sorted and unique, defaults are filled in, the text is kept for the release."""
    recipe = load(tmp_path, GOOD)
    assert recipe.class_by_id("chicken").imagenet == (7, 8)
    assert recipe.splits[0].n_min == 20
    assert recipe.base == tmp_path.resolve()
    assert recipe.text == GOOD


def test_only_deciding_backgrounds_form_groups_in_vocabulary_order(tmp_path: Path) -> None:
    """`other` may be answered but never forms a group; the order is the vocabulary's, not the recipe's."""
    assert load(tmp_path, GOOD).vocabulary() == ("grass", "water")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("imagenet = [9]", "imagenet = [1000]", r"classes\.0\.imagenet: unknown ImageNet-1K class 1000; indices run from 0"),
        ("imagenet = [9]", "imagenet = []", r"classes\.0\.imagenet: .*at least 1"),
        ("imagenet = [9]", "imagenet = [7]", "ImageNet index 7 belongs to two classes"),
        ('"water"', '"lava"', "unknown background 'lava'; known are grass, shrub"),
        ('id = "chicken"', 'id = "ostrich"', "class 'ostrich' is named twice"),
        ('id = "chicken"', 'id = "../x"', r"classes\.1\.id"),
        ('seed = "s"', 'seed = "s"\nlicences = { allow = ["CC-BY"] }', "unknown licence 'CC-BY'; use SPDX"),
        ('seed = "s"', 'seed = "s"\ncolour = "red"', "colour: Extra inputs are not permitted"),
        ('seed = "s"', 'seed = "s"\nsplits = [{ name = "a" }, { name = "a" }]', "split 'a' is named twice"),
        ('seed = "s"', 'seed = "s"\nsplits = [{ name = "a", unit = "herd" }]', r"splits\.0\.unit"),
        ('kind = "folder"', 'kind = "folder"\nloopback = ["10.0.0.1:80"]', "no loopback host:port pair"),
        ('kind = "folder"', "", r"sources\.0\.kind: Field required"),
        ('seed = "s"', 'seed = "s"\nbase = "/"', "sets a reserved key"),
        ('seed = "s"', "seed = ", "is not TOML: .*line 3"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Unknown classes, backgrounds and licences, double names and bad TOML each have their sentence and exit code 2."""
    with pytest.raises(RecipeError, match=message) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_source_named_twice_is_refused(tmp_path: Path) -> None:
    """Candidate ids begin with the source's name, so two sources must not share one."""
    source = GOOD[GOOD.index("[[sources]]") :]
    with pytest.raises(RecipeError, match="source 'photos' is named twice"):
        load(tmp_path, GOOD + source)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """A curator mends a recipe once, not once a problem."""
    text = GOOD.replace("[9]", "[1000]").replace('kind = "folder"', 'kind = "folder"\nin_flight = 0')
    with pytest.raises(RecipeError, match=r"problem\(s\): .*1000.*in_flight"):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_recipe_that_is_not_there_says_so(tmp_path: Path, name: str) -> None:
    """A missing file and a folder are no traceback."""
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / name)


def test_a_recipe_that_is_no_text_says_so(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are named as such."""
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"name = \xff\xfe")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(path)


def test_an_unknown_class_id_lists_the_known_ones(tmp_path: Path) -> None:
    """Verbs that take a class say what they could have been given."""
    with pytest.raises(RecipeError, match="unknown class 'emu'; the recipe has ostrich, chicken"):
        load(tmp_path, GOOD).class_by_id("emu")


def test_the_vocabulary_is_whole() -> None:
    """Every deciding background has prompts, hotkeys are unique, and mappings lead into the vocabulary."""
    vocabulary = backgrounds()
    assert all(item.prompts for item in vocabulary.values() if item.decides)
    assert len({item.key for item in vocabulary.values()}) == len(vocabulary)
    for mapping in ("paper", "shared"):
        assert set(background_mapping(mapping).values()) <= set(vocabulary)
    with pytest.raises(RecipeError, match="unknown background mapping 'lost'; known are paper, shared"):
        background_mapping("lost")


def test_there_are_a_thousand_classes_in_index_order() -> None:
    """Names are found by index, never by name."""
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert classes[9][1].startswith("ostrich")
    assert classes[134][1] == classes[517][1] == "crane"
