"""What is published about a photo, and what is not."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from counteranimal import ids
from counteranimal.release.columns import OPTIONAL
from counteranimal.release.layout import RELEASE_FILES
from counteranimal.release.read import Release, open_release
from tests.fakes.small_release import Released


@pytest.fixture(scope="module")
def release(released: Released) -> Release:
    """The opened release."""
    return open_release(released.folder)


@pytest.mark.case("H12")
def test_every_entry_is_complete(release: Release) -> None:
    """Source, id, URL, licence, author, times, digests, sizes, votes and model digest are filled in 100 % of the rows."""
    rows = release.entries.to_pylist()
    assert len(rows) == 40
    for row in rows:
        for column, value in row.items():
            assert column in OPTIONAL["entries"] or value not in (None, ""), (row["photo_id"], column)
        assert row["attribution"]
        assert bool(row["author"]) == (row["licence"] != "CC0-1.0")
        assert (row["bytes"], row["width"], row["height"], row["n_votes"]) > (0, 0, 0, 0)
        assert row["selector_sha256"] == "ab" * 32


@pytest.mark.case("D10")
def test_no_names_but_where_asked_for(released: Released, release: Release) -> None:
    """Authors of CC0 photos, observers, workers and coordinates stand in no file of a release."""
    everything = b"".join((released.folder / name).read_bytes() for name in RELEASE_FILES)
    tables = json.dumps([table.to_pylist() for table in (release.entries, release.splits)], default=str).encode()
    for secret in (
        b"Nobody Asks",
        b"sample:observer:person",
        b"person-3",
        b"annotator@example.org",
        b"Private Person",
        b"48.0",
    ):
        assert secret not in everything, secret
        assert secret not in tables, secret
    assert "名前 Ωμέγα".encode() in everything


@pytest.mark.case("C09")
def test_published_copies_hold_no_metadata(released: Released, release: Release) -> None:
    """Exported photos are the published copies: digests as in the entries, no Exif segment, no name in them."""
    files = sorted(released.photos.iterdir())
    assert {file.stem for file in files} == set(release.entries.column("published_sha256").to_pylist())
    for file in files:
        data = file.read_bytes()
        assert b"Private Person" not in data
        assert b"Exif" not in data


def test_a_pair_of_annotators_stands_under_the_pseudonyms_of_its_members(released: Released) -> None:
    """Figures of two people and of each of them can be read together, without a name."""
    found = json.loads((released.folder / "agreement.json").read_text())
    (pair,) = found["pairs"]
    assert set(pair["workers"]) == set(found["workers"])
    assert "second" not in pair["workers"]


def test_units_are_published_so_that_folds_can_be_replayed(release: Release) -> None:
    """Photos and cut-outs keep their unit; a person stands behind a pseudonym, in one fold only."""
    folds = defaultdict(set)
    for row in release.entries.to_pylist():
        folds[row["fold_unit"]].add(row["fold"])
        if not row["fold_unit"].startswith("person:"):
            assert ids.fold_of("small-1", row["fold_unit"]) == row["fold"]
        if row["kind"] == "composite":
            assert row["fold_unit"] == f"sample:observer:{row['class_id']}"
    assert all(len(found) == 1 for found in folds.values())
    assert any(unit.startswith("person:") for unit in folds)


def test_the_first_find_of_a_photo_is_its_source(release: Release) -> None:
    """A photo found twice is credited to its first find, as everywhere."""
    assert "copy" not in release.entries.column("native_id").to_pylist()


def test_undefined_figures_are_null(release: Release) -> None:
    """JSON has no NaN: an alpha that is not defined is null, and workers stand under twelve characters."""
    assert release.agreement["usable"]["alpha"] is None
    assert all(len(name) == 12 for name in release.agreement["workers"])


def test_counts_add_up(release: Release) -> None:
    """The manifest accounts for every candidate and every kept photo."""
    manifest = release.manifest
    assert manifest["conservation"]["discovered"] == sum(manifest["conservation"]["states"].values()) == 45
    assert manifest["photos"] == {"kept": 42, "published": 40, "left_out": {"not_labelled": 1, "unusable": 1}}
    assert manifest["counts"]["kinds"] == {"composite": 8, "photo": 32}
