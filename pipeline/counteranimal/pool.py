"""Maps a function over shards on this machine's processes, and shows how far it has come.

Decides how work is cut and where it runs. Leaves what a shard is to the stage. Workers are spawned, never forked: a forked
child of a process with threads (torch, aiohttp) may hang.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from counteranimal.errors import EnvironmentFailure
from counteranimal.progress import track

__all__ = ["map_shards", "shards_of"]

Item = TypeVar("Item")
Result = TypeVar("Result")

SHARD_SIZE = 256


def shards_of(items: Sequence[Item], size: int = SHARD_SIZE) -> list[Sequence[Item]]:
    """Cut `items` into runs of at most `size`, in order.

    Examples
    --------
    >>> shards_of([1, 2, 3], size=2)
    [[1, 2], [3]]
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def map_shards(
    function: Callable[[Item], Result], shards: Sequence[Item], *, workers: int, title: str
) -> Iterator[Result]:
    """Yield `function(shard)` in the shards' order; one shard or one worker runs in this process.

    `function` and the shards must be importable and plain (paths, ids, settings), since they cross a process boundary.

    Raises
    ------
    EnvironmentFailure
        If a worker process was killed, most often because memory ran out; finished shards were yielded before.
    """
    if workers <= 1 or len(shards) <= 1:
        for shard in track(shards, title):
            yield function(shard)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(workers, len(shards)), mp_context=context, initializer=end_with_parent)
    try:
        futures = [executor.submit(function, shard) for shard in shards]
        for future in track(futures, title):
            yield future.result()
    except BrokenProcessPool as error:
        raise EnvironmentFailure(
            f"a worker process died while {title} (out of memory?); run again with fewer workers"
        ) from error
    finally:
        # After an error or Ctrl-C, shards that have not begun are not worth waiting for.
        executor.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this worker process when the process that started it is gone, however it went; without this a killed run leaves it."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="end with parent", daemon=True).start()
