"""A Prefect server and workers on loopback that a test may kill, start again, empty and look into.

Decides port, folder, credentials and the environment of both; whatever it started ends with the test's process. Its runs are asked
for and looked at over the REST API, as Prefect's pages do, because a `prefect` command takes seconds to start.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from flows.tethered import end, in_time, start
from tests.processes import processes_of

REPOSITORY = Path(__file__).resolve().parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
POOLS = ("counteranimal", "counteranimal-gpu")
DONE = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Runs:
    """The runs of the deployments, as Prefect's API tells of them."""

    def __init__(self, url: str, credentials: tuple[str, str]) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.auth = credentials
        # The server answers 503 while its SQLite database is busy, and Prefect's own client asks again.
        again = Retry(total=8, backoff_factor=0.3, status_forcelist=(503,), allowed_methods=None)
        self._session.mount("http://", HTTPAdapter(max_retries=again))

    def ask(self, path: str, question: Any, *, method: str = "POST") -> requests.Response:
        """Return the API's answer, whatever it is."""
        return self._session.request(method, f"{self._url}{path}", json=question, timeout=60)

    def deployment(self, flow: str) -> dict[str, Any]:
        """Return the one deployment of a flow."""
        return self.ask("/deployments/filter", {"flows": {"name": {"any_": [flow]}}}).json()[0]

    def start(self, flow: str, **parameters: Any) -> requests.Response:
        """Ask for a run."""
        wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return self.ask(f"/deployments/{self.deployment(flow)['id']}/create_flow_run", wanted)

    def of(self, flow: str) -> list[dict[str, Any]]:
        """Return the runs of a flow, the newest last."""
        found = self.ask("/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}}).json()
        return sorted(found, key=lambda run: run["created"])

    def states(self) -> dict[str, str]:
        """Return the type of state of each run."""
        return {run["id"]: run["state_type"] for run in self.ask("/flow_runs/filter", {}).json()}

    def actions_failed(self, automation: str) -> int:
        """Return how often an action of an automation failed."""
        wanted = {"filter": {"event": {"name": ["prefect.automation.action.failed"]}}}
        events = self.ask("/events/filter", wanted).json()["events"]
        return sum(event["resource"]["prefect.resource.name"] == automation for event in events)

    def state(self, run: str) -> dict[str, Any]:
        """Return the state of a run."""
        found: dict[str, Any] = self._session.get(f"{self._url}/flow_runs/{run}", timeout=30).json()["state"]
        return found

    def until(self, run: str, *types: str, patience: float = 180) -> dict[str, Any]:
        """Wait until a run is in one of these types of state and return its state."""
        deadline = time.monotonic() + patience
        while (state := self.state(run))["type"] not in types:
            assert time.monotonic() < deadline, state
            time.sleep(0.3)
        return state

    def done(self, flow: str, **parameters: Any) -> str:
        """Ask for a run, wait until it is completed and return its id."""
        run = str(self.start(flow, **parameters).json()["id"])
        state = self.until(run, *DONE)
        assert state["type"] == "COMPLETED", (state, self.words(run))
        return run

    def words(self, run: str) -> list[str]:
        """Return what a run logged."""
        found = self.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}).json()
        return [line["message"] for line in found]

    def artifacts(self, run: str) -> dict[str, str]:
        """Return what a run shows: key -> data as text."""
        found = self.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}}).json()
        return {item["key"]: f"{item['description']} {item['data']}" for item in found}


class PrefectServer:
    """One server with a database of its own under `home` and a name and password, and process workers; all write to `home/log`."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.log = home / "log"
        self.credentials = ("curator", secrets.token_hex(16))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}/api"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_AUTH_STRING": ":".join(self.credentials),
            "PREFECT_API_AUTH_STRING": ":".join(self.credentials),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # ten, as by default, are mostly waited for
            "PROJECT_ROOT": str(REPOSITORY),
            **environment,
        }
        self.runs = Runs(self.url, self.credentials)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._hold("server", "server", "start", "--host", "127.0.0.1", "--port", str(self._port))
        assert in_time(self.url, self._running["server"], patience=180), self.log.read_text()[-3000:]

    def kill(self) -> None:
        """End the server as a machine does that loses its power."""
        for pid in processes_of(self.home, f"server\0start\0--host\0127.0.0.1\0--port\0{self._port}"):
            os.kill(pid, signal.SIGKILL)
        end(self._running.pop("server"))

    def stop(self) -> None:
        """End the workers and the server."""
        while self._running:
            end(self._running.popitem()[1])

    def work(self) -> None:
        """Start a worker for the pool of everything but evaluations."""
        self._hold(POOLS[0], "worker", "start", "--pool", POOLS[0], "--name", "test")

    def deploy(self) -> None:
        """Make the pools and the deployments of prefect.yaml."""
        for pool in POOLS:
            assert self.runs.ask("/work_pools/", {"name": pool, "type": "process"}).ok
        done = self.prefect("deploy", "--all")
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

    def _hold(self, name: str, *arguments: str) -> None:
        command = [str(PREFECT), *arguments]
        self._running[name] = start(command, environment=self.environment, log=self.log, folder=REPOSITORY)
