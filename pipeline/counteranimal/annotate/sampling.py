"""Which photos get into a round, and who sees which of them.

Decides inclusion probabilities and assignments from counts, classes and machine backgrounds alone. Correctness of any model is
not an input: sampling by it would build the conclusion into the data. Leaves storing to `plan`.

Strata are (class, machine background) over *all* machine backgrounds; a random stratum over everything lies on top, so that a
photo whose machine background is wrong still has its chance. A photo drawn by either enters, with the stored union probability
1 - (1 - p_stratum)(1 - p_random), by whose inverse discovery weighs it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from counteranimal.errors import UsageError

__all__ = ["assign", "blind_or_shown", "fitting", "sample"]


def sample(
    strata: Mapping[str, tuple[str, str]],
    *,
    photos_per_cell: int | None,
    random_share: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return photo id -> inclusion probability of the photos drawn.

    Parameters
    ----------
    strata : mapping of str to (str, str)
        Photo id -> (class, machine background).
    photos_per_cell : int or None
        How many to draw of each stratum; None takes every photo with probability 1.
    random_share : float
        Size of the random stratum as a fraction of the stratified draw, 0 to 1.
    """
    photos = sorted(strata)
    if photos_per_cell is None:
        return dict.fromkeys(photos, 1.0)
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for photo in photos:
        cells[strata[photo]].append(photo)
    drawn: set[str] = set()
    chance: dict[str, float] = {}
    for _, members in sorted(cells.items()):
        taken = min(photos_per_cell, len(members))
        chance |= dict.fromkeys(members, taken / len(members))
        drawn |= {members[index] for index in rng.choice(len(members), size=taken, replace=False)}
    extra = min(len(photos), math.ceil(random_share * len(drawn)))
    anywhere = extra / len(photos) if photos else 0.0
    drawn |= {photos[index] for index in rng.choice(len(photos), size=extra, replace=False)} if extra else set()
    return {photo: 1 - (1 - chance[photo]) * (1 - anywhere) for photo in sorted(drawn)}


def fitting(
    strata: Mapping[str, tuple[str, str]], photos_per_cell: int | None, *, random_share: float, photos: float
) -> int:
    """Return the largest number to draw of each stratum, at most `photos_per_cell`, with which a draw has at most `photos` photos.

    The number is the same whatever is then drawn: it counts the random stratum in full, as if it met nobody twice.

    Raises
    ------
    UsageError
        If not even one photo of each stratum fits.
    """
    sizes = list(Counter(strata.values()).values())
    limit = min(max(sizes, default=1), photos_per_cell or max(sizes, default=1))
    for number in range(limit, 0, -1):
        drawn = sum(min(number, size) for size in sizes)
        if drawn + math.ceil(random_share * drawn) <= photos:
            return number
    raise UsageError(
        f"the hours reach for {max(0, int(photos))} photos and there are {len(sizes)} classes and backgrounds to draw from; "
        "give more hours or more people"
    )


def assign(
    photos: Sequence[str], workers: Sequence[str], *, votes_per_photo: int, rng: np.random.Generator
) -> dict[str, list[str]]:
    """Return worker -> the photos they see, in an order of their own.

    Every photo goes to `votes_per_photo` different workers; loads differ by at most one; who meets whom is random.

    Raises
    ------
    UsageError
        If there are fewer workers than votes wanted for a photo, or a worker is named twice.
    """
    if len(set(workers)) < len(workers):
        twice = next(name for name in workers if list(workers).count(name) > 1)
        raise UsageError(f"worker {twice!r} is named twice; one person answers a photo once")
    if len(workers) < votes_per_photo:
        raise UsageError(
            f"{votes_per_photo} votes a photo need as many people and {len(workers)} are named; "
            "name more workers or lower votes_per_photo in the recipe"
        )
    load = np.zeros(len(workers), dtype=np.int64)
    seen: dict[str, list[str]] = {worker: [] for worker in workers}
    for index in rng.permutation(len(photos)):
        order = np.lexsort((rng.random(len(workers)), load))
        for position in order[:votes_per_photo]:
            load[position] += 1
            seen[workers[position]].append(photos[index])
    return {worker: [own[index] for index in rng.permutation(len(own))] for worker, own in seen.items()}


def blind_or_shown(
    assignments: Mapping[str, Sequence[str]], *, may_show: Collection[str], rng: np.random.Generator
) -> dict[tuple[str, str], bool]:
    """Return (worker, photo) -> whether the machine's proposal is on the screen.

    A fair coin a vote, for the photos in `may_show` only (those of the select fold that have a proposal). Where every coin of
    a photo says shown, one vote drawn at random is blind, so that each photo has at least one blind vote.
    """
    allowed = frozenset(may_show)
    shown = {
        (worker, photo): bool(photo in allowed and rng.random() < 0.5)
        for worker, photos in assignments.items()
        for photo in photos
    }
    viewers: dict[str, list[str]] = defaultdict(list)
    for worker, photo in shown:
        viewers[photo].append(worker)
    for photo, workers in viewers.items():
        if all(shown[worker, photo] for worker in workers):
            shown[workers[int(rng.integers(len(workers)))], photo] = False
    return shown
