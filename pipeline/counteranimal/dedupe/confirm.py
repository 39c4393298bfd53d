"""Turns fingerprints into confirmed pairs: hashes propose, pixels decide.

Decides which two photos are one (equal pixels, near copies, mirror images) and which pairs people have to look at. What a look found
is a row of table `looked_pairs`, so that no pair is looked at twice. Leaves which pairs to look at to `proposals`, what people
answer to `answers`, and what follows for a group of photos to `keep`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from counteranimal.dedupe.neighbours import Hashes
from counteranimal.dedupe.proposals import Fingerprints, Proposal
from counteranimal.dedupe.second_look import RULE, Difference, Look, compare, judge, mirrored
from counteranimal.recipe import DedupeRules

__all__ = ["Link", "closer", "exact_link", "exact_links", "judged_link", "links_of", "looked_at"]

Kind = Literal["exact", "judged", "near", "mirror"]
_RANK: dict[Kind, int] = {"exact": 0, "judged": 1, "near": 2, "mirror": 3}


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """Two photos that are, or may be, one; `photo_a` sorts before `photo_b`, and links sort from strongest to weakest."""

    rank: int
    phash_distance: int
    dhash_distance: int
    pixel_difference: float
    photo_a: str
    photo_b: str
    kind: Kind
    rule: str


def looked_at(
    prints: Fingerprints, proposals: Iterable[Proposal], look: Callable[[str], Look], rules: DedupeRules
) -> Iterator[dict[str, Any]]:
    """Look at the proposed pairs and yield a row of table `looked_pairs` for each that is the same photo or may be.

    Parameters
    ----------
    prints : Fingerprints
        Of n photos; pairs of equal pixels are not looked at.
    proposals : iterable of Proposal
        What to look at.
    look : callable
        Photo id -> its look; asked only for proposed photos.
    rules : DedupeRules
        Limits.
    """
    for pair in proposals:
        a, b = prints.photo_ids[pair.first], prints.photo_ids[pair.second]
        if prints.pixel_digests[pair.first] == prints.pixel_digests[pair.second]:
            continue
        other = look(b) if pair.kind == "near" else mirrored(look(b))
        difference = compare(look(a), other, rules)
        verdict = judge(difference, rules)
        if verdict == "different":
            continue
        yield {
            "photo_a": a,
            "photo_b": b,
            "kind": pair.kind,
            "phash_distance": pair.phash_distance,
            "dhash_distance": pair.dhash_distance,
            "pixel_difference": difference.whole,
            "verdict": verdict,
            "rule": _rule(rules, pair.kind) if verdict == "same" else _why(difference, pair.kind),
        }


def links_of(rows: Iterable[Mapping[str, Any]], verdict: Literal["same", "unsure"]) -> list[Link]:
    """Return the links of those rows of table `looked_pairs` that have a verdict, sorted, only the strongest of each pair."""
    return _strongest(
        _link(
            row["kind"],
            (row["photo_a"], row["photo_b"]),
            (row["phash_distance"], row["dhash_distance"]),
            _Measured(row["pixel_difference"], row["rule"]),
        )
        for row in rows
        if row["verdict"] == verdict
    )


def exact_links(prints: Fingerprints) -> Iterator[Link]:
    """Link photos of equal pixels in a chain, which joins a group of m photos by m - 1 links."""
    groups: dict[str, list[str]] = {}
    for photo_id, digest in zip(prints.photo_ids, prints.pixel_digests, strict=True):
        groups.setdefault(digest, []).append(photo_id)
    for group in groups.values():
        for a, b in pairwise(sorted(group)):
            yield exact_link(a, b)


class _Measured(NamedTuple):
    difference: float
    rule: str


def _link(kind: Kind, photos: tuple[str, str], bits: tuple[int, int], measured: _Measured) -> Link:
    return Link(_RANK[kind], *bits, round(measured.difference, 4), *photos, kind, measured.rule)


def exact_link(a: str, b: str) -> Link:
    """Return the link between two photos of equal pixels."""
    return _link("exact", (min(a, b), max(a, b)), (0, 0), _Measured(0.0, "equal pixel digest"))


def judged_link(
    prints: Fingerprints, pair: tuple[str, str], by: tuple[Callable[[str], Look], DedupeRules], rule: str
) -> Link:
    """Return the link between two photos that people found to be one, measured as it stands or mirrored, whichever is closer."""
    look, rules = by
    bits, turned = closer(prints, *pair)
    difference = compare(look(pair[0]), mirrored(look(pair[1])) if turned else look(pair[1]), rules).whole
    return _link("judged", pair, bits, _Measured(difference, rule))


def closer(prints: Fingerprints, a: str, b: str) -> tuple[tuple[int, int], bool]:
    """Return how many bits of pHash and dHash two photos differ in, as they stand or one of them mirrored, and whether mirrored."""
    first, second = (bisect_left(prints.photo_ids, name) for name in (a, b))
    straight = _bits(prints.phash, prints.phash, first, second), _bits(prints.dhash, prints.dhash, first, second)
    turned = (
        _bits(prints.phash, prints.phash_mirrored, first, second),
        _bits(prints.dhash, prints.dhash_mirrored, first, second),
    )
    return min(straight, turned), turned < straight


def _bits(a: Hashes, b: Hashes, first: int, second: int) -> int:
    return int(np.bitwise_count(a[first] ^ b[second]))


def _strongest(links: Iterable[Link]) -> list[Link]:
    """Return the links sorted, only the strongest of each pair (a symmetric photo's copy is also its mirror image)."""
    best: dict[tuple[str, str], Link] = {}
    for link in sorted(links):
        best.setdefault((link.photo_a, link.photo_b), link)
    return sorted(best.values())


def _rule(rules: DedupeRules, kind: Kind) -> str:
    image = "mirror image, " if kind == "mirror" else ""
    return (
        f"{image}{RULE}: pHash <= {rules.phash_radius}, dHash <= {rules.dhash_radius}, "
        f"pixels <= {rules.pixel_difference:g}, part <= {rules.part_difference:g}"
    )


def _why(difference: Difference, kind: Kind) -> str:
    image = "mirror image, " if kind == "mirror" else ""
    return (
        f"{image}{RULE}: hashes agree, pixels leave it open (whole {difference.whole:.2f}, part {difference.part:.2f}, "
        f"detail {difference.detail:.2f} of strength {difference.strength:.1f}, agreement {difference.agreement:.2f})"
    )
