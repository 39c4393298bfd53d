"""Which candidates are still to be fetched, and which hosts must not be asked yet; read from the journal alone.

Decides that stored and rejected are final, that failed is tried again, and that a deferred photo waits for its moment. A
refusal by policy is never asked again, whatever is asked for on the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yarl import URL

from counteranimal.errors import Reason, UsageError
from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal

__all__ = ["Pending", "closed_hosts", "host_of", "pending"]

RETRIABLE = ("deferred", "failed", "rejected")
_NEVER_AGAIN = frozenset(
    {Reason.OPTOUT, Reason.ROBOTS, Reason.GONE, Reason.HTTP, Reason.SSRF, Reason.SCHEME, Reason.LICENSE}
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A candidate to fetch: its latest row, the number of the coming attempt, its place in the order of discovery."""

    candidate: dict[str, Any]
    attempt: int
    order: int


def pending(recipe: Recipe, journal: Journal, *, now: datetime, retry: Collection[str] = ()) -> list[Pending]:
    """Return what is to be fetched, in the order of discovery.

    Parameters
    ----------
    recipe, journal
        Only sources and classes of the recipe count.
    now : datetime
        Deferred photos whose moment is later wait.
    retry : collection of str
        `rejected` adds photos whose bytes were turned away; `failed` and `deferred` are tried again anyway.

    Raises
    ------
    UsageError
        If `retry` holds another word.
    """
    unknown = sorted(set(retry) - set(RETRIABLE))
    if unknown:
        raise UsageError(f"status {unknown[0]!r} cannot be tried again; choose from {', '.join(RETRIABLE)}")
    sources = {spec.name for spec in recipe.sources}
    classes = {item.id for item in recipe.classes}
    withdrawn = {row["candidate_id"] for row in journal.rows("withdrawals")}
    last = journal.latest("fetches", "candidate_id")
    found = []
    for order, (name, candidate) in enumerate(journal.latest("candidates", "candidate_id").items()):
        if candidate["status"] != "ok" or name in withdrawn:
            continue
        if candidate["source"] not in sources or candidate["class_id"] not in classes:
            continue
        fetch = last.get(name)
        if fetch is None or _again(fetch, now, retry):
            found.append(Pending(candidate, 1 if fetch is None else int(fetch["attempt"]) + 1, order))
    return found


def _again(fetch: Mapping[str, Any], now: datetime, retry: Collection[str]) -> bool:
    status = fetch["status"]
    if status == "deferred":
        return fetch["retry_at"] is None or bool(fetch["retry_at"] <= now)
    if status == "rejected":
        return "rejected" in retry and fetch["reason"] not in _NEVER_AGAIN
    return bool(status == "failed")


def host_of(address: str) -> str:
    """Return `host:port` of a photo's address, empty for one that has none."""
    try:
        url = URL(address)
    except (ValueError, UnicodeError):
        return ""
    return f"{url.raw_host}:{url.port}" if url.raw_host else ""


def closed_hosts(journal: Journal, *, now: datetime) -> dict[str, datetime]:
    """Return hosts that asked to be left alone, with the moment until when: a Retry-After outlives the run that got it."""
    addresses = {name: row["url"] for name, row in journal.latest("candidates", "candidate_id").items()}
    closed: dict[str, datetime] = {}
    for name, fetch in journal.latest("fetches", "candidate_id").items():
        until = fetch["retry_at"]
        if fetch["status"] == "deferred" and fetch["reason"] == Reason.RATE and until is not None and until > now:
            host = host_of(addresses.get(name, ""))
            closed[host] = max(until, closed.get(host, until))
    return closed
