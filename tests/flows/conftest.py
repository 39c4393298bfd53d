"""A real Prefect server and process worker on loopback, started once and ended by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PREFECT = Path(sys.executable).with_name("prefect")


@dataclass(frozen=True)
class PrefectServer:
    """Where the server is and the environment that reaches it."""

    url: str
    environment: dict[str, str]

    def prefect(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a Prefect command against the server."""
        return subprocess.run(
            [str(PREFECT), "--no-prompt", *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: interrupt first, then kill, since Prefect's worker may outlive a polite signal."""
    for sent, patience in ((signal.SIGINT, 8.0), (signal.SIGKILL, 8.0)):
        if process.poll() is not None:
            break
        os.killpg(process.pid, sent)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310 - our own loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"the Prefect server did not come up: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server with a database of its own and one process worker for the pool that prefect.yaml names."""
    home = tmp_path_factory.mktemp("prefect")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        "PROJECT_ROOT": str(REPOSITORY),
    }
    log = home / "server.log"
    started: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as output:
            server = subprocess.Popen(
                [str(PREFECT), "server", "start", "--host", "127.0.0.1", "--port", str(port)],
                env=environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            started.append(server)
            _wait_for(url, server, log)
            prefect = PrefectServer(url, environment)
            for pool in ("counteranimal", "counteranimal-gpu"):
                assert prefect.prefect("work-pool", "create", pool, "--type", "process").returncode == 0
            deployed = prefect.prefect("deploy", "--all")
            assert deployed.returncode == 0, deployed.stdout + deployed.stderr
            started.append(
                subprocess.Popen(
                    [str(PREFECT), "worker", "start", "--pool", "counteranimal", "--name", "test"],
                    cwd=REPOSITORY,
                    env=environment,
                    stdout=output,
                    stderr=output,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            yield prefect
    finally:
        for process in reversed(started):
            _stop(process)
