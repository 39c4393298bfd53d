"""A Prefect server and workers on loopback that a test may stop, start again, empty and look into.

Decides port, folder, credentials and the environment of both, and ends by pid whatever it started. Asks the server over its REST
API, as its pages do, because a `prefect` command takes seconds to start.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import requests

from tests.processes import until

REPOSITORY = Path(__file__).resolve().parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
POOLS = ("counteranimal", "counteranimal-gpu")
DONE = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes], *signals: tuple[signal.Signals, float]) -> None:
    """End a process and its group: by default interrupt, then kill, since Prefect's worker may outlive a polite signal."""
    for sent, patience in signals or ((signal.SIGINT, 8.0), (signal.SIGKILL, 8.0)):
        if process.poll() is not None:
            break
        os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)


class PrefectServer:
    """One server with a database of its own under `home` and a name and password, and process workers; all write to `home/log`."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = home / "log"
        self.credentials = ("curator", secrets.token_hex(16))
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_AUTH_STRING": ":".join(self.credentials),
            "PREFECT_API_AUTH_STRING": ":".join(self.credentials),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "PROJECT_ROOT": str(REPOSITORY),
            **environment,
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop_all()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._spawn("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        until(self._answers, 150)

    def stop(self, *signals: tuple[signal.Signals, float]) -> None:
        """End the server."""
        end(self._running.pop("server"), *signals)

    def stop_all(self) -> None:
        """End the workers and the server."""
        while self._running:
            end(self._running.popitem()[1])

    def work(self, pool: str = POOLS[0]) -> None:
        """Start a worker for a pool."""
        self._spawn(pool, "worker", "start", "--pool", pool, "--name", pool)

    def deploy(self) -> None:
        """Make the pools and the deployments of prefect.yaml."""
        for pool in POOLS:
            self.ask("/work_pools/", {"name": pool, "type": "process"})
        done = self.prefect("deploy", "--all")
        assert done.returncode == 0, done.stdout + done.stderr

    def automate(self) -> None:
        """Install the automations that `counteranimal serve` installs."""
        done = self.prefect("automation", "create", "--from-file", "flows/automations.yaml")
        assert done.returncode == 0, done.stdout + done.stderr

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

    def ask(self, path: str, content: dict[str, Any] | None = None, *, method: str = "") -> Any:
        """Return the API's answer: by default to a POST of the content, or to a GET where there is none."""
        answer = requests.request(
            method or ("GET" if content is None else "POST"),
            self.url + path,
            json=content,
            auth=self.credentials,
            timeout=60,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def deployment(self, flow: str) -> str:
        """Return the path of a flow's deployment."""
        found = self.ask("/deployments/filter", {"flows": {"name": {"any_": [flow]}}})
        return f"/deployments/{found[0]['id']}"

    def change(self, flow: str, **fields: Any) -> None:
        """Change fields of a flow's deployment."""
        self.ask(self.deployment(flow), fields, method="PATCH")

    def run(self, flow: str, **parameters: Any) -> str:
        """Start the deployment of a flow and return the run's id."""
        return str(self.ask(f"{self.deployment(flow)}/create_flow_run", {"parameters": parameters})["id"])

    def runs(self) -> list[dict[str, Any]]:
        """Return what the server knows of every run; nothing while it is away."""
        with contextlib.suppress(requests.ConnectionError):
            found: list[dict[str, Any]] = self.ask("/flow_runs/filter", {})
            return found
        return []

    def states(self) -> dict[str, str]:
        """Return the type of state of each run."""
        return {run["id"]: run["state_type"] for run in self.runs()}

    def late(self) -> list[str]:
        """Return the runs whose time has passed and that have not begun."""
        now = datetime.now(UTC)
        return [
            run["id"]
            for run in self.runs()
            if run["state_type"] == "SCHEDULED" and datetime.fromisoformat(run["expected_start_time"]) < now
        ]

    def ended(self, run: str, patience: float = 180) -> str:
        """Wait until a run is over and return how."""
        return str(until(lambda: (state := self.states().get(run)) in DONE and state, patience))

    def words(self, run: str) -> list[str]:
        """Return what a run logged."""
        found = self.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
        return [line["message"] for line in found]

    def _answers(self) -> bool:
        assert self._running["server"].poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/health", timeout=5).ok
        return False

    def _spawn(self, name: str, *arguments: str) -> None:
        with self.log.open("ab") as output:
            self._running[name] = subprocess.Popen(
                [str(PREFECT), *arguments],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                umask=0o077,
            )
