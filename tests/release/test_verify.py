"""Verification: every change of any byte is found and named, and a release that lies is told from one that is damaged."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.freeze.sign import keygen
from counteranimal.release.layout import MANIFEST, RELEASE_FILES, SIGNATURE, SUMS
from counteranimal.release.manifest import Balance
from counteranimal.release.read import open_release
from counteranimal.release.verify import VerifyReport, verify
from tests.fakes.small_release import Released, edited, reseal, rewrite

Rows = list[dict[str, Any]]


def checked(folder: Path, released: Released) -> VerifyReport:
    """Verify with the publisher's key."""
    return verify(folder, public_key=released.public_key)


def test_a_good_release_passes(released: Released) -> None:
    """An untouched release has no problem, with its photos and the pinned key."""
    report = verify(released.folder, public_key=released.public_key, photos=released.photos)
    assert (report.problems, report.notes, report.signature) == ((), (), "good")
    assert report.counts["photos"] == report.counts["entries"] == 40
    assert report.record()["ok"] is True


def test_plain_sha256sum_agrees(released: Released) -> None:
    """`sha256sum -c SHA256SUMS` of the coreutils reads the list and finds every file good."""
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", SUMS], cwd=released.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK\n") == len(RELEASE_FILES) - 2


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_found_and_named(released: Released, data: st.DataObject) -> None:
    """Whatever byte of whatever file changes to whatever value, with or without a pinned key, the file is named."""
    file = released.folder / data.draw(st.sampled_from(RELEASE_FILES))
    original = file.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    changed = data.draw(st.integers(1, 255)) ^ original[place]
    key = data.draw(st.sampled_from([released.public_key, None]))
    try:
        file.write_bytes(original[:place] + bytes([changed]) + original[place + 1 :])
        report = verify(released.folder, public_key=key)
    finally:
        file.write_bytes(original)
    assert any(file.name in problem for problem in report.problems)


@pytest.mark.case("H02")
def test_200_flipped_bits_are_all_named(released: Released, tmp_path: Path) -> None:
    """200 single bits flipped in 200 random places of files and photos: each object is named."""
    folder = released.copy_of(tmp_path)
    photos = shutil.copytree(released.photos, tmp_path / "photos")
    entries = open_release(folder).entries.to_pylist()
    photo_of = {entry["published_sha256"]: entry["photo_id"] for entry in entries}
    objects = [folder / name for name in RELEASE_FILES] + sorted(photos.iterdir())
    rng = random.Random(2)
    for _ in range(200):
        file = rng.choice(objects)
        original = file.read_bytes()
        place, bit = rng.randrange(len(original)), 1 << rng.randrange(8)
        file.write_bytes(original[:place] + bytes([original[place] ^ bit]) + original[place + 1 :])
        report = verify(folder, public_key=released.public_key, photos=photos)
        file.write_bytes(original)
        name = photo_of.get(file.stem, file.name)
        assert any(name in problem for problem in report.problems), f"{name} byte {place} bit {bit}"


@pytest.mark.case("H03")
def test_a_deleted_added_or_renamed_file_is_named(released: Released, tmp_path: Path) -> None:
    """What is gone and what is new are both named."""
    folder = released.copy_of(tmp_path)
    (folder / "CARD.md").rename(folder / "card.md")
    (folder / "groups.parquet").unlink()
    (folder / ".cache").mkdir()
    problems = checked(folder, released).problems
    for name in ("CARD.md", "card.md", "groups.parquet", ".cache"):
        assert sum(problem.startswith(f"{name} ") for problem in problems) == 1


@pytest.mark.case("H03")
def test_two_swapped_files_are_named(released: Released, tmp_path: Path) -> None:
    """Two files under each other's name are both named, though both digests occur in the list."""
    folder = released.copy_of(tmp_path)
    first, second = folder / "splits.parquet", folder / "pairs.parquet"
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    named = {problem.split()[0] for problem in checked(folder, released).problems}
    assert named == {"splits.parquet", "pairs.parquet"}


def _swap_labels(rows: Rows) -> None:
    first = rows[0]
    other = next(row for row in rows if row["background"] != first["background"])
    first["background"], other["background"] = other["background"], first["background"]


