"""Finds processes that a test started, however far down, by a mark in their environment, and waits for what they do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def left_over(mark: Path, *, patience: float = 20.0) -> list[str]:
    """Return the command lines of processes whose environment names `mark`, once none is left or patience ends."""
    deadline = time.monotonic() + patience
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def marked(mark: Path) -> list[str]:
    """Return the command lines of the processes whose environment names `mark` now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if str(mark).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def processes_of(mark: Path, wanted: str) -> list[int]:
    """Return the pids of processes below the test that carry `wanted` in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            if (
                str(mark).encode() in environment
                and wanted.encode() in environment + (process / "cmdline").read_bytes()
            ):
                found.append(int(process.name))
    return found


def until(what: Callable[[], Any], patience: float) -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return found
