"""What a crawl would fetch and how long that takes under the budgets, without asking anybody.

Decides the estimate: a photo is one request; a host's photos leave one interval apart, a source's requests and bytes stay
within its budgets, and what a day's budget does not allow waits for the next day. Hosts and sources work side by side, so the
slowest decides. Pure: counts in, seconds out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from counteranimal.recipe import SourceSpec

__all__ = ["ANSWER_SECONDS", "ASSUMED_BYTES", "Forecast", "Load", "forecast", "in_words"]

ANSWER_SECONDS = 0.5
"""Seconds that a host is taken to need for a photo; with `in_flight` at a time this bounds a host's pace, too."""

ASSUMED_BYTES = 400_000
"""Bytes of a photo where the source has stored none yet."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Load:
    """What waits for one source: photos by host (`host:port`), mean bytes of a photo, and what it was asked in the last day."""

    hosts: Mapping[str, int]
    mean_bytes: float = ASSUMED_BYTES
    requests_today: int = 0
    bytes_today: int = 0

    @property
    def photos(self) -> int:
        """All photos of the source."""
        return sum(self.hosts.values())


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long a source takes: seconds from now, on how many days it has to be run, and the limit that decides."""

    source: str
    photos: int
    seconds: float
    days: int
    limit: str


def forecast(spec: SourceSpec, load: Load) -> Forecast:
    """Return how long the photos of one source take.

    Examples
    --------
    >>> spec = SourceSpec(name="s", kind="k", interval_seconds=1.0, requests_per_minute=60, requests_per_day=10_000)
    >>> forecast(spec, Load({"host:443": 600}))
    Forecast(source='s', photos=600, seconds=600.0, days=1, limit='interval_seconds')
    >>> forecast(spec, Load({"host:443": 15_000})).days
    2
    """
    n = load.photos
    if not n:
        return Forecast(spec.name, 0, 0.0, 0, "")
    pace = {
        "interval_seconds": max(load.hosts.values()) * spec.interval_seconds,
        "in_flight": max(load.hosts.values()) * ANSWER_SECONDS / spec.in_flight,
        "requests_per_minute": n * 60.0 / spec.requests_per_minute,
        "bytes_per_hour": n * load.mean_bytes * 3600.0 / spec.bytes_per_hour,
    }
    limit = max(pace, key=lambda name: pace[name])
    a_day = {
        "requests_per_day": (float(spec.requests_per_day), float(load.requests_today)),
        "bytes_per_day": (spec.bytes_per_day / max(load.mean_bytes, 1.0), load.bytes_today / max(load.mean_bytes, 1.0)),
    }
    days, last_day = 1, float(n)
    for name, (most, used) in a_day.items():
        later = max(0.0, n - max(0.0, most - used))
        needed = 1 + ceil(later / max(most, 1.0))
        if needed > days:
            days, limit = needed, name
            last_day = later - (needed - 2) * most
    seconds = (days - 1) * _DAY + max(pace.values()) * min(1.0, last_day / n)
    return Forecast(spec.name, n, seconds, days, limit)


def in_words(forecasts: Iterable[Forecast]) -> str:
    """Return one sentence: how long the slowest source takes, and why.

    Examples
    --------
    >>> in_words([Forecast("a", 600, 600.0, 1, "interval_seconds"), Forecast("b", 0, 0.0, 0, "")])
    'about 10 minutes (a: interval_seconds)'
    >>> in_words([])
    'nothing to fetch'
    """
    listed = [item for item in forecasts if item.photos]
    if not listed:
        return "nothing to fetch"
    slowest = max(listed, key=lambda item: item.seconds)
    text = _long(slowest.seconds)
    if slowest.days > 1:
        text += f", to be run on {slowest.days} days"
    return f"about {text} ({slowest.source}: {slowest.limit})"


def _long(seconds: float) -> str:
    for unit, size in (("days", _DAY), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1.0, seconds):.0f} seconds"
