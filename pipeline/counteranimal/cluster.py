"""Shards on a Dask cluster that exists already: reached by its scheduler's address, held to our versions and our store.

Decides when a cluster cannot be used, and says so in one sentence: nobody at the address, no workers, other versions there, the store
out of their sight. The scheduler gives a dead worker's shard to another one; four deaths over one shard end the run. The one module
that imports Dask, and only when the settings name a cluster. Leaves which shards there are, and their order, to `pool`.

A cluster runs whatever it is sent: keep its ports to machines that you trust, or use `tls://` with Dask's own certificates settings.
"""

from __future__ import annotations

import functools
import logging
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from counteranimal.errors import EnvironmentFailure, MissingDependency

__all__ = ["Cluster", "connected", "on_worker", "versions"]

Result = TypeVar("Result")

PATIENCE = 20.0
"""Seconds to wait for the scheduler, for its first worker, and between looks at whether a worker is left."""
_AHEAD = 4
_DECIDING = ("counteranimal", "numpy", "pillow", "pyarrow", "simplejpeg")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that decide what a shard gives: the interpreter's, this package's, and those that decode and count."""
    found = {"python": platform.python_version()}
    for name in _DECIDING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def on_worker(function: Callable[[Any], Result], shard: Any, expected: Mapping[str, str], store: Path | None) -> Result:
    """Do a shard on a worker, if it has the caller's versions and sees the store.

    Raises
    ------
    EnvironmentFailure
        If not.
    """
    there, where = versions(), socket.gethostname()
    for name, version in expected.items():
        if there.get(name) != version:
            raise EnvironmentFailure(
                f"the cluster's worker on {where} has {name} {there.get(name)}, here it is {version}, and tables would differ; "
                "install the same versions there and restart the worker"
            )
    if store is not None and not _holds_something(store):
        raise EnvironmentFailure(
            f"the cluster's worker on {where} does not see the photos in {store}; mount the store there under the same path, or name a "
            "shared one in COUNTERANIMAL_STORE"
        )
    return function(shard)


def _holds_something(folder: Path) -> bool:
    # A mount point without its mount is an empty folder.
    try:
        return next(folder.iterdir(), None) is not None
    except OSError:
        return False


class Cluster:
    """A connection to a scheduler; see `pool.Lanes`."""

    def __init__(self, client: Any, address: str, store: Path | None) -> None:
        self._client, self._address, self._store = client, address, store
        self._executor = client.get_executor(pure=False)
        self.ahead = _AHEAD * max(1, sum(client.nthreads().values()))

    def begin(self, function: Callable[[Any], Result], shard: Any) -> Future[Result]:
        """Hand a shard over; Dask keeps it until a worker has done it."""
        future: Future[Result] = self._executor.submit(on_worker, function, shard, versions(), self._store)
        return future

    def outcome(self, future: Future[Result]) -> Result:
        """Wait for a shard; what its function raises is raised here."""
        from distributed import KilledWorker

        while True:
            try:
                return future.result(PATIENCE)
            except TimeoutError as error:
                if future.done():
                    raise
                self._require_workers(error)
            except KilledWorker as error:
                raise EnvironmentFailure(
                    f"workers of the cluster at {self._address} died over one shard again and again (out of memory?); give them more "
                    "memory or fewer threads and run again"
                ) from error
            except CancelledError as error:
                raise _gone(self._address) from error
            except ModuleNotFoundError as error:
                raise EnvironmentFailure(
                    f"a worker of the cluster at {self._address} lacks the package {error.name}; install counteranimal "
                    f"{versions()['counteranimal']} there and restart the worker"
                ) from error

    def _require_workers(self, error: TimeoutError) -> None:
        try:
            left = self._client.nthreads()
        except (OSError, TimeoutError) as lost:
            raise _gone(self._address) from lost
        if not left:
            raise EnvironmentFailure(
                f"the cluster at {self._address} has no worker left; start some with `dask worker {self._address}` and run again"
            ) from error


def _gone(address: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"the scheduler of the cluster at {address} went away; what was done stays done: start it and run again"
    )


@contextmanager
def connected(address: str, store: Path | None) -> Iterator[Cluster]:
    """Connect to the scheduler at an address such as tcp://host:8786 for as long as the context lasts.

    Raises
    ------
    MissingDependency
        If Dask is not installed here.
    EnvironmentFailure
        If no scheduler answers, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependency(
            f"the pool {address} is a Dask cluster and Dask is not installed; pip install 'counteranimal[dask]'"
        ) from error
    # What goes wrong is one sentence of ours; Dask would log a traceback for each lost connection.
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise EnvironmentFailure(
            f"no Dask scheduler answers at {address}; start one with `dask scheduler`, or correct COUNTERANIMAL_POOL"
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise EnvironmentFailure(
                f"the cluster at {address} has no worker; start some with `dask worker {address}` and run again"
            ) from error
        yield Cluster(client, address, store)
    finally:
        # Without waiting for shards that nobody will collect.
        client.close(timeout=2)  # type: ignore[no-untyped-call]
