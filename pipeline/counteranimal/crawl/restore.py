"""Restores a release's photos from where they were first fetched, as politely as a crawl, and takes no other bytes.

Decides what becomes of each entry: present already, restored, changed upstream, gone, refused, or to be tried again. What is
kept is the published copy, held against both digests of the release. The pace is the recipe's that the release publishes; its
budgets are counted in a journal of this machine's own, so that they hold across runs and releases.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from counteranimal.crawl.budget import BudgetSpent, Ledger
from counteranimal.crawl.fetch import Limits, PhotoClient
from counteranimal.crawl.outcome import Faulty, Postponed, Unreachable, Visit
from counteranimal.crawl.politeness import Clock, user_agent
from counteranimal.errors import IntegrityError, Reason, Rejected
from counteranimal.progress import bar
from counteranimal.published import published_copy
from counteranimal.recipe import SourceSpec
from counteranimal.release.photos import EXTENSIONS, PhotoFolder
from counteranimal.workspace import Journal, write_atomically

__all__ = ["Restored", "Upstream", "ask_each", "counted", "restore"]

Take = Callable[[bytes, Mapping[str, Any]], None]

_WORKERS = 16
"""Photos that wait for a host's turn at a time; the pace itself is the hosts'."""
_AGAIN = frozenset({"deferred", "failed"})


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one entry: present, restored, changed, gone, rejected, deferred, failed or local, with a reason code.

    `until` is the moment before which its host asked to be left alone.
    """

    photo_id: str
    status: str
    reason: str = ""
    detail: str = ""
    until: datetime | None = None

    @property
    def pending(self) -> bool:
        """Whether a later run may bring it."""
        return self.status in _AGAIN


@dataclass(frozen=True, slots=True)
class Upstream:
    """Who is asked and how: the sources that a release's recipe lists, the run's clock, a contact, and where requests are counted.

    `closed` holds hosts (`host:port`) that are to be left alone, and until when.
    """

    sources: Sequence[SourceSpec]
    clock: Clock
    contact: str
    journal: Journal
    closed: Mapping[str, datetime] = field(default_factory=dict)


def restore(entries: Iterable[Mapping[str, Any]], out: Path, *, upstream: Upstream) -> list[Restored]:
    """Bring a release's photos into a folder, and say of each what became of it.

    Parameters
    ----------
    entries : iterable of mapping
        Rows of `entries`.
    out : Path
        Gets `<sha256 of the copy>.<extension>`, which `verify` and `evaluate` read; photos that are there are left alone.
    upstream : Upstream
        Hosts that it does not list are not asked.

    Raises
    ------
    UsageError
        If nobody's contact is set and a host of the network is to be asked.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted, found = [], []
    folder, known = PhotoFolder(out), {spec.name for spec in upstream.sources}
    for entry in entries:
        early = _without_asking(entry, folder, known)
        if early is None:
            wanted.append(entry)
        else:
            found.append(early)
    if wanted:
        ask_each(wanted, upstream, partial(_keep, out=out), done="restored", note=found.append)
    return sorted(found, key=lambda item: item.photo_id)


def _without_asking(entry: Mapping[str, Any], folder: PhotoFolder, known: set[str]) -> Restored | None:
    try:
        folder.read(entry)
    except IntegrityError:
        if str(entry["url"]).startswith("file:"):
            return Restored(
                entry["photo_id"], "local", detail="it came from a folder of its publisher and has no address"
            )
        if entry["source"] not in known:
            return Restored(
                entry["photo_id"], "rejected", str(Reason.SSRF), "its source is not in the release's recipe"
            )
        return None
    return Restored(entry["photo_id"], "present")


def ask_each(
    entries: Sequence[Mapping[str, Any]], upstream: Upstream, take: Take, *, done: str, note: Callable[[Restored], None]
) -> None:
    """Ask for each photo at its address and note what became of it, in the order in which answers come.

    Parameters
    ----------
    entries : sequence of mapping
        Rows with photo_id, source and url.
    take : callable
        Gets the bytes, in a thread, and raises Rejected for wrong ones; otherwise the photo's status is `done`.
    """
    asyncio.run(_ask_each(entries, upstream, take, done, note))


async def _ask_each(
    entries: Sequence[Mapping[str, Any]], upstream: Upstream, take: Take, done: str, note: Callable[[Restored], None]
) -> None:
    sources, clock = upstream.sources, upstream.clock
    agent = user_agent(upstream.contact, sources)
    ledgers = {spec.name: Ledger(upstream.journal, spec, clock) for spec in sources}
    queue = iter(entries)
    try:
        with bar() as progress:
            task = progress.add_task("Asking for photos", total=len(entries))
            async with PhotoClient(sources, ledgers, clock=clock, agent=agent, limits=Limits()) as client:
                client.close_lanes(upstream.closed)

                async def work() -> None:
                    for entry in queue:
                        note(await _one(client, entry, take, done))
                        progress.advance(task)

                await asyncio.gather(*(work() for _ in range(_WORKERS)))
    finally:
        for ledger in ledgers.values():
            ledger.write_bytes()
            ledger.close()


async def _one(client: PhotoClient, entry: Mapping[str, Any], take: Take, done: str) -> Restored:
    photo_id = entry["photo_id"]
    try:
        data = await client.get(entry["url"], Visit(entry["source"]))
        await asyncio.to_thread(take, data, entry)
    except Rejected as refused:
        status = {Reason.GONE: "gone", Reason.MISMATCH: "changed"}.get(refused.reason, "rejected")
        return Restored(photo_id, status, str(refused.reason), refused.detail)
    except Postponed as later:
        told = f"{later}; not before {later.until:%Y-%m-%d %H:%M} UTC"
        return Restored(photo_id, "deferred", str(later.reason), told, later.until)
    except BudgetSpent as spent:
        return Restored(photo_id, "deferred", str(Reason.RATE), str(spent))
    except Faulty as fault:
        return Restored(photo_id, "failed", str(fault.reason), fault.detail)
    except Unreachable as lost:
        return Restored(photo_id, "failed", str(Reason.CONNECTION), f"{lost.host} does not answer")
    return Restored(photo_id, done)


def _keep(data: bytes, entry: Mapping[str, Any], out: Path) -> None:
    """Write the published copy of the right bytes; raises Rejected for any others."""
    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["photo_id"]:
        raise Rejected(Reason.MISMATCH, "the address gives other bytes than it gave its publisher")
    copy = published_copy(data)
    digest = hashlib.sha256(copy).hexdigest()
    if digest != entry["published_sha256"]:
        raise Rejected(Reason.MISMATCH, "its copy is not the one that the release names; use the version that froze it")
    write_atomically(out / f"{digest}{EXTENSIONS[entry['mime']]}", copy)


def counted(found: Iterable[Restored]) -> dict[str, int]:
    """Return the number of photos by what became of them."""
    return dict(sorted(Counter(item.status for item in found).items()))
