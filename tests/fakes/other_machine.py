"""Another machine on this one: a network namespace joined to ours by a pair of interfaces, or, without root, two other loopback addresses.

What runs `inside` it has another network stack: it reaches ours by `ours` alone, and neither side's 127.0.0.1 is the other's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """`theirs` is its address, `ours` this machine's as seen from there, `inside` what to put before a command that runs there."""

    theirs: str
    ours: str
    inside: tuple[str, ...] = ()

    def program(self, path: Path, folder: Path) -> Path:
        """Return a program that runs another one on this machine."""
        wrapper = folder / f"{path.name}-elsewhere"
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(self.inside)} {path} "$@"\n')
        wrapper.chmod(0o755)
        return wrapper


def _ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], check=False, capture_output=True).returncode == 0


@contextmanager
def other_machine() -> Iterator[Machine]:
    """Yield a machine and take it away again."""
    name = f"labels-{os.getpid()}"
    near, far = f"ca{os.getpid() % 100_000}a", f"ca{os.getpid() % 100_000}b"
    if os.geteuid() or not shutil.which("ip") or not _ip("netns", "add", name):
        yield Machine("127.0.0.2", "127.0.0.3")
        return
    ours, theirs = "10.213.77.1", "10.213.77.2"
    steps = (
        ("link", "add", near, "type", "veth", "peer", "name", far, "netns", name),
        ("address", "add", f"{ours}/30", "dev", near),
        ("link", "set", near, "up"),
        ("-n", name, "address", "add", f"{theirs}/30", "dev", far),
        ("-n", name, "link", "set", far, "up"),
        ("-n", name, "link", "set", "lo", "up"),
    )
    try:
        if all(_ip(*step) for step in steps):
            yield Machine(theirs, ours, ("ip", "netns", "exec", name))
        else:
            yield Machine("127.0.0.2", "127.0.0.3")
    finally:
        _ip("link", "delete", near)
        _ip("netns", "delete", name)
