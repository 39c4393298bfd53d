"""What must be said beside a model's name, and the words for what the duplicate search decided.

Decides the signs for a model that chose the backgrounds and for one that shares weights with it, and that the stand-in is
never called anything else. The chooser looks worse on its own pairs by regression to the mean, and its relatives share its
errors, so both are marked wherever their numbers appear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DUPLICATES", "MARKS", "label_of", "sublabel_of"]

MARKS: dict[str, tuple[str, str]] = {
    "selector": ("◆", "selection model: it chose the backgrounds"),
    "relative": ("◇", "shares weights with the selection model"),
}

DUPLICATES = {
    "unique": "unique: no copy found",
    "kept": "kept: stands for its copies",
    "exact": "exact: same pixels, dropped",
    "judged": "judged: one photo by people's answer, dropped",
    "near": "near: close copy, dropped",
    "mirror": "mirror: flipped copy, dropped",
    "burst": "burst: same moment, dropped",
    "class_conflict": "class conflict: one photo under two classes, dropped",
    "reference_overlap": "in a reference set, dropped",
}

Record = Mapping[str, Any]


def label_of(model: str, identity: Record) -> str:
    """Return a model's name for people; the stand-in is never called anything else.

    Examples
    --------
    >>> label_of("open_clip:ViT-B-32/laion400m_e32", {}), label_of("stand-in", {"family": "stand-in"})
    ('ViT-B-32/laion400m_e32', 'stand-in (not CLIP)')
    """
    if identity.get("family") == "stand-in" or model == "stand-in":
        return "stand-in (not CLIP)"
    return model.split(":", 1)[-1]


def sublabel_of(model: str, identity: Record) -> str:
    """Return the small print under a model's name: where it comes from, or its family."""
    if ":" in model:
        return model.split(":", 1)[0]
    family = str(identity.get("family", ""))
    return {"imagenet": "ImageNet classifier", "clip": "CLIP", "stand-in": "image-text stand-in"}.get(family, family)
