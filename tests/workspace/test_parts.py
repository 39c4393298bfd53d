"""Parts are computed once, named by what they hold, and read as one sorted table; a workspace has one writer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pyarrow as pa
import pytest

from counteranimal import tables
from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.workspace import Workspace

Start = Callable[..., "Popen[str]"]

HOLDER = """
import sys
from pathlib import Path
from counteranimal.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def fingerprints(*names: str) -> pa.Table:
    """Return fingerprints of photos by one-letter names."""
    return tables.conform("fingerprints", [{"photo_id": name * 64, "phash": 1} for name in names])


def test_only_missing_photos_are_asked_for(workspace: Workspace) -> None:
    """A second run redoes nothing, and a grown pool costs what is new."""
    parts = workspace.parts("fingerprints", "v1")
    parts.write(fingerprints("b", "a"))
    assert parts.missing(["a" * 64, "b" * 64, "c" * 64]) == ["c" * 64]
    assert parts.ids() == {"a" * 64, "b" * 64}


def test_a_part_written_again_is_the_same_file(workspace: Workspace) -> None:
    """A run killed after writing and before going on repeats its part without doubling it."""
    parts = workspace.parts("fingerprints", "v1")
    assert parts.write(fingerprints("a", "b")) == parts.write(fingerprints("b", "a"))
    assert parts.view().column("photo_id").to_pylist() == ["a" * 64, "b" * 64]


def test_a_forgotten_photo_leaves_its_part_and_an_empty_part_goes(workspace: Workspace) -> None:
    """Other photos' rows stay, other parts are not written again, and the photo is missing as if it had never come."""
    parts = workspace.parts("fingerprints", "v1")
    both, single, other = (parts.write(fingerprints(*names)) for names in ("ab", "c", "d"))
    before = other.stat().st_mtime_ns
    parts.forget({"a" * 64, "c" * 64, "z" * 64})
    assert parts.ids() == {"b" * 64, "d" * 64}
    assert parts.missing(["a" * 64, "b" * 64]) == ["a" * 64]
    assert (both.exists(), single.exists(), other.stat().st_mtime_ns) == (True, False, before)


def test_a_view_is_sorted_and_can_be_narrowed(workspace: Workspace) -> None:
    """Parts come in any order; their view does not show it."""
    parts = workspace.parts("fingerprints", "v1")
    for name in "cab":
        parts.write(fingerprints(name))
    assert parts.view().column("photo_id").to_pylist() == ["a" * 64, "b" * 64, "c" * 64]
    assert parts.view(["c" * 64, "z" * 64]).column("photo_id").to_pylist() == ["c" * 64]
    assert workspace.parts("fingerprints", "other").view().num_rows == 0


@pytest.mark.case("G12")
def test_another_key_starts_afresh(workspace: Workspace) -> None:
    """Changed code or settings never read the parts of the old."""
    workspace.parts("fingerprints", "v1").write(fingerprints("a"))
    assert workspace.parts("fingerprints", "v2").missing(["a" * 64]) == ["a" * 64]


@pytest.mark.case("G06")
def test_a_torn_part_is_found_and_named(workspace: Workspace) -> None:
    """A part cut short is never read as an empty one."""
    parts = workspace.parts("fingerprints", "v1")
    path = parts.write(fingerprints("a"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match=f"{path.name} cannot be read .*; delete it"):
        parts.ids()


def test_a_leftover_temporary_file_is_no_part(workspace: Workspace) -> None:
    """What a killed writer left behind is not read."""
    parts = workspace.parts("fingerprints", "v1")
    path = parts.write(fingerprints("a"))
    path.with_name(".part-0.parquet.tmp").write_bytes(b"half")
    assert parts.ids() == {"a" * 64}


def test_a_view_that_was_never_written_says_which_stage_to_run(workspace: Workspace) -> None:
    """Reading too early is a sentence; asking for nothing-yet is the empty table."""
    with pytest.raises(UsageError, match=r"table clusters is missing .*run `counteranimal dedupe`"):
        workspace.table("clusters")
    assert workspace.table_or_empty("clusters").equals(tables.empty("clusters"))
    workspace.write_table("clusters", tables.empty("clusters"))
    assert workspace.table("clusters").num_rows == 0


@pytest.mark.case("B07")
def test_a_second_writer_is_told_who_the_first_is(workspace: Workspace, start: Start) -> None:
    """The sentence names the pid, and a killed holder's lock frees itself."""
    holder = start(HOLDER, workspace.home)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(EnvironmentFailure, match=f"in use by pid {holder.pid}; wait for it"), workspace.lock():
        pytest.fail("two writers")
    holder.kill()
    holder.wait()
    with workspace.lock():
        assert (workspace.home / "lock.pid").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_an_error(workspace: Workspace) -> None:
    """A stage that fails does not keep the workspace."""
    with pytest.raises(ZeroDivisionError), workspace.lock():
        _ = 1 / 0
    with workspace.lock():
        pass


@pytest.mark.case("B05")
def test_a_nearly_full_disk_is_refused_before_the_start(workspace: Workspace) -> None:
    """The floor is checked before anything is begun."""
    workspace.require_free_space(0)
    with pytest.raises(EnvironmentFailure, match=r"disk full: .* MB are free at .*; free some space"):
        workspace.require_free_space(10**9)


def test_a_workspace_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A file in the way is named, with the option that chooses another place."""
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(EnvironmentFailure, match=r"cannot be made .*--home"):
        Workspace(tmp_path / "home")
