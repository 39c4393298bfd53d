"""Writing a release: the same bytes everywhere, all of it or nothing, and never twice."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.freeze.draft import draft
from counteranimal.freeze.photos import export_photos
from counteranimal.freeze.render import render
from counteranimal.freeze.write import publish, write_release
from counteranimal.release.read import open_release
from counteranimal.release.sums import digest_of_file
from tests.fakes.freeze_elsewhere import main as freeze_here
from tests.fakes.small_release import Released
from tests.fakes.small_workspace import Small

REPOSITORY = Path(__file__).resolve().parents[2]
ELSEWHERE = (
    ("far", 0o077, {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1", "PYTHONUTF8": "0"}),
    (
        "wéit fort",
        0o000,
        {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4294967295", "PYTHONCOERCECLOCALE": "0"},
    ),
)


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: digest_of_file(path)[0] for path in sorted(folder.iterdir())}


@pytest.mark.case("H01")
def test_freezes_elsewhere_are_byte_identical(released: Released, tmp_path: Path) -> None:
    """Another folder, time zone, locale, umask and hash seed, and rows in another order: the same bytes in every file."""
    running = []
    for number, (name, umask, environment) in enumerate(ELSEWHERE, start=1):
        command = [sys.executable, "-m", "tests.fakes.freeze_elsewhere", str(tmp_path / name), str(number)]
        running.append(
            subprocess.Popen(
                [*command, str(released.private_key)], cwd=REPOSITORY, env={**os.environ, **environment}, umask=umask,
                stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    expected = _digests(released.folder)
    for process in running:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert json.loads(printed) == expected


@pytest.mark.case("H01")
@pytest.mark.case("E04")
def test_the_order_of_rows_does_not_matter(released: Released, tmp_path: Path) -> None:
    """Seven more orders of arrival give the same bytes."""
    expected = _digests(released.folder)
    for order in range(3, 10):
        assert freeze_here(tmp_path / str(order), order, released.private_key) == expected


@pytest.mark.case("H06")
def test_an_existing_version_is_never_touched(released: Released, small: Small, tmp_path: Path) -> None:
    """Freezing onto a version refuses and writes nothing, whatever lies in its place."""
    made = draft(small.recipe, small.workspace, small.terms)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in released.folder.parent.rglob("*")}
    with pytest.raises(UsageError, match="never written again"):
        write_release(made, released.folder.parent, private_key=released.private_key)
    assert before == {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in released.folder.parent.rglob("*")}

    (tmp_path / "1.0.0").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="never written again"):
        write_release(made, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1.0.0"]


@pytest.mark.case("H07")
def test_a_killed_freeze_leaves_no_release_or_a_whole_one(tmp_path: Path) -> None:
    """Killed at each of its steps, a freeze leaves nothing or everything, and the next one finishes and sweeps up."""
    outcomes = _deaths(tmp_path, "ours")
    assert len(outcomes) >= 45
    assert {outcome["after"] for outcome in outcomes} == {"none", "whole"}
    assert {outcome["again"] for outcome in outcomes} == {"whole"}
    assert all(outcome["left"] == ["1.0.0"] for outcome in outcomes)
    whole = [outcome["step"] for outcome in outcomes if outcome["after"] == "whole"]
    assert whole == ["renamed", "done"]


@pytest.mark.case("H07")
def test_the_harness_catches_a_writer_that_writes_in_place(tmp_path: Path) -> None:
    """The same deaths find a half release where files are written directly, so that the test above proves something."""
    broken = [outcome for outcome in _deaths(tmp_path, "direct") if outcome["after"] not in {"none", "whole"}]
    assert len(broken) >= 10


def _deaths(place: Path, writer: str) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "tests.fakes.dying_freeze", str(place), writer]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    outcomes: list[dict[str, str]] = json.loads(done.stdout)
    return outcomes


def test_a_release_that_does_not_verify_is_not_published(small: Small, tmp_path: Path) -> None:
    """What was built is verified before it gets its name; a bad one leaves nothing behind."""
    files = render(draft(small.recipe, small.workspace, small.terms))
    files["CARD.md"] += b"!"
    with pytest.raises(IntegrityError, match=r"not published \(CARD.md has changed"):
        publish(files, tmp_path, "1.0.0")
    assert list(tmp_path.iterdir()) == []


def test_two_freezes_at_once_do_not_meet(small: Small, tmp_path: Path) -> None:
    """While one freeze holds the folder of releases, another says so and writes nothing."""
    files = render(draft(small.recipe, small.workspace, small.terms))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(EnvironmentFailure, match="another freeze"):
            publish(files, tmp_path, "1.0.0")
    finally:
        os.close(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(small: Small, tmp_path: Path) -> None:
    """A file where the folder should be ends with one sentence."""
    (tmp_path / "releases").write_text("")
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        write_release(draft(small.recipe, small.workspace, small.terms), tmp_path / "releases")


def test_files_can_be_read_by_all(released: Released) -> None:
    """Modes do not depend on the umask."""
    assert {stat.S_IMODE(path.stat().st_mode) for path in released.folder.iterdir()} == {0o644}
    assert stat.S_IMODE(released.folder.stat().st_mode) == 0o755


def test_an_export_goes_on_where_it_stopped(released: Released, small: Small, tmp_path: Path) -> None:
    """Copies that are there and whole are left alone; a damaged one is written again."""
    entries = open_release(released.folder).entries
    assert export_photos(entries, small.workspace, tmp_path) == {"written": 40, "present": 0}
    victim = min(tmp_path.iterdir())
    victim.write_bytes(b"damaged")
    assert export_photos(entries, small.workspace, tmp_path) == {"written": 1, "present": 39}
