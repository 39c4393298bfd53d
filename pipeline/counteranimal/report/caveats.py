"""What a reader must know before believing a number: the sentences that follow from the data of a report.

Decides which caveat applies, from the data alone, so that none can be forgotten. Leaves further ones to whoever builds the
context.
"""

from __future__ import annotations

from typing import Any

from counteranimal.report.context import ReportContext

__all__ = ["caveats_of"]


def caveats_of(context: ReportContext, splits: list[dict[str, Any]]) -> list[str]:
    """Return the caveats in the order of their weight; `splits` is the part of that name of the report's numbers."""
    found: list[str] = []
    kinds = context.entries.column("kind").to_pylist()
    if "composite" in kinds:
        found.append(
            f"{kinds.count('composite')} of {len(kinds)} photos are composites: cut-out animals set on scene photos. They show that "
            "the background matters to a model; they are not photographs of animals where they live."
        )
        found.append(
            "The intervals cover the choice of cut-outs, not the choice of scenes: with other scenes of the same "
            "background the figures may differ by more than the intervals say."
        )
    if context.simulated_raters:
        found.append(
            "The raters were simulated: programs entered the votes, so the agreement figures test the machinery and say "
            "nothing about people."
        )
    if _stand_in(context):
        found.append(
            "The stand-in is not CLIP. Its background scores and its class scores come from the same logits, so part of "
            "any link between the two is mechanical; verified backgrounds, not its own, decide the groups."
        )
    found += [_per_class_sentence(context.per_class_rule.to_pylist())] if len(context.per_class_rule) else []
    if any(model["mark"] for model in _models(splits)):
        found.append(
            "Models marked ◆ or ◇ chose the backgrounds or share weights with the model that did. Compare other models "
            "with each other first."
        )
    found.append(
        "A drop measures how accuracy differs between two groups of photos. Pose, size and viewpoint may differ between "
        "them too, so not all of a drop need be due to the background."
    )
    if any(p != 1.0 for p in context.entries.column("inclusion_probability").to_pylist() if p is not None):
        found.append(
            "Photos were sampled for labelling; figures weigh each by the inverse of its chance to be sampled."
        )
    if context.identities:
        found.append(_training_sentence(context))
    return [*found, *context.caveats]


def _training_sentence(context: ReportContext) -> str:
    """Say what is known of training photos: what was compared and what it cannot show, and never that there is no overlap."""
    overlap = context.training_overlap
    if not overlap:
        compared = ", ".join(context.references)
        beyond = f" beyond a comparison with the hash lists {compared}" if compared else ""
        return f"Whether a model saw these photos in training was not checked{beyond}."
    lists = ", ".join(item["name"] for item in overlap["lists"])
    beside = "; accuracies with and without them stand under Results" if overlap["found"] else ""
    return (
        f"{overlap['found']} of {overlap['photos']} photos were found in the hash lists {lists} ({overlap['unsure']} more are unsure)"
        f"{beside}. Hashes miss crops, heavy borders and collages, and whether a model saw photos elsewhere in training was not checked."
    )


def _stand_in(context: ReportContext) -> bool:
    records = [*context.identities.values(), *context.selectors.values()]
    return any(record.get("family") == "stand-in" or record.get("spec") == "stand-in" for record in records)


def _models(splits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        model
        for split in splits
        for protocol in split["protocols"]
        for fold in protocol["folds"]
        for model in fold["models"]
    ]


def _per_class_sentence(rows: list[dict[str, Any]]) -> str:
    classes = len({row["class_id"] for row in rows})
    paired = sum(row["status"] == "pair" for row in rows)
    confirmed = sum(bool(row["confirmed"]) for row in rows)
    return (
        f"One pair of backgrounds serves the whole pool, because single classes are too small. Asked class by class, the "
        f"rule finds a pair in {paired} of {classes} classes and confirms {confirmed}."
    )
