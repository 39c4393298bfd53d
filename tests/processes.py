"""Finds processes that a test started, however far down, by a mark in their environment."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


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
