"""Hash lists of training sets: how they are made, what is found with them, and what they never do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from counteranimal import tables
from counteranimal.dedupe import hash_list, run
from counteranimal.dedupe.hash_list import list_folder, read_hash_list
from counteranimal.dedupe.reference import adopt, stored
from counteranimal.dedupe.run import cluster, fingerprint
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.ids import photo_id_of
from counteranimal.images import decode
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec
from counteranimal.settings import Settings

HOOKS = Path(__file__).parents[1] / "images" / "hooks"
RECIPE = Recipe(
    name="made",
    classes=(RecipeClass(id="fox", name="fox", imagenet=(277,)),),
    sources=(SourceSpec(name="made", kind="folder"),),
)
Compare = Callable[[list[bytes], list[bytes]], tuple[list[str], dict[str, int], dict[str, dict]]]


def written(folder: Path, files: list[bytes]) -> Path:
    """Write files as 000, 001, ... and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number:03d}").write_bytes(data)
    return folder


def clustered(workspace) -> tuple[dict[str, int], dict[str, dict]]:
    """Run both steps and return the counts and the rows of clusters by photo."""
    fingerprint(workspace, settings=Settings(workers=1))
    counts = cluster(RECIPE, workspace)
    return counts, {row["photo_id"]: row for row in workspace.table("clusters").to_pylist()}


@pytest.fixture
def compare(workspace, fill, tmp_path) -> Compare:
    """Return a function (photos, photos of the set) -> photo ids, counts and rows of clusters, compared with the set."""

    def compared(photos: list[bytes], training: list[bytes], fields: list[dict] | None = None):
        out = tmp_path / "train.parquet"
        list_folder(written(tmp_path / "train", training), out)
        adopt(workspace, [out])
        return fill(photos, fields), *clustered(workspace)

    return compared


def edits(picture: Image.Image, encode, kind: int) -> bytes:
    """Return a weaker, a smaller or a mirrored copy."""
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return [encode(picture, quality=40), encode(half), encode(ImageOps.mirror(picture))][kind % 3]


@pytest.mark.case("I14")
@pytest.mark.shared
def test_photos_of_a_training_set_are_found_again(compare, shared_data, encode):
    """Of 25 real photos in the set, each edited, at least 24 are dropped for it; of 30 others none."""
    paths = sorted(path for name in ("pets", "wikimedia") for path in (shared_data / "photos" / name).iterdir())
    training, others = paths[:100], [path.read_bytes() for path in paths[100:130]]
    planted = [edits(decode(path.read_bytes()), encode, kind) for kind, path in enumerate(training[::4])]
    ids, counts, rows = compare([*planted, *others], [path.read_bytes() for path in training])
    found = [rows[name]["reason"] == "reference_overlap" for name in ids]
    assert len(planted) == 25
    assert sum(found[:25]) >= 24
    assert not any(found[25:])
    assert counts["reference_overlap"] == sum(found)
    for place, name in enumerate(ids[:25]):
        if found[place]:
            assert rows[name]["partner"] == f"train:{4 * place:03d}"
            assert rows[name]["rule"].endswith("pHash <= 8, dHash <= 8")
            assert max(rows[name]["phash_distance"], rows[name]["dhash_distance"]) <= 8


def test_a_photo_in_the_set_takes_its_copies_with_it_and_is_told(compare, workspace, scene, encode):
    """Equal bytes are an overlap; a copy that lies further from the set's photo is dropped with the one that does not."""
    pictures = [scene(seed, (200, 150)) for seed in range(4)]
    files = [encode(picture) for picture in pictures]
    crop = encode(pictures[0].crop((8, 6, 192, 144)).resize((200, 150)))
    ids, counts, rows = compare([*files, crop], [files[0], encode(scene(9, (200, 150)))])
    assert (rows[ids[0]]["partner"], rows[ids[0]]["rule"], rows[ids[0]]["phash_distance"]) == (
        "train:000",
        "equal sha256",
        0,
    )
    assert rows[ids[4]]["rule"] == f"copy of photo {ids[0]}; equal sha256"
    assert {rows[name]["reason"] for name in ids[1:4]} == {"unique"}
    assert (counts["reference_overlap"], counts["kept"], counts["unsure_overlaps"]) == (2, 3, 0)
    told = workspace.table("references").to_pylist()
    assert [(row["name"], row["hashes"], row["unreadable"], row["overlaps"]) for row in told] == [("train", 2, 0, 2)]


