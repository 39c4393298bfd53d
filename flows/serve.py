"""Server, pools, workers and deployments on one machine, from nothing, for as long as this process runs.

Decides what is started, on which address, with which credentials, and that all of it ends with this process. Leaves the
deployments to prefect.yaml and the work to the flows. Run as `python -m flows.serve`, which `counteranimal serve` does.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import typer
import yaml  # type: ignore[import-untyped]

from counteranimal.cli.common import Home, RecipeFile, verb
from counteranimal.cli.schedule import Check, Port
from counteranimal.errors import EnvironmentFailure
from counteranimal.recipe import load_recipe
from counteranimal.settings import load_settings
from flows.tethered import end, in_time, start

__all__ = ["main"]

REPOSITORY = Path(__file__).resolve().parents[1]
PREFECT = Path(sys.executable).with_name("prefect")
POOLS = ("counteranimal", "counteranimal-gpu")
PATIENCE = 180.0
# Seconds between questions to a busy server, a minute in all.
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Seconds between looks at the server and the workers; one that died is started again, at most this often.
_LOOK = 5.0
_AUTOMATIONS = REPOSITORY / "flows" / "automations.yaml"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server's state lives, and the environment that its commands run in."""

    home: Path
    environment: Mapping[str, str]

    @classmethod
    def of(cls, home: Path, port: int) -> Place:
        """Make the folder, readable by its owner only, and the environment of a server at a loopback port."""
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        credentials = _credentials(home)
        environment = {
            **os.environ,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_API_AUTH_STRING": credentials,
            "PREFECT_API_AUTH_STRING": credentials,
            # In files: in memory, as by default, they are lost with the server, and a run that cannot renew its own is cancelled.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "PROJECT_ROOT": str(REPOSITORY),
        }
        return cls(home, environment)

    @property
    def url(self) -> str:
        """Where the server's API answers."""
        return self.environment["PREFECT_API_URL"]

    @property
    def log(self) -> Path:
        """What the server and the workers say."""
        return self.home / "serve.log"

    def prefect(self, *arguments: str) -> str:
        """Run a Prefect command to its end and return what it prints; raises EnvironmentFailure with its words."""
        done = subprocess.run(
            [str(PREFECT), "--no-prompt", *arguments],
            cwd=REPOSITORY,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EnvironmentFailure(
                f"`prefect {' '.join(arguments[:2])}` failed; run `counteranimal serve` again. Its words: "
                f"{(done.stderr or done.stdout)[-800:].strip()}"
            )
        return done.stdout


def _credentials(home: Path) -> str:
    """Return the server's name and password, made once and readable by their owner only."""
    kept = home / "credentials"
    if not kept.exists():
        kept.touch(0o600, exist_ok=False)
        kept.write_text(f"counteranimal:{secrets.token_urlsafe(24)}", encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise EnvironmentFailure(f"port {wanted} is taken; name another with --port, or 0 for any") from error
        return int(probe.getsockname()[1])


class Api:
    """The server's REST API: a question costs milliseconds, where each `prefect` command takes seconds to start."""

    def __init__(self, url: str, credentials: str | None = None) -> None:
        name, _, word = (credentials or "").partition(":")
        # On loopback, so no proxy. SQLite lets one write at a time, so an answer may take a while.
        self._client = httpx.Client(
            base_url=url, auth=(name, word) if credentials else None, trust_env=False, timeout=60.0
        )

    def ask(self, method: str, path: str, content: object = None, *, status: int | None = None) -> httpx.Response:
        """Return the answer; raises EnvironmentFailure for an error, unless it has this status, and where none comes.

        The server answers 503 while its SQLite database is busy, as it is when it starts with many late runs; then it is asked again.
        """
        for wait in (*_WAITS, 0.0):
            try:
                answer = self._client.request(method, path, json=content)
            except httpx.TransportError as error:
                raise EnvironmentFailure(
                    f"Prefect's server does not answer {method} {path} ({error}); run `counteranimal serve` again"
                ) from error
            if answer.is_success or answer.status_code == status:
                return answer
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(wait)
        raise EnvironmentFailure(
            f"Prefect's server answers {answer.status_code} to {method} {path}; run `counteranimal serve` again. Its words: {answer.text[:300]}"
        )


def _refuses_strangers(url: str) -> None:
    if Api(url).ask("GET", "/admin/version", status=401).is_success:
        raise EnvironmentFailure(f"{url} answers without credentials; stop it and look at PREFECT_* in the environment")


def _deployments(home: Path, parameters: Mapping[str, str], *, scheduled: bool) -> Path:
    """Write prefect.yaml anew for one recipe and workspace and return where; its schedules run unless this is a check."""
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text(encoding="utf-8"))
    content.pop("definitions")
    for item in content["deployments"]:
        if item.get("parameters"):
            item["parameters"] = {**item["parameters"], **parameters}
        for schedule in item.get("schedules", ()):
            schedule["active"] = scheduled
    written = home / "prefect.yaml"
    written.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return written


def _equip(place: Place, parameters: Mapping[str, str], *, scheduled: bool) -> None:
    """Make the server's pools, deployments and automations; deployments and automations of an earlier start are replaced."""
    api = Api(place.url, place.environment["PREFECT_API_AUTH_STRING"])
    for pool in POOLS:
        api.ask("POST", "/work_pools/", {"name": pool, "type": "process"}, status=409)  # it may be there
    written = _deployments(place.home, parameters, scheduled=scheduled)
    place.prefect("deploy", "--all", "--prefect-file", str(written))
    for automation in yaml.safe_load(_AUTOMATIONS.read_text(encoding="utf-8"))["automations"]:
        for earlier in api.ask(
            "POST", "/automations/filter", {"automations": {"name": {"any_": [automation["name"]]}}}
        ).json():
            api.ask("DELETE", f"/automations/{earlier['id']}")
        api.ask("POST", "/automations/", automation)


class Services:
    """The server and its workers, as long as the context: what dies is started again, all of it ends with the context."""

    def __init__(self, place: Place, port: int) -> None:
        self._place = place
        self._commands: dict[str, list[str]] = {
            "server": ["server", "start", "--host", "127.0.0.1", "--port", str(port)],
            **{pool: ["worker", "start", "--pool", pool] for pool in POOLS},
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        while self._running:
            end(self._running.popitem()[1])  # the server, which came first, last

    def start_server(self) -> None:
        """Start the server and wait until it answers; raises EnvironmentFailure if it does not."""
        self._start("server")
        if not in_time(self._place.url, self._running["server"], patience=PATIENCE):
            raise EnvironmentFailure(
                f"Prefect's server does not come up at {self._place.url}; its words are in {self._place.log}"
            )

    def start_workers(self) -> None:
        """Start a worker for each pool."""
        for pool in POOLS:
            self._start(pool)

    def keep(self) -> None:
        """Start again whatever dies, until an interrupt; runs outlive minutes without a server."""
        while True:
            time.sleep(_LOOK)
            for name in [name for name, process in self._running.items() if process.poll() is not None]:
                if name == "server":
                    self.start_server()
                else:
                    self._start(name)

    def _start(self, name: str) -> None:
        command = [str(PREFECT), *self._commands[name]]
        self._running[name] = start(
            command, environment=self._place.environment, log=self._place.log, folder=REPOSITORY
        )


@verb
def main(recipe_file: RecipeFile, home: Home = None, port: Port = 4200, check: Check = False) -> None:
    """Serve the recipe's schedules from this machine until Ctrl-C; the page of runs asks for the name and password kept beside it."""
    # What a service manager sends ends everything as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load_recipe(recipe_file)
    workspace = load_settings(home=home).home.resolve()
    number = _port(0 if check else port)
    place = Place.of(workspace / "prefect", number)
    with Services(place, number) as services:
        services.start_server()
        _refuses_strangers(place.url)
        _equip(place, {"recipe": str(recipe_file.resolve()), "home": str(workspace)}, scheduled=not check)
        services.start_workers()
        if check:
            place.prefect("deployment", "run", "smoke/default", "--watch")
            typer.echo(
                f"server, {len(POOLS)} pools with a worker each and the deployments work; credentials are asked for"
            )
            return
        typer.echo(
            f"serving at {place.url.removesuffix('/api')}, credentials in {place.home / 'credentials'}; Ctrl-C ends all of it"
        )
        services.keep()


if __name__ == "__main__":
    typer.run(main)
