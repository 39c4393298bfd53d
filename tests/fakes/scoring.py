"""What the tests of scoring start from: generated photos as duplicates' removal leaves them, and a recipe that a model scores."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from counteranimal import tables
from counteranimal.recipe import Recipe, RecipeClass, ScoreRules, SourceSpec, SplitRule
from counteranimal.workspace import Blob, Workspace


def noise(seed: int, *, changed: int = 0) -> bytes:
    """A photo of noise as PNG, each seed with a tint of its own; so many of its rows are a little brighter."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (80, 96, 3)) * rng.uniform(0.2, 1.0, 3)
    pixels[:changed] = np.minimum(pixels[:changed] + 3, 255)
    sink = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def filled(home: Path, photos: Sequence[bytes]) -> Workspace:
    """Return a workspace that holds photos of one class, all kept, in the order in which they came."""
    workspace = Workspace(home)
    ids = workspace.blobs.put_many([Blob(data) for data in photos])
    rows = [{"photo_id": name, "class_id": "lion", "fold_unit": name, "status": "ok"} for name in ids]
    workspace.write_table("photos", tables.conform("photos", rows))
    workspace.write_table("clusters", tables.conform("clusters", [{"photo_id": name, "kept": True} for name in ids]))
    return workspace


def recipe(model: str, *, backgrounds: tuple[str, ...] = (), **rules: object) -> Recipe:
    """Return a recipe whose backgrounds and only split come from one model; `rules` are those of `[score]`."""
    return Recipe(
        name="scored",
        classes=(RecipeClass(id="lion", name="lion", imagenet=(291,)),),
        sources=(SourceSpec(name="made", kind="folder"),),
        backgrounds=backgrounds,
        score=ScoreRules(model=model, **rules),
        splits=(SplitRule(name="first", selector=model, n_min=1),),
    )