def test_every_drop_names_its_partner_its_distances_and_its_rule(compare, workspace, scene, encode):
    """One photo dropped for each reason there is, and a copy of one that the set holds."""
    pictures = [scene(seed, (200, 150)) for seed in range(9)]
    plain = [encode(picture, "PNG") for picture in pictures]
    pairs = {
        "exact": [plain[6], encode(pictures[6], "PNG", compress_level=1)],
        "near": [plain[1], encode(pictures[1], quality=60)],
        "mirror": [plain[2], encode(ImageOps.mirror(pictures[2]))],
        "class_conflict": [plain[3], encode(pictures[3])],
        "burst": plain[4:6],
        "reference_overlap": [encode(pictures[0]), encode(pictures[0].crop((8, 6, 192, 144)).resize((200, 150)))],
        "judged": plain[7:9],
    }
    reasons = [reason for reason, pair in pairs.items() for _ in pair]
    fields = [
        {
            "class_id": "hen" if reason == "class_conflict" and place % 2 else "fox",
            "observation_id": "1" if reason == "burst" else None,
        }
        for place, reason in enumerate(reasons)
    ]
    settled = sorted(photo_id_of(data) for data in pairs["judged"])
    answer = {"answer": "same", "method": "majority", "n_votes": 3, "round": "d1"}
    rows = [{"photo_a": settled[0], "photo_b": settled[1], **answer}]
    workspace.write_table("settled_pairs", tables.conform("settled_pairs", rows))
    ids, _, found = compare([data for pair in pairs.values() for data in pair], pairs["reference_overlap"][:1], fields)
    dropped = {name: row for name, row in found.items() if not row["kept"]}
    assert {row["reason"] for row in dropped.values()} == set(run.REASONS) == set(pairs)
    assert {reasons[ids.index(name)]: row["reason"] for name, row in dropped.items()} == {name: name for name in pairs}
    for row in dropped.values():
        assert row["partner"]
        assert row["rule"]
        assert None not in (row["phash_distance"], row["dhash_distance"])
    copy = dropped[ids[11]]
    assert copy["rule"].startswith(f"copy of photo {ids[10]}; ")
    assert 0 < copy["phash_distance"] <= 14


def test_near_uniform_photos_are_told_and_never_dropped_by_hash(compare, workspace, encode):
    """Two fields of snow that the hashes take for each other: unsure, and kept. The same bytes are an overlap all the same."""
    rng = np.random.default_rng(0)
    snow = [
        encode(
            Image.fromarray(np.clip(245 + rng.normal(0, 1, (150, 200)), 0, 255).astype(np.uint8)).convert("RGB"), "PNG"
        )
        for _ in range(2)
    ]
    even = [encode(Image.new("RGB", (200, 150), (tone, tone, tone)), "PNG") for tone in (240, 250)]
    ids, counts, rows = compare([even[0], snow[0]], [even[1], snow[0]])
    assert rows[ids[0]]["kept"]
    assert rows[ids[1]]["reason"] == "reference_overlap"
    assert counts["unsure_overlaps"] == 1
    found = {row["photo_id"]: row for row in workspace.table("reference_overlaps").to_pylist()}
    assert (found[ids[0]]["verdict"], found[ids[0]]["path"]) == ("unsure", "000")
    assert "one tone" in found[ids[0]]["rule"]


def test_later_runs_compare_with_the_same_lists(compare, workspace, fill, scene, encode):
    """A run without --against compares with the lists that the workspace keeps; without lists no photo is dropped for one."""
    files = [encode(scene(seed, (200, 150))) for seed in range(2)]
    _, counts, _ = compare(files, files[:1])
    again, _ = clustered(workspace)
    assert counts["reference_overlap"] == again["reference_overlap"] == 1
    (kept,) = (workspace.home / "references").iterdir()
    path = kept / "train.parquet"
    data = path.read_bytes()
    assert kept.name == hashlib.sha256(data).hexdigest()
    path.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"has changed on disk; remove its folder"):
        stored(workspace)
    path.unlink()
    kept.rmdir()
    assert clustered(workspace)[0]["reference_overlap"] == 0


