"""A process that ends with the one that started it, however that went, and with all that it started itself.

Decides how such a process is held and ended: run as a program, this module is the tether between the two. It reads its standard
input, which ends when the process that holds the other end is gone, a kill -9 included, and then ends the command and its group.
Leaves to others what is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["end", "in_time", "start", "tethered"]

# Seconds between a polite signal and one that cannot be refused.
_GRACE = 10.0


def start(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a command in a folder, its output appended to `log`; whatever it writes is readable by its owner only."""
    log.touch(0o600)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve()), *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the process that holds it, which then ends it in order
            umask=0o077,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Let go of a command: it and all that it started are gone when this returns."""
    if process.stdin is not None:
        process.stdin.close()
    process.wait(timeout=3 * _GRACE)


@contextmanager
def tethered(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a command for as long as the context; see `start`."""
    process = start(command, environment=environment, log=log, folder=folder)
    try:
        yield process
    finally:
        end(process)


def in_time(url: str, process: subprocess.Popen[bytes], *, patience: float) -> bool:
    """Return whether a Prefect API on loopback answers within so many seconds, and before its process ends."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, so no proxy
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with ask.open(f"{url}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def _end_group(command: subprocess.Popen[bytes]) -> None:
    """End a command and its group: politely, then for certain, since what it started may outlive a polite signal."""
    for sent in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(command.pid, sent)
            command.wait(timeout=_GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _hold(command: Sequence[str]) -> int:
    held = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def until_let_go() -> None:
        os.read(0, 1)  # nothing is ever written there
        _end_group(held)

    threading.Thread(target=until_let_go, daemon=True).start()
    code = held.wait()
    _end_group(held)  # what a dead worker started has nobody to report to
    return code


if __name__ == "__main__":
    sys.exit(_hold(sys.argv[1:]))
