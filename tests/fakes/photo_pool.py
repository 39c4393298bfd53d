"""A small pool of photos as the earlier stages leave it: tables and journal, no bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from counteranimal import tables
from counteranimal.recipe import AnnotateRules, Recipe, RecipeClass, SourceSpec
from counteranimal.workspace import Workspace

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def a_recipe(**rules: object) -> Recipe:
    return Recipe(
        name="small",
        classes=(
            RecipeClass(id="cat", name="cat", imagenet=(281, 282), look_for="whiskers"),
            RecipeClass(id="dog", name="dog", imagenet=(151, 152)),
        ),
        sources=(SourceSpec(name="folder", kind="folder"),),
        annotate=AnnotateRules(**rules),
    )


def photo(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def fill(
    workspace: Workspace,
    number: int,
    *,
    backgrounds: tuple[str, ...] = ("grass", "sand"),
    named: Sequence[str] = (),
) -> list[str]:
    """Put `number` kept photos into the workspace, classes and machine backgrounds in turn."""
    names = list(named) or [photo(index) for index in range(number)]
    workspace.write_table("photos", tables.conform("photos", [
        {"photo_id": name, "candidate_ids": [f"folder:{index}"], "class_id": ("cat", "dog")[index % 2], "fold_unit": name,
         "status": "ok"} for index, name in enumerate(names)
    ]))  # fmt: skip
    workspace.write_table("clusters", tables.conform("clusters", [
        {"photo_id": name, "cluster": name, "kept": True, "reason": "unique"} for name in names
    ]))  # fmt: skip
    workspace.write_table("scores", tables.conform("scores", [
        {"photo_id": name, "model": "stand-in", "view": "whole", "vocabulary": "v", "status": "ok",
         "background": backgrounds[index // 2 % len(backgrounds)]} for index, name in enumerate(names)
    ]))  # fmt: skip
    workspace.journal.append("candidates", [
        {"candidate_id": f"folder:{index}", "attribution": f"(c) person {index}", "seen_at": NOW} for index in range(number)
    ])  # fmt: skip
    return names
