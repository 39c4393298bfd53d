"""Deduplication over a workspace: what is dropped, why, and that it can be repeated."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from counteranimal import tables
from counteranimal.dedupe import proposals, run
from counteranimal.dedupe.proposals import Fingerprints
from counteranimal.dedupe.run import cluster, fingerprint
from counteranimal.dedupe.second_look import look_at
from counteranimal.errors import IntegrityError
from counteranimal.images import decode
from counteranimal.recipe import DedupeRules, Recipe, load_recipe
from counteranimal.settings import Settings
from counteranimal.workspace import Blob, Workspace

SETTINGS = Settings(workers=1)


@pytest.fixture(scope="session")
def recipe(tmp_path_factory) -> Recipe:
    """A recipe of one class with the default limits."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(
        'name = "made"\n[[classes]]\nid = "fox"\nname = "fox"\nimagenet = [277]\nlabels = ["fox"]\n'
        '[[sources]]\nname = "made"\nkind = "folder"\n',
        encoding="utf-8",
    )
    return load_recipe(path)


@pytest.fixture
def deduplicate(recipe, workspace, fill):
    """Return a function (files, candidates' fields) -> photo ids, counts, rows of clusters by photo, after both steps."""

    def deduplicated(files: list[bytes], fields: list[dict] | None = None):
        ids = fill(files, fields)
        return ids, *run_both(recipe, workspace)

    return deduplicated


@pytest.fixture(scope="session")
def copied(scene, encode) -> list[bytes]:
    """Eight scenes, then weaker, mirrored, lossless and cropped copies of some."""
    small = [scene(seed, (200, 150)) for seed in range(8)]
    files = [encode(picture) for picture in small]
    files += [encode(picture, quality=40) for picture in small[:4]]
    files += [encode(ImageOps.mirror(picture)) for picture in small[2:6]]
    return [*files, encode(small[7], "PNG"), encode(small[7].crop((8, 6, 192, 144)))]


@pytest.fixture(scope="session")
def pictured(scene, with_animal):
    """Return a function seed -> a scene with an animal, 480 x 360."""
    return lambda seed: with_animal(scene(seed, (480, 360)), seed)


def run_both(recipe: Recipe, workspace: Workspace) -> tuple[dict[str, int], dict[str, dict]]:
    """Run both steps and return the counts and the rows of clusters by photo."""
    fingerprint(workspace, settings=SETTINGS)
    counts = cluster(recipe, workspace)
    return counts, {row["photo_id"]: row for row in workspace.table("clusters").to_pylist()}


