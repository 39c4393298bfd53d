"""Starts and stops a Label Studio of our own: pinned version, own environment, loopback only, own secrets.

Decides the server's settings: sign-up closed, telemetry off, local-file serving off, a clean environment (Label Studio reads
bare variables such as HOST, PORT and DEBUG, and would obey stray ones). Secrets live in files of mode 0600 beside its data and
never on a command line. Leaves talking to it to `studio`. A server that somebody else runs is configured by settings instead.

::

    DATA_DIR/
      secrets/{password,token,secret_key}   made once
      server.json                           pid, its start, port: how `down` knows its own process
      server.log  data/
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from counteranimal.errors import EnvironmentFailure, MissingDependency, UsageError
from counteranimal.progress import bar
from counteranimal.resources import in_checkout
from counteranimal.settings import Settings
from counteranimal.workspace import write_atomically

__all__ = [
    "ACCOUNT",
    "PINNED",
    "StudioServer",
    "address",
    "begin",
    "data_folder",
    "down",
    "is_older",
    "program_of",
    "running",
    "up",
]

PINNED = "1.23.2"
ACCOUNT = "curator@counteranimal.invalid"
DATABASE = "label_studio.sqlite3"
# A first start that migrates takes a minute of CPU, which a busy machine may stretch tenfold; a server that has died is told at once.
PATIENCE = 900.0
STOPPING = 15.0


@dataclass(frozen=True, slots=True)
class StudioServer:
    """A running server of ours; the token and password are read from their files when asked for, and never printed."""

    url: str
    port: int
    pid: int
    started: str
    data_dir: Path

    @property
    def token(self) -> str:
        """The API token of our own account."""
        return _secret(self.data_dir, "token")

    @property
    def password(self) -> str:
        """The password of our own account, for a browser."""
        return _secret(self.data_dir, "password")

    @property
    def account(self) -> str:
        """The e-mail of our own account."""
        return ACCOUNT


def is_older(version: str) -> bool:
    """Say whether a version precedes the pinned one.

    Examples
    --------
    >>> is_older("1.9.0"), is_older("1.23.2"), is_older("1.24.0.dev1")
    (True, False, False)
    """
    found, pinned = (tuple(int(part) for part in re.findall(r"\d+", name)[:3]) for name in (version, PINNED))
    return found < pinned


def data_folder(settings: Settings) -> Path:
    """Return where the local server keeps its data: in the workspace."""
    return settings.home.resolve() / "label-studio"


def program_of(settings: Settings) -> Path:
    """Return where the server's program is or would be: a relative environment is also looked for in the checkout."""
    return in_checkout(settings.label_studio_venv).resolve() / "bin" / "label-studio"


def address(settings: Settings) -> tuple[str, str]:
    """Return (url, token) of the server to use: the one that settings give a token for, else our own running one.

    Raises
    ------
    EnvironmentFailure
        If settings name no token and no server of ours runs.
    """
    token = settings.label_studio_token.get_secret_value()
    if token:
        return settings.label_studio_url.rstrip("/"), token
    own = running(data_folder(settings))
    if own is None:
        raise EnvironmentFailure(
            f"Label Studio does not run at {settings.label_studio_url}; start it with `counteranimal label-studio up`, "
            "or give COUNTERANIMAL_LABEL_STUDIO_TOKEN for a server of yours"
        )
    return own.url, own.token


def up(settings: Settings, data_dir: Path, *, port: int | None = None) -> StudioServer:
    """Start the server, or return the one that runs already.

    Parameters
    ----------
    data_dir : Path
        Its data, secrets and log; made when missing. The first start takes over the environment's empty
        database, or migrates one of its own, about a minute.
    port : int, optional
        Taken as given; without it the last start's port where free, else any free one.

    Raises
    ------
    MissingDependency
        If the server's environment is not installed.
    EnvironmentFailure
        If the port is taken, the server does not come up, or what answers is not it.
    """
    folder = data_dir.resolve()
    already = running(folder) is not None
    server = begin(settings, folder, port=port)
    try:
        _await(server)
        _prove(server)
    except BaseException:
        if not already:
            down(folder)
        raise
    return server


def begin(settings: Settings, data_dir: Path, *, port: int | None = None) -> StudioServer:
    """Start the server without waiting until it is up, or return the one that runs already; `up` then waits for it.

    Raises
    ------
    MissingDependency
        If the server's environment is not installed.
    EnvironmentFailure
        If the port is taken.
    """
    program = program_of(settings)
    if not program.exists():
        raise MissingDependency(
            f"Label Studio is not installed at {program.parents[1]}; run `make label-studio` in the checkout, "
            "or set COUNTERANIMAL_LABEL_STUDIO_VENV to an environment that has it"
        )
    folder = data_dir.resolve()
    own = running(folder)
    if own is not None:
        if port is not None and port != own.port:
            raise UsageError(
                f"Label Studio already runs at {own.url}; stop it with `counteranimal label-studio down` first"
            )
        return own
    chosen = _free_port(port, folder)
    for part in (folder, folder / "data", folder / "secrets"):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, length in (("password", 18), ("token", 20), ("secret_key", 32)):
        _make_secret(folder, name, length)
    _take_over_empty_database(program, folder)
    return _start(program, folder, chosen)


