"""`counteranimal serve --check`: server, pools, workers and deployments from nothing, and nothing of it left behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import left_over

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]
REPOSITORY = Path(__file__).resolve().parents[2]
UV = REPOSITORY / ".uv" / "bin" / "uv"


def _serve(tmp_path: Path, *options: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "counteranimal.cli", "serve", "-r", "data_manifest/recipes/breeds.toml", *options],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.soak
@pytest.mark.case("G10")
@pytest.mark.case("G14")
def test_a_smoke_flow_runs_from_nothing_and_leaves_no_process(tmp_path: Path) -> None:
    """The check asks a server on loopback without credentials and wants 401, runs a flow, and ends what it started."""
    done = _serve(tmp_path, "--home", str(tmp_path / "home"), "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "credentials are asked for" in done.stdout
    state = tmp_path / "home" / "prefect"
    for name in ("prefect.db", "credentials"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600, name
    secret = (state / "credentials").read_text().partition(":")[2]
    assert secret not in (state / "serve.log").read_text() + done.stdout + done.stderr
    assert left_over(tmp_path, patience=20) == []


@pytest.mark.soak
@pytest.mark.case("G13")
@pytest.mark.timeout(1200)
def test_a_clean_install_imports_and_serves_within_two_minutes(tmp_path: Path) -> None:
    """From constraints.txt into a new environment; then server, workers and a smoke flow, every module compiled for the first time."""
    if not UV.exists():
        pytest.skip(f"uv is not at {UV}; `make install` brings it")
    python = str(tmp_path / "clean" / "bin" / "python")
    found = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
    for command in (
        ["venv", "--python", sys.executable, str(tmp_path / "clean")],
        ["pip", "install", "--python", python, "-e", ".[all]", "-c", "constraints.txt"],
        ["pip", "check", "--python", python],
    ):
        subprocess.run([UV, "--quiet", *command], cwd=REPOSITORY, env={**found, **os.environ}, check=True)
    started = time.monotonic()
    done = _serve(tmp_path, "--home", str(tmp_path / "home"), "--check", python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < 120
    assert left_over(tmp_path, patience=20) == []


def test_a_recipe_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    """A wrong recipe is usage: exit code 2 and no server."""
    done = _serve(tmp_path, "-r", str(tmp_path / "absent.toml"), "--home", str(tmp_path / "home"))
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "home" / "prefect").exists()
