"""Puts people's answers about pairs of photos in place of what hashes and pixels say of them.

Decides how an answer counts: *same* links the pair whatever was measured, *different* takes its link away, and a chain of other
links that would join the pair all the same is cut at its weakest and asked about. Equal pixels are one photo, whatever is
answered. Leaves which answers are settled to the table `settled_pairs`, which the rounds fill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from counteranimal.dedupe.confirm import Link, judged_link
from counteranimal.dedupe.groups import consistent
from counteranimal.dedupe.proposals import Fingerprints
from counteranimal.dedupe.second_look import Look
from counteranimal.recipe import DedupeRules

__all__ = ["Settled", "answered"]

Pair = tuple[str, str]


class Settled(NamedTuple):
    """Links that hold, and links that people have to look at."""

    links: list[Link]
    open: list[Link]


def answered(
    found: tuple[Sequence[Link], Sequence[Link]],
    answers: Sequence[Mapping[str, Any]],
    prints: Fingerprints,
    look: Callable[[str], Look],
    rules: DedupeRules,
) -> Settled:
    """Return the links once the answers are applied.

    Parameters
    ----------
    found : (sequence of Link, sequence of Link)
        Confirmed and unsure ones.
    answers : sequence of mapping
        Rows of table `settled_pairs` about photos that are here.
    prints, look, rules
        As for `confirm.looked_at`.
    """
    said = {(row["photo_a"], row["photo_b"]): row for row in answers}
    confirmed = [link for link in found[0] if link.kind == "exact" or _pair(link) not in said]
    judged = [
        judged_link(prints, pair, (look, rules), _rule(row))
        for pair, row in sorted(said.items())
        if row["answer"] == "same"
    ]
    apart = [pair for pair, row in sorted(said.items()) if row["answer"] == "different"]
    links, against = consistent(prints.photo_ids, [*confirmed, *judged], apart)
    unsure = [link for link in found[1] if _pair(link) not in said]
    return Settled(links, [*unsure, *(_contradiction(link) for link in against)])


def _pair(link: Link) -> Pair:
    return link.photo_a, link.photo_b


def _rule(row: Mapping[str, Any]) -> str:
    return f"people found one photo ({row['method']} of {row['n_votes']} vote(s) in round {row['round']})"


def _contradiction(link: Link) -> Link:
    return replace(link, rule=f"would join photos that people found to be different; {link.rule}")
