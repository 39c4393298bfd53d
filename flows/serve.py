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
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml  # type: ignore[import-untyped]

from counteranimal.cli.common import Home, RecipeFile, verb
from counteranimal.errors import EnvironmentFailure, MissingDependency
from counteranimal.recipe import load_recipe
from counteranimal.settings import load_settings
from flows.missed import make_up, missed

__all__ = ["main"]

REPOSITORY = Path(__file__).resolve().parents[1]
PREFECT = Path(sys.executable).with_name("prefect")
POOLS = ("counteranimal", "counteranimal-gpu")
PATIENCE = 180.0
# Seconds between looks at the workers; one that died is started again, at most this often.
_LOOK = 5.0
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Loopback port of the server; 0: any free one.")]
Check = Annotated[bool, typer.Option("--check", help="Start everything, run a smoke flow, stop everything.")]


def _credentials(home: Path) -> str:
    """Return the server's name and password, made once and readable by their owner only."""
    kept = home / "credentials"
    if not kept.exists():
        kept.touch(0o600, exist_ok=False)
        kept.write_text(f"counteranimal:{secrets.token_urlsafe(24)}", encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _environment(home: Path, port: int) -> dict[str, str]:
    credentials = _credentials(home)
    return {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": credentials,
        "PREFECT_API_AUTH_STRING": credentials,
        # In a file: in memory, as by default, they are lost with the server, and a run that cannot renew its own is cancelled.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # never a pickle
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # what flows/automations.yaml counts on
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        "PROJECT_ROOT": str(REPOSITORY),
    }


def _port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise EnvironmentFailure(f"port {wanted} is taken; name another with --port, or 0 for any") from error
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: politely, then for certain, since a worker may outlive a polite signal."""
    for sent, patience in ((signal.SIGINT, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, sent)
            process.wait(timeout=patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _start(stack: ExitStack, home: Path, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    with (home / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [str(PREFECT), *arguments],
            cwd=REPOSITORY,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
            umask=0o077,  # the database holds secrets
        )
    stack.callback(_end, process)
    return process


def _prefect(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(PREFECT), "--no-prompt", *arguments],
        cwd=REPOSITORY,
        env=dict(environment),
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


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, so no proxy
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with ask.open(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise EnvironmentFailure(f"Prefect's server does not come up at {url}; its words are in {log}")


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


@verb
def main(recipe_file: RecipeFile, home: Home = None, port: Port = 4200, check: Check = False) -> None:
    """Serve the recipe's schedules from this machine until Ctrl-C; the page of runs asks for the name and password kept beside it."""
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # what a service manager sends ends everything as Ctrl-C does
    if not PREFECT.exists():
        raise MissingDependency("Prefect is missing; run pip install 'counteranimal[flows]'")
    load_recipe(recipe_file)
    workspace = load_settings(home=home).home.resolve()
    state = workspace / "prefect"
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    environment = _environment(state, _port(0 if check else port))
    url, log = environment["PREFECT_API_URL"], state / "serve.log"
    parameters = {"recipe": str(recipe_file.resolve()), "home": str(workspace)}
    with ExitStack() as stack:
        number = url.rpartition(":")[2].removesuffix("/api")
        server = _start(stack, state, environment, "server", "start", "--host", "127.0.0.1", "--port", number)
        _wait(url, server, log)
        _refuses_strangers(url)
        for pool in POOLS:
            _prefect(environment, "work-pool", "create", pool, "--type", "process", "--overwrite")
        written = _deployments(state, parameters, scheduled=not check)
        late = [] if check else missed(environment)
        _prefect(environment, "deploy", "--all", "--prefect-file", str(written))
        if "mark-crashed-runs" not in _prefect(environment, "automation", "ls"):
            _prefect(environment, "automation", "create", "--from-file", "flows/automations.yaml")
        workers = {pool: _start(stack, state, environment, "worker", "start", "--pool", pool) for pool in POOLS}
        make_up(environment, late)
        if check:
            _prefect(environment, "deployment", "run", "smoke/default", "--watch")
            typer.echo(
                f"server, {len(POOLS)} pools with a worker each and the deployments work; credentials are asked for"
            )
            return
        typer.echo(
            f"serving at {url.removesuffix('/api')}, credentials in {state / 'credentials'}; Ctrl-C ends all of it"
        )
        while server.poll() is None:
            time.sleep(_LOOK)
            for pool in [pool for pool, worker in workers.items() if worker.poll() is not None]:
                workers[pool] = _start(stack, state, environment, "worker", "start", "--pool", pool)
        raise EnvironmentFailure(f"the server has ended by itself; its words are in {log}; run the command again")


if __name__ == "__main__":
    typer.run(main)
