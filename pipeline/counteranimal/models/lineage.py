"""How a model stands to the model that chose a split: the same, a relative, or neither.

Decides who is a relative. A model's own numbers on backgrounds that it chose regress to the mean, and its relatives share its
errors, so results and reports mark both; what the marks look like is left to the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["Mark", "mark"]

Mark = Literal["", "selector", "relative"]


def mark(identity: Mapping[str, Any], selector: Mapping[str, Any] | None) -> Mark:
    """Say how a model stands to a split's selector; both are identity records.

    Two models are relatives when the weights of one (by name or digest) occur in the other's lineage, or both descend from the same.

    Examples
    --------
    >>> mark({"spec": "efficientnet-lite2"}, {"spec": "stand-in", "lineage": ["efficientnet-lite2"]})
    'relative'
    """
    if not selector:
        return ""
    if identity.get("spec") == selector.get("spec"):
        return "selector"
    return "relative" if _weights(identity) & _weights(selector) else ""


def _weights(identity: Mapping[str, Any]) -> set[str]:
    names = {str(identity.get("spec", "")), str(identity.get("weights_sha256", "")), *identity.get("lineage", ())}
    return names - {""}
