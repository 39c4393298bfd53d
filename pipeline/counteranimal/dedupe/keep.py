"""Groups linked photos into clusters and says which photo of each is kept.

Decides, in this order:

* Photos joined by confirmed links, directly or through others, are one cluster: when A is a copy of B and B of C, all three are
  one photo, however far apart A and C are, because every step was confirmed by pixels or by people.
* A photo that a reference set holds is dropped with all its copies as `reference_overlap`: a copy is the same photo, whether or not
  the set's hashes are near it.
* One photo under two classes is nobody's: all photos of a cluster with two classes are dropped as `class_conflict`, as the same
  bytes under two classes are at the crawl. Pixels cannot say which class is right; people can say that the photos differ.
* Among the photos kept so far, a *burst* keeps one: photos of one class in the same observation, or by the same observer with no
  gap above `burst_seconds`. Photos without observation or observer are never a burst, nor are composites, whose observer is a
  cut-out.
* The kept photo is the one with the largest area in pixels, then the most bytes, then the smallest photo id.

Nothing depends on the order in which photos arrived. Leaves whether two photos are one to `confirm`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from counteranimal.dedupe.confirm import Link, exact_link
from counteranimal.dedupe.groups import Groups
from counteranimal.dedupe.reference import Overlap
from counteranimal.errors import Reason

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


def cluster_rows(
    members: Sequence[Member],
    links: Sequence[Link],
    *,
    burst_seconds: int,
    apart: Callable[[str, str], tuple[int, int]],
    overlaps: Mapping[str, Overlap] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of table `clusters`, one a photo.

    Parameters
    ----------
    members : sequence of Member
        All photos, in any order.
    links : sequence of Link
        Confirmed links between them.
    burst_seconds : int
        Longest gap between two photos of one burst.
    apart : callable
        Two photo ids -> the bits of pHash and dHash in which they differ; asked for photos that no link explains.
    overlaps : mapping of str to Overlap, optional
        Photo id -> the entry of a reference set that it is dropped for.
    """
    struck = overlaps or {}
    by_id = {member.photo_id: member for member in members}
    sets = Groups(by_id)
    for link in links:
        sets.join(link.photo_a, link.photo_b)
    best_of = {
        name: min(group, key=lambda other: _preference(by_id[other])) for group in sets.listed() for name in group
    }
    partners = _partners(by_id, links, best_of)
    rows: dict[str, dict[str, Any]] = {}
    kept = []
    for group in sets.listed():
        classes = sorted({by_id[name].class_id for name in group})
        first = min((name for name in group if name in struck), key=lambda name: struck[name], default=None)
        for name in group:
            if first is not None:
                rows[name] = _overlapping(name, struck.get(name), struck[first], apart)
            elif name == best_of[name] and len(classes) == 1:
                kept.append(by_id[name])
                rows[name] = _row(name, kept=True, reason="kept" if len(group) > 1 else "unique")
            else:
                rows[name] = _dropped(name, partners[name], classes)
    for burst, rule in _bursts(kept, burst_seconds):
        best = min(burst, key=_preference)
        rows[best.photo_id]["reason"] = "kept"
        for member in burst:
            sets.join(best.photo_id, member.photo_id)
            if member is not best:
                row = _row(member.photo_id, kept=False, reason="burst") | {"partner": best.photo_id, "rule": rule}
                rows[member.photo_id] = row | _measured(apart(member.photo_id, best.photo_id))
    # The photo that stands for a burst is named last, over those that stood for its parts.
    names = [*best_of.values(), *(member.photo_id for member in kept if rows[member.photo_id]["kept"])]
    clusters = {sets.find(name): name for name in names}
    return [rows[name] | {"cluster": clusters[sets.find(name)]} for name in sorted(rows)]


