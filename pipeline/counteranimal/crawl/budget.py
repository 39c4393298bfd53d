"""Rate budgets that hold across restarts and processes, because every request is counted in the journal before it is sent.

Decides whether a source may be asked now, in a moment, or not in this run. Looking at what was spent and recording the next
request are one transaction that excludes every other process, so that two runs share a budget and neither oversteps it. The
windows slide, and are longer than the budget's by the time that a request may take: 60 requests a minute means in any
minute. Bytes are reserved before they are known and given back when they are; what a killed run had reserved counts as
spent. Leaves the spacing of requests to one host to `politeness`.

Where a budget is generous (a mirror on this machine), requests are counted in blocks, each good for a second: a transaction a
request would cost more than the request. What is left of a block counts as spent.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import sqlalchemy as sa

from counteranimal.crawl.politeness import Clock
from counteranimal.errors import EnvironmentFailure
from counteranimal.recipe import SourceSpec
from counteranimal.workspace import Journal
from counteranimal.workspace.events import REQUESTS_IN_ROW, TABLES

__all__ = ["LEAST", "BudgetSpent", "Grant", "Ledger", "Spent", "wait_for"]

_BLOCK_LASTS = timedelta(seconds=1)
_LONGEST_REQUEST = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1) + _BLOCK_LASTS
_HOUR = timedelta(hours=1) + _LONGEST_REQUEST
_DAY = timedelta(days=1) + _LONGEST_REQUEST
_LARGEST_BLOCK = 64
_SHARE = 50
"""A block takes at most one part in so many of the requests and bytes that are left: what a kill can cost."""

LEAST = 1 << 18
"""Bytes that a request must be able to bring; a budget of which less is left is spent."""


class BudgetSpent(EnvironmentFailure):
    """A source's hourly or daily budget is used up; what was done is kept and a later run goes on."""

    @classmethod
    def within(cls, source: str) -> Self:
        """Return the error of an answer that the end of the byte budget cuts off."""
        return cls(f"source {source}: the byte budget ended within an answer; what was done is kept, run again later")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a source was asked so far: requests in the last minute and day, bytes in the last hour and day."""

    minute: int
    day: int
    hour_bytes: int
    day_bytes: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send one request and receive at most `most_bytes`; `at` is when it was counted."""

    at: datetime
    most_bytes: int


def wait_for(spec: SourceSpec, spent: Spent) -> float:
    """Return the seconds to wait before looking again: 0 when the source may be asked now.

    Raises
    ------
    BudgetSpent
        When an hourly or daily budget is used up, which is not worth waiting for.
    """
    for used, most, what in (
        (spent.day, spec.requests_per_day, "requests a day"),
        (spent.hour_bytes + LEAST, spec.bytes_per_hour, "bytes an hour"),
        (spent.day_bytes + LEAST, spec.bytes_per_day, "bytes a day"),
    ):
        if used >= most:
            raise BudgetSpent(
                f"the budget of source {spec.name!r} is spent ({most:,} {what}); what was done is kept, run again later"
            )
    if spent.minute < spec.requests_per_minute:
        return 0.0
    return min(5.0, max(0.05, 60.0 / spec.requests_per_minute))


def _spent_query() -> sa.Select[Any]:
    """Return the query of what a source was asked since three moments: one look at the rows of a day."""
    table = TABLES["requests"]

    def total(value: sa.ColumnElement[int], since: str) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((table.c.at > sa.bindparam(since), value), else_=0)), 0)

    number, received = REQUESTS_IN_ROW, table.c.bytes
    return sa.select(
        total(number, "minute"), total(number, "day"), total(received, "hour"), total(received, "day")
    ).where(table.c.source == sa.bindparam("source"), table.c.at > sa.bindparam("day"))


# Made once: making it takes ten times as long as running it.
_SPENT = _spent_query()