def turned(picture: Image.Image) -> Image.Exif:
    """Return EXIF that says the picture has to be turned upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.case("E01")
@pytest.mark.case("E02")
def test_planted_copies_are_found_and_name_their_partner(deduplicate, workspace, scene, with_animal, encode):
    """Exact, small, grey, brighter, poor, turned and mirrored copies are dropped for the largest; other photos stay."""
    original = with_animal(scene(1, (480, 360)), 1)
    half = original.resize((240, 180))
    copies = {
        "exact": encode(original, "PNG", compress_level=1),
        "half": encode(half),
        "grey": encode(half.convert("L")),
        "bright": encode(ImageEnhance.Brightness(half).enhance(1.3)),
        "poor": encode(half, quality=40),
        "turned": encode(half.transpose(Image.Transpose.ROTATE_90), exif=turned(half)),
        "mirror": encode(ImageOps.mirror(half)),
    }
    others = [encode(with_animal(scene(seed), seed)) for seed in range(2, 8)]
    ids, counts, rows = deduplicate([encode(original, "PNG"), *copies.values(), *others, others[0]])
    kept = max(ids[0], ids[1], key=lambda name: (len(workspace.blobs.read(name)), name))
    assert counts == {
        "photos": 14, "kept": 7, "exact": 1, "judged": 0, "near": 5, "mirror": 1, "burst": 0, "class_conflict": 0, "reference_overlap": 0, "unsure_overlaps": 0,
        "answers": 0, "unsure": 0,
    }  # fmt: skip
    assert {rows[name]["cluster"] for name in ids[:8]} == {kept}
    assert all(rows[name]["partner"] in ids[:8] and rows[name]["rule"] for name in ids[:8] if name != kept)
    assert rows[ids[7]]["reason"] == "mirror"
    assert {rows[name]["reason"] for name in ids[8:]} == {"unique"}


def test_different_animals_on_one_scene_all_stay(workspace, deduplicate, scene, with_animal, encode):
    """Composites that share their background are never dropped for each other, although both hashes take some for copies."""
    files = [encode(with_animal(scene(place), animal)) for place in range(2) for animal in range(10)]
    fields = [
        {"kind": "composite", "observer_id": str(index % 10), "observed_at": "2026-05-01T10:00:00Z"}
        for index in range(20)
    ]
    _, counts, _ = deduplicate(files, fields)
    assert counts["kept"] == counts["photos"] == 20
    prints = Fingerprints.of(workspace.table("fingerprints"))
    assert proposals.proposed(prints, np.ones(20, bool), DedupeRules())


def test_bursts_follow_the_sources_times_and_composites_have_none(deduplicate, scene, encode, now):
    """Two photos by one person in one minute are a burst, a bare date is no minute, a composite's observer is no person."""
    fields = [
        {"observer_id": "7", "observed_at": now.isoformat()},
        {"observer_id": "7", "observed_at": (now + timedelta(seconds=40)).isoformat()},
        {"observer_id": "8", "observed_at": "2026-05-01"},
        {"observer_id": "8", "observed_at": "2026-05-01"},
        {"observer_id": "9", "observation_id": "3", "kind": "composite", "observed_at": now.isoformat()},
        {"observer_id": "9", "observation_id": "3", "kind": "composite", "observed_at": now.isoformat()},
    ]
    ids, counts, rows = deduplicate([encode(scene(seed)) for seed in range(6)], fields)
    assert counts["burst"] == 1
    assert {rows[name]["reason"] for name in ids[:2]} == {"kept", "burst"}
    assert {rows[name]["reason"] for name in ids[2:]} == {"unique"}


def test_copies_under_two_classes_are_dropped_until_people_find_them_different(
    recipe, deduplicate, workspace, pictured, encode
):
    """A photo and its copy with another class both leave and are asked about; the answer *different* brings both back."""
    picture = pictured(1)
    fields = [{"class_id": "fox"}, {"class_id": "hen"}]
    ids, counts, rows = deduplicate([encode(picture), encode(picture, quality=60)], fields)
    assert (counts["kept"], counts["class_conflict"], counts["unsure"]) == (0, 2, 1)
    assert all(rows[name]["partner"] in ids and "fox and hen" in rows[name]["rule"] for name in ids)
    assert workspace.table("unsure_pairs").to_pylist()[0]["why"].startswith("class_conflict")
    settle(workspace, (ids[0], ids[1], "different"))
    counts, _ = run_both(recipe, workspace)
    assert (counts["kept"], counts["answers"], counts["unsure"]) == (2, 1, 0)


def settle(workspace: Workspace, *answers: tuple[str, str, str]) -> None:
    """Write people's answers (photo, photo, answer) as the rounds would."""
    rows = [
        {
            "photo_a": min(a, b),
            "photo_b": max(a, b),
            "answer": answer,
            "method": "majority",
            "n_votes": 3,
            "round": "d1",
        }
        for a, b, answer in answers
    ]
    workspace.write_table("settled_pairs", tables.conform("settled_pairs", rows))


def test_people_merge_what_hashes_miss_and_part_what_they_join(recipe, deduplicate, workspace, pictured, encode):
    """*Same* merges a corner crop, with its distances; *different* takes a copy's link away; an answer about a lost photo is left out."""
    picture = pictured(4)
    corner = picture.crop((0, 0, 300, 220))
    ids, counts, _ = deduplicate([encode(picture), encode(corner), encode(picture.resize((240, 180)))])
    assert (counts["kept"], counts["near"]) == (2, 1)
    settle(workspace, (ids[0], ids[1], "same"), (ids[0], ids[2], "different"), (ids[0], "f" * 64, "same"))
    counts, rows = run_both(recipe, workspace)
    assert (counts["kept"], counts["judged"], counts["near"], counts["answers"]) == (2, 1, 0, 2)
    assert (rows[ids[1]]["reason"], rows[ids[1]]["partner"]) == ("judged", ids[0])
    assert rows[ids[1]]["phash_distance"] > recipe.dedupe.phash_radius
    assert rows[ids[1]]["rule"] == "people found one photo (majority of 3 vote(s) in round d1)"


