"""Shard functions that leave a mark for every time they begin and end, so that executions in other processes can be counted."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class Counted(NamedTuple):
    """A shard: its number, the folder for marks, how long it takes; `holds` waits while this file exists."""

    number: int
    folder: Path
    holds: Path


def marked(shard: Counted) -> int:
    """Mark the beginning with this process's id, wait while told to, mark the end, and return the number squared."""
    _mark(shard, "begun")
    while shard.holds.exists():
        time.sleep(0.02)
    _mark(shard, "done")
    return shard.number**2


def _mark(shard: Counted, what: str) -> None:
    (shard.folder / f"{shard.number}.{what}.{os.getpid()}.{secrets.token_hex(4)}").touch()


def counted(folder: Path, what: str) -> Counter[int]:
    """Return shard number -> how often it has begun, or was done."""
    return Counter(int(path.name.split(".")[0]) for path in folder.glob(f"*.{what}.*"))


def at_work(folder: Path) -> dict[int, int]:
    """Return process id -> the shard that it has begun and not ended."""
    begun = {
        int(path.name.split(".")[2]): int(path.name.split(".")[0])
        for path in sorted(folder.glob("*.begun.*"), key=os.path.getmtime)
    }
    done = {(int(path.name.split(".")[2]), int(path.name.split(".")[0])) for path in folder.glob("*.done.*")}
    return {pid: number for pid, number in begun.items() if (pid, number) not in done}
