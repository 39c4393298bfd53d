"""Maps a function over shards: on processes or threads of this machine, or on a Dask cluster; shows how far it has come.

Decides how work is cut, how much of it is under way at once, and what the death of a worker costs: its shard is done once more, and
no other. Leaves what a shard is to the stage, and how a cluster is reached to `cluster`. Workers are spawned, never forked: a
forked child of a process with threads (torch, aiohttp) may hang.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pebble import ProcessExpired, ProcessPool

from counteranimal import cluster
from counteranimal.errors import EnvironmentFailure
from counteranimal.progress import track
from counteranimal.settings import Settings

__all__ = ["Pool", "map_shards", "shards_of"]

Item = TypeVar("Item")
Result = TypeVar("Result")

SHARD_SIZE = 256
_AHEAD = 4  # shards under way for each worker, so that none waits while the oldest is collected


@dataclass(frozen=True, slots=True)
class Pool:
    """Where shards run: `processes`, `threads`, or at the address of a Dask scheduler, which has workers of its own."""

    workers: int = 1
    place: str = "processes"

    @classmethod
    def of(cls, settings: Settings) -> Pool:
        """Return the pool that the settings name."""
        return cls(settings.workers, settings.pool)


class Lanes(Protocol):
    """What runs shards; `ahead` is how many of them may be under way."""

    ahead: int

    def begin(self, function: Callable[[Any], Result], shard: Any) -> Future[Result]:
        """Hand a shard over."""
        ...

    def outcome(self, future: Future[Result]) -> Result:
        """Wait for a shard; what its function raises is raised here."""
        ...


def shards_of(items: Sequence[Item], size: int = SHARD_SIZE) -> list[Sequence[Item]]:
    """Cut `items` into runs of at most `size`, in order.

    Examples
    --------
    >>> shards_of([1, 2, 3], size=2)
    [[1, 2], [3]]
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def map_shards(
    function: Callable[[Item], Result], shards: Sequence[Item], *, pool: Pool, title: str, store: Path | None = None
) -> Iterator[Result]:
    """Yield `function(shard)` in the shards' order, wherever they run; one shard or one local worker stays in this process.

    `function` and the shards must be importable and plain (paths, ids, settings), since they cross a process boundary. The results do
    not depend on the pool.

    Parameters
    ----------
    store : Path, optional
        A folder that shards read; a worker on another machine must see it under the same path.

    Raises
    ------
    EnvironmentFailure
        If two workers died over one shard, most often because memory ran out, or a cluster cannot be used; finished shards
        were yielded before.
    """
    elsewhere = pool.place not in _LOCAL
    if not shards or (not elsewhere and (pool.workers <= 1 or len(shards) <= 1)):
        for shard in track(shards, title):
            yield function(shard)
        return
    lanes: AbstractContextManager[Lanes]
    lanes = (
        cluster.connected(pool.place, store) if elsewhere else _LOCAL[pool.place](min(pool.workers, len(shards)), title)
    )
    with lanes as running:
        todo = iter(shards)
        under_way = deque((shard, running.begin(function, shard)) for shard in islice(todo, running.ahead))
        for _ in track(shards, title):
            oldest, future = under_way.popleft()
            yield _collected(running, function, oldest, future)
            under_way.extend((shard, running.begin(function, shard)) for shard in islice(todo, 1))


def _collected(running: Lanes, function: Callable[[Item], Result], shard: Item, future: Future[Result]) -> Result:
    try:
        return running.outcome(future)
    except ProcessExpired:
        return running.outcome(running.begin(function, shard))


class _Here:
    """Threads or processes of this machine; `submit` hands a function and its shard to one of them."""

    def __init__(self, submit: Callable[[Callable[[Any], Any], Any], Future[Any]], workers: int) -> None:
        self.ahead = workers * _AHEAD
        self._submit = submit

    def begin(self, function: Callable[[Any], Result], shard: Any) -> Future[Result]:
        return self._submit(function, shard)

    def outcome(self, future: Future[Result]) -> Result:
        return future.result()


@contextmanager
def _threads(workers: int, title: str) -> Iterator[_Here]:
    executor = ThreadPoolExecutor(workers, thread_name_prefix=title)
    try:
        yield _Here(executor.submit, workers)
    finally:
        # After an error or Ctrl-C, shards that have not begun are not worth waiting for.
        executor.shutdown(cancel_futures=True)


@contextmanager
def _processes(workers: int, title: str) -> Iterator[_Here]:
    context = multiprocessing.get_context("spawn")
    processes = ProcessPool(workers, initializer=end_with_parent, context=context)
    try:
        yield _Here(lambda function, shard: processes.schedule(function, args=(shard,)), workers)
    except ProcessExpired as error:
        raise EnvironmentFailure(
            f"two worker processes died over one shard while {title} (out of memory?); run again with fewer workers"
        ) from error
    finally:
        processes.stop()  # type: ignore[no-untyped-call]
        processes.join()


_LOCAL: dict[str, Callable[[int, str], AbstractContextManager[Lanes]]] = {"processes": _processes, "threads": _threads}


def end_with_parent() -> None:
    """End this worker process when the process that started it is gone, however it went; without this a killed run leaves it."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()
