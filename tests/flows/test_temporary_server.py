"""The Prefect server that a flow brings along ends with the flow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import left_over, marked

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.case("G14")
def test_the_server_of_a_killed_flow_ends_by_itself(tmp_path: Path) -> None:
    """A flow that is killed cannot stop its server; the server notices and goes."""
    program = (
        "import os, pathlib, sys; from flows.temporary_server import temporary_server\n"
        "with temporary_server(pathlib.Path(sys.argv[1])): print('started', flush=True); os.read(0, 1)"
    )
    flow = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert flow.stdout is not None
    assert flow.stdout.readline() == "started\n"
    assert any("uvicorn" in line for line in marked(tmp_path))
    flow.kill()
    flow.communicate()
    assert left_over(tmp_path, patience=60) == []
