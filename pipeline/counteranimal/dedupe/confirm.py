"""Turns fingerprints into confirmed pairs: hashes propose, pixels decide.

Decides which two photos are one (equal pixels, near copies, mirror images) and which pairs people have to look at. Leaves what
people answer to `answers`, and what follows for a group of photos to `keep`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.dedupe.neighbours import cross_pairs_within, pairs_within
from counteranimal.dedupe.second_look import RULE, Difference, Look, compare, judge, mirrored
from counteranimal.recipe import DedupeRules

__all__ = ["Fingerprints", "Link", "confirmed_links", "exact_link", "judged_link"]

Kind = Literal["exact", "judged", "near", "mirror"]
_RANK: dict[Kind, int] = {"exact": 0, "judged": 1, "near": 2, "mirror": 3}


class Fingerprints(NamedTuple):
    """The columns of table `fingerprints` that pairs are made from, all in the order of `photo_ids`, which is sorted."""

    photo_ids: Sequence[str]
    pixel_digests: Sequence[str]
    phash: NDArray[np.uint64]
    dhash: NDArray[np.uint64]
    phash_mirrored: NDArray[np.uint64]
    dhash_mirrored: NDArray[np.uint64]


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


def confirmed_links(
    prints: Fingerprints, look: Callable[[str], Look], rules: DedupeRules
) -> tuple[list[Link], list[Link]]:
    """Return (confirmed, unsure) links, each sorted.

    Parameters
    ----------
    prints : Fingerprints
        Of n photos.
    look : callable
        Photo id -> its look; asked only for photos that some hash proposes.
    rules : DedupeRules
        Radii and limits.
    """
    confirmed = list(_exact(prints))
    unsure: list[Link] = []
    settled = _same_digest(prints)
    for kind, first, second, bits in _proposed(prints, rules):
        a, b = prints.photo_ids[first], prints.photo_ids[second]
        if settled(first, second):
            continue
        other = look(b) if kind == "near" else mirrored(look(b))
        difference = compare(look(a), other, rules)
        verdict = judge(difference, rules)
        if verdict == "same":
            confirmed.append(_link(kind, (a, b), bits, _Measured(difference.whole, _rule(rules, kind))))
        elif verdict == "unsure":
            unsure.append(_link(kind, (a, b), bits, _Measured(difference.whole, _why(difference, kind))))
    return _strongest(confirmed), _strongest(unsure)


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
    first, second = (prints.photo_ids.index(name) for name in pair)
    straight = _bits(prints.phash, prints.phash, first, second), _bits(prints.dhash, prints.dhash, first, second)
    turned = (
        _bits(prints.phash, prints.phash_mirrored, first, second),
        _bits(prints.dhash, prints.dhash_mirrored, first, second),
    )
    other = mirrored(look(pair[1])) if turned < straight else look(pair[1])
    difference = compare(look(pair[0]), other, rules).whole
    return _link("judged", pair, min(straight, turned), _Measured(difference, rule))


def _bits(a: NDArray[np.uint64], b: NDArray[np.uint64], first: int, second: int) -> int:
    return int(np.bitwise_count(a[first] ^ b[second]))


def _exact(prints: Fingerprints) -> Iterator[Link]:
    """Link photos of equal pixels in a chain, which joins a group of m photos by m - 1 links."""
    groups: dict[str, list[str]] = {}
    for photo_id, digest in zip(prints.photo_ids, prints.pixel_digests, strict=True):
        groups.setdefault(digest, []).append(photo_id)
    for group in groups.values():
        for a, b in pairwise(sorted(group)):
            yield exact_link(a, b)


def _same_digest(prints: Fingerprints) -> Callable[[int, int], bool]:
    return lambda first, second: prints.pixel_digests[first] == prints.pixel_digests[second]


def _proposed(prints: Fingerprints, rules: DedupeRules) -> Iterator[tuple[Kind, int, int, tuple[int, int]]]:
    """Yield (kind, first, second, (pHash bits, dHash bits)) of all pairs that both hashes propose, first < second."""
    near = pairs_within(prints.phash, rules.phash_radius)
    yield from _by_dhash("near", zip(*near, strict=True), (prints.dhash, prints.dhash), rules)
    flipped = cross_pairs_within(prints.phash, prints.phash_mirrored, rules.phash_radius)
    one_way = (row for row in zip(*flipped, strict=True) if row[0] < row[1])
    yield from _by_dhash("mirror", one_way, (prints.dhash, prints.dhash_mirrored), rules)


def _by_dhash(
    kind: Kind,
    rows: Iterable[tuple[np.int64, np.int64, np.int64]],
    hashes: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    rules: DedupeRules,
) -> Iterator[tuple[Kind, int, int, tuple[int, int]]]:
    for first, second, distance in rows:
        bits = _bits(*hashes, int(first), int(second))
        if bits <= rules.dhash_radius:
            yield kind, int(first), int(second), (int(distance), bits)


def _strongest(links: list[Link]) -> list[Link]:
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
