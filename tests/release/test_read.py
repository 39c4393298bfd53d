"""An opened release and its folder of photos."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import open_release
from counteranimal.release.sums import digest_of_bytes
from tests.fakes.small_release import Released


def test_an_opened_release_says_what_an_evaluation_needs(released: Released) -> None:
    """Name, version, root digest, classes by index, 1-vs-20 candidates and selectors are at hand."""
    release = open_release(released.folder)
    assert (release.name, release.version) == ("small", "1.0.0")
    assert release.digest == digest_of_bytes((released.folder / "SHA256SUMS").read_bytes())
    assert release.class_indices["lion"] == (291,)
    assert release.class_names["otter"] == "otter"
    assert release.candidates_1v20["zebra"] == tuple(range(340, 360))
    assert release.selectors["first"]["family"] == "stand-in"
    assert len(release.entries) == len(release.splits) == len(release.predictions) == 40


def test_opening_finds_a_changed_file(released: Released, tmp_path: Path) -> None:
    """A changed table is named before it is parsed."""
    folder = released.copy_of(tmp_path)
    (folder / "splits.parquet").write_bytes(b"PAR1")
    (folder / "extra").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"splits.parquet has changed.*1 more"):
        open_release(folder)


def test_photos_are_found_by_either_digest(released: Released) -> None:
    """Originals in a store's folders and published copies in a flat folder both serve."""
    entry = open_release(released.folder).entries.to_pylist()[0]
    original = PhotoFolder(released.small.workspace.blobs.root).read(entry)
    published = PhotoFolder(released.photos).read(entry)
    assert digest_of_bytes(original) == entry["photo_id"]
    assert digest_of_bytes(published) == entry["published_sha256"]
    assert original != published


def test_a_changed_or_missing_photo_is_named(released: Released, tmp_path: Path) -> None:
    """Other bytes of equal length, other length, and no file at all each name the photo."""
    photos = shutil.copytree(released.photos, tmp_path / "photos")
    entry = open_release(released.folder).entries.to_pylist()[0]
    file = photos / f"{entry['published_sha256']}.jpg"
    data = file.read_bytes()
    for wrong in (data[:-1] + b"x", data + b"x"):
        file.write_bytes(wrong)
        with pytest.raises(IntegrityError, match=f"photo {entry['photo_id']} has changed"):
            PhotoFolder(photos).read(entry)
    file.unlink()
    with pytest.raises(IntegrityError, match=f"photo {entry['photo_id']} is not in"):
        PhotoFolder(photos).read(entry)


def test_a_digest_never_becomes_a_path_outside(tmp_path: Path) -> None:
    """An entry whose digest is a path is refused before any file is looked for."""
    entry = {"photo_id": "../../etc/passwd", "bytes": 1, "published_sha256": "0" * 64, "published_bytes": 1}
    with pytest.raises(IntegrityError, match="no photo id"):
        PhotoFolder(tmp_path).read(entry)


def test_a_missing_photo_folder_is_a_usage_error(tmp_path: Path) -> None:
    """A folder that is not there ends with advice."""
    with pytest.raises(UsageError, match="does not exist"):
        PhotoFolder(tmp_path / "nowhere")
