"""A Dask cluster of our own on loopback: a scheduler and workers as real processes, each worker with one thread and a folder of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]


class DaskCluster:
    """A running scheduler; workers are added one by one and may be killed by pid. Ended in the end, whatever happened."""

    def __init__(self, **environment: str) -> None:
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{REPOSITORY / 'pipeline'}{os.pathsep}{REPOSITORY}",
            "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error",
            # Nobody looks at pages or versions here, and a test does not wait long for a killed worker.
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
            **environment,
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="counteranimal-dask-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{port}"
        options = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
        self._scheduler = self._start("distributed.cli.dask_scheduler", *options)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.05)
        self.__exit__()
        raise TimeoutError("the scheduler does not come up")

    def __exit__(self, *reason: object) -> None:
        for process in (*self.workers, self._scheduler):
            process.kill()
            process.wait()
        self._folder.cleanup()

    def add_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker with one thread; it joins when it is ready."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--memory-limit", "0")
        folder = Path(self._folder.name) / f"worker-{len(self.workers)}"
        folder.mkdir()
        worker = self._start(
            "distributed.cli.dask_worker", self.address, *options, "--local-directory", str(folder), **environment
        )
        self.workers.append(worker)
        return worker

    def kill_scheduler(self) -> None:
        """Kill it, as a machine that goes down would."""
        self._scheduler.kill()
        self._scheduler.wait()

    def _start(self, module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=self._folder.name, env={**self._environment, **environment},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
