"""Full disks, broken disks, few descriptors, planted links and jumping clocks: one sentence, nothing lost, and a later run finishes."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.ids import photo_id_of
from counteranimal.workspace import Blob, Blobs, Journal, Workspace, durable
from tests.store.conftest import REPOSITORY, NumberedSite, Nursery, workspace_of

Make = Callable[..., Nursery]

# Stores and records small groups on a small disk that is nearly full, twenty times, each time with another amount of space.
FILLING = """
import json, os, random, sys
from datetime import UTC, datetime
from pathlib import Path
from counteranimal.crawl.intake import Attempt, Store
from counteranimal.errors import CounteranimalError
from counteranimal.images import ImageInfo
from counteranimal.workspace import Workspace
disk, room = Path(sys.argv[1]), random.Random(5)
now = datetime(2026, 11, 1, tzinfo=UTC)
outcomes = []

def attempts(run):
    for n in range(40):
        columns = ("page_url", "licence_raw", "author", "attribution", "observation_id", "observer_id")
        candidate = {"candidate_id": f"s:{run}-{n}", "source": "s", "url": "u", "licence": "CC0-1.0", **dict.fromkeys(columns)}
        data = random.Random(run * 100 + n).randbytes(room.randint(2_000, 9_000))
        yield Attempt(candidate, 1, n, now, "stored", data=data, info=ImageInfo("image/jpeg", 9, 9))

