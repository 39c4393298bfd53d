"""The scoring step over a workspace: background probabilities and quality of every kept photo.

Decides what is read, kept and written. Features and quality are computed once a photo and kept as parts; probabilities follow
from all features together, so they are computed anew each time, which takes no time. Leaves the methods to `backgrounds` and
`quality`. A photo that cannot be scored is a row with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import Reason, Rejected, UsageError
from counteranimal.images import grey_thumbnail
from counteranimal.models import Classifier, ImageTextModel, Model, SceneModel, load_model
from counteranimal.models.classifiers import SurroundClassifier
from counteranimal.models.embeddings import Embedded, embed, embedding_key
from counteranimal.pool import map_shards, shards_of
from counteranimal.recipe import Recipe
from counteranimal.score.backgrounds import ABSTAIN_BELOW, prompt_features, prompt_probabilities, scene_probabilities
from counteranimal.score.quality import SIDE, VERSION, Quality, content_of, proposals, quality_of
from counteranimal.settings import Settings
from counteranimal.workspace import Blobs, Workspace

__all__ = ["background_scores", "embedded_photos", "score"]

ABSTAINED = "not_sure"


def score(recipe: Recipe, workspace: Workspace, *, settings: Settings) -> dict[str, Any]:
    """Score every kept photo and write table `scores`.

    Returns
    -------
    dict
        `photos`, `scored`, `rejected`, `new` (embedded now), `model`, `backgrounds`: photos by proposed background, and
        `proposals`: photos by what may be wrong with them.

    Raises
    ------
    IntegrityError
        If a photo is missing from the store or changed.
    UsageError
        If the recipe's model cannot score its backgrounds.
    """
    photo_ids = sorted(workspace.kept_photos())
    model = load_model(recipe.score.model, settings=settings)
    reader = model.scene_reader() if isinstance(model, SceneModel) else model
    found, new = embedded_photos(reader, photo_ids, workspace, settings=settings, view=recipe.score.view)
    vocabulary = recipe.vocabulary()
    probabilities = background_scores(model, found.features, vocabulary)
    quality = _quality(photo_ids, workspace, settings=settings)
    seen = _seen(reader, found.features)
    rows = [
        {**_scored(vocabulary, row), **seen[place], "photo_id": photo_id}
        for place, (photo_id, row) in enumerate(zip(found.photo_ids, probabilities, strict=True))
    ]
    rows += [
        {"photo_id": photo_id, "status": "rejected", "reason": rejected.reason.value}
        for photo_id, rejected in found.rejected.items()
    ]
    key = {"model": recipe.score.model, "view": recipe.score.view, "vocabulary": ",".join(vocabulary)}
    rows = [{**row, **key, **quality.get(row["photo_id"], {})} for row in rows]
    rows = [{**row, "proposals": proposals(row)} for row in rows]
    workspace.write_table("scores", tables.conform("scores", rows))
    named = [row["background"] for row in rows if row["status"] == "ok"]
    return {
        "photos": len(photo_ids),
        "scored": len(named),
        "rejected": len(found.rejected),
        "new": new,
        "model": recipe.score.model,
        "backgrounds": {name: named.count(name) for name in (*vocabulary, ABSTAINED)},
        "proposals": dict(Counter(name for row in rows for name in row["proposals"])),
    }


def background_scores(model: Model, features: NDArray[np.float32], vocabulary: Sequence[str]) -> NDArray[np.float32]:
    """Return background probabilities, shape (n, len(vocabulary)), by the method that fits the model.

    Parameters
    ----------
    model : Model
        A `SceneModel` (the stand-in, a convolutional classifier) reads scenes; another image-text model reads prompts.
    features : array of shape (n, d), float32
        Of the scene reader, or of the model itself.
    vocabulary : sequence of str

    Raises
    ------
    UsageError
        If the model can do neither.
    """
    if not len(features):
        return np.empty((0, len(vocabulary)), np.float32)
    if isinstance(model, SceneModel):
        return scene_probabilities(model.scene_reader().head_logits(features), vocabulary)
    if isinstance(model, ImageTextModel):
        return prompt_probabilities(features, prompt_features(model, vocabulary))
    if isinstance(model, Classifier):
        return scene_probabilities(model.head_logits(features), vocabulary)
    raise UsageError(f"model {model.identity.spec} cannot score backgrounds; use stand-in or an open_clip model")


def embedded_photos(
    model: Model, photo_ids: Sequence[str], workspace: Workspace, *, settings: Settings, view: str
) -> tuple[Embedded, int]:
    """Return the photos' features, kept in the workspace, and how many were computed now."""
    parts = workspace.parts("embeddings", embedding_key(model, view))
    new = len(parts.missing(photo_ids))
    found = embed(model, photo_ids, read=workspace.blobs.read, parts=parts, settings=settings, view=view)
    return found, new - len(found.rejected)


def _seen(reader: Model, features: NDArray[np.float32]) -> list[dict[str, float]]:
    """Return what each photo shows, where the model can tell; else nothing."""
    if not isinstance(reader, SurroundClassifier) or not len(features):
        return [{}] * len(features)
    return [content_of(animal, objects)._asdict() for animal, objects in zip(*reader.seen(features), strict=True)]


def _scored(vocabulary: Sequence[str], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    if not np.isfinite(probabilities).all():
        return {"status": "rejected", "reason": Reason.NOT_FINITE.value}
    best = int(np.argmax(probabilities))  # equal probabilities: the vocabulary's earlier word
    return {
        "background": vocabulary[best] if probabilities[best] >= ABSTAIN_BELOW else ABSTAINED,
        "confidence": float(probabilities[best]),
        "probabilities": probabilities,
        "status": "ok",
    }


def _quality(photo_ids: Sequence[str], workspace: Workspace, *, settings: Settings) -> dict[str, dict[str, float]]:
    parts = workspace.parts("scores", VERSION)
    shards = [(workspace.blobs.root, ids) for ids in shards_of(parts.missing(photo_ids))]
    for rows in map_shards(_quality_shard, shards, workers=settings.workers, title="measure quality"):
        parts.write(tables.conform("scores", rows))
    return {
        row["photo_id"]: {name: row[name] for name in Quality._fields}
        for row in parts.view(photo_ids).select(["photo_id", *Quality._fields]).to_pylist()
    }


def _quality_shard(shard: tuple[Path, Sequence[str]]) -> list[dict[str, Any]]:
    root, photo_ids = shard
    blobs = Blobs(root)
    rows: list[dict[str, Any]] = []
    for photo_id in photo_ids:
        key = {"photo_id": photo_id, "model": "", "view": "", "vocabulary": ""}
        try:
            measured = quality_of(grey_thumbnail(blobs.read(photo_id), least_side=SIDE))
        except Rejected as rejected:
            rows.append({**key, "status": "rejected", "reason": rejected.reason.value})
        else:
            rows.append({**key, **measured._asdict(), "status": "ok"})
    return rows
