"""How long a crawl takes under its budgets, computed without asking anybody."""

from __future__ import annotations

from typing import Any

import pytest

from counteranimal.crawl.plan import Forecast, Load, forecast, in_words
from counteranimal.recipe import SourceSpec


def spec(**limits: Any) -> SourceSpec:
    return SourceSpec(**{"name": "s", "kind": "k", "interval_seconds": 0.0, "requests_per_minute": 10**6, **limits})


@pytest.mark.parametrize(
    ("limits", "seconds", "limit"),
    [
        ({"interval_seconds": 2.0}, 200.0, "interval_seconds"),
        ({"in_flight": 1}, 50.0, "in_flight"),
        ({"requests_per_minute": 15}, 600.0, "requests_per_minute"),
        ({"bytes_per_hour": 36_000_000}, 1500.0, "bytes_per_hour"),
    ],
)
def test_the_tightest_limit_decides(limits: dict[str, Any], seconds: float, limit: str) -> None:
    """A hundred photos on one host and fifty on another: each limit gives its own time, and its name."""
    found = forecast(spec(**limits), Load({"a:443": 100, "b:443": 50}, mean_bytes=100_000))
    assert (found.seconds, found.limit, found.days) == (pytest.approx(seconds), limit, 1)


def test_what_a_day_does_not_allow_waits_for_the_next() -> None:
    """25 photos at ten a day, four of them spent already: six today, then ten, then nine on the third day."""
    found = forecast(spec(requests_per_day=10), Load({"a:443": 25}, requests_today=4))
    assert (found.days, found.limit) == (3, "requests_per_day")
    assert 2 * 86_400 < found.seconds < 2 * 86_400 + 60
    by_bytes = forecast(spec(bytes_per_day=1_000_000), Load({"a:443": 25}, mean_bytes=100_000, bytes_today=1_000_000))
    assert (by_bytes.days, by_bytes.limit) == (4, "bytes_per_day")


def test_sources_work_side_by_side() -> None:
    """The slowest one is what people are told."""
    slow, quick = Forecast("slow", 9, 7200.0, 1, "in_flight"), Forecast("quick", 9, 60.0, 1, "in_flight")
    assert in_words([quick, slow]) == "about 2 hours (slow: in_flight)"
    assert in_words([Forecast("s", 9, 200_000.0, 3, "requests_per_day")]).endswith(
        "to be run on 3 days (s: requests_per_day)"
    )
