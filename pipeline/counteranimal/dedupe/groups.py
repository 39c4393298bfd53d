"""Joins photos by links into groups, and never joins two that people found to be different.

Decides the order: links are taken from the strongest to the weakest (equal pixels, people's answers, near copies, mirror
images, each by distance), and a link that would bring two photos together that people keep apart is left out and reported.
So the outcome depends on the links and the answers alone. Leaves what is linked to `confirm`, and what is kept to `keep`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from counteranimal.dedupe.confirm import Link

__all__ = ["Groups", "consistent"]


class Groups:
    """Disjoint groups of photo ids."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}

    def find(self, name: str) -> str:
        """Return the name that stands for a photo's group."""
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def join(self, a: str, b: str) -> None:
        """Make one group of those of `a` and `b`."""
        first, second = sorted((self.find(a), self.find(b)))
        self._parent[second] = first

    def listed(self) -> list[list[str]]:
        """Return the groups, each sorted, in the order of their first photos."""
        found: dict[str, list[str]] = {}
        for name in sorted(self._parent):
            found.setdefault(self.find(name), []).append(name)
        return list(found.values())


def consistent(
    names: Iterable[str], links: Sequence[Link], apart: Collection[tuple[str, str]]
) -> tuple[list[Link], list[Link]]:
    """Return (links that hold, links left out because they contradict an answer), each from strongest to weakest.

    Parameters
    ----------
    names : iterable of str
        All photo ids.
    links : sequence of Link
        In any order. Equal pixels always hold: nobody is asked about them.
    apart : collection of (str, str)
        Photos that people found to be different.
    """
    if not apart:
        return sorted(links), []
    groups = Groups(names)
    hold, against = [], []
    for link in sorted(links):
        sides = {groups.find(link.photo_a), groups.find(link.photo_b)}
        torn = len(sides) == 2 and any({groups.find(a), groups.find(b)} == sides for a, b in apart)
        if torn and link.kind != "exact":
            against.append(link)
        else:
            hold.append(link)
            groups.join(link.photo_a, link.photo_b)
    return hold, against
