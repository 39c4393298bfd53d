"""Kept crops are the pixels that were put in, or absent: never another photo's, a torn row's or another decoder's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from counteranimal.models import crops as module
from counteranimal.models.crops import SUFFIX, CropFile, CropSet, Room
from counteranimal.models.preprocessing import Frame

IDS = [f"{place:064x}" for place in range(5)]
SIDE = 16
FRAME = Frame(SIDE, SIDE)
WIDE = Room(10**9, 0)


def crop(place: int) -> NDArray[np.uint8]:
    return np.random.default_rng(place).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def opened(folder: Path, *, ids: list[str] = IDS, frame: Frame = FRAME, room: Room = WIDE) -> CropFile:
    return CropFile(CropSet(folder, ids), frame, room)


def filled(folder: Path, *, frame: Frame = FRAME, room: Room = WIDE) -> Path:
    """Keep all crops but the last and return the file."""
    file = opened(folder, frame=frame, room=room)
    for place, photo_id in enumerate(IDS[:-1]):
        file.put(photo_id, crop(place))
    file.close()
    return file.path


def there(file: CropFile) -> list[bool]:
    """Say of each photo whether its crop is there; what is there must be right."""
    found = [file.get(photo_id) for photo_id in IDS]
    for place, kept in enumerate(found):
        assert kept is None or np.array_equal(kept, crop(place))
    return [kept is not None for kept in found]


def test_what_was_kept_comes_back_in_another_process_of_the_same_photos(tmp_path: Path) -> None:
    """And what was not is absent."""
    filled(tmp_path)
    assert there(opened(tmp_path)) == [True] * 4 + [False]


def test_other_photos_or_another_preprocessing_or_decoder_start_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's name says all that decides its pixels."""
    filled(tmp_path)
    assert there(opened(tmp_path, frame=Frame(SIDE, SIDE + 4))) == [False] * 5
    assert opened(tmp_path, ids=IDS[:3]).get(IDS[0]) is None
    monkeypatch.setattr(module, "DECODER", "another-rule")
    assert there(opened(tmp_path)) == [False] * 5


@pytest.mark.parametrize("place", ["row", "check"])
def test_a_damaged_row_is_absent_and_is_mended_by_keeping_it_again(tmp_path: Path, place: str) -> None:
    """One flipped bit of pixels or checksum costs one photo's decoding, no other's."""
    path = filled(tmp_path)
    data = bytearray(path.read_bytes())
    data[4096 + 2 * SIDE * SIDE * 3 + 7 if place == "row" else 64 + 8 * 2] ^= 1
    path.write_bytes(data)
    file = opened(tmp_path)
    assert there(file) == [True, True, False, True, False]
    file.put(IDS[2], crop(2))
    assert there(file) == [True] * 4 + [False]


@pytest.mark.parametrize("damage", ["cut", "magic", "empty"])
def test_a_file_that_is_no_such_file_is_begun_anew(tmp_path: Path, damage: str) -> None:
    """A length or header that is wrong means that nothing in it is believed."""
    path = filled(tmp_path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-1], "magic": b"XX" + whole[2:], "empty": b""}[damage])
    file = opened(tmp_path)
    assert there(file) == [False] * 5
    file.put(IDS[0], crop(0))
    assert there(file) == [True] + [False] * 4


def test_files_used_longest_ago_go_first(tmp_path: Path) -> None:
    """Three files of one size where two fit: the one that was not used since goes."""
    size = filled(tmp_path).stat().st_size
    room, other = Room(2 * size + 4096, 0), Frame(SIDE, SIDE + 4)
    second = filled(tmp_path, frame=other, room=room)
    os.utime(second, (1, 1))
    opened(tmp_path, room=room).close()  # used again
    third = filled(tmp_path, frame=Frame(SIDE, SIDE + 8), room=room)
    assert set(tmp_path.glob(f"*{SUFFIX}")) == {opened(tmp_path).path, third}


@pytest.mark.parametrize(
    ("room", "said"), [(Room(1000, 0), "crop_cache_gb allows"), (Room(10**9, 2**62), "too much for the disk")]
)
def test_crops_that_do_not_fit_are_not_kept_and_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], room: Room, said: str
) -> None:
    """The evaluation goes on without; nothing is left behind."""
    assert not filled(tmp_path, room=room).exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "crops of 5 photos are not kept" in line
    assert said in line


def test_a_large_file_is_told_of_when_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, with its place; a small one is not worth a line."""
    filled(tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(module, "_WORTH_SAYING", 1000)
    filled(tmp_path / "large")
    opened(tmp_path / "large").close()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"kept in {tmp_path / 'large'}" in line


def test_no_room_at_all_means_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zero is a wish, so nothing is said."""
    filled(tmp_path / "none", room=Room(0, 0))
    assert not (tmp_path / "none").exists()
    assert capsys.readouterr().err == ""


def test_a_file_that_may_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that shares somebody's cache uses it and leaves it as it is."""
    before, plain = filled(tmp_path).read_bytes(), os.open

    def refusing(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return plain(path, flags, *rest)

    monkeypatch.setattr(os, "open", refusing)
    file = opened(tmp_path)
    file.put(IDS[4], crop(4))
    assert there(file) == [True] * 4 + [False]
    assert file.path.read_bytes() == before


def test_a_file_that_cannot_be_opened_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says so; the photos are decoded."""
    filled(tmp_path)

    def refusing(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refusing)
    assert there(opened(tmp_path)) == [False] * 5
    assert "Permission denied" in capsys.readouterr().err


def test_a_disk_that_fills_up_ends_the_keeping_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was kept before is still right."""
    file = opened(tmp_path)
    file.put(IDS[0], crop(0))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for place in (1, 2):
        file.put(IDS[place], crop(place))
    monkeypatch.undo()
    file.put(IDS[3], crop(3))
    assert there(file) == [True] + [False] * 4
    assert capsys.readouterr().err.count("No space left on device") == 1
