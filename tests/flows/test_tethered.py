"""What a process holds ends with it, children included, and what ends by itself is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.tethered import end, start
from tests.processes import left_over, marked

REPOSITORY = Path(__file__).resolve().parents[2]
# A command with a child that refuses polite signals.
STUBBORN = "import os, signal; os.fork() or signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); signal.pause()"


@pytest.mark.case("G14")
def test_a_command_and_its_children_end_with_a_killed_holder(tmp_path: Path) -> None:
    """A holder that is killed -9 can end nothing; the tether does."""
    program = (
        "import os, pathlib, sys; from flows.tethered import start; place = pathlib.Path(sys.argv[1])\n"
        "start([sys.executable, '-c', sys.argv[2]], environment=os.environ, log=place / 'log', folder=place)\n"
        "while not (place / 'log').read_text().count('up') == 2: pass\n"
        "print('started', flush=True); os.read(0, 1)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), STUBBORN],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "started\n"
    assert len(marked(tmp_path)) == 4  # holder, tether, command, child
    holder.kill()
    holder.communicate()
    assert left_over(tmp_path, patience=60) == []


def test_a_command_that_ends_by_itself_is_noticed(tmp_path: Path) -> None:
    """Its exit code is the tether's, and what it started ends as well."""
    program = "import os, sys, time; os.fork() or time.sleep(600); sys.exit(7)"
    process = start(
        [sys.executable, "-c", program],
        environment={**os.environ, "TMPDIR": str(tmp_path)},
        log=tmp_path / "log",
        folder=tmp_path,
    )
    assert process.wait(timeout=60) == 7
    assert left_over(tmp_path) == []
    end(process)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
