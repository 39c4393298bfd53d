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
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml  # type: ignore[import-untyped]

from counteranimal.cli.common import Home, RecipeFile, verb
from counteranimal.cli.schedule import Check, Port
from counteranimal.errors import EnvironmentFailure, MissingDependency
from counteranimal.recipe import load_recipe
from counteranimal.settings import load_settings
from flows.tethered import end, in_time, start, tethered

__all__ = ["main"]

REPOSITORY = Path(__file__).resolve().parents[1]
PREFECT = Path(sys.executable).with_name("prefect")
POOLS = ("counteranimal", "counteranimal-gpu")
PATIENCE = 180.0
# Seconds between looks at the workers; one that died is started again, at most this often.
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


def _refuses_strangers(url: str) -> None:
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with ask.open(f"{url}/admin/version", timeout=10):
            raise EnvironmentFailure(
                f"{url} answers without credentials; stop it and look at PREFECT_* in the environment"
            )
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise EnvironmentFailure(f"{url} answers {error.code} without credentials, not 401") from error


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
    """Make the server's pools, deployments and automations; those of an earlier start are replaced."""
    for pool in POOLS:
        place.prefect("work-pool", "create", pool, "--type", "process", "--overwrite")
    written = _deployments(place.home, parameters, scheduled=scheduled)
    place.prefect("deploy", "--all", "--prefect-file", str(written))
    listed = place.prefect("automation", "ls")
    for automation in yaml.safe_load(_AUTOMATIONS.read_text(encoding="utf-8"))["automations"]:
        if automation["name"] in listed:
            place.prefect("automation", "delete", automation["name"])
    place.prefect("automation", "create", "--from-file", str(_AUTOMATIONS))


def _worker(place: Place, pool: str) -> subprocess.Popen[bytes]:
    command = [str(PREFECT), "worker", "start", "--pool", pool]
    return start(command, environment=place.environment, log=place.log, folder=REPOSITORY)


def _end_all(workers: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for worker in workers.values():
        end(worker)


def _keep_working(place: Place, server: subprocess.Popen[bytes], workers: dict[str, subprocess.Popen[bytes]]) -> None:
    """Start workers again that died, until the server ends, which only an interrupt should make it do."""
    while server.poll() is None:
        time.sleep(_LOOK)
        for pool in [pool for pool, worker in workers.items() if worker.poll() is not None]:
            workers[pool] = _worker(place, pool)
    raise EnvironmentFailure(f"the server has ended by itself; its words are in {place.log}; run the command again")


@verb
def main(recipe_file: RecipeFile, home: Home = None, port: Port = 4200, check: Check = False) -> None:
    """Serve the recipe's schedules from this machine until Ctrl-C; the page of runs asks for the name and password kept beside it."""
    # What a service manager sends ends everything as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not PREFECT.exists():
        raise MissingDependency("Prefect is missing; run pip install 'counteranimal[flows]'")
    load_recipe(recipe_file)
    workspace = load_settings(home=home).home.resolve()
    number = _port(0 if check else port)
    place = Place.of(workspace / "prefect", number)
    workers: dict[str, subprocess.Popen[bytes]] = {}
    command = [str(PREFECT), "server", "start", "--host", "127.0.0.1", "--port", str(number)]
    with ExitStack() as stack:
        server = stack.enter_context(tethered(command, environment=place.environment, log=place.log, folder=REPOSITORY))
        stack.callback(_end_all, workers)
        if not in_time(place.url, server, patience=PATIENCE):
            raise EnvironmentFailure(f"Prefect's server does not come up at {place.url}; its words are in {place.log}")
        _refuses_strangers(place.url)
        _equip(place, {"recipe": str(recipe_file.resolve()), "home": str(workspace)}, scheduled=not check)
        workers.update((pool, _worker(place, pool)) for pool in POOLS)
        if check:
            place.prefect("deployment", "run", "smoke/default", "--watch")
            typer.echo(
                f"server, {len(POOLS)} pools with a worker each and the deployments work; credentials are asked for"
            )
            return
        typer.echo(
            f"serving at {place.url.removesuffix('/api')}, credentials in {place.home / 'credentials'}; Ctrl-C ends all of it"
        )
        _keep_working(place, server, workers)


if __name__ == "__main__":
    typer.run(main)