@pytest.mark.case("E01")
def test_the_same_pixels_from_three_sources_are_one_photo_with_three_records(deduplicate, workspace, scene, encode):
    """The same bytes from three sources are one object with three candidates; other bytes of the same pixels are its exact copy."""
    same = encode(scene(1), "PNG")
    other = encode(scene(1), "PNG", compress_level=1)
    fields = [{"source": name} for name in ("one", "two", "three", "one")]
    ids, counts, rows = deduplicate([same, same, same, other], fields)
    assert len(set(ids)) == 2
    record = next(row for row in workspace.table("photos").to_pylist() if row["photo_id"] == ids[0])
    assert len(record["candidate_ids"]) == 3
    assert (counts["photos"], counts["kept"], counts["exact"]) == (2, 1, 1)
    assert {rows[name]["rule"] for name in set(ids) if not rows[name]["kept"]} == {"equal pixel digest"}


@pytest.mark.case("E04")
@pytest.mark.parametrize("workers", [2, *(pytest.param(number, marks=pytest.mark.soak) for number in (4, 16))])
def test_order_and_number_of_workers_change_nothing(recipe, fill, copied, request, workers):
    """A second run computes nothing and writes the same tables; so does another workspace, filled in another order, with many workers."""
    workspace, patch = (request.getfixturevalue(name) for name in ("workspace", "monkeypatch"))
    patch.setattr(run, "_SHARD", 1)
    files = list(copied)
    fill(files)
    assert fingerprint(workspace, settings=SETTINGS) == {"photos": 18, "new": 18}
    cluster(recipe, workspace)
    first = {name: workspace.table_path(name).read_bytes() for name in ("fingerprints", "clusters", "unsure_pairs")}
    assert fingerprint(workspace, settings=SETTINGS)["new"] == 0
    other = Workspace(workspace.home.with_name("other"))
    random.Random(1).shuffle(files)
    other.blobs.put_many([Blob(data) for data in files])
    for name in ("photos", "candidates"):
        other.write_table(name, workspace.table(name))
    fingerprint(other, settings=Settings(workers=workers))
    cluster(recipe, other)
    assert {name: other.table_path(name).read_bytes() for name in first} == first


@pytest.mark.case("E04")
def test_photos_that_come_in_any_portions_give_the_same_clusters(recipe, workspace, fill, copied, monkeypatch):
    """Twenty times three runs, with and without a stored index, end in the tables of one run over all photos.

    Photos come in any order, leave and come back in between, and some runs lose their index, as a killed one would.
    """
    ids = fill(copied)
    fingerprint(workspace, settings=SETTINGS)
    cluster(recipe, workspace)
    names = ("clusters", "unsure_pairs")
    first = {name: workspace.table_path(name).read_bytes() for name in names}
    assert {row["reason"] for row in workspace.table("clusters").to_pylist()} >= {"unique", "near", "mirror"}
    shuffler = random.Random(7)
    for number in range(20):
        monkeypatch.setattr(proposals, "_INDEXED", 0 if number % 2 else 100_000)
        other = Workspace(workspace.home.with_name(f"order-{number}"), store=workspace.blobs.root)
        other.write_table("candidates", workspace.table("candidates"))
        other.write_table("fingerprints", workspace.table("fingerprints"))
        for count in (shuffler.randint(1, len(ids)), shuffler.randint(1, len(ids)), len(ids)):
            here = pa.array(shuffler.sample(ids, count))
            photos = workspace.table("photos")
            other.write_table("photos", photos.filter(pc.is_in(photos.column("photo_id"), value_set=here)))
            cluster(recipe, other)
            if number % 4 == 3:
                for described in other.home.rglob("index.json"):
                    described.unlink()
        assert {name: other.table_path(name).read_bytes() for name in names} == first


