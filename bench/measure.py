"""What every benchmark shares: CPU seconds and peak memory of a piece of work, and the closing JSON line a figure.

Decides how a cost is counted: user and system time of the process that did the work, never wall time, so that a busy machine
changes little. Leaves what is measured, and against whom, to the scripts.
"""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

__all__ = ["Cost", "Figure", "cpu_seconds", "own_peak_mb", "run_apart"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a child process took: CPU seconds (user and system), peak resident megabytes, and its standard output."""

    cpu: float
    peak_mb: float
    output: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure against a goal.

    `goal` bounds the ratio ours / peer, or `ours` itself where there is no peer: from above when lower is better.
    """

    name: str
    ours: float
    peer: float | None
    goal: float
    better: Literal["lower", "higher"]

    @property
    def ratio(self) -> float | None:
        """Return ours / peer, None without a peer."""
        return None if self.peer is None else self.ours / self.peer

    def line(self) -> str:
        """Return the figure as one JSON line.

        Examples
        --------
        >>> Figure("hash", 300.0, 100.0, 2.0, "higher").line()
        '{"name": "hash", "ours": 300, "peer": 100, "ratio": 3, "goal": "at least 2", "met": true}'
        """
        judged = self.ours if self.ratio is None else self.ratio
        met = judged <= self.goal if self.better == "lower" else judged >= self.goal
        word = "at most" if self.better == "lower" else "at least"
        numbers = {"ours": self.ours, "peer": self.peer, "ratio": self.ratio}
        short = {key: None if value is None else _short(value) for key, value in numbers.items()}
        return json.dumps({"name": self.name, **short, "goal": f"{word} {self.goal:g}", "met": met})


def _short(value: float) -> float:
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def cpu_seconds(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the CPU seconds that this process spends in `work`, all threads counted, and its result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def own_peak_mb() -> float:
    """Return the peak resident megabytes of this process since it began; what its parent held does not count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_apart(command: Sequence[str], *, timeout: float = 3600.0) -> Cost:
    """Run a command in a process of its own and return what it and its children took.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its standard error has been shown.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        output, _ = child.communicate(timeout=timeout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(command))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Linux counts kibibytes; the figure is the largest child so far, so scripts run the smallest first or one a process.
    return Cost(cpu, after.ru_maxrss / 1024, output)
