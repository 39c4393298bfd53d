"""Writes a release: built beside its place, synced, checked, and put there by one rename.

Decides that a reader never sees half a release, whenever the writer dies, and that a version is never written twice. The files'
content comes from `render`; whether they make a good release is decided by `release.verify`, which every new release passes
before it gets its name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.freeze.draft import Draft
from counteranimal.freeze.render import render
from counteranimal.freeze.sign import load_private_key
from counteranimal.release.layout import parse_version
from counteranimal.release.verify import verify

__all__ = ["publish", "refuse_existing", "write_release"]

Reached = Callable[[str], object]


def write_release(draft: Draft, releases: Path, *, private_key: Path | None = None) -> Path:
    """Write a release as `releases/<version>` and return that folder.

    Parameters
    ----------
    releases : Path
        The folder of all releases of this benchmark, made when missing.
    private_key : Path, optional
        The file to sign with; without it the release is unsigned.

    Raises
    ------
    UsageError
        If the version exists; nothing was written.
    IntegrityError
        If what was built does not verify; nothing was published.
    EnvironmentFailure
        If the disk is full, the folder cannot be written, or another freeze is writing there.
    """
    key = load_private_key(private_key) if private_key else None
    refuse_existing(releases / draft.version)
    return publish(render(draft, key), releases, draft.version)


def publish(files: Mapping[str, bytes], releases: Path, version: str, *, reached: Reached = lambda _: None) -> Path:
    """Put rendered files in place as one release; see `write_release`.

    Parameters
    ----------
    files : mapping of str to bytes
        In the order in which they are written: the list of digests and its signature last.
    reached : callable
        Told the name of every step as it is done.
    """
    parse_version(version)
    target = releases / version
    try:
        releases.mkdir(parents=True, exist_ok=True)
        with _one_writer(releases):
            refuse_existing(target)
            for left in releases.glob(".*.building"):
                shutil.rmtree(left)
            building = releases / f".{version}.{secrets.token_hex(4)}.building"
            try:
                _build(files, building, reached)
                _require_good(building)
                reached("checked")
                building.rename(target)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
            reached("renamed")
            _sync_folder(releases)
            reached("done")
    except OSError as error:
        raise _as_failure(error, releases) from error
    return target


def refuse_existing(target: Path) -> None:
    """Raise UsageError if a release is there already."""
    if os.path.lexists(target):
        raise UsageError(f"release {target} exists and is never written again; choose the next version")


@contextmanager
def _one_writer(releases: Path) -> Iterator[None]:
    """Hold the folder of releases; the kernel lets go of it when the process ends, however it ends."""
    descriptor = os.open(releases, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EnvironmentFailure(f"another freeze is writing to {releases}; wait for it and run again") from error
        yield
    finally:
        os.close(descriptor)


def _build(files: Mapping[str, bytes], building: Path, reached: Reached) -> None:
    building.mkdir()
    building.chmod(0o755)
    reached("folder")
    for name, data in files.items():
        descriptor = os.open(building / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            reached(f"created {name}")
            file.write(data)
            file.flush()
            reached(f"written {name}")
            os.fsync(descriptor)
        reached(f"synced {name}")
    _sync_folder(building)
    reached("synced folder")


def _require_good(building: Path) -> None:
    report = verify(building)
    if not report.ok:
        raise IntegrityError(
            f"the new release does not verify, so it was not published ({report.problems[0]}; {len(report.problems)} problem(s) "
            "in all); run the rebuild again, or report this as a bug"
        )


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _as_failure(error: OSError, releases: Path) -> EnvironmentFailure:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EnvironmentFailure(f"disk full while writing a release to {releases}; free some space and run again")
    return EnvironmentFailure(f"{releases} cannot be written ({error.strerror}); mend the folder and run again")
