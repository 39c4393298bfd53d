"""A Prefect server for as long as one flow runs: on loopback, with a database in the flow's own folder.

Prefect starts one by itself where no server is named, but leaves it behind when the flow's process is killed. This one reads
its standard input, which ends when the process that started it is gone, however it went, and then ends as well.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counteranimal.errors import EnvironmentFailure

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
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, so no proxy
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with ask.open(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
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
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), str(port)],
        stdin=subprocess.PIPE,
        env={**os.environ, **_ENVIRONMENT},
        start_new_session=True,  # Ctrl-C is for the flow, which then stops it
    )
    server = TemporaryServer(port, process)
    os.environ["PREFECT_API_URL"] = server.url
    try:
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _serve(port: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
