"""Waits, names and budgets that do not need a server."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from counteranimal.crawl.budget import BudgetSpent, Ledger, Spent, wait_for
from counteranimal.crawl.politeness import Clock, backoff, retry_after, user_agent
from counteranimal.errors import UsageError
from counteranimal.recipe import SourceSpec
from counteranimal.workspace import Workspace

SPEC = SourceSpec(
    name="s",
    kind="inaturalist",
    hosts=("h",),
    requests_per_minute=3,
    requests_per_day=5,
    bytes_per_hour=100,
    bytes_per_day=150,
)


class Steps(Clock):
    """A clock that moves when told."""

    def __init__(self, start: datetime) -> None:
        self.moment = start

    def now(self) -> datetime:
        return self.moment


@pytest.mark.case("A02")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0), (" 120 ", 120.0), ("Sun, 01 Nov 2026 12:01:00 GMT", 60.0), ("-3", None), ("abc", None), ("", None),
        (None, None), ("Sun, 01 Nov 2026 11:00:00 GMT", None), ("٣", None), ("1e3", None), ("86400", 86400.0),
    ],
)  # fmt: skip
def test_retry_after_reads_seconds_and_dates(value: str | None, seconds: float | None, now: datetime):
    """Seconds and dates are honoured; anything else means our own backoff."""
    assert retry_after(value, now) == seconds


def test_backoff_is_full_jitter_under_a_doubling_bound():
    """Waits are spread over the whole range, whose end doubles up to a cap."""
    rng = random.Random(1)
    for attempt, bound in ((1, 1.0), (2, 2.0), (3, 4.0), (20, 60.0)):
        waits = [backoff(attempt, rng) for _ in range(500)]
        assert 0 <= min(waits) < 0.05 * bound
        assert 0.95 * bound < max(waits) <= bound


@pytest.mark.case("A24")
def test_crawl_of_other_peoples_servers_needs_a_contact():
    """Without a contact only loopback is crawled."""
    assert user_agent("me@example.org", [SPEC]).endswith("(me@example.org)")
    with pytest.raises(UsageError, match="COUNTERANIMAL_CONTACT"):
        user_agent(" ", [SPEC])
    assert "loopback" in user_agent("", [SourceSpec(name="s", kind="folder")])
    with pytest.raises(UsageError, match="plain"):
        user_agent("a\x00b (x)", [SPEC])


def test_budget_waits_a_moment_for_minutes_and_stops_for_days():
    """A full minute is waited for; a full hour or day ends the run."""
    assert wait_for(SPEC, Spent(2, 2, 0, 0)) == 0.0
    assert 0 < wait_for(SPEC, Spent(3, 3, 0, 0)) <= 5.0
    for spent in (Spent(0, 5, 0, 0), Spent(0, 0, 100, 0), Spent(0, 0, 0, 150)):
        with pytest.raises(BudgetSpent, match="run again later"):
            wait_for(SPEC, spent)


@pytest.mark.case("A21")
def test_budget_holds_across_restarts(workspace: Workspace, now: datetime):
    """Over a day with a restart after every request, no minute holds more than three and the day no more than five."""
    clock = Steps(now)
    taken: list[datetime] = []
    for _ in range(400):
        ledger = Ledger(workspace.journal, SPEC, clock)
        try:
            if ledger.take("h", "api") == 0.0:
                taken.append(clock.moment)
        except BudgetSpent:
            pass
        clock.moment += timedelta(seconds=5)
    assert len(taken) == 5
    assert all(later - earlier >= timedelta(minutes=1) for earlier, later in zip(taken, taken[3:], strict=False))
    assert workspace.journal.budget_used("s", now - timedelta(days=1)) == (5, 0)


def test_bytes_count_once_and_are_no_requests(workspace: Workspace, now: datetime):
    """Bytes written after a request add to the sums without counting as a request."""
    ledger = Ledger(workspace.journal, SPEC, Steps(now))
    ledger.take("h", "photo")
    ledger.received(60)
    ledger.received(40)
    with pytest.raises(BudgetSpent, match="bytes an hour"):
        ledger.take("h", "photo")
    ledger.write_bytes()
    ledger.write_bytes()
    assert workspace.journal.budget_used("s", now - timedelta(hours=1)) == (1, 100)
    later = Steps(now + timedelta(hours=2))
    assert Ledger(workspace.journal, SPEC, later).take("h", "photo") == 0.0
