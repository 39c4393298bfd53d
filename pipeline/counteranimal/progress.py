"""Progress for people: a bar on a terminal, nothing elsewhere.

Decides only how progress looks. What a stage did is reported by its counts, never read from a bar.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["bar", "track"]

Item = TypeVar("Item")


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