def unsettled(rows: Sequence[Mapping[str, Any]], unsure: Sequence[Link], links: Sequence[Link]) -> list[dict[str, Any]]:
    """Return the rows of table `unsure_pairs`: what people have to look at.

    That is the closest pair of each two clusters that some unsure link joins, and the near and mirrored copies that carry two
    classes: their photos are dropped unless people find them different.
    """
    cluster_of = {row["photo_id"]: row["cluster"] for row in rows}
    torn = {row["photo_id"] for row in rows if row["reason"] == Reason.CLASS_CONFLICT.value}
    asked: dict[tuple[str, str], dict[str, Any]] = {}
    for link in sorted(unsure):
        first, second = sorted((cluster_of[link.photo_a], cluster_of[link.photo_b]))
        if first != second:
            asked.setdefault((first, second), _question(link, link.rule))
    conflicts = [
        _question(link, f"{Reason.CLASS_CONFLICT.value}: copies under two classes; {link.rule}")
        for link in links
        if link.photo_a in torn and link.kind in {"near", "mirror"}
    ]
    return sorted([*asked.values(), *conflicts], key=lambda row: (row["photo_a"], row["photo_b"]))


def _question(link: Link, why: str) -> dict[str, Any]:
    return {
        "photo_a": link.photo_a,
        "photo_b": link.photo_b,
        "phash_distance": link.phash_distance,
        "dhash_distance": link.dhash_distance,
        "pixel_difference": link.pixel_difference,
        "why": why,
    }


def _preference(member: Member) -> tuple[int, int, str]:
    """Return a key by which the photo to keep is the smallest."""
    return (-member.area, -member.size, member.photo_id)


def _row(photo_id: str, *, kept: bool, reason: str) -> dict[str, Any]:
    return {"photo_id": photo_id, "kept": kept, "reason": reason}


def _measured(bits: tuple[int, int]) -> dict[str, int]:
    return {"phash_distance": bits[0], "dhash_distance": bits[1]}


def _overlapping(
    photo_id: str, own: Overlap | None, best: Overlap, apart: Callable[[str, str], tuple[int, int]]
) -> dict[str, Any]:
    """Return the row of a photo that a reference set holds: by an entry near itself, or near another copy of it."""
    found = own or best
    bits = (own.phash_distance, own.dhash_distance) if own else apart(photo_id, best.photo_id)
    rule = own.rule if own else f"copy of photo {best.photo_id}; {best.rule}"
    row = _row(photo_id, kept=False, reason="reference_overlap")
    return row | _measured(bits) | {"partner": found.entry, "rule": rule}


def _dropped(photo_id: str, link: Link, classes: Sequence[str]) -> dict[str, Any]:
    torn = len(classes) > 1
    conflict = f"one photo under {' and '.join(classes)}; " if torn else ""
    return _row(photo_id, kept=False, reason=Reason.CLASS_CONFLICT.value if torn else link.kind) | {
        "partner": link.photo_b if link.photo_a == photo_id else link.photo_a,
        "phash_distance": link.phash_distance,
        "dhash_distance": link.dhash_distance,
        "pixel_difference": link.pixel_difference,
        "rule": conflict + link.rule,
    }


def _partners(members: Mapping[str, Member], links: Sequence[Link], best_of: Mapping[str, str]) -> dict[str, Link]:
    """Return photo id -> the link that explains why it is dropped: to its group's best photo where there is one, else its strongest.

    `best_of` names the best photo of each photo's group; the best one has its own strongest link.
    """
    found: dict[str, Link] = {}
    for link in sorted(links):
        for name, other in ((link.photo_a, link.photo_b), (link.photo_b, link.photo_a)):
            current = found.get(name)
            best = best_of[name]
            if current is None or (other == best and best not in {current.photo_a, current.photo_b}):
                found[name] = link
    for name in found:
        best = best_of[name]
        if name != best and members[name].pixel_digest and members[name].pixel_digest == members[best].pixel_digest:
            found[name] = exact_link(name, best)
    return found


def _bursts(kept: Sequence[Member], seconds: int) -> list[tuple[list[Member], str]]:
    """Return the bursts among kept photos, each with the rule that made it."""
    by_id = {member.photo_id: member for member in kept}
    sets = Groups(by_id)
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
    same_observation = {name: group[0] for group in sets.listed() for name in group}
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
        for group in sets.listed()
        if len(group) > 1
    ]
