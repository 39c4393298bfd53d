"""What a reader must know before believing a number of this release, as sentences that follow from its data.

Decides which caveats apply; the card prints them, the manifest carries them. A caveat names figures where it has any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.recipe import SplitRule
from counteranimal.release.layout import PERSON
from counteranimal.workspace.upstream import Standing

__all__ = ["caveats", "not_checked", "rechecked", "simulated_votes"]


def caveats(
    entries: pa.Table, pairs: pa.Table, selectors: Mapping[str, Mapping[str, Any]], rules: Sequence[SplitRule]
) -> list[str]:
    """Return the caveats in the order in which they are printed.

    Parameters
    ----------
    entries, pairs : pa.Table
        As published.
    selectors : mapping of str to mapping
        Split -> identity record of its selecting model.
    rules : sequence of SplitRule
        The rules of the splits.
    """
    found = [
        "Headline figures are those of the report fold. The select fold chose the backgrounds, so its difference is too large.",
        (
            "A split favours models unlike the one that chose it, since its backgrounds were chosen by where that model fails; read "
            "the figures of that model, and of models that share its weights, apart from the others."
        ),
    ]
    found += _composites(entries)
    found += _stand_in(selectors)
    found += [
        f"The pairs of the split {rule.name} were chosen and estimated on the same photos, as in the paper; its drops are inflated by that."
        for rule in rules
        if rule.rule == "paper"
    ]
    found += _without_pair(pairs)
    if pc.any(pc.less(entries.column("inclusion_probability"), 1.0)).as_py():
        found.append(
            "Photos were sampled for labelling; figures weigh each by the inverse of its inclusion probability."
        )
    if pc.any(pc.starts_with(entries.column("fold_unit"), PERSON)).as_py():
        found.append(
            "People behind fold units are pseudonyms. That keeps names out of the tables; it is no anonymity, since a photo's "
            "page names whoever published it there."
        )
    return found


def not_checked(references: Sequence[str]) -> list[str]:
    """Return the caveat on what was not compared; `references` names the hash lists that were."""
    if not references:
        return ["Whether a model saw these photos in training was not checked."]
    return [
        (
            f"The photos were compared with the hash lists {', '.join(references)}, and with no other set; whether a model saw them elsewhere "
            "in training was not checked. Hashes miss crops, heavy borders and collages."
        )
    ]


def rechecked(stood: Standing, photo_ids: Collection[str]) -> list[str]:
    """Return the sentence on what upstream was asked again before the freeze, and on what it was not."""
    span = stood.span(photo_ids)
    if span is None:
        return [
            "Upstream was not re-checked: whether the photos are still there, and under the same licence, is as the crawl found it."
        ]
    words = {
        "same": "there with the same bytes",
        "changed": "there with other bytes",
        "gone": "not found at the last look",
        "rejected": "turned away",
        "not_rechecked": "not re-checked",
    }
    counts = stood.counts(photo_ids)
    told = ", ".join(f"{counts[name]} {what}" for name, what in words.items() if name in counts)
    licensed = len(stood.licensed.intersection(photo_ids))
    return [
        (
            f"Upstream was re-checked between {span[0]:%Y-%m-%d} and {span[1]:%Y-%m-%d}: of {len(photo_ids)} photos {told}. Licences "
            f"were stated again for {licensed}; those of the others are as the crawl found them."
        )
    ]


def _composites(entries: pa.Table) -> list[str]:
    n = pc.sum(pc.equal(entries.column("kind"), "composite")).as_py() or 0
    if not n:
        return []
    return [
        (
            f"{n} of {len(entries)} photos are composites: a cut-out animal placed on a scene photo. They show an effect of the "
            "background under control, not how animals are photographed; a cut-out's edge contrasts differently with each scene."
        ),
        "Intervals over composites cover the choice of cut-outs. They do not cover the choice of scenes, of which there are few.",
    ]


def _stand_in(selectors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    splits = sorted(name for name, record in selectors.items() if record.get("family") == "stand-in")
    if not splits:
        return []
    return [
        (
            f"The selecting model of {', '.join(splits)} is the stand-in, an ImageNet classifier joined to a text encoder in closed "
            "form. It is not CLIP, and a split that it chose says nothing about CLIP."
        )
    ]


def _without_pair(pairs: pa.Table) -> list[str]:
    rows = pairs.select(["split", "class_id", "status"]).to_pylist()
    lacking = [row for row in rows if row["status"] == "no_pair"]
    if not lacking:
        return []
    return [
        (
            f"{len(lacking)} of {len(rows)} choices found no pair of backgrounds that qualifies; those classes are published without "
            "one and enter no mean."
        )
    ]


def simulated_votes(rounds: Sequence[str]) -> list[str]:
    """Return the caveat for rounds in which programs voted; none without such rounds."""
    if not rounds:
        return []
    return [
        (
            f"Votes of {', '.join(rounds)} come from simulated raters: programs that play annotators. Agreement and backgrounds show that "
            "the pipeline works, not what people see."
        )
    ]
