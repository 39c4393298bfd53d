"""A Prefect server for as long as one flow runs: on loopback, with a database in the flow's own folder.

Prefect starts one by itself where no server is named, but leaves it behind when the flow's process is killed. Decides what such a
server runs; leaves to `tethered` that it ends with the flow.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counteranimal.errors import EnvironmentFailure
from flows.tethered import in_time, tethered

__all__ = ["TemporaryServer", "temporary_server"]

PATIENCE = 180.0
# What Prefect sets for a server of this kind: no pages, no services that a single flow has no use for.
_ENVIRONMENT = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


class TemporaryServer:
    """A server that is starting or up."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.url = f"http://127.0.0.1:{port}/api"
        self._process = process

    def wait(self) -> None:
        """Wait until it is up.

        Raises
        ------
        EnvironmentFailure
            If it ends or does not answer in time.
        """
        if not in_time(self.url, self._process, patience=PATIENCE):
            raise EnvironmentFailure(
                f"Prefect's temporary server does not come up at {self.url}; run again, or run the same steps without it: "
                "`counteranimal demo`"
            )


@contextmanager
def temporary_server(home: Path) -> Iterator[TemporaryServer]:
    """Start a server whose state lives in `home`, without waiting for it, and stop it in the end.

    To be entered before Prefect is imported: Prefect reads the address from the environment, once.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    environment = {**os.environ, **_ENVIRONMENT}
    with tethered(command, environment=environment, log=home / "server.log", folder=home) as process:
        server = TemporaryServer(port, process)
        os.environ["PREFECT_API_URL"] = server.url
        yield server
