"""Blobs are stored whole or not at all, under the digest of their bytes, however the writer ends."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.ids import photo_id_of
from counteranimal.workspace import Blob, Blobs, write_atomically


def test_a_blob_is_read_back_with_its_side_record(tmp_path: Path) -> None:
    """Bytes and record come back as they were; files are read-only."""
    blobs = Blobs(tmp_path)
    [photo_id] = blobs.put_many([Blob(b"photo", {"url": "https://example.org/ä", "licence": None})])
    assert photo_id == photo_id_of(b"photo")
    assert blobs.read(photo_id) == b"photo"
    assert blobs.side(photo_id) == {"url": "https://example.org/ä", "licence": None}
    assert not blobs.path(photo_id).stat().st_mode & stat.S_IWUSR
    assert blobs.has(photo_id)
    assert blobs.side(photo_id_of(b"other")) == {}


@pytest.mark.case("E01")
def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    """Twice in a batch and again later: one file, which is left alone."""
    blobs = Blobs(tmp_path)
    first, second = blobs.put_many([Blob(b"same"), Blob(b"same")])
    written = blobs.path(first).stat().st_mtime_ns
    assert blobs.put_many([Blob(b"same")]) == [first] == [second]
    assert blobs.path(first).stat().st_mtime_ns == written
    assert list(blobs.ids()) == [first]


@pytest.mark.case("B10")
@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "C:\\x", "", "a\n", "-rf", "\u202egpj.exe", "a" * 300])
def test_outside_text_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    """Only a digest is looked for."""
    with pytest.raises(IntegrityError, match="no photo id"):
        Blobs(tmp_path).read(name)


@pytest.mark.case("C02")
def test_a_changed_bit_is_found_on_reading(tmp_path: Path) -> None:
    """Three hundred flipped bits, three hundred refusals that name the photo."""
    blobs = Blobs(tmp_path)
    data = random.Random(1).randbytes(3_000)
    [photo_id] = blobs.put_many([Blob(data)])
    path = blobs.path(photo_id)
    path.chmod(0o644)
    for bit in random.Random(2).sample(range(len(data) * 8), 300):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=f"{photo_id} has changed on disk"):
            blobs.read(photo_id)


def test_a_missing_blob_says_what_to_do(tmp_path: Path) -> None:
    """A photo that is not there is named, with the next step."""
    with pytest.raises(IntegrityError, match=r"is not in the store .*; copy it from the store that fetched it"):
        Blobs(tmp_path).read("0" * 64)


@pytest.mark.case("B06")
def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A file where the folder should be gives one sentence and exit code 4."""
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(EnvironmentFailure, match="cannot be written") as caught:
        Blobs(tmp_path / "blobs").put_many([Blob(b"x")])
    assert caught.value.exit_code == 4


@pytest.mark.case("B11")
def test_a_temporary_name_planted_as_a_link_is_not_followed(tmp_path: Path) -> None:
    """Atomic writing replaces a planted link instead of writing through it."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "file").symlink_to(victim)
    write_atomically(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"untouched"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").is_symlink()


def test_atomic_writing_sets_the_mode_it_was_asked_for(tmp_path: Path) -> None:
    """Key files are private from their first byte."""
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "key", b"secret", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
