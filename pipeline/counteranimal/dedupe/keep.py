"""Groups linked photos into clusters and says which photo of each is kept.

Decides, in this order:

* Photos joined by confirmed links, directly or through others, are one cluster: when A is a copy of B and B of C, all three are
  one photo, however far apart A and C are, because every step was confirmed by pixels.
* Among the photos kept so far, a *burst* keeps one: photos of one class in the same observation, or by the same observer with no
  gap above `burst_seconds`. Photos without observation or observer are never a burst, nor are composites, whose observer is a
  cut-out.
* The kept photo is the one with the largest area in pixels, then the most bytes, then the smallest photo id.

Nothing depends on the order in which photos arrived. Leaves whether two photos are one to `confirm`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from counteranimal.dedupe.confirm import Link, exact_link

__all__ = ["Member", "cluster_rows", "unsettled"]


@dataclass(frozen=True, slots=True)
class Member:
    """What deciding needs to know of a photo.

    `observations` and `observers` are `source:id` keys, empty for composites; `moments` are the times it was observed, as far
    as the source tells them to the second.
    """

    photo_id: str
    class_id: str
    area: int
    size: int
    pixel_digest: str = ""
    observations: frozenset[str] = frozenset()
    observers: frozenset[str] = frozenset()
    moments: tuple[datetime, ...] = ()


class _Sets:
    """Disjoint sets of photo ids."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def find(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, a: str, b: str) -> None:
        first, second = sorted((self.find(a), self.find(b)))
        self._parent[second] = first

    def groups(self) -> list[list[str]]:
        found: dict[str, list[str]] = {}
        for name in sorted(self._parent):
            found.setdefault(self.find(name), []).append(name)
        return list(found.values())


def cluster_rows(members: Sequence[Member], links: Sequence[Link], *, burst_seconds: int) -> list[dict[str, Any]]:
    """Return the rows of table `clusters`, one a photo.

    Parameters
    ----------
    members : sequence of Member
        All photos, in any order.
    links : sequence of Link
        Confirmed links between them.
    burst_seconds : int
        Longest gap between two photos of one burst.
    """
    by_id = {member.photo_id: member for member in members}
    sets = _Sets(by_id)
    for link in links:
        sets.join(link.photo_a, link.photo_b)
    rows: dict[str, dict[str, Any]] = {}
    kept_members = []
    for group in sets.groups():
        kept = min((by_id[name] for name in group), key=_preference)
        kept_members.append(kept)
        rows[kept.photo_id] = _row(kept.photo_id, kept=True, reason="kept" if len(group) > 1 else "unique")
    partners = _partners(by_id, links, kept={member.photo_id for member in kept_members}, sets=sets)
    rows.update({name: _dropped(name, link) for name, link in partners.items()})
    for burst, rule in _bursts(kept_members, burst_seconds):
        best = min(burst, key=_preference)
        rows[best.photo_id]["reason"] = "kept"
        for member in burst:
            sets.join(best.photo_id, member.photo_id)
            if member is not best:
                rows[member.photo_id] = _row(member.photo_id, kept=False, reason="burst") | {
                    "partner": best.photo_id,
                    "rule": rule,
                }
    return _named(rows, sets)


def unsettled(rows: Sequence[Mapping[str, Any]], unsure: Sequence[Link]) -> list[dict[str, Any]]:
    """Return the rows of table `unsure_pairs`: the closest pair of each two clusters that some unsure link joins."""
    cluster_of = {row["photo_id"]: row["cluster"] for row in rows}
    asked: dict[tuple[str, str], dict[str, Any]] = {}
    for link in sorted(unsure):
        first, second = sorted((cluster_of[link.photo_a], cluster_of[link.photo_b]))
        if first != second:
            asked.setdefault((first, second), _question(link))
    return sorted(asked.values(), key=lambda row: (row["photo_a"], row["photo_b"]))


def _question(link: Link) -> dict[str, Any]:
    return {
        "photo_a": link.photo_a,
        "photo_b": link.photo_b,
        "phash_distance": link.phash_distance,
        "dhash_distance": link.dhash_distance,
        "pixel_difference": link.pixel_difference,
        "why": link.rule,
    }


def _preference(member: Member) -> tuple[int, int, str]:
    """Return a key by which the photo to keep is the smallest."""
    return (-member.area, -member.size, member.photo_id)


def _row(photo_id: str, *, kept: bool, reason: str) -> dict[str, Any]:
    return {"photo_id": photo_id, "kept": kept, "reason": reason}


def _dropped(photo_id: str, link: Link) -> dict[str, Any]:
    return _row(photo_id, kept=False, reason=link.kind) | {
        "partner": link.photo_b if link.photo_a == photo_id else link.photo_a,
        "phash_distance": link.phash_distance,
        "dhash_distance": link.dhash_distance,
        "pixel_difference": link.pixel_difference,
        "rule": link.rule,
    }


def _partners(by_id: Mapping[str, Member], links: Sequence[Link], *, kept: set[str], sets: _Sets) -> dict[str, Link]:
    """Return dropped photo id -> the link that explains it: to the kept photo where there is one, else its strongest."""
    kept_of = {sets.find(name): name for name in kept}
    best: dict[str, Link] = {}
    for link in sorted(links):
        for name, other in ((link.photo_a, link.photo_b), (link.photo_b, link.photo_a)):
            if name not in kept:
                current = best.get(name)
                if current is None or (other in kept and not {current.photo_a, current.photo_b} & kept):
                    best[name] = link
    for name in best:
        keeper = kept_of[sets.find(name)]
        if by_id[name].pixel_digest and by_id[name].pixel_digest == by_id[keeper].pixel_digest:
            best[name] = exact_link(name, keeper)
    return best


def _bursts(kept: Sequence[Member], seconds: int) -> list[tuple[list[Member], str]]:
    """Return the bursts among kept photos, each with the rule that made it."""
    by_id = {member.photo_id: member for member in kept}
    sets = _Sets(by_id)
    by_observation: dict[tuple[str, str], list[str]] = {}
    by_observer: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for member in kept:
        for key in member.observations:
            by_observation.setdefault((member.class_id, key), []).append(member.photo_id)
        for key in member.observers:
            timed = by_observer.setdefault((member.class_id, key), [])
            timed += [(moment, member.photo_id) for moment in member.moments]
    for names in by_observation.values():
        for a, b in pairwise(names):
            sets.join(a, b)
    same_observation = {name: group[0] for group in sets.groups() for name in group}
    for timed in by_observer.values():
        for (earlier, a), (later, b) in pairwise(sorted(timed)):
            if (later - earlier).total_seconds() <= seconds:
                sets.join(a, b)
    return [
        (
            [by_id[name] for name in group],
            "burst: same observation"
            if len({same_observation[name] for name in group}) == 1
            else f"burst: same observer within {seconds} s",
        )
        for group in sets.groups()
        if len(group) > 1
    ]


def _named(rows: Mapping[str, dict[str, Any]], sets: _Sets) -> list[dict[str, Any]]:
    """Return the rows sorted by photo, each with its cluster, which is named by its kept photo."""
    keeper = {sets.find(name): name for name, row in rows.items() if row["kept"]}
    return [rows[name] | {"cluster": keeper[sets.find(name)]} for name in sorted(rows)]
