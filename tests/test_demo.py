"""The demo in small: everything from a crawl to a report, on real servers, twice."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from counteranimal.errors import MissingDependency
from counteranimal.serving.material import obtain_material
from counteranimal.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.material,
    pytest.mark.studio,
    pytest.mark.model,
    pytest.mark.xdist_group("demo"),
    pytest.mark.timeout(900),
]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _demo(module: str, folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *module.split(), "--quick", "--folder", str(folder), "--port", str(port)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COUNTERANIMAL_PHOTO_SERVER": f"127.0.0.1:{_free_port()}", "CI": "true"},
    )


def test_tiny_demo_runs_through_and_resumes(tmp_path: Path) -> None:
    """The flow does the whole job, and the verb, run after it on the same folder, finds everything done."""
    settings = load_settings()
    if not (settings.label_studio_venv / "bin" / "label-studio").exists():
        pytest.skip("Label Studio's environment is not installed (make label-studio)")
    try:
        obtain_material(settings.cache_folder, root=settings.material)
    except MissingDependency as error:
        pytest.skip(str(error))
    folder, port = tmp_path / "demo", _free_port()
    first = _demo("flows.demo", folder, port)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "simulated" in first.stdout
    assert "composites" in first.stdout
    report = json.loads((folder / "home" / "report" / "report.json").read_text())
    assert report
    frozen = (folder / "home" / "releases" / "1.0.0" / "SHA256SUMS").read_bytes()
    steps = (folder / "home" / "logs" / "steps.jsonl").read_text().splitlines()

    again = _demo("counteranimal.cli demo", folder, port)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (folder / "home" / "releases" / "1.0.0" / "SHA256SUMS").read_bytes() == frozen
    new = [
        json.loads(line) for line in (folder / "home" / "logs" / "steps.jsonl").read_text().splitlines()[len(steps) :]
    ]
    by_step = {line["step"]: line for line in new}
    assert by_step["crawl"]["new"] == 0
    assert by_step["dedupe"]["new"] == 0
    assert by_step["score"]["new"] == 0
    assert not {"plan", "push", "pull"} & set(by_step)
