"""A crawl that is started again and again in a fork of one warm process, and dies where it is told to.

Run as a program it reads one JSON order a line and answers with one line when the child has begun and one when it has ended.
The crawl is the real one: `fetch_pending` on a workspace, over sockets, into blobs and journal. A crash point is counted after
each piece that is written, each data and folder sync, each rename, each begin, and before and after each commit. The careless
writer writes under the final name, without a rename: what a harness must catch.
"""

from __future__ import annotations

import gc
import json
import os
import stat
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

from counteranimal.crawl import session
from counteranimal.crawl.run import fetch_pending
from counteranimal.errors import CounteranimalError
from counteranimal.ids import photo_id_of
from counteranimal.images import ImageInfo
from counteranimal.images.decode import inspect
from counteranimal.recipe import load_recipe
from counteranimal.settings import Settings
from counteranimal.workspace import Blob, Blobs, Workspace, durable

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PIECE = 128


class NearDecoder:
    """The real decoder in this process: a hundred starts of decoder processes would measure Python's start-up."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        return None

    def inspect(self, data: bytes) -> ImageInfo:
        return inspect(data)

    async def inspected(self, data: bytes) -> ImageInfo:
        return inspect(data)


def put_carelessly(self: Blobs, blobs: Sequence[Blob]) -> list[str]:
    """Write in place: what is cut short here stands under a digest that it does not have."""
    ids = []
    for blob in blobs:
        name = photo_id_of(blob.data)
        ids.append(name)
        path = self.path(name)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, data in ((path.with_name(f"{name}.json"), json.dumps(dict(blob.side)).encode()), (path, blob.data)):
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT, 0o644)
            for start in range(0, len(data), PIECE):
                os.write(descriptor, data[start : start + PIECE])
            os.fsync(descriptor)
            os.close(descriptor)
    return ids


def die_at(point: int) -> None:
    """Let the process die right after the `point`-th crash point."""
    left = [point]

    def reached() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)

    def counted(function: Callable[..., Any], counts: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if counts(*args):
                reached()
            return result

        return wrapped

    def is_file(descriptor: int, *_: object) -> bool:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)

    durable._PIECE = PIECE  # type: ignore[misc]
    os.write = counted(os.write, is_file)
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    durable._sync_all = counted(durable._sync_all)  # type: ignore[assignment]
    committed = DefaultDialect.do_commit

    def commit(self: DefaultDialect, connection: Any) -> None:
        reached()
        committed(self, connection)
        reached()

    DefaultDialect.do_commit = commit  # type: ignore[method-assign]
    sa.event.listen(sa.Engine, "begin", lambda _: reached())


def crawl(order: dict[str, Any]) -> int:
    """Do what an order says and return the exit code: 0, or 4 with the sentence on standard error."""
    if order.get("near", True):
        session.DecoderPool = NearDecoder  # type: ignore[misc, assignment]
    if order.get("careless"):
        Blobs.put_many = put_carelessly  # type: ignore[method-assign]
    if order.get("point"):
        die_at(order["point"])
    settings = Settings(
        home=Path(order["home"]),
        workers=2,
        free_space_floor_mb=0,
        journal_url=order.get("journal", ""),
        store=Path(order["store"]) if order.get("store") else None,
        claim_seconds=order.get("lease", 120.0),
    )
    workspace = Workspace(settings.home, settings.journal_url, settings.store)
    try:
        with workspace.lock():
            fetch_pending(load_recipe(Path(order["recipe"])), workspace, settings=settings, now=NOW)
    except CounteranimalError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def serve(work: Callable[[dict[str, Any]], int]) -> None:
    """Fork a child for every order on standard input, which does the work and ends with the code that it returns; one lives at a time."""
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = work(order)
            except BaseException:  # noqa: BLE001 - the child has no one else to tell
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(crawl)
