"""Which candidates are still to be fetched, and which hosts must not be asked yet; read from the journal alone.

Decides that stored and rejected are final, that failed is tried again, and that a deferred photo waits for its moment. A
refusal by policy is never asked again, whatever is asked for on the command line.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa
from yarl import URL

from counteranimal.errors import Reason, UsageError
from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal
from counteranimal.workspace.events import TABLES

__all__ = ["RETRIABLE", "Pending", "Retriable", "closed_hosts", "host_of", "load", "pending"]

Retriable = Literal["deferred", "failed", "rejected"]
RETRIABLE: tuple[Retriable, ...] = get_args(Retriable)
_CANDIDATES, _FETCHES, _WITHDRAWALS = TABLES["candidates"], TABLES["fetches"], TABLES["withdrawals"]
_NEVER_AGAIN = frozenset(
    {Reason.OPTOUT, Reason.ROBOTS, Reason.GONE, Reason.HTTP, Reason.SSRF, Reason.SCHEME, Reason.LICENSE}
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A candidate to fetch, as small as a queue of a million needs it: see `load` for its row.

    `position` is that of its last row in the journal, `attempt` the number of the coming attempt, `order` its place in the
    order of discovery.
    """

    candidate_id: str
    source: str
    url: str
    position: int
    attempt: int
    order: int


def pending(recipe: Recipe, journal: Journal, *, now: datetime, retry: Collection[str] = ()) -> Iterator[Pending]:
    """Yield what is to be fetched, in the order of discovery; read from the journal batch by batch.

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
    for row in journal.each(_query(recipe, journal, retry)):
        name, source, url, position, order, attempt, status, reason, retry_at = row
        if status is None or _again(status, reason, due=retry_at is None or retry_at <= now):
            yield Pending(name, source, url, position, (attempt or 0) + 1, order)


def _query(recipe: Recipe, journal: Journal, retry: Collection[str]) -> sa.Select[Any]:
    """Return the query of every candidate that may be fetched, as last seen, with its last attempt where there is one."""
    seen, tried = journal.spans("candidates", "candidate_id"), journal.spans("fetches", "candidate_id")
    withdrawn = sa.select(_WITHDRAWALS.c.candidate_id).where(_WITHDRAWALS.c.candidate_id.is_not(None))
    final = {"stored"} if "rejected" in retry else {"stored", "rejected"}
    columns = [_CANDIDATES.c[name] for name in ("candidate_id", "source", "url", "position")]
    last = [_FETCHES.c[name] for name in ("attempt", "status", "reason", "retry_at")]
    return (
        sa.select(*columns, seen.c.first, *last)
        .join(seen, _CANDIDATES.c.position == seen.c.last)
        .outerjoin(tried, tried.c.candidate_id == _CANDIDATES.c.candidate_id)
        .outerjoin(_FETCHES, _FETCHES.c.position == tried.c.last)
        .where(
            _CANDIDATES.c.status == "ok",
            _CANDIDATES.c.source.in_([spec.name for spec in recipe.sources]),
            _CANDIDATES.c.class_id.in_([item.id for item in recipe.classes]),
            _CANDIDATES.c.candidate_id.not_in(withdrawn),
            sa.or_(_FETCHES.c.status.is_(None), _FETCHES.c.status.not_in(final)),
        )
        .order_by(seen.c.first)
    )


def load(journal: Journal, items: Collection[Pending]) -> dict[str, dict[str, Any]]:
    """Return the candidates' rows of some pending items by candidate id."""
    query = sa.select(_CANDIDATES).where(_CANDIDATES.c.position.in_([item.position for item in items]))
    return {row["candidate_id"]: row for row in journal.records(query)}


def _again(status: str, reason: str | None, *, due: bool) -> bool:
    if status == "deferred":
        return due
    return reason not in _NEVER_AGAIN if status == "rejected" else status == "failed"


def host_of(address: str) -> str:
    """Return `host:port` of a photo's address, empty for one that has none."""
    # Photos of one host are many; only what stands before the path is parsed, once.
    return _host_of_origin("/".join(address.split("/", 3)[:3]))


@functools.lru_cache(maxsize=4096)
def _host_of_origin(origin: str) -> str:
    try:
        url = URL(origin)
    except (ValueError, UnicodeError):
        return ""
    return f"{url.raw_host}:{url.port}" if url.raw_host else ""


def closed_hosts(journal: Journal, *, now: datetime) -> dict[str, datetime]:
    """Return hosts that asked to be left alone, with the moment until when: a Retry-After outlives the run that got it."""
    seen, tried = journal.spans("candidates", "candidate_id"), journal.spans("fetches", "candidate_id")
    query = (
        sa.select(_CANDIDATES.c.url, _FETCHES.c.retry_at)
        .join(tried, _FETCHES.c.position == tried.c.last)
        .join(seen, seen.c.candidate_id == _FETCHES.c.candidate_id)
        .join(_CANDIDATES, _CANDIDATES.c.position == seen.c.last)
        .where(_FETCHES.c.status == "deferred", _FETCHES.c.reason == str(Reason.RATE), _FETCHES.c.retry_at > now)
    )
    closed: dict[str, datetime] = {}
    for url, until in journal.each(query):
        host = host_of(url)
        closed[host] = max(until, closed.get(host, until))
    return closed
