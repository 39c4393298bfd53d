"""Rate budgets that hold across restarts and processes, because every request is counted in the journal before it is sent.

Decides whether a source may be asked now, in a moment, or not in this run. The windows slide: 60 requests a minute means in
any minute. Leaves the spacing of requests to one host to `politeness`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from counteranimal.crawl.politeness import Clock
from counteranimal.errors import EnvironmentFailure
from counteranimal.recipe import SourceSpec
from counteranimal.workspace import Journal

__all__ = ["BudgetSpent", "Ledger", "Spent", "wait_for"]

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class BudgetSpent(EnvironmentFailure):
    """A source's hourly or daily budget is used up; what was done is kept and a later run goes on."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a source was asked so far: requests in the last minute and day, bytes in the last hour and day."""

    minute: int
    day: int
    hour_bytes: int
    day_bytes: int


def wait_for(spec: SourceSpec, spent: Spent) -> float:
    """Return the seconds to wait before looking again: 0 when the source may be asked now.

    Raises
    ------
    BudgetSpent
        When an hourly or daily budget is used up, which is not worth waiting for.
    """
    for used, most, what in (
        (spent.day, spec.requests_per_day, "requests a day"),
        (spent.hour_bytes, spec.bytes_per_hour, "bytes an hour"),
        (spent.day_bytes, spec.bytes_per_day, "bytes a day"),
    ):
        if used >= most:
            raise BudgetSpent(
                f"the budget of source {spec.name!r} is spent ({most:,} {what}); what was done is kept, run again later"
            )
    if spent.minute < spec.requests_per_minute:
        return 0.0
    return min(5.0, max(0.05, 60.0 / spec.requests_per_minute))


class Ledger:
    """The budget of one source, kept in the journal's `requests`.

    A request is one row, written before it is sent, so that a killed run has counted what it asked for. Its bytes come later,
    as a row of kind `bytes` a batch.
    """

    def __init__(self, journal: Journal, spec: SourceSpec, clock: Clock) -> None:
        self._journal = journal
        self._spec = spec
        self._clock = clock
        self._lock = threading.Lock()
        self._unwritten = 0

    def take(self, host: str, kind: str) -> float:
        """Record a request and return 0, or return the seconds after which to ask again; may be called from any thread.

        Raises
        ------
        BudgetSpent
            When an hourly or daily budget is used up.
        """
        with self._lock:
            now = self._clock.now()
            wait = wait_for(self._spec, self._spent(now))
            if not wait:
                self._journal.append(
                    "requests", [{"source": self._spec.name, "host": host, "at": now, "bytes": 0, "kind": kind}]
                )
            return wait

    def received(self, number: int) -> None:
        """Count bytes that arrived; `write_bytes` records them."""
        with self._lock:
            self._unwritten += number

    def write_bytes(self) -> None:
        """Record the bytes counted since the last call."""
        with self._lock:
            if self._unwritten:
                row = {"source": self._spec.name, "host": "", "at": self._clock.now(), "kind": "bytes"}
                self._journal.append("requests", [{**row, "bytes": self._unwritten}])
                self._unwritten = 0

    def _spent(self, now: datetime) -> Spent:
        """Return what was spent; the finer windows are only read when the day's sum could exceed them."""
        day, day_bytes = self._journal.budget_used(self._spec.name, now - _DAY)
        day_bytes += self._unwritten
        minute, hour_bytes = day, day_bytes
        if day >= self._spec.requests_per_minute:
            minute, _ = self._journal.budget_used(self._spec.name, now - _MINUTE)
        if day_bytes >= self._spec.bytes_per_hour:
            hour_bytes = self._journal.budget_used(self._spec.name, now - _HOUR)[1] + self._unwritten
        return Spent(minute, day, hour_bytes, day_bytes)