@pytest.mark.case("H03")
@pytest.mark.case("H04")
def test_swapped_labels_are_found_however_well_repaired(released: Released, tmp_path: Path) -> None:
    """Two entries' labels swapped: found by digest, with the digest repaired by the signature, and re-signed by the tables."""
    folder = released.copy_of(tmp_path)
    changed = edited(folder, "entries", _swap_labels)
    (folder / "entries.parquet").write_bytes(changed["entries.parquet"])
    assert any(problem.startswith("entries.parquet has changed") for problem in checked(folder, released).problems)

    signature = (folder / SIGNATURE).read_bytes()
    reseal(folder, None)
    (folder / SIGNATURE).write_bytes(signature)
    report = checked(folder, released)
    assert report.signature == "bad"
    assert any(SIGNATURE in problem for problem in report.problems)

    rewrite(folder, released.private_key, changed)
    problems = checked(folder, released).problems
    assert sum("disagree about class, background or fold" in problem for problem in problems) == 2
    assert any("entries.csv" in problem for problem in problems)


@pytest.mark.case("H05")
@pytest.mark.parametrize("cut", range(20))
def test_a_cut_manifest_is_refused(released: Released, tmp_path: Path, cut: int) -> None:
    """release.json cut anywhere is refused with the place, even under a good signature."""
    folder = released.copy_of(tmp_path)
    data = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(data[: len(data) * cut // 20])
    reseal(folder, released.private_key)
    assert any(problem.startswith(f"{MANIFEST} at line 1 column") for problem in checked(folder, released).problems)


@pytest.mark.case("H05")
@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda data: data + b" ", "not canonical|something follows"),
        (lambda data: data + b"\n", "not canonical"),
        (lambda data: data + b"{}", "something follows"),
        (lambda data: data + b"\r\n", "carriage return"),
        (lambda data: b"\xef\xbb\xbf" + data, "byte order mark"),
        (lambda data: data.replace(b'"name"', b'"nom"', 1), r"\$\."),
        (lambda data: data[:-1] + b',"zzz":1}', r"\$\.zzz"),
        (lambda data: data.replace(b"counteranimal-release/1", b"counteranimal-release/2"), r"\$\.format"),
        (lambda data: data.replace(b'"version":"1.0.0"', b'"version":"1.0"'), r"\$\.version"),
        (lambda data: data.replace(b'"entries":40', b'"entries":40.0'), r"\$\.counts\.entries|canonical"),
        (lambda data: b"[" + data + b"]", "no JSON object"),
        (lambda data: json.dumps(json.loads(data)).encode(), "not canonical"),
    ],
)  # fmt: skip
def test_a_manifest_of_another_spelling_is_refused(
    released: Released, tmp_path: Path, change: Callable[[bytes], bytes], place: str
) -> None:
    """Trailing bytes, CRLF, BOM, unknown keys, unknown versions and other spellings are refused with the place."""
    folder = released.copy_of(tmp_path)
    (folder / MANIFEST).write_bytes(change((folder / MANIFEST).read_bytes()))
    reseal(folder, released.private_key)
    report = checked(folder, released)
    with pytest.raises(IntegrityError, match=place):
        open_release(folder)
    assert any(MANIFEST in problem for problem in report.problems)


@pytest.mark.case("H13")
def test_a_release_from_before_reference_sets_and_covariates_verifies(released: Released, tmp_path: Path) -> None:
    """Its manifest says nothing of hash lists and covariates, in canonical spelling; that is read as: not checked."""
    folder = released.copy_of(tmp_path)
    content = json.loads((folder / MANIFEST).read_bytes())
    assert (content.pop("references"), content.pop("covariates")) == ([], {})
    (folder / MANIFEST).write_bytes(rfc8785.dumps(content))
    reseal(folder, released.private_key)
    assert checked(folder, released).problems == ()


