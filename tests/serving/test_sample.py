"""The sample: its plan, its truth, and that a stopped build goes on."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure
from counteranimal.ids import fold_of, fold_unit
from counteranimal.recipe import Recipe, load_recipe
from counteranimal.resources import resource
from counteranimal.serving.demo import demo_recipe
from counteranimal.serving.origins import Origin
from counteranimal.serving.plan import EXACT, NEAR, PLANTED, Photo, plan_sample
from counteranimal.serving.sample import SampleIndex, build_sample, open_sample


@pytest.fixture(scope="module")
def plan() -> tuple[Photo, ...]:
    """The whole plan, with one licence for everything."""
    return plan_sample(lambda _: Origin("Ada", "GPL-2.0-or-later"), quick=False)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(resource("data_manifest/recipes/demo.toml"))


def fold(recipe: Recipe, photo: Photo) -> str:
    unit = fold_unit(
        recipe.sources[0].name, observer_id=str(photo.user_id), observation_id=str(photo.observation_id), photo_id=""
    )
    return fold_of(recipe.seed, unit)


def test_the_plan_has_the_promised_size(plan: tuple[Photo, ...]) -> None:
    """At least 400 photos to keep, 12 classes and 4 backgrounds; every id once; duplicates come after what they repeat."""
    kept = [photo for photo in plan if photo.class_id and not photo.planted]
    assert 400 <= len(kept) <= 460
    assert len({photo.class_id for photo in kept}) >= 12
    assert len({photo.photo_id for photo in plan}) == len(plan)
    assert all(photo.copy_of < photo.photo_id for photo in plan if photo.copy_of)


def test_the_plan_holds_what_is_planted(plan: tuple[Photo, ...]) -> None:
    """Eight exact and eight near duplicates, four dead links, four photos without licence, four with all rights reserved."""
    assert Counter(photo.planted for photo in plan if photo.planted) == PLANTED
    assert PLANTED[EXACT] >= 8
    assert PLANTED[NEAR] >= 8
    assert min(PLANTED.values()) >= 4


def test_a_reserved_photo_is_the_second_of_its_observation(plan: tuple[Photo, ...]) -> None:
    """Its neighbour is licensed, so only the photo's own licence turns it away; no observation has more than two photos."""
    together = defaultdict(list)
    for photo in plan:
        together[photo.observation_id].append(photo)
    assert max(len(photos) for photos in together.values()) == 2
    pairs = [photos for photos in together.values() if len(photos) == 2]
    assert len(pairs) == PLANTED["all_rights_reserved"]
    assert all({photo.planted for photo in pair} == {"", "all_rights_reserved"} for pair in pairs)
    assert all(len({photo.user_id for photo in pair}) == 1 for pair in pairs)


def test_an_observer_is_one_cut_out(plan: tuple[Photo, ...]) -> None:
    """Fold units follow from it: a cut-out's composites never fall into both folds."""
    by_user = defaultdict(set)
    for photo in plan:
        by_user[photo.user_id].add((photo.cut_out, photo.login))
    assert all(len(names) == 1 for names in by_user.values())


def test_the_recipe_splits_the_cut_outs_in_half(plan: tuple[Photo, ...], recipe: Recipe) -> None:
    """11 or 12 of 23 in each fold, and at least four backgrounds have n_min photos in both."""
    folds = {photo.cut_out: fold(recipe, photo) for photo in plan if photo.cut_out}
    assert sorted(Counter(folds.values()).values()) == [11, 12]
    cells = Counter((photo.background, fold(recipe, photo)) for photo in plan if photo.class_id and not photo.planted)
    n_min = recipe.splits[0].n_min
    full = [word for word in recipe.vocabulary() if min(cells[word, "select"], cells[word, "report"]) >= n_min]
    assert len(full) >= 4


def test_the_quick_plan_can_fill_a_group(recipe: Recipe, tmp_path: Path) -> None:
    """Each of its four backgrounds has the quick recipe's n_min in both folds."""
    photos = plan_sample(lambda _: Origin("Ada", "GPL-2.0-or-later"), quick=True)
    path = tmp_path / "quick.toml"
    path.write_text(demo_recipe(resource("data_manifest/recipes/demo.toml"), 4711, quick=True))
    quick = load_recipe(path)
    assert quick.sources[0].loopback == ("127.0.0.1:4711",)
    assert quick.sources[0].options["base_url"] == "http://127.0.0.1:4711"
    cells = Counter((p.background, fold(quick, p)) for p in photos if p.kind == "composite" and not p.planted)
    assert len(cells) == 8
    assert min(cells.values()) >= quick.splits[0].n_min


