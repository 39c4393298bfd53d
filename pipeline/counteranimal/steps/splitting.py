"""The steps from votes to splits: verdicts, then discovery on them; and `rebuild`, everything that follows from the journal.

Decides what discovery stands on: verdicts of people on kept photos, and predictions of the recipe's selectors. Leaves the rule
to `discovery`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal import tables
from counteranimal.annotate import verdicts as annotate_verdicts
from counteranimal.discovery import assign, choose_pairs, diagnose, group_figures, pairs_by_class, pool_table
from counteranimal.evaluate.engine import Labels, PhotoSet, predict
from counteranimal.models import ImageTextModel, load_model
from counteranimal.steps.curation import dedupe, propose, score
from counteranimal.steps.discovered import balance, variations
from counteranimal.steps.models import check_models
from counteranimal.steps.run import Outcome, Run, step
from counteranimal.workspace import Workspace

__all__ = ["REBUILD", "choose_splits", "embeddings_of", "per_class_rule", "photo_set", "rebuild", "splits", "verdicts"]


@step
def verdicts(run: Run) -> Outcome:
    """Turn the journal's votes into one verdict a photo."""
    return Outcome("verdicts", annotate_verdicts.verdicts(run.recipe, run.workspace))


@step
def splits(run: Run) -> Outcome:
    """Choose each split's backgrounds on the select fold and estimate on the report fold."""
    return choose_splits(run)


def choose_splits(run: Run) -> Outcome:
    """Do the work of `splits` inside a step that holds the workspace already."""
    workspace, recipe = run.workspace, run.recipe
    check_models(recipe)
    verified = pool_table(
        workspace.table("verdicts"),
        workspace.table("photos"),
        seed=recipe.seed,
        clusters=workspace.table_or_empty("clusters"),
    )
    pool = workspace.write_table("pool", _without_left_out(verified, workspace))
    predictions = workspace.write_table("predictions", _selector_predictions(run, pool))
    chosen, diagnostics = [], {}
    for rule in recipe.splits:
        arguments = (pool, predictions, rule, recipe.vocabulary())
        chosen.append(choose_pairs(*arguments, [item.id for item in recipe.classes]))
        diagnostics[rule.name] = diagnose(*arguments).record()
    pairs = workspace.write_table("pairs", pa.concat_tables(chosen))
    assigned = workspace.write_table("splits", assign(pool, pairs))
    workspace.write_table("groups", group_figures(assigned, predictions, pool, recipe.splits))
    counts: dict[str, Any] = {
        "pool": len(pool),
        **{f"pairs_{status}": number for status, number in sorted(Counter(pairs.column("status").to_pylist()).items())},
        **dict(sorted(Counter(assigned.column("group").to_pylist()).items())),
    }
    beside = {
        "diagnostics": diagnostics,
        "covariates": balance(run),
        "sensitivity": variations(run, _with_other_prompts(run, pool, predictions)),
    }
    return Outcome("splits", {**counts, **beside}, _sentence(pairs))


def _without_left_out(pool: pa.Table, workspace: Workspace) -> pa.Table:
    """Return the pool without photos that a curator's list leaves out of releases."""
    listed = sorted({row["photo_id"] for row in workspace.journal.rows("left_out")})
    return pool.filter(pc.invert(pc.is_in(pool.column("photo_id"), value_set=pa.array(listed, pa.string()))))


def embeddings_of(workspace: Workspace) -> Path:
    """Return where a workspace keeps image features, one folder a model and view; every stage shares it."""
    return workspace.home / "tables" / "embeddings"


def photo_set(run: Run, table: pa.Table) -> PhotoSet:
    """Return the photos of a table with their classes, read from the workspace's store."""
    indices = {item.id: item.imagenet for item in run.recipe.classes}
    return PhotoSet.of(table, indices, run.workspace.blobs.read)


def _selector_predictions(run: Run, pool: pa.Table) -> pa.Table:
    store = embeddings_of(run.workspace)
    found = [
        predict(selector, photo_set(run, pool), Labels(protocols=("1v1000",)), settings=run.settings, store=store)
        for selector in sorted({rule.selector for rule in run.recipe.splits})
    ]
    return tables.conform("predictions", pa.concat_tables(found))


def _with_other_prompts(run: Run, pool: pa.Table, predictions: pa.Table) -> pa.Table:
    """Add what each image-text selector says with the recipe's other prompts; its spec and their name become the model's name."""
    store, found = embeddings_of(run.workspace), [predictions]
    for templates in run.recipe.sensitivity.templates:
        for selector in sorted({rule.selector for rule in run.recipe.splits}):
            model = load_model(selector, settings=run.settings)
            if isinstance(model, ImageTextModel):
                labels = Labels(templates=templates, protocols=("1v1000",))
                answers = predict(model, photo_set(run, pool), labels, settings=run.settings, store=store)
                named = pa.array([f"{selector} ({templates})"] * len(answers), pa.string())
                found.append(answers.set_column(answers.schema.get_field_index("model"), "model", named))
    return tables.conform("predictions", pa.concat_tables(found))


def per_class_rule(run: Run) -> pa.Table:
    """Return what the per-class rule says beside the first split that pools its classes; empty where there is none."""
    pooled = [rule for rule in run.recipe.splits if rule.unit == "pool"]
    if not pooled:
        return tables.empty("pairs")
    workspace = run.workspace
    classes = [item.id for item in run.recipe.classes]
    return pairs_by_class(
        workspace.table("pool"), workspace.table("predictions"), pooled[0], run.recipe.vocabulary(), classes
    )


def _sentence(pairs: pa.Table) -> str:
    found = [row for row in pairs.to_pylist() if row["status"] == "pair"]
    if not found:
        return "no class has a pair of backgrounds to compare"
    told = [
        f"{'all classes' if row['class_id'] == '*' else row['class_id']}: {row['common']} against {row['counter']}"
        for row in found[:5]
    ]
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return "; ".join(told) + more


REBUILD: tuple[Callable[..., Outcome], ...] = (dedupe, score, propose, verdicts, splits)


def rebuild(run: Run) -> list[Outcome]:
    """Recompute everything that follows from the journal; what is computed already is not computed again."""
    return [each(run) for each in REBUILD]
