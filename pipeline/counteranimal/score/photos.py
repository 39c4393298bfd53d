"""Which photos are scored, and with which classes.

Decides that scoring sees what deduplication kept and nobody withdrew.
"""

from __future__ import annotations

from typing import Any

from counteranimal.workspace import Workspace

__all__ = ["kept_photos"]


def kept_photos(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Return photo id -> row of `photos`, for those that are ok, kept by the duplicate rule and not withdrawn.

    Raises
    ------
    IntegrityError
        If `photos` or `clusters` has not been made yet.
    """
    kept = {row["photo_id"] for row in workspace.table("clusters").to_pylist() if row["kept"]}
    withdrawn = {row["photo_id"] for row in workspace.journal.rows("withdrawals")}
    return {
        row["photo_id"]: row
        for row in workspace.table("photos").to_pylist()
        if row["status"] == "ok" and row["photo_id"] in kept and row["photo_id"] not in withdrawn
    }