def test_the_recipe_knows_every_class_by_its_taxon(plan: tuple[Photo, ...], recipe: Recipe) -> None:
    """Each class of the sample is asked for by the taxon it is served under, and no taxon without a class is."""
    asked = {taxon.name: item.id for item in recipe.classes for taxon in item.taxa}
    for photo in plan:
        assert asked.get(photo.taxon, "") == photo.class_id, photo.name
    assert set(asked.values()) == {photo.class_id for photo in plan} - {""}


def test_at_the_default_port_the_recipe_is_the_published_one() -> None:
    """Two runs of the demo freeze the same recipe text."""
    template = resource("data_manifest/recipes/demo.toml")
    assert demo_recipe(template, 8183) == template.read_text(encoding="utf-8")


def test_the_live_recipe_is_polite() -> None:
    """A second between photos, one at a time, far below iNaturalist's 60 questions a minute, and only its own hosts."""
    source = load_recipe(resource("data_manifest/recipes/live.toml")).sources[0]
    assert source.interval_seconds >= 1.0
    assert (source.in_flight, source.loopback) == (1, ())
    assert source.requests_per_minute <= 60
    assert source.options["quality_grade"] == "research"
    assert source.options["photos_per_taxon"] <= 50


def test_a_licence_that_is_not_stated_stays_null() -> None:
    """A cut-out without a licence gives composites without one, whatever the scene's says."""
    photos = plan_sample(
        lambda item: Origin("Ada", None if getattr(item, "name", "") == "ostrich" else "GPL-2.0-or-later"), quick=True
    )
    assert {photo.licence_code for photo in photos if photo.cut_out == "ostrich"} == {None}


@pytest.mark.material
def test_exact_duplicates_are_equal_and_near_ones_are_not(quick_sample: SampleIndex) -> None:
    """Exact duplicates have the same bytes under another observation, near ones other bytes; dead links have no file."""
    by_id = {photo.photo_id: photo for photo in quick_sample.photos}
    for photo in quick_sample.photos:
        if photo.copy_of:
            original = by_id[photo.copy_of]
            same = quick_sample.file(photo.photo_id).read_bytes() == quick_sample.file(original.photo_id).read_bytes()
            assert same == (photo.planted == EXACT)
            assert photo.observation_id != original.observation_id
            assert (photo.class_id, photo.background) == (original.class_id, original.background)
        assert quick_sample.file(photo.photo_id).exists() == (photo.planted != "dead_link")


@pytest.mark.material
def test_the_truth_table_speaks_of_every_photo(quick_sample: SampleIndex) -> None:
    """Native id, digest of the bytes, class, background and what is planted."""
    with quick_sample.truth.open(encoding="utf-8", newline="") as file:
        rows = {row["native_photo_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(quick_sample.photos)
    for photo in quick_sample.photos:
        row = rows[str(photo.photo_id)]
        assert (row["class_id"], row["background"], row["planted"]) == (photo.class_id, photo.background, photo.planted)
        if photo.planted != "dead_link":
            digest = hashlib.sha256(quick_sample.file(photo.photo_id).read_bytes()).hexdigest()
            assert row["sha256"] == digest
            assert quick_sample.backgrounds()[digest] == photo.background


@pytest.mark.material
def test_a_stopped_build_goes_on(quick_sample: SampleIndex, material_root: Path, tmp_path: Path) -> None:
    """What was rendered stays untouched, what is missing comes, and the result is that of one build."""
    first = build_sample(tmp_path, material_root=material_root, quick=True)
    with pytest.raises(EnvironmentFailure, match="no finished sample"):
        open_sample(tmp_path / "elsewhere")
    victim, keeper = [photo.photo_id for photo in first.photos if photo.photo_id in first.sizes][:2]
    (tmp_path / "index.json").unlink()
    first.file(victim).unlink()
    kept = first.file(keeper).stat().st_mtime_ns
    again = build_sample(tmp_path, material_root=material_root, quick=True)
    assert again.file(keeper).stat().st_mtime_ns == kept
    assert again.digests == quick_sample.digests
    assert open_sample(tmp_path) == again