@pytest.mark.case("H08")
def test_unsigned_stripped_and_foreign_signatures_are_refused(released: Released, tmp_path: Path) -> None:
    """With a pinned key, a missing signature and one by another key are refused; without one, stripping is still seen."""
    folder = released.copy_of(tmp_path)
    (folder / SIGNATURE).unlink()
    assert not checked(folder, released).ok
    assert any("stripped" in problem for problem in verify(folder).problems)

    other, _ = keygen(tmp_path / "other")
    reseal(folder, other)
    assert any("another key" in problem for problem in checked(folder, released).problems)
    assert any("stripped or exchanged" in problem for problem in verify(folder).problems)


@pytest.mark.case("H08")
def test_works_without_network(released: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pinned key, verification asks nobody."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert checked(released.folder, released).ok


def test_without_a_key_the_report_says_so(released: Released) -> None:
    """An unpinned signature shows damage only, and the report does not pretend more."""
    report = verify(released.folder)
    assert (report.ok, report.signature) == (True, "not pinned")
    assert "vouches" in report.notes[0]


def test_a_stated_root_digest_is_held(released: Released) -> None:
    """A digest printed in a paper stands in for a key."""
    digest = open_release(released.folder).digest
    assert verify(released.folder, root_digest=digest.upper()).ok
    assert any(
        "not the one that was stated" in problem for problem in verify(released.folder, root_digest="0" * 64).problems
    )


@pytest.mark.case("H09")
def test_parts_of_two_releases_are_refused(released: Released, tmp_path: Path) -> None:
    """A file of another release is refused though the list was made to fit it."""
    folder = released.copy_of(tmp_path)
    (folder / "CHANGES.md").write_text("# Changes of another release\n")
    reseal(folder, released.private_key)
    assert any("parts of two releases" in problem for problem in checked(folder, released).problems)
    with pytest.raises(IntegrityError, match=r"CHANGES.md: parts of two releases"):
        open_release(folder)


@pytest.mark.case("H10")
def test_a_link_in_place_of_a_file_is_refused(released: Released, tmp_path: Path) -> None:
    """A file replaced by a link to the same bytes is refused, for tables, list and signature."""
    for name in ("CARD.md", SUMS, SIGNATURE):
        folder = released.copy_of(tmp_path / name)
        moved = tmp_path / f"outside-{name}"
        (folder / name).rename(moved)
        (folder / name).symlink_to(moved)
        assert any(name in problem for problem in checked(folder, released).problems), name


def _set(column: str, value: object) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[0][column] = value

    return change


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("entries", _set("licence", "CC-BY-ND-4.0"), "is not in the release's list"),
        ("entries", _set("licence", None), "column licence is empty in 1 row"),
        ("entries", _set("author", ""), "asks for an author|is not what"),
        ("entries", _set("class_id", "unicorn"), "class 'unicorn' is not in release.json"),
        ("entries", _set("imagenet_indices", [1]), "indices are not its class's"),
        ("entries", _set("background", "moon"), "background 'moon' is not in the vocabulary"),
        ("entries", _set("kind", "painting"), "neither photo nor composite"),
        ("entries", _set("codes", ["person_recognisable"]), "recognisable person"),
        ("entries", _set("inclusion_probability", 0.0), r"not in \(0, 1\]"),
        ("entries", _set("url", "file:/home/somebody/photo.jpg"), "path of somebody's machine"),
        ("entries", _set("published_sha256", "../../etc"), "is no sha256"),
        ("entries", _set("n_votes", 0), "not positive"),
        ("entries", lambda rows: rows.pop(), "counts entries 40, the tables have 39"),
        ("splits", _set("group", "common"), "is in the group common"),
        ("splits", lambda rows: rows.pop(), "lacks photo"),
        ("splits", _set("photo_id", "f" * 64), "which is no entry"),
        ("splits", _set("split", "second"), "split second is not in release.json"),
        ("pairs", _set("common", "moon"), "not two backgrounds of the vocabulary"),
        ("pairs", _set("status", "maybe"), "neither pair nor no_pair"),
        ("predictions", lambda rows: rows[0].update(correct=not rows[0]["correct"]), "not what its label says"),
        ("predictions", lambda rows: rows.pop(), "has no prediction for photo"),
        ("groups", _set("n", 99), "of 99"),
    ],
)  # fmt: skip
def test_a_release_that_lies_is_refused(
    released: Released, tmp_path: Path, table: str, change: Callable[[Rows], object], said: str
) -> None:
    """Rows that contradict the manifest or each other are named, though every digest and the signature fit."""
    folder = released.copy_of(tmp_path)

    def once(rows: Rows) -> None:
        rows.sort(key=lambda row: row.get("licence") == "CC0-1.0")
        if table == "splits":
            rows.sort(key=lambda row: row["background"] == "grass")
        if table == "pairs":
            rows.sort(key=lambda row: row["status"] == "no_pair")
        change(rows)

    rewrite(folder, released.private_key, edited(folder, table, once))
    report = checked(folder, released)
    assert report.signature == "good"
    assert any(re.search(said, problem) for problem in report.problems)