def down(data_dir: Path) -> bool:
    """Stop our server and return whether one was running; a process that is not ours is never touched."""
    own = running(data_dir.resolve())
    if own is None:
        return False
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(own.pid, kind)
        except ProcessLookupError:
            break
        if _gone(own):
            break
    (own.data_dir / "server.json").unlink(missing_ok=True)
    return True


def running(data_dir: Path) -> StudioServer | None:
    """Return our running server, None if there is none; a pid that was given to another process since is not ours."""
    record = data_dir / "server.json"
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        found = StudioServer(**{**values, "data_dir": data_dir})
    except (FileNotFoundError, ValueError, TypeError):
        return None
    # A process that had ended before its start could be read has none, and does not run.
    return found if found.started and _birth(found.pid) == found.started else None


def _take_over_empty_database(program: Path, folder: Path) -> None:
    """Begin with the migrated database that `make label-studio` left in the environment; without one the server migrates its own."""
    empty = program.parents[1] / "share" / "empty" / DATABASE
    if empty.exists() and not (folder / "data" / DATABASE).exists():
        write_atomically(folder / "data" / DATABASE, empty.read_bytes(), mode=0o600)


def _start(program: Path, folder: Path, port: int) -> StudioServer:
    log = folder / "server.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with os.fdopen(descriptor, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    server = StudioServer(f"http://127.0.0.1:{port}", port, process.pid, _birth(process.pid), folder)
    values = {name: value for name, value in asdict(server).items() if name != "data_dir"}
    (folder / "server.json").write_text(json.dumps(values) + "\n", encoding="utf-8")
    return server


def _environment(folder: Path) -> dict[str, str]:
    """Return the whole environment of the server; nothing of ours is inherited."""
    prefixed = {
        "BASE_DATA_DIR": str(folder / "data"),
        "USERNAME": ACCOUNT,
        "PASSWORD": _secret(folder, "password"),
        "USER_TOKEN": _secret(folder, "token"),
        "ENABLE_LEGACY_API_TOKEN": "true",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LOCAL_FILES_SERVING_ENABLED": "false",
        "DEBUG": "false",
    }
    plain = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "SECRET_KEY": _secret(folder, "secret_key"),
    }
    return plain | {f"LABEL_STUDIO_{name}": value for name, value in prefixed.items()}


def _await(server: StudioServer) -> None:
    """Wait until our process says that it serves our port, and the port says that it is up."""
    log = server.data_dir / "server.log"
    deadline = time.monotonic() + PATIENCE
    with bar() as progress:
        progress.add_task("starting Label Studio (the first start may take a minute)", total=None)
        while time.monotonic() < deadline:
            if running(server.data_dir) is None:
                said = " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-300:]
                raise EnvironmentFailure(f"Label Studio ended while starting (...{said}); its log is {log}")
            # Its own log line comes first: only then may our token be shown to whatever holds the port.
            if f"http://127.0.0.1:{server.port}/" in log.read_text(encoding="utf-8", errors="replace"):
                status, _ = _get(server, "/health")
                if status == 200:
                    return
            time.sleep(0.2)
    raise EnvironmentFailure(f"Label Studio was not up after {PATIENCE:.0f} s; its log is {log}; run again to go on")


def _prove(server: StudioServer) -> None:
    """Make sure that what answers is our server, of our version, with our account."""
    status, body = _get(server, "/api/version", token=server.token)
    if status != 200:
        raise EnvironmentFailure(
            f"what answers at {server.url} refuses our token ({status or 'no answer'}); see {server.data_dir / 'server.log'}, "
            "stop it with `counteranimal label-studio down` and start again"
        )
    version = str(json.loads(body).get("release"))
    if version != PINNED:
        raise EnvironmentFailure(f"Label Studio at {server.url} is {version}, not {PINNED}; run `make label-studio`")
    status, body = _get(server, "/api/current-user/whoami", token=server.token)
    if status != 200 or json.loads(body).get("email") != ACCOUNT:
        raise EnvironmentFailure(f"what answers at {server.url} is not our Label Studio; choose another port")


def _get(server: StudioServer, path: str, *, token: str = "") -> tuple[int, bytes]:
    """Return (status, body) of a request to loopback, (0, empty) if there is no answer; no proxy is ever asked."""
    headers: Mapping[str, str] = {"Authorization": f"Token {token}"} if token else {}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(1_000_000)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _free_port(wanted: int | None, folder: Path) -> int:
    if wanted is not None:
        if not _is_free(wanted):
            raise EnvironmentFailure(f"port {wanted} is taken; choose another with --port or stop what holds it")
        return wanted
    last = folder / "port"
    remembered = int(last.read_text()) if last.exists() else 0
    if not remembered or not _is_free(remembered):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            remembered = int(probe.getsockname()[1])
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        last.write_text(f"{remembered}\n", encoding="utf-8")
    return remembered


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _make_secret(folder: Path, name: str, length: int) -> None:
    path = folder / "secrets" / name
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(length))


def _secret(folder: Path, name: str) -> str:
    return (folder / "secrets" / name).read_text(encoding="utf-8").strip()


def _birth(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty if it is gone or a zombie. Where there is no /proc, `alive`."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return ""
        try:
            os.kill(pid, 0)
        except OSError:
            return ""
        return "alive"
    return "" if fields[0] == "Z" else fields[19]


def _gone(server: StudioServer) -> bool:
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):  # where we are its parent, no zombie may stay
            os.waitpid(server.pid, os.WNOHANG)
        if _birth(server.pid) != server.started:
            return True
        time.sleep(0.1)
    return False
