"""Decodes untrusted photos in processes of their own, so that a hostile file costs itself and nothing else.

Decides limits of time and memory and which reason a death gets. Leaves decoding to `decode`. Workers are spawned, import
nothing heavy, write no core files, and are replaced by the pool when they die.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar, cast

from pebble import ProcessExpired, ProcessPool

from counteranimal.errors import EnvironmentFailure, Reason, Rejected
from counteranimal.images.decode import ImageInfo, inspect

__all__ = ["DecoderPool"]

Result = TypeVar("Result")
_Outcome = tuple[tuple[str, str] | None, Result | None]


class DecoderPool:
    """A few decoder processes behind one thread-safe `inspect`; use it as a context manager.

    Parameters
    ----------
    workers : int
        Processes.
    timeout : float
        Seconds one photo may take.
    memory_mb : int
        Address space of one process, in megabytes.
    function : callable
        What a worker runs on the bytes; importable, since it crosses a process boundary. Tests pass ones that misbehave.
    """

    def __init__(
        self,
        workers: int = 2,
        timeout: float = 10.0,
        *,
        memory_mb: int = 1024,
        function: Callable[[bytes], ImageInfo] = inspect,
    ) -> None:
        self._timeout = timeout
        self._memory_mb = memory_mb
        self._function = function
        self._pool = ProcessPool(
            max_workers=workers,
            initializer=_limit,
            initargs=(memory_mb,),
            context=multiprocessing.get_context("spawn"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def inspect(self, data: bytes) -> ImageInfo:
        """Decode the photo fully in a worker and return its type and upright size; may be called from many threads.

        Raises
        ------
        Rejected
            As `decode` does, and E_DECODE_CRASH, E_DECODE_TIMEOUT or E_DECODE_MEMORY when the worker dies, hangs or grows.
        """
        return self.apart(self._function, data)

    async def inspected(self, data: bytes) -> ImageInfo:
        """Do what `inspect` does without blocking the event loop; a cancelled call ends its worker."""
        with self._outcomes():
            return _accepted(await asyncio.wrap_future(self._schedule(self._function, data)))

    def apart(self, function: Callable[[bytes], Result], data: bytes) -> Result:
        """Run an importable function on the bytes in a worker and return its result; raises as `inspect` does."""
        with self._outcomes():
            return _accepted(self._schedule(function, data).result())

    def _schedule(self, function: Callable[[bytes], Result], data: bytes) -> Future[_Outcome[Result]]:
        return self._pool.schedule(_run, (function, data), timeout=self._timeout)

    @contextmanager
    def _outcomes(self) -> Iterator[None]:
        """Say what the death of a worker means."""
        try:
            yield
        except FutureTimeout as error:
            raise Rejected(Reason.DECODE_TIMEOUT, f"decoding took more than {self._timeout:g} seconds") from error
        except MemoryError as error:
            raise Rejected(
                Reason.DECODE_MEMORY, f"decoding needs more than {self._memory_mb} MB of address space"
            ) from error
        except ProcessExpired as error:
            raise Rejected(Reason.DECODE_CRASH, f"the decoder died (exit code {error.exitcode})") from error
        except RuntimeError as error:
            raise EnvironmentFailure(f"the decoder processes cannot be used ({error}); run again") from error


def _accepted(outcome: _Outcome[Result]) -> Result:
    rejected, result = outcome
    if rejected is not None:
        raise Rejected(Reason(rejected[0]), rejected[1])
    return cast("Result", result)


def _limit(memory_mb: int) -> None:
    """Bound a worker's address space and forbid core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 1_000_000, memory_mb * 1_000_000))


def _run(function: Callable[[bytes], Result], data: bytes) -> _Outcome[Result]:
    """Return (None, result), or ((code, detail), None) of a rejection: an exception of ours does not cross back as it is."""
    try:
        return None, function(data)
    except Rejected as rejected:
        return (str(rejected.reason), rejected.detail), None
