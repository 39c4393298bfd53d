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
from counteranimal.workspace.durable import write_temporary


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


def test_every_candidate_of_a_photo_keeps_its_side_record(tmp_path: Path) -> None:
    """Two candidates with equal bytes, in one batch or later: one blob, a side record each, the first one's first."""
    blobs = Blobs(tmp_path)
    blobs.put_many([Blob(b"same", {"candidate_id": name}) for name in ("s:1", "s:2", "s:1")])
    [photo_id] = set(blobs.put_many([Blob(b"same", {"candidate_id": name}) for name in ("s:3", "s:2")]))
    told = [side["candidate_id"] for side in blobs.sides(photo_id)]
    assert told[0] == "s:1"
    assert sorted(map(str, told)) == ["s:1", "s:2", "s:3"]


@pytest.mark.parametrize("renamed_side", [False, True])
def test_what_a_dead_writer_left_is_finished_beside_a_living_ones(tmp_path: Path, renamed_side: bool) -> None:
    """A photo whose writer died before the rename is stored meanwhile under another candidate: both records stay."""
    photo_id = photo_id_of(b"photo")
    dead = Blobs(tmp_path, "dead")
    dead.path(photo_id).parent.mkdir()
    side = dead.path(photo_id).with_name(f"{photo_id}.json")
    temporary = write_temporary(side, b'{"candidate_id": "s:1"}', 0o444, "dead")
    write_temporary(dead.path(photo_id), b"photo", 0o444, "dead")
    if renamed_side:
        temporary.replace(side)
    living = Blobs(tmp_path, "living")
    living.put_many([Blob(b"photo", {"candidate_id": "s:2"})])
    assert living.temporary_files({"dead"}) == []
    living.finish_temporary()
    assert living.temporary_files() == []
    assert sorted(str(told["candidate_id"]) for told in living.sides(photo_id)) == ["s:1", "s:2"]


def test_a_torn_temporary_file_is_removed_and_a_whole_one_finished(tmp_path: Path) -> None:
    """Whole bytes and their record take their places; a piece of a photo does not."""
    blobs = Blobs(tmp_path, "dead")
    for data, written in ((b"whole", b"whole"), (b"torn photo", b"torn")):
        path = blobs.path(photo_id_of(data))
        path.parent.mkdir(exist_ok=True)
        write_temporary(path.with_name(f"{path.name}.json"), b'{"candidate_id": "s:1"}', 0o444, "dead")
        write_temporary(path, written, 0o444, "dead")
    assert blobs.finish_temporary({"dead"}) == (0, 0)
    assert blobs.finish_temporary() == (1, 2)
    assert list(blobs.ids()) == [photo_id_of(b"whole")]
    assert blobs.read(photo_id_of(b"whole")) == b"whole"
    assert not list(tmp_path.rglob("*.tmp"))


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


def test_a_bare_name_is_written_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path without a folder, as people type it, has its temporary file beside it and not in the root of the system."""
    monkeypatch.chdir(tmp_path)
    temporary = write_temporary(Path("recipe.toml"), b"x", 0o644)
    assert temporary.resolve().parent == tmp_path
    write_atomically(Path("recipe.toml"), b"y")
    assert (tmp_path / "recipe.toml").read_bytes() == b"y"
