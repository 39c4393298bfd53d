"""Who fetches what, where several processes share one journal: so that no photo is fetched by two of them.

Decides when an attempt may be made. An attempt is claimed before its first request, and a unique key of the journal gives it to
one run. A run shows signs of life; one whose signs stay away for the lease, by the watch of the run that looks, is dead, and
what it claimed is free again. No clocks are compared, so a clock that jumps or differs changes nothing. What a dead run may have
stored is left, for a day, to its own home, which records it when it runs again; where the store is shared, the survivor
records it at once. Leaves fetching to `crew`.

A journal that no other process uses needs no claims: the workspace's lock is enough.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from counteranimal.crawl.intake import Attempt
from counteranimal.crawl.pending import Pending
from counteranimal.workspace import Journal, Workspace
from counteranimal.workspace.events import TABLES

__all__ = ["Claims", "Life"]

_RUNS, _CLAIMS, _FETCHES = TABLES["runs"], TABLES["claims"], TABLES["fetches"]
_LEFT_TO_ITS_HOME = timedelta(days=1)
_SIGNS_A_LEASE = 4


@dataclass(frozen=True, slots=True)
class _Other:
    """An open run of another home: where it stores, its last sign of life, and when we first saw that, by our own watch."""

    store: str
    sign: int
    seen: float


class Life:
    """A run as the others see it, and the others as it sees them.

    Parameters
    ----------
    workspace : Workspace
        Locked by this process, so that earlier runs of the same home are over, however they ended.
    lease : float
        Seconds without a sign of life after which a run is dead.
    now : datetime
        The run's moment.
    """

    def __init__(self, workspace: Workspace, *, lease: float, now: datetime) -> None:
        self.run = secrets.token_hex(8)
        self.home = workspace.identity()
        self.store = workspace.blobs.identity()
        self.shared = workspace.shared
        self._journal = workspace.journal
        self._lease = lease
        self._now = now
        self._others: dict[str, _Other] = {}
        self._dead: set[str] = set()
        self._earlier: list[str] = []
        self._began = time.monotonic()

    @property
    def between_signs(self) -> float:
        """Seconds between two signs of life."""
        return self._lease / _SIGNS_A_LEASE

    def begin(self) -> None:
        """Record that this run begins; called once, before anything else."""
        self._earlier = [run for run, (home, _, _) in self._open_runs().items() if home == self.home]
        self.sign("begun")
        self.look()
        self._began = time.monotonic()

    def sign(self, kind: str = "beat") -> None:
        """Record a sign of life, or the end."""
        self._journal.append("runs", [self._row(self.run, kind)])

    def close_earlier(self) -> None:
        """Record that earlier runs of this home have ended; called when all that they left has been recorded."""
        self._journal.append("runs", [self._row(run, "ended") for run in self._earlier])
        self._earlier = []

    def look(self) -> None:
        """Look at the other homes' open runs and note their signs of life."""
        now, found = time.monotonic(), {}
        for run, (home, store, sign) in self._open_runs().items():
            if home != self.home:
                before = self._others.get(run)
                moved = before is None or before.sign != sign
                found[run] = _Other(store, sign, now if moved or before is None else before.seen)
        self._others = found

    def living(self) -> set[str]:
        """Return the other homes' runs that have not been judged dead."""
        return set(self._others) - self._dead

    def judge(self) -> None:
        """Decide which runs are dead: those without a sign of life for the lease.

        Decided at one moment, not whenever somebody asks: what a run left in the store is taken over by the same judgement that
        frees what it claimed, or it would be asked for again.
        """
        patience = time.monotonic() - self._lease
        self._dead = {run for run, other in self._others.items() if other.seen <= patience}

    def patience_left(self) -> float:
        """Return the seconds until runs that were silent from the beginning count as dead."""
        return max(0.0, self._began + self._lease - time.monotonic())

    def has_ended(self, run: str) -> bool:
        """Say whether a run of another home was not open when this one last looked."""
        return run not in self._others

    def shares_store(self, run: str) -> bool:
        """Say whether another run stores in this run's store."""
        other = self._others.get(run)
        return other is not None and other.store == self.store

    def _row(self, run: str, kind: str) -> dict[str, Any]:
        return {"run": run, "home": self.home, "store": self.store, "kind": kind, "at": self._now}

    def _open_runs(self) -> dict[str, tuple[str, str, int]]:
        """Return run -> (home, store, position of its last sign) of all runs that have not ended."""
        ended = sa.select(_RUNS.c.run).where(_RUNS.c.kind == "ended")
        query = (
            sa.select(_RUNS.c.run, sa.func.max(_RUNS.c.home), sa.func.max(_RUNS.c.store), sa.func.max(_RUNS.c.position))
            .where(_RUNS.c.run.not_in(ended))
            .group_by(_RUNS.c.run)
        )
        return {run: (home, store, last) for run, home, store, last in self._journal.each(query)}