def test_every_file_of_a_folder_is_listed(tmp_path, scene, encode):
    """Photos with hashes, what is none with its reason, odd names spelled out; links are not followed, and nothing is overwritten."""
    folder = written(
        tmp_path / "set", [encode(scene(0, (200, 150))), b"", b"text", encode(scene(1, (200, 150)))[:-500]]
    )
    (folder / "deep").mkdir()
    (folder / "deep" / "small").write_bytes(encode(scene(2, (40, 40))))
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))).write_bytes(encode(scene(0, (200, 150))))
    (folder / "link").symlink_to(folder / "000")
    out = tmp_path / "set.parquet"
    counts = list_folder(folder, out)
    rows = {row["path"]: row for row in pq.read_table(out).to_pylist()}
    assert {name: row["reason"] for name, row in rows.items()} == {
        "000": None, "001": "E_EMPTY", "002": "E_TYPE", "003": "E_TRUNCATED", "deep/small": "E_TOO_SMALL", "\\udcff": None,
    }  # fmt: skip
    assert rows["000"]["phash"] == rows["\\udcff"]["phash"]
    assert rows["002"]["sha256"] == hashlib.sha256(b"text").hexdigest()
    assert (counts["files"], counts["hashed"], counts["unreadable"]) == (6, 2, 4)
    assert (read_hash_list(out).name, read_hash_list(out).unreadable) == ("set", 4)
    with pytest.raises(UsageError, match="exists; remove it"):
        list_folder(folder, out)


def test_a_killed_list_goes_on(tmp_path, scene, encode, monkeypatch):
    """What a first run hashed is not hashed again, unless the file has changed since; a finished list leaves nothing beside it."""
    folder = written(tmp_path / "set", [encode(scene(seed, (120, 90))) for seed in range(4)])
    out, hashed = tmp_path / "set.parquet", []
    monkeypatch.setattr(hash_list, "_SHARD", 1)

    def once(path: Path, *rest):
        hashed.append(path)
        if len(hashed) == 3:
            raise KeyboardInterrupt
        return real(path, *rest)

    real = hash_list._hashed
    monkeypatch.setattr(hash_list, "_hashed", once)
    with pytest.raises(KeyboardInterrupt):
        list_folder(folder, out)
    assert not out.exists()
    (folder / "000").write_bytes(encode(scene(8, (120, 90))))
    counts = list_folder(folder, out)
    assert (counts["hashed"], len(hashed)) == (4, 3 + 3)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_that_kills_its_decoder_is_a_row(tmp_path, scene, encode, monkeypatch):
    """The list is written all the same, with the other photos of the folder."""
    monkeypatch.syspath_prepend(str(HOOKS))
    import faulty_decoders

    monkeypatch.setattr(hash_list, "hashes_in", faulty_decoders.hash_or_crash)
    photo = encode(scene(0, (120, 90)))
    counts = list_folder(
        written(tmp_path / "set", [photo, photo + b"crash", photo]), tmp_path / "set.parquet", workers=2
    )
    assert (counts["hashed"], counts["reasons"]) == (2, {"E_DECODE_CRASH": 1})


def test_lists_that_cannot_be_compared_are_refused(workspace, tmp_path, scene, encode):
    """A missing, damaged or foreign file, another recipe and another list of the same name are refused with the next step."""
    out = tmp_path / "set.parquet"
    list_folder(written(tmp_path / "set", [encode(scene(0, (120, 90)))]), out)
    table, other = pq.read_table(out), tmp_path / "other.parquet"
    with pytest.raises(UsageError, match="make one with `counteranimal fingerprint DIR"):
        adopt(workspace, [tmp_path / "nothing.parquet"])
    other.write_bytes(out.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match="damaged or no Parquet file"):
        adopt(workspace, [out, other])
    assert stored(workspace) == []
    pq.write_table(table.replace_schema_metadata({}), other)
    with pytest.raises(IntegrityError, match="is no hash list of this version"):
        read_hash_list(other)
    pq.write_table(
        table.replace_schema_metadata({**table.schema.metadata, b"recipe": b"draft128-1+pillow-rgb-1"}), other
    )
    with pytest.raises(UsageError, match=r"draft128-1.*cannot be compared; make it again"):
        read_hash_list(other)
    pq.write_table(table.drop_columns(["phash"]), other)
    with pytest.raises(IntegrityError, match="damaged; get it again or make it again"):
        read_hash_list(other)
    adopt(workspace, [out, out])
    (tmp_path / "elsewhere").mkdir()
    tables.write(
        tmp_path / "elsewhere" / "set.parquet", table.slice(0, 0).replace_schema_metadata(table.schema.metadata)
    )
    with pytest.raises(UsageError, match="another hash list of the name set; rename"):
        adopt(workspace, [tmp_path / "elsewhere" / "set.parquet"])
    assert [item.name for item in stored(workspace)] == ["set"]


@pytest.mark.parametrize(("folder", "said"), [("none", "is no folder"), ("empty", "no file in .* is a photo")])
def test_a_folder_without_photos_makes_no_list(tmp_path, folder, said):
    """There is nothing to list, so nothing is written."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=said):
        list_folder(tmp_path / folder, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
