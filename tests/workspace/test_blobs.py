"""Blobs are stored whole or not at all, under the digest of their bytes, however the writer ends."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.ids import photo_id_of
from counteranimal.workspace import Blob, Blobs, write_atomically

Start = Callable[..., "subprocess.Popen[str]"]

# Writes batches and records each after it is stored; prints a line when it is under way.
ENDLESS_WRITER = """
import os, sys
from pathlib import Path
from counteranimal.workspace import Blob, Blobs
root, recorded = Path(sys.argv[1]), Path(sys.argv[2])
blobs = Blobs(root)
with recorded.open("a") as file:
    for batch in range(10**6):
        ids = blobs.put_many([Blob(f"{os.getpid()} {batch} {i} ".encode() * 3000, {"url": "u"}) for i in range(4)])
        file.write("".join(f"{name}\\n" for name in ids))
        file.flush()
        os.fsync(file.fileno())
        if batch == 0:
            print("writing", flush=True)
"""

# Dies at the n-th crash point, for every n in turn, each time in a fork of its own and on a store of its own.
CRASHING_WRITER = """
import os, sys
from pathlib import Path
from counteranimal.ids import photo_id_of
from counteranimal.workspace import Blob, Blobs
home, kind = Path(sys.argv[1]), sys.argv[2]
data = [f"{i} ".encode() * 3000 for i in range(3)]

def careful(root):
    Blobs(root).put_many([Blob(item, {"url": "u"}) for item in data])

def careless(root):
    for item in data:
        name = photo_id_of(item)
        (root / name[:2]).mkdir(parents=True, exist_ok=True)
        with (root / name[:2] / name).open("wb") as file:
            for half in (item[:4000], item[4000:]):
                file.write(half)
                file.flush()
                os.fsync(file.fileno())

def die_at(point):
    left = [point]
    def counted(function):
        def wrapped(*args, **kwargs):
            result = function(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            return result
        return wrapped
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)

point = 0
while True:
    point += 1
    pid = os.fork()
    if pid == 0:
        die_at(point)
        {"careful": careful, "careless": careless}[kind](home / str(point))
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        break
print(point - 1)
"""

FILLING_WRITER = """
import sys
from pathlib import Path
from counteranimal.errors import EnvironmentFailure
from counteranimal.workspace import Blob, Blobs
blobs = Blobs(Path(sys.argv[1]))
stored = []
try:
    for i in range(100):
        stored += blobs.put_many([Blob(bytes([i]) * 20_000), Blob(bytes([i, 1]) * 20_000)])
except EnvironmentFailure as error:
    print(error)
whole = [name for name in blobs.ids() if blobs.read(name)]
left = list(Path(sys.argv[1]).rglob("*.tmp"))
print(len(stored), set(stored) <= set(whole), len(left))
"""


def corrupt(root: Path) -> list[str]:
    """Return the names of stored files whose bytes are not what their name says."""
    return [
        path.name
        for path in root.rglob("*")
        if path.is_file() and len(path.name) == 64 and hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]


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


@pytest.mark.case("B01")
def test_killed_at_random_moments_nothing_is_lost_or_corrupt(tmp_path: Path, start: Start) -> None:
    """Whatever was recorded is there, whole; the next writer sweeps what the killed one left."""
    root, recorded = tmp_path / "blobs", tmp_path / "recorded"
    moments = random.Random(3)
    for _ in range(4):
        process = start(ENDLESS_WRITER, root, recorded)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        time.sleep(moments.uniform(0.0, 0.15))
        process.kill()
        process.wait()
    blobs = Blobs(root)
    names = recorded.read_text().splitlines()
    assert len(names) >= 16
    assert all(blobs.read(name) for name in names)
    assert corrupt(root) == []
    blobs.finish_temporary()
    assert not list(root.rglob("*.tmp"))


@pytest.mark.case("B02")
def test_killed_at_every_crash_point_no_blob_is_short(tmp_path: Path, start: Start) -> None:
    """After each sync and each rename of a batch: what stands under a digest has that digest, and its side record is there."""
    output, _ = start(CRASHING_WRITER, tmp_path, "careful").communicate(timeout=60)
    assert int(output) >= 12
    assert corrupt(tmp_path) == []
    for path in tmp_path.rglob("*"):
        if len(path.name) == 64:
            assert path.with_name(f"{path.name}.json").is_file()
    for root in tmp_path.iterdir():
        blobs = Blobs(root)
        assert len(set(blobs.put_many([Blob(f"{i} ".encode() * 3000, {"url": "u"}) for i in range(3)]))) == 3
        assert all(blobs.read(name) for name in blobs.ids())


@pytest.mark.case("B03")
def test_the_same_harness_catches_a_careless_writer(tmp_path: Path, start: Start) -> None:
    """A writer that writes in place leaves short files, so the test above can fail."""
    start(CRASHING_WRITER, tmp_path, "careless").communicate(timeout=60)
    assert corrupt(tmp_path) != []


@pytest.mark.case("B05")
def test_a_full_disk_leaves_whole_blobs_and_one_sentence(tmp_path: Path) -> None:
    """On a disk of 512 KB: "disk full", no short file, no temporary file, everything stored before still there."""
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if unshare is None or mount is None:
        pytest.skip("unshare and mount are needed to make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=512k tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, "sh", disk, sys.executable, FILLING_WRITER],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode in {1, 77} and "Traceback" not in done.stderr:
        pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")
    message, counts = done.stdout.splitlines()
    assert message.startswith("disk full while writing")
    assert message.endswith("free some space and run again")
    stored, all_there, temporary = counts.split()
    assert int(stored) >= 10
    assert (all_there, temporary) == ("True", "0")


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
