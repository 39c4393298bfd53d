"""Progress for people: a bar on a terminal, nothing elsewhere; and one line, everywhere, on how long a long run will take.

Decides only how progress looks. What a stage did is reported by its counts, never read from a bar.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Estimate", "bar", "note", "track"]

Item = TypeVar("Item")

LONG_SECONDS = 60.0
_MEASURED_SECONDS = 5.0


def note(sentence: str) -> None:
    """Say one sentence on standard error, where it does not mix with results."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


class Estimate:
    """Says once how long the rest will take, measured on the first items; silent where that is under a minute.

    The first report only starts the clock: it carries what happens once (kernels chosen, memory laid out).
    """

    def __init__(
        self, what: str, total: int, *, unit: str = "photos", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what, self._total, self._unit, self._clock = what, total, unit, clock
        self._started: float | None = None
        self._first = self._done = 0
        self._said = False

    def advance(self, number: int) -> None:
        """Count items that are done."""
        self._done += number
        if self._said:
            return
        if self._started is None:
            self._started, self._first = self._clock(), self._done
            return
        passed = self._clock() - self._started
        measured, left = self._done - self._first, self._total - self._done
        if passed < _MEASURED_SECONDS or not measured:
            return
        self._said = True
        if (rest := left * passed / measured) >= LONG_SECONDS:
            note(
                f"{self._what}: about {_duration(rest)} more for {left:,} of {self._total:,} {self._unit} "
                f"({measured / passed:.3g} a second, measured on {measured:,})"
            )


def _duration(seconds: float) -> str:
    """Return a duration in the two units that matter.

    Examples
    --------
    >>> _duration(119), _duration(4000), _duration(200_000)
    ('2 min', '1 h 7 min', '2 d 8 h')
    """
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def bar() -> Progress:
    """Return a progress display on standard error, disabled where that is no terminal or `CI` is set."""
    quiet = not sys.stderr.isatty() or bool(os.environ.get("CI"))
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
    )


def track(items: Iterable[Item], title: str) -> Iterator[Item]:
    """Yield the items while a bar counts them."""
    total = len(items) if isinstance(items, Sized) else None
    with bar() as progress:
        task = progress.add_task(title, total=total)
        for item in items:
            yield item
            progress.advance(task)