for run in range(20):
    home, ballast = disk / "home", disk / "ballast"
    workspace = Workspace(home)
    store = Store(workspace, set())
    todo = list(attempts(run))
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(max(0, free - room.randint(8_000, 160_000))))
    message = ""
    for start in range(0, 40, 4):
        try:
            store.commit(todo[start : start + 4])
        except CounteranimalError as error:
            message = str(error)
            break
    short = [name for name in workspace.blobs.ids() if not workspace.blobs.read(name)]
    left = len(list(disk.rglob("*.tmp")))
    ballast.unlink()
    for attempt in todo[start if message else 40 :]:
        store.commit([attempt])
    rows = {row["photo_id"] for row in workspace.journal.rows("stored")}
    outcomes.append([message, len(short), left, rows == set(workspace.blobs.ids()), len(rows)])
    workspace.journal.close()
    for path in sorted(home.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
print(json.dumps(outcomes))
"""


@pytest.mark.case("B05")
def test_a_disk_full_at_twenty_points(tmp_path: Path) -> None:
    """Wherever space runs out: "disk full", no short photo, no temporary file, and after space is freed the same group goes in."""
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if unshare is None or mount is None:
        pytest.skip("unshare and mount are needed to make a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=2m tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, "sh", disk, sys.executable, FILLING],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode in {1, 77} and "Traceback" not in done.stderr:
        pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == 20
    assert all(message.startswith("disk full") and "run again" in message for message, *_ in outcomes)
    assert [rest for _, *rest in outcomes] == [[0, 0, True, 40]] * 20


@pytest.mark.case("B06")
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_an_error_of_the_disk_is_one_sentence_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A failing write, sync or rename leaves no part of its photo; what was stored before stays, and a second try works."""
    blobs = Blobs(tmp_path)
    [before] = blobs.put_many([Blob(b"before", {"candidate_id": "s:0"})])
    real = getattr(os, call)

    def failing(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(
        EnvironmentFailure, match=r"cannot be written .Input/output error.; mend the folder and run again"
    ):
        blobs.put_many([Blob(b"photo", {"candidate_id": "s:1"})])
    monkeypatch.setattr(os, call, real)
    assert list(blobs.ids()) == [before]
    assert not list(tmp_path.rglob("*.tmp"))
    assert len(blobs.put_many([Blob(b"photo", {"candidate_id": "s:1"})])) == 1
    assert len(list(blobs.ids())) == 2


@pytest.mark.case("B06")
def test_a_read_only_disk_is_one_sentence(tmp_path: Path) -> None:
    """A store on a disk that was remounted read-only refuses, and what it holds can still be read."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is needed to make a read-only disk")
    program = """
import subprocess, sys
from pathlib import Path
from counteranimal.errors import EnvironmentFailure
from counteranimal.workspace import Blob, Blobs
blobs = Blobs(Path(sys.argv[1]))
[name] = blobs.put_many([Blob(b"photo")])
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
try:
    blobs.put_many([Blob(b"other")])
except EnvironmentFailure as error:
    print(error, blobs.read(name) == b"photo")
"""
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [unshare, "-rm", "sh", "-c", script, "sh", tmp_path, sys.executable, program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode in {1, 77} and "Traceback" not in done.stderr:
        pytest.skip(f"this machine lets nobody mount a disk: {done.stderr.strip()}")
    assert "cannot be written (Read-only file system); mend the folder and run again True" in done.stdout


@pytest.mark.case("B06")
def test_a_crawl_with_64_descriptors_loses_nothing(numbered: NumberedSite, recipe_file: Path, tmp_path: Path) -> None:
    """With 64 descriptors a crawl either finishes or says what is missing, and a run with more finishes it."""
    workspace = workspace_of(tmp_path)
    workspace.journal.append("candidates", numbered.candidates(range(1, 61)))
    workspace.journal.close()
    order = json.dumps({"home": str(tmp_path / "home"), "recipe": str(recipe_file), "near": False})
    program = """
import json, resource, sys
from tests.fakes.killed_crawl import crawl
if sys.argv[2] == "few":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
sys.exit(crawl(json.loads(sys.argv[1])))
"""
    few, many = (
        subprocess.run(
            [sys.executable, "-c", program, order, limit], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
        )
        for limit in ("few", "many")
    )  # fmt: skip
    assert few.returncode in {0, 4}, few.stderr
    assert "Traceback" not in few.stderr
    assert many.returncode == 0, many.stderr
    assert len({row["candidate_id"] for row in workspace_of(tmp_path).journal.rows("stored")}) == 60


@pytest.mark.case("B11")
@pytest.mark.parametrize("kind", ["symlink", "hard link", "folder"])
def test_a_link_planted_in_the_store_is_refused(tmp_path: Path, kind: str) -> None:
    """Neither read as a photo nor taken for one that is stored already; what it points to is not touched."""
    blobs = Blobs(tmp_path / "blobs")
    victim = tmp_path / "victim"
    victim.write_bytes(b"photo")
    path = blobs.path(photo_id_of(b"photo"))
    if kind == "folder":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / path.name).write_bytes(b"photo")
        blobs.root.mkdir()
        path.parent.symlink_to(elsewhere)
    else:
        path.parent.mkdir(parents=True)
        path.symlink_to(victim) if kind == "symlink" else path.hardlink_to(victim)
    with pytest.raises(IntegrityError, match="is a link or no ordinary file; remove it"):
        blobs.read(path.name)
    with pytest.raises(IntegrityError, match="is a link or no ordinary file; remove it"):
        blobs.put_many([Blob(b"photo")])
    assert victim.read_bytes() == b"photo"


@pytest.mark.case("B13")
@pytest.mark.parametrize("jump", [timedelta(days=-1), timedelta(days=1)])
def test_a_clock_that_jumps_stops_nothing(
    numbered: NumberedSite, recipe_file: Path, tmp_path: Path, now: datetime, jump: timedelta
) -> None:
    """After a day back or forth what is new is fetched at once, and what was put off is tried within a day and its own wait."""
    from counteranimal.crawl.run import fetch_pending
    from counteranimal.recipe import load_recipe
    from counteranimal.settings import Settings

    workspace = Workspace(tmp_path / "home")
    settings = Settings(home=tmp_path / "home", workers=1, free_space_floor_mb=0)
    recipe = load_recipe(recipe_file)
    wait = timedelta(minutes=10)
    workspace.journal.append("candidates", numbered.candidates(range(1, 4)))
    deferred = {
        "candidate_id": "site:3",
        "attempt": 1,
        "at": now,
        "status": "deferred",
        "reason": "E_ROBOTS",
        "retry_at": now + wait,
    }
    workspace.journal.append("fetches", [deferred])
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 2
    workspace.journal.append("candidates", numbered.candidates(range(4, 6)))
    stored = fetch_pending(recipe, workspace, settings=settings, now=now + jump)["stored"]
    assert stored == (2 if jump < timedelta(0) else 3)
    fetch_pending(recipe, workspace, settings=settings, now=now + jump + timedelta(days=1) + wait)
    assert len(workspace.journal.rows("stored")) == 5


TRACED = """
import sys
from pathlib import Path
from counteranimal.workspace import Blob, Blobs, Journal
home, size = Path(sys.argv[1]), int(sys.argv[2])
blobs, journal = Blobs(home / "blobs"), Journal(f"sqlite:///{home / 'journal.sqlite'}")
for batch in range(100 // size):
    ids = blobs.put_many([Blob(f"{batch} {n}".encode() * 500, {"candidate_id": f"s:{batch}-{n}"}) for n in range(size)])
    journal.append("stored", [{"photo_id": name} for name in ids])
"""
EVERYTHING = "everything"


def _in_order(events: list[tuple[str, str]], root: Path) -> int:
    """Return how many blobs and their side records were written, synced, renamed, the folder and then the journal synced."""
    renamed = {Path(path).name: n for n, (kind, path) in enumerate(events) if kind == "rename"}
    written = {path: n for n, (kind, path) in enumerate(events) if kind == "write" and ".tmp" in path}

    def synced(path: str, after: int) -> int:
        """Return when a path was first synced after an event, alone or with everything."""
        later = enumerate(events[after + 1 :], start=after + 1)
        return next((n for n, event in later if event in {("sync", path), ("sync", EVERYTHING)}), len(events))

    good = 0
    for name, moment in renamed.items():
        pieces = {path: last for path, last in written.items() if Path(path).name.startswith(f".{name}.")}
        folder = synced(str(root / name[:2]), moment)
        committed = synced(f"{root.parent}/journal.sqlite-wal", folder)
        whole = bool(pieces) and all(synced(path, last) < moment for path, last in pieces.items())
        good += len(name) == 64 and whole and folder < committed < len(events)
    return good


@pytest.mark.case("B04")
@pytest.mark.parametrize("size", [4, 50])
def test_system_calls_come_in_the_order_that_survives_a_crash(tmp_path: Path, size: int) -> None:
    """The kernel's own trace of 100 photos: data synced, renamed, folder synced, journal committed, for 100 of 100.

    Small batches are synced file by file, large ones by one sync of their file system.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed; `make database` installs Debian's package")
    trace = tmp_path / "trace"
    traced = "trace=write,fsync,fdatasync,syncfs,rename,renameat,renameat2"
    command = [strace, "-f", "-y", "-s", "400", "-e", traced, "-o", trace]
    done = subprocess.run(
        [*command, sys.executable, "-c", TRACED, tmp_path, str(size)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip(f"this machine lets nobody trace: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    events = []
    for line in trace.read_text().splitlines():
        if synced := re.search(r" (?:fsync|fdatasync)\(\d+<([^>]*)>\) = 0", line):
            events.append(("sync", synced[1]))
        elif re.search(r" syncfs\(\d+<[^>]*>\) = 0", line):
            events.append(("sync", EVERYTHING))
        elif renamed := re.search(r' rename\w*\(.*"([^"]*)"\) = 0', line):
            events.append(("rename", renamed[1]))
        elif written := re.search(r" write\(\d+<([^>]*)>", line):
            events.append(("write", written[1]))
    assert ("sync", EVERYTHING) in events if size > 8 else ("sync", EVERYTHING) not in events
    assert _in_order(events, tmp_path / "blobs") == 100


@pytest.mark.case("B04")
@pytest.mark.parametrize("size", [4, 50])
def test_the_order_holds_without_a_tracer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The same order as the program asks for it, recorded at its own calls: what a machine without strace can still check."""
    events: list[tuple[str, str]] = []
    write, fsync, sync_all, replace = os.write, os.fsync, durable._sync_all, os.replace

    def noted(kind: str, descriptor: int) -> None:
        events.append((kind, str(Path(f"/proc/self/fd/{descriptor}").readlink())))

    def recorded_write(descriptor: int, data: bytes) -> int:
        noted("write", descriptor)
        return write(descriptor, data)

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        noted("sync", descriptor)

    def recorded_sync_all(descriptor: int) -> None:
        sync_all(descriptor)
        events.append(("sync", EVERYTHING))

    def recorded_replace(source: Path, target: Path) -> None:
        replace(source, target)
        events.append(("rename", str(target)))

    monkeypatch.setattr(os, "write", recorded_write)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(durable, "_sync_all", recorded_sync_all)
    monkeypatch.setattr(os, "replace", recorded_replace)
    blobs, journal = Blobs(tmp_path / "blobs"), Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    for batch in range(100 // size):
        ids = blobs.put_many(
            [Blob(f"{batch} {n}".encode() * 500, {"candidate_id": f"s:{batch}-{n}"}) for n in range(size)]
        )
        journal.append("stored", [{"photo_id": name} for name in ids])
        # SQLite's own calls cannot be recorded from here: where the commit returned, it has synced.
        events.append(("sync", f"{tmp_path}/journal.sqlite-wal"))
    assert _in_order(events, tmp_path / "blobs") == 100


@pytest.mark.case("B06")
def test_a_sync_of_everything_that_fails_leaves_nothing_of_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a large batch's one sync fails, no photo of it is there, no temporary file either, and a second try works."""
    blobs = Blobs(tmp_path)
    batch = [Blob(f"photo {n}".encode(), {"candidate_id": f"s:{n}"}) for n in range(30)]
    monkeypatch.setattr(durable._LIBC, "syncfs", lambda _: ctypes.set_errno(5) or -1)
    with pytest.raises(EnvironmentFailure, match=r"cannot be written .Input/output error.; mend the folder"):
        blobs.put_many(batch)
    assert not list(blobs.ids())
    assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    assert len(blobs.put_many(batch)) == len(list(blobs.ids())) == 30


def test_two_processes_agree_on_the_id_of_a_store(tmp_path: Path) -> None:
    """An id is made once and then read; a second maker takes the first one's."""
    first = durable.stable_id(tmp_path / "store.id")
    assert durable.stable_id(tmp_path / "store.id") == first
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert [path.name for path in tmp_path.iterdir()] == ["store.id"]