class Ledger:
    """The budget of one source, kept in the journal's `requests`; may be used from any thread.

    A row counts requests and the bytes reserved for them, before they are sent; a later row of kind `bytes` and of the same
    moment takes back what did not come.
    """

    def __init__(self, journal: Journal, spec: SourceSpec, clock: Clock) -> None:
        self._journal = journal
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._block: tuple[Grant, int, str] | None = None
        self._back: Counter[datetime] = Counter()

    def at_once(self, kind: str, most_bytes: int) -> Grant | None:
        """Return a grant of the running block, None where the journal has to be asked; never waits for anybody."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._from_block(self._clock.now(), kind, most_bytes)
        finally:
            self._lock.release()

    def take(self, host: str, kind: str, most_bytes: int) -> Grant | float:
        """Count a request and return its grant, or return the seconds after which to ask again.

        Parameters
        ----------
        most_bytes : int
            The largest answer that would be read. The grant may be for less when the budget's end is near.

        Raises
        ------
        BudgetSpent
            When an hourly or daily budget is used up.
        """
        with self._lock:
            now = self._clock.now()
            if (grant := self._from_block(now, kind, most_bytes)) is not None:
                return grant
            with self._writing_back() as connection:
                spent = self._spent(connection, now)
                if wait := wait_for(self._spec, spent):
                    return wait
                number, grant = self._affordable(spent, now, most_bytes)
                row = {"source": self._spec.name, "host": host, "at": now, "kind": kind, "number": number}
                connection.execute(TABLES["requests"].insert(), [{**row, "bytes": number * grant.most_bytes}])
            self._block = (grant, number - 1, kind)
            return grant

    def give_back(self, grant: Grant, received: int) -> None:
        """Say how much of a grant's bytes came; `write_bytes` or the next request records it."""
        with self._lock:
            self._back[grant.at] += grant.most_bytes - received

    def write_bytes(self) -> None:
        """Record what was given back since the last request."""
        with self._lock:
            self._write()

    def close(self) -> None:
        """Record what was given back, and what is left of a block: nobody asks any more."""
        with self._lock:
            self._drop_block()
            self._write()

    def _write(self) -> None:
        if +self._back:
            with self._writing_back():
                pass

    def _from_block(self, now: datetime, kind: str, most_bytes: int) -> Grant | None:
        if self._block is not None:
            grant, left, of_kind = self._block
            if left and of_kind == kind and grant.most_bytes >= most_bytes and now - grant.at < _BLOCK_LASTS:
                self._block = (grant, left - 1, kind)
                return grant
            self._drop_block()
        return None

    def _drop_block(self) -> None:
        if self._block is not None:
            grant, left, _ = self._block
            self._back[grant.at] += left * grant.most_bytes
            self._block = None

    def _affordable(self, spent: Spent, now: datetime, most_bytes: int) -> tuple[int, Grant]:
        """Return how many requests are counted at once, and the grant of each."""
        spec = self._spec
        requests = min(spec.requests_per_minute - spent.minute, spec.requests_per_day - spent.day)
        received = min(spec.bytes_per_hour - spent.hour_bytes, spec.bytes_per_day - spent.day_bytes)
        share = min(requests // _SHARE, received // max(1, _SHARE * most_bytes))
        block = min(_LARGEST_BLOCK, spec.requests_per_minute // 600, share)
        return max(1, block), Grant(now, min(most_bytes, received))

    @contextmanager
    def _writing_back(self) -> Iterator[sa.Connection]:
        """Open a transaction that records what was given back; it is forgotten here only when that stands in the journal."""
        rows = [
            {"source": self._spec.name, "host": "", "at": at, "kind": "bytes", "number": 0, "bytes": -number}
            for at, number in self._back.items()
            if number
        ]
        with self._journal.exclusively("requests") as connection:
            if rows:
                connection.execute(TABLES["requests"].insert(), rows)
            yield connection
        self._back.clear()

    def _spent(self, connection: sa.Connection, now: datetime) -> Spent:
        """Return what was spent by everybody."""
        since = {"minute": now - _MINUTE, "hour": now - _HOUR, "day": now - _DAY}
        return Spent(*map(int, connection.execute(_SPENT, {"source": self._spec.name, **since}).one()))
