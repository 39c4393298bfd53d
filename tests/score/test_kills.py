"""Scoring that is killed goes on where it stopped: nothing lost, nothing stored twice, the same table in the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.case("E09")
@pytest.mark.parametrize("photos", [32, pytest.param(5_000, marks=pytest.mark.soak)])
def test_twenty_kills_lose_nothing_and_change_nothing(tmp_path: Path, photos: int) -> None:
    """SIGKILL at 20 moments: every photo has one stored feature and one measure, and the table is byte for byte the same."""
    command = [sys.executable, "-m", "tests.fakes.killed_score", str(tmp_path), str(photos), "20"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"died": 20, "photos": photos, "twice": 0, "lost": 0, "same": 20}
