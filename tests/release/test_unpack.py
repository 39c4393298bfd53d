"""A release that comes as an archive: read where it is one, and nothing but a release ever comes out of it."""

from __future__ import annotations

import io
import random
import resource
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release.unpack import unpack
from counteranimal.release.verify import verify
from tests.fakes.small_release import Released


def tar_of(place: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(place, mode) as tar:  # type: ignore[call-overload]
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return place


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize("form", ["gztar", "xztar", "zip", "tar"])
def test_an_archive_of_a_release_verifies(released: Released, tmp_path: Path, form: str) -> None:
    """Packed by other tools with the folder inside, it is the release again."""
    packed = shutil.make_archive(str(tmp_path / "packed"), form, released.folder.parent, released.folder.name)
    report = verify(unpack(Path(packed), tmp_path / "out"), public_key=released.public_key)
    assert (report.problems, report.signature) == ((), "good")


@pytest.mark.case("I17")
@pytest.mark.parametrize(
    "odd",
    [
        member("../CARD.md"), member("/etc/CARD.md"), member("1.0.0/../../CARD.md"), member("a/b/CARD.md"), member("evil.sh"),
        member("CARD.md", tarfile.SYMTYPE, "/etc/passwd"), member("CARD.md", tarfile.LNKTYPE, "../outside"),
        member("CARD.md", tarfile.CHRTYPE), member("CARD.md", tarfile.BLKTYPE), member("CARD.md", tarfile.FIFOTYPE),
        member("2.0.0/CARD.md"), member("1.0.0/release.json"),
    ],
    ids=lambda item: f"{item.name} {item.type.decode()}",
)  # fmt: skip
def test_what_is_no_file_of_a_release_is_refused(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    """Paths elsewhere, links, devices, other files, two folders and repeated files: refused, and nothing lies outside."""
    inside = tmp_path / "inside"
    inside.mkdir()
    archive = tar_of(tmp_path / "odd.tar", (member("1.0.0/release.json"), b"{}"), (odd, b"" if odd.linkname else b"x"))
    before = {path for path in tmp_path.rglob("*") if inside not in path.parents}
    with pytest.raises(IntegrityError, match=r"odd\.tar"):
        unpack(archive, inside / "out")
    assert {path for path in tmp_path.rglob("*") if inside not in path.parents} == before
    assert {path.name for path in (inside / "out").iterdir()} <= {"release.json"}


@pytest.mark.case("I17")
@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_a_bomb_is_cut_off(tmp_path: Path, form: str) -> None:
    """Zeros that were compressed a thousand times stop at the bound, whatever the headers say."""
    zeros = bytes(60_000_000)
    if form == "zip":
        archive = tmp_path / "bomb.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("entries.parquet", zeros)
    else:
        archive = tar_of(tmp_path / "bomb.tar.gz", (member("entries.parquet"), zeros), mode="w:gz")
    assert len(zeros) / archive.stat().st_size > 900
    with pytest.raises(IntegrityError, match="grow beyond"):
        unpack(archive, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 7_000_000


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    """A zip hides the file type in its attributes."""
    archive = tmp_path / "link.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        item = zipfile.ZipInfo("CARD.md")
        item.external_attr = 0o120777 << 16
        opened.writestr(item, "/etc/passwd")
    with pytest.raises(IntegrityError, match="link"):
        unpack(archive, tmp_path / "out")


def test_damage_and_other_files_are_one_sentence(released: Released, tmp_path: Path) -> None:
    """A cut archive is an integrity error; what is no archive a usage error."""
    import shutil

    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", released.folder.parent, released.folder.name))
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        unpack(packed, tmp_path / "out")
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(UsageError, match="neither"):
        unpack(tmp_path / "text", tmp_path / "other")


@pytest.mark.parametrize("form", ["gztar", "bztar", "xztar", "zip"])
def test_damage_anywhere_is_one_clear_error(released: Released, tmp_path: Path, form: str) -> None:
    """Whatever bit is turned over, an archive is unpacked or refused as damaged; no library's own error comes through."""
    good = Path(shutil.make_archive(str(tmp_path / "packed"), form, released.folder.parent, released.folder.name))
    refused = 0
    for seed in range(100):
        rng = random.Random(seed)
        data = bytearray(good.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        damaged = tmp_path / f"{seed}-{good.name}"
        damaged.write_bytes(data)
        try:
            unpack(damaged, tmp_path / f"out-{seed}")
        except (IntegrityError, UsageError):
            refused += 1
    assert refused


def test_a_file_that_cannot_be_written_is_not_the_archives_fault(released: Released, tmp_path: Path) -> None:
    """Where the system refuses to write on, its error is told and nobody is sent to get the archive again."""
    packed = shutil.make_archive(str(tmp_path / "packed"), "tar", released.folder.parent, released.folder.name)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            unpack(Path(packed), tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