def test_folds_are_computed_again(released: Released, tmp_path: Path) -> None:
    """A photo moved to the other fold is named, by its unit's hash or because its person stands in both folds."""
    folder = released.copy_of(tmp_path)

    def move(rows: Rows) -> None:
        for row in (rows[0], next(row for row in rows if row["fold_unit"] == row["photo_id"])):
            row["fold"] = "report" if row["fold"] == "select" else "select"

    rewrite(folder, released.private_key, edited(folder, "entries", move))
    problems = checked(folder, released).problems
    assert any("falls into the other fold" in problem for problem in problems)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"conservation": {"discovered": 46, "states": {"stored": 45}, "reasons": {}}}, "conservation is broken"),
        ({"photos": {"kept": 42, "published": 40, "left_out": {}}}, "are not those published and left out"),
        ({"photos": {"kept": 90, "published": 40, "left_out": {"unusable": 50}}}, "more photos than were stored"),
        (
            {
                "conservation": {
                    "discovered": 45,
                    "states": {"stored": 44, "duplicate": 1},
                    "reasons": {"duplicate reference_overlap": 1},
                }
            },
            "drops 1 photos for reference sets, its hash lists account for 0",
        ),
        (
            {"covariates": {"first": Balance(n=3, without_measures=1, left_out=[]).model_dump()}},
            "covariates of 4 photos in split first, its groups have",
        ),
        ({"covariates": {"second": Balance(n=0, without_measures=0, left_out=[]).model_dump()}}, "in split second"),
    ],
)
def test_counts_of_the_manifest_are_checked(
    released: Released, tmp_path: Path, stated: dict[str, Any], said: str
) -> None:
    """Counts that do not add up are a problem of their own."""
    folder = released.copy_of(tmp_path)
    rewrite(folder, released.private_key, {}, **stated)
    assert any(said in problem for problem in checked(folder, released).problems)


def test_a_table_of_another_schema_is_refused(released: Released, tmp_path: Path) -> None:
    """A published table with other columns is refused when opened and when verified."""
    folder = released.copy_of(tmp_path)
    rewrite(folder, released.private_key, {"groups.parquet": (folder / "pairs.parquet").read_bytes()})
    assert any("groups.parquet has other columns" in problem for problem in checked(folder, released).problems)
    with pytest.raises(IntegrityError, match=r"groups.parquet has other columns"):
        open_release(folder)


def test_all_problems_are_collected(released: Released, tmp_path: Path) -> None:
    """A changed file and a changed photo are reported together."""
    folder = released.copy_of(tmp_path)
    photos = shutil.copytree(released.photos, tmp_path / "photos")
    (folder / "CARD.md").write_text("nothing")
    victim = min(photos.iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    report = verify(folder, public_key=released.public_key, photos=photos)
    assert len(report.problems) == 2
    assert report.counts["photos"] == 39


def test_a_missing_release_is_a_usage_error(tmp_path: Path) -> None:
    """A folder that is not there is no release with problems."""
    with pytest.raises(UsageError, match="does not exist"):
        verify(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="does not exist"):
        open_release(tmp_path / "nowhere")


def test_an_empty_folder_is_no_release(tmp_path: Path) -> None:
    """A folder without the list of digests is refused by name."""
    assert any(SUMS in problem for problem in verify(tmp_path).problems)


def test_the_manifest_stays_canonical(released: Released) -> None:
    """release.json is its own canonical form."""
    data = (released.folder / MANIFEST).read_bytes()
    assert rfc8785.dumps(json.loads(data)) == data
