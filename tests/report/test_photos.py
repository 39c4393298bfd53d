"""Photos in a report are small, bare copies, chosen the same way every time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from counteranimal import tables
from counteranimal.errors import Rejected
from counteranimal.report.context import ReportContext
from counteranimal.report.photos import Thumbnails, examples_of, left_out_of, merged_of, thumbnail


@pytest.mark.case("C09")
def test_small_copies_carry_no_metadata(gallery: dict[str, Path]) -> None:
    """EXIF, comments and profiles of the original are gone, and the copy fits its edge."""
    original = next(iter(gallery.values())).read_bytes()
    assert b"Jane Doe" in original
    copy = thumbnail(original, edge=100)
    assert b"Jane" not in copy
    with Image.open(io.BytesIO(copy), formats=["JPEG"]) as image:
        assert max(image.size) == 100
        assert not image.getexif()
        assert not {"comment", "icc_profile", "exif"} & set(image.info)


def test_bytes_that_are_no_photo_are_refused() -> None:
    """A thumbnail of nonsense is a rejection."""
    with pytest.raises(Rejected):
        thumbnail(b"<html>not a photo</html>")


def test_a_photo_that_is_not_at_hand_is_missing_not_replaced(tmp_path: Path) -> None:
    """Unknown paths, unreadable paths and non-photos give no file name."""
    (tmp_path / "x.jpg").write_bytes(b"nonsense")
    thumbnails = Thumbnails(tmp_path / "photos")
    assert [thumbnails.add(path) for path in (None, tmp_path / "absent", tmp_path / "x.jpg")] == [None, None, None]


@pytest.mark.case("D05")
def test_a_photo_that_is_no_longer_shown_leaves_the_report(tmp_path: Path, gallery: dict[str, Path]) -> None:
    """After a takedown the next report does not keep the small copy."""
    first, second = list(gallery.values())[:2]
    before = Thumbnails(tmp_path)
    kept, gone = before.add(first), before.add(second)
    after = Thumbnails(tmp_path)
    after.add(first)
    after.forget_others()
    assert (tmp_path / str(kept)).exists()
    assert not (tmp_path / str(gone)).exists()


def test_examples_take_classes_in_turn_and_never_the_rest(context: ReportContext) -> None:
    """The first photos come from different classes; photos of neither group are not shown."""
    chosen = [photo for photo in context.examples if photo.group == "common"]
    assert len({photo.class_name for photo in chosen[:4]}) == 4
    assert {photo.background for photo in context.examples} == {"water", "grass"}
    assert all(photo.author and photo.licence for photo in context.examples)


def test_no_split_gives_no_examples() -> None:
    """Empty tables are no error."""
    assert examples_of(tables.empty("splits"), tables.empty("entries"), path_of=lambda _: None, class_names={}) == []


def test_every_kind_of_pair_is_shown_up_to_a_limit_and_the_rest_counted() -> None:
    """Drops, bursts, open pairs of both kinds and answers are listed with their rule; what a person settled is open no more."""

    def drop(name: str, reason: str) -> dict[str, object]:
        return {
            "photo_id": name,
            "cluster": "k",
            "kept": False,
            "reason": reason,
            "partner": "k",
            "rule": f"{reason} rule",
        }

    rows = {
        "clusters": [drop(f"d{number}", "burst" if number == 0 else "near") for number in range(5)],
        "unsure_pairs": [{"photo_a": "a", "photo_b": name, "why": "open"} for name in ("b", "c")],
        "similar_pairs": [{"photo_a": "a", "photo_b": "e", "cosine": 0.91, "model": "m"}],
        "settled_pairs": [
            {"photo_a": "a", "photo_b": "c", "answer": "different", "method": "majority", "n_votes": 3, "round": "d1"}
        ],
        "reference_overlaps": [
            {"photo_id": "a", "reference": "train", "path": "x.jpg", "verdict": "unsure", "rule": "near"},
            {"photo_id": "d1", "reference": "train", "path": "y.jpg", "verdict": "overlap", "rule": "equal sha256"},
        ],
    }
    found = {name: tables.conform(name, listed) for name, listed in rows.items()}
    shown = merged_of(found, path_of=lambda _: None, limit=2)
    assert [(pair.kept_id, pair.dropped_id, pair.reason) for pair in shown] == [
        ("k", "d0", "burst"), ("k", "d1", "near"), ("b", "a", "unsure"), ("e", "a", "similar"), ("c", "a", "different"),
        ("train:x.jpg", "a", "unsure overlap"),
    ]  # fmt: skip
    assert shown[3].rule.startswith("close in the features of m (cosine 0.91)")
    assert shown[4].rule == "people found: different (majority of 3 vote(s) in round d1)"
    assert left_out_of(found, limit=2) == {"dropped": 3}
    assert left_out_of(found) == {}