class Claims:
    """Claims attempts for one run; called from one thread at a time."""

    def __init__(self, journal: Journal, life: Life, now: datetime) -> None:
        self._journal = journal
        self._life = life
        self._now = now
        self._generation: dict[tuple[str, int], int] = {}
        self.elsewhere: dict[str, Pending] = {}

    def take(self, wanted: Sequence[Pending]) -> list[Pending]:
        """Return those of the attempts that are this run's to make; what others hold is kept in `elsewhere`."""
        if not self._life.shared:
            return list(wanted)
        held = self._held(wanted)
        rows = []
        for item in wanted:
            key = (item.candidate_id, item.attempt)
            generation, free = held.get(key, (0, True))
            if free:
                self._generation[key] = generation + 1
                rows.append(self._row(item.candidate_id, item.attempt, "taken"))
        won = self._journal.append_new("claims", rows, "candidate_id")
        # Looked at after claiming: who claimed before has recorded how it ended before giving the claim up.
        ours = won - self._done([item for item in wanted if item.candidate_id in won])
        self.elsewhere |= {item.candidate_id: item for item in wanted if item.candidate_id not in ours}
        return [item for item in wanted if item.candidate_id in ours]

    def storing(self, group: Sequence[Attempt]) -> list[Attempt]:
        """Record that the bytes of a group are about to reach the store, and return the attempts that are still this run's.

        A run that stood still for longer than the lease may find its claims taken over.
        """
        if not self._life.shared:
            return list(group)
        names = [attempt.candidate["candidate_id"] for attempt in group]
        query = sa.select(_CLAIMS.c.candidate_id, _CLAIMS.c.attempt, sa.func.max(_CLAIMS.c.generation))
        query = query.where(_CLAIMS.c.candidate_id.in_(names)).group_by(_CLAIMS.c.candidate_id, _CLAIMS.c.attempt)
        last = {(name, number): top for name, number, top in self._journal.each(query)}
        ours = []
        for attempt in group:
            key = (attempt.candidate["candidate_id"], attempt.number)
            if last[key] == self._generation[key]:
                ours.append(attempt)
        kept = [attempt for attempt in ours if attempt.status == "stored"]
        self._journal.append(
            "claims", [self._row(attempt.candidate["candidate_id"], attempt.number, "storing") for attempt in kept]
        )
        return ours

    def _row(self, candidate_id: str, attempt: int, kind: str) -> dict[str, Any]:
        return {
            "candidate_id": candidate_id,
            "attempt": attempt,
            "generation": self._generation[candidate_id, attempt],
            "kind": kind,
            "run": self._life.run,
            "at": self._now,
        }

    def _held(self, wanted: Sequence[Pending]) -> dict[tuple[str, int], tuple[int, bool]]:
        """Return (candidate, attempt) -> (last generation, whether it is free again) of attempts that were ever claimed."""
        names = [item.candidate_id for item in wanted]
        columns = [_CLAIMS.c[name] for name in ("candidate_id", "attempt", "generation", "kind", "run", "at")]
        query = sa.select(*columns).where(_CLAIMS.c.candidate_id.in_(names)).order_by(_CLAIMS.c.generation)
        claims = list(self._journal.each(query))
        # Looked at after reading the claims: every run that holds one has begun by then.
        self._life.look()
        found: dict[tuple[str, int], tuple[int, bool]] = {}
        for candidate, attempt, generation, kind, run, at in claims:
            before, was_free = found.get((candidate, attempt), (0, True))
            free = self._is_free(kind, run, at) and (was_free or before < generation)
            found[candidate, attempt] = (generation, free)
        return found

    def _is_free(self, kind: str, run: str, at: datetime) -> bool:
        if run in self._life.living() or run == self._life.run:
            return False
        if kind == "storing" and not self._life.shares_store(run) and not self._life.has_ended(run):
            return abs(self._now - at) > _LEFT_TO_ITS_HOME
        return True

    def _done(self, won: Sequence[Pending]) -> set[str]:
        attempt_of = {item.candidate_id: item.attempt for item in won}
        query = sa.select(_FETCHES.c.candidate_id, _FETCHES.c.attempt).where(_FETCHES.c.candidate_id.in_(attempt_of))
        return {name for name, number in self._journal.each(query) if number >= attempt_of[name]}
