"""Plans an exact search for 64-bit hashes within a Hamming radius, by bands.

Decides how 64 bits are cut into bands and how many flipped bits each band forgives, so that every pair within the radius agrees
on some band: of bands b with k_b flips, sum(k_b + 1) > radius suffices, since a pair that is too far apart on every band differs
in at least sum(k_b + 1) bits (pigeonhole; multi-index hashing, Norouzi, Punjani and Fleet 2012). The plan is the cheapest by a
cost model. Leaves the search itself to `neighbours`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Band", "Plan", "plan_for"]

_BITS = 64


class _Costs(NamedTuple):
    """Nanoseconds of one core; bench/dedupe_neighbours.py prints what they add up to beside what was measured.

    For comparing two hashes, going to a bucket, going there for one hash more, and sorting one hash into the buckets of a band.
    """

    compare: float
    bucket: float
    probe: float
    sort: float


_COMPILED = _Costs(compare=0.42, bucket=2.0, probe=12.0, sort=20.0)
# Numpy makes arrays of all candidates, and goes through all hashes once for every mask.
_PLAIN = _Costs(compare=20.0, bucket=0.0, probe=100.0, sort=100.0)
# The tables of wide bands are seldom in a cache.
_FAR, _NEAR_BITS = 3.0, 18
# Going to a bucket on a page of memory where the probe before has not been, and how many hashes lie on a page.
_APART, _PAGE = 60.0, 512


@dataclass(frozen=True, slots=True)
class Band:
    """Bits `shift` to `shift + width - 1`, of which `flips` may differ."""

    shift: int
    width: int
    flips: int

    @property
    def bits(self) -> int:
        """The band's bits within a hash."""
        return ((1 << self.width) - 1) << self.shift

    def masks(self) -> NDArray[np.int64]:
        """Return every change of at most `flips` bits within the band, sorted, 0 first; shape (number,)."""
        return _masks(self.width, self.flips)

    @property
    def changes(self) -> int:
        """How many masks there are."""
        return sum(comb(self.width, flips) for flips in range(self.flips + 1))


@functools.cache
def _masks(width: int, most: int) -> NDArray[np.int64]:
    changes = (combinations(range(width), flips) for flips in range(most + 1))
    return np.array(sorted(sum(1 << bit for bit in chosen) for each in changes for chosen in each), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """Bands that together are exact, in the order in which they are searched, and the CPU seconds that the cost model expects."""

    bands: tuple[Band, ...]
    seconds: float


def plan_for(probes: int, stored: int | None, radius: int, *, compiled: bool = True) -> Plan:
    """Return the cheapest exact plan for finding all of `probes` hashes among `stored` others, or among themselves (None).

    `compiled` says whether numba's loops or numpy will do it.

    Raises
    ------
    ValueError
        If `radius` is negative or leaves no bit to agree on.

    Examples
    --------
    >>> [(band.width, band.flips) for band in plan_for(1_000_000, None, 10).bands]
    [(16, 2), (16, 2), (16, 2), (16, 1)]
    """
    if not 0 <= radius < _BITS:
        raise ValueError(f"a radius of {radius} bits is outside 0..{_BITS - 1}")
    cuts = (_cut(number, radius) for number in range(3, max(3, radius + 1) + 1))
    costs = _COMPILED if compiled else _PLAIN
    return min((Plan(bands, _seconds(bands, probes, stored, costs)) for bands in cuts), key=lambda plan: plan.seconds)


def _cut(number: int, radius: int) -> tuple[Band, ...]:
    """Return so many bands of nearly equal width whose flips are just enough; the wider ones forgive more."""
    widths = [_BITS // number + (band < _BITS % number) for band in range(number)]
    needed = max(number, radius + 1)
    flips = [needed // number - 1 + (band < needed % number) for band in range(number)]
    bands, shift = [], _BITS
    for width, forgiven in zip(widths, flips, strict=True):
        shift -= width
        bands.append(Band(shift, width, forgiven))
    return tuple(bands)


def _seconds(bands: tuple[Band, ...], probes: int, stored: int | None, costs: _Costs) -> float:
    nanoseconds = 0.0
    for band in bands:
        buckets = 2**band.width
        far = 1.0 if band.width <= _NEAR_BITS else _FAR
        if stored is None:
            # Each two buckets meet once, and all of one's hashes go to the other together.
            gone_to = min(probes, buckets) * costs.bucket + probes / 2 * costs.probe
            compared, sorted_in = probes**2 / 2, probes
        else:
            # Probes are sorted, so few of them lie far apart.
            apart = _APART * min(1.0, stored / max(probes, 1) / _PAGE)
            gone_to = probes * (costs.bucket + costs.probe + apart)
            compared, sorted_in = probes * stored, probes + stored
        nanoseconds += (
            band.changes * (far * gone_to + compared / buckets * costs.compare) + sorted_in * costs.sort + buckets
        )
    return nanoseconds * 1e-9