def test_a_photo_that_is_gone_is_in_no_table_any_more(recipe, workspace, fill, copied):
    """Its pairs leave the stored looks, too, and its copy is found unique again."""
    ids = fill([*copied[:3], copied[8]])
    run_both(recipe, workspace)
    photos = workspace.table("photos")
    workspace.write_table("photos", photos.filter(pc.not_equal(photos["photo_id"], ids[0])))
    counts, rows = run_both(recipe, workspace)
    assert (counts["kept"], rows[ids[3]]["reason"]) == (3, "unique")
    stored = [path for name in ("clusters", "fingerprints") for path in [workspace.table_path(name)]]
    stored += list((workspace.home / "tables" / "looked_pairs").rglob("part-*.parquet"))
    named = {value for path in stored for column in pq.read_table(path).columns for value in column.to_pylist()}
    assert ids[3] in named
    assert ids[0] not in named


def test_a_second_run_looks_at_nothing_again(recipe, workspace, fill, copied, monkeypatch):
    """What a pair was found to be is kept; a new photo is looked at beside its copy and nothing else."""
    before = copied[:9]
    fill(before)
    fingerprint(workspace, settings=SETTINGS)
    cluster(recipe, workspace)
    looked: list[bytes] = []
    monkeypatch.setattr(run, "look_at", lambda data: looked.append(data) or look_at(data))
    cluster(recipe, workspace)
    assert looked == []
    fill(copied[:10])
    fingerprint(workspace, settings=SETTINGS)
    assert cluster(recipe, workspace)["near"] == 2
    assert sorted(looked) == sorted([copied[1], copied[9]])


def test_near_uniform_photos_are_never_merged_by_hash_alone(deduplicate, scene, encode):
    """Snow, sky and sand of one soft shading, which the hashes take for each other, all stay, and people are asked."""
    rng = np.random.default_rng(3)
    shading = scene(5).filter(ImageFilter.GaussianBlur(30))
    made = []
    for tone, spread in ((240, 0.15), (150, 0.8), (190, 0.5)):
        soft = tone + spread * (np.asarray(shading, dtype=np.float64) - 128)
        made += [np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    _, counts, _ = deduplicate([encode(Image.fromarray(picture)) for picture in made])
    assert counts["kept"] == counts["photos"] == 9
    assert counts["unsure"] > 3


def test_a_damaged_photo_is_named(workspace, fill, scene, encode):
    """A stored photo that has changed stops the step with its name."""
    ids = fill([encode(scene(1))])
    path: Path = workspace.blobs.path(ids[0])
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=ids[0]):
        fingerprint(workspace, settings=SETTINGS)


@pytest.mark.case("E03")
@pytest.mark.shared
def test_real_photos_are_never_merged_and_the_shrimp_is_one(deduplicate, shared_data):
    """Of 286 files, two are one by bytes; the other 285 photos all stay."""
    paths = sorted(path for name in ("pets", "wikimedia") for path in (shared_data / "photos" / name).iterdir())
    ids, counts, _ = deduplicate([path.read_bytes() for path in paths])
    shrimps = {
        photo_id for path, photo_id in zip(paths, ids, strict=True) if path.stem in {"shrimp", "Heterocarpus_ensifer"}
    }
    assert len(shrimps) == 1
    assert (len(paths), counts["photos"], counts["kept"]) == (286, 285, 285)


@pytest.mark.case("E02")
@pytest.mark.shared
def test_copies_of_real_photos_are_all_found(deduplicate, shared_data, encode):
    """Quality 40, half size, grey, brighter and EXIF-turned copies of real photos all join their original."""
    paths = sorted((shared_data / "photos" / "pets").iterdir())[::12]
    groups = []
    for path in paths:
        picture = decode(path.read_bytes())
        half = picture.resize((picture.width // 2, picture.height // 2))
        groups.append(
            [
                path.read_bytes(),
                encode(picture, quality=40),
                encode(half),
                encode(picture.convert("L"), quality=80),
                encode(ImageEnhance.Brightness(picture).enhance(1.3), quality=80),
                encode(picture.transpose(Image.Transpose.ROTATE_90), quality=80, exif=turned(picture)),
            ]
        )
    ids, counts, rows = deduplicate([data for group in groups for data in group])
    assert counts["kept"] == len(paths)
    for start in range(0, len(ids), 6):
        assert len({rows[name]["cluster"] for name in ids[start : start + 6]}) == 1
