"""The scoring step over a workspace: background probabilities and quality of every kept photo.

Decides what is read, kept and written. Features and quality are computed once a photo and kept as parts; probabilities follow
from all features together, so they are computed anew each time, which takes no time. Leaves the methods to `backgrounds` and
`quality`. A photo that cannot be scored is a row with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import Rejected, UsageError
from counteranimal.images import grey_thumbnail
from counteranimal.models import Classifier, ImageTextModel, Model, SceneModel, load_model
from counteranimal.models.classifiers import SurroundClassifier
from counteranimal.models.embeddings import Embedded, embed, embedding_key
from counteranimal.models.runtime import DType
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.recipe import Recipe
from counteranimal.score.backgrounds import ABSTAIN_BELOW, prompt_features, prompt_probabilities, scene_probabilities
from counteranimal.score.quality import SIDE, VERSION, Content, Quality, content_of, proposals, quality_of
from counteranimal.settings import Settings
from counteranimal.workspace import Blobs, Workspace

__all__ = ["background_columns", "background_scores", "embedded_photos", "score"]

ABSTAINED = "not_sure"
COMPARED = 1_000  # photos on which a reduced precision is held against float32
TOLERATED = 0.005  # share of them whose proposal may change without a warning


def score(recipe: Recipe, workspace: Workspace, *, settings: Settings) -> dict[str, Any]:
    """Score every kept photo and write table `scores`.

    Returns
    -------
    dict
        `photos`, `scored`, `rejected`, `new` (embedded now), `model`, `dtype`, `backgrounds`: photos by proposed background,
        `proposals`: photos by what may be wrong with them, and, where the recipe reduces precision, what `_reduced` returns.

    Raises
    ------
    IntegrityError
        If a photo is missing from the store or changed.
    UsageError
        If the recipe's model cannot score its backgrounds.
    """
    photo_ids = sorted(workspace.kept_photos())
    vocabulary, dtype = recipe.vocabulary(), recipe.score.dtype
    reader, found, new, probabilities = _read(recipe, dtype, photo_ids, workspace, settings)
    quality = _quality(photo_ids, workspace, settings=settings)
    table = pa.concat_tables(
        [
            background_columns(found.photo_ids, probabilities, vocabulary, seen=_seen(reader, found.features)),
            _turned_away(found.rejected),
        ],
        promote_options="default",
    )
    table = _with_quality(table, quality)
    for name, word in (
        ("model", recipe.score.model),
        ("view", recipe.score.view),
        ("vocabulary", ",".join(vocabulary)),
    ):
        table = table.append_column(name, pa.array([word] * len(table), pa.string()))
    table = workspace.write_table("scores", tables.conform("scores", table))
    named = Counter(table.column("background").drop_null().to_pylist())
    return {
        "photos": len(photo_ids),
        "scored": len(found.photo_ids),
        "rejected": len(found.rejected),
        "new": new,
        "model": recipe.score.model,
        "dtype": dtype,
        "backgrounds": {name: named[name] for name in (*vocabulary, ABSTAINED)},
        "proposals": dict(Counter(pc.list_flatten(table.column("proposals")).to_pylist())),
        **({} if dtype == "float32" else _reduced(recipe, photo_ids[:COMPARED], workspace, settings)),
    }


class _Read(NamedTuple):
    """The model that saw the photos, what it saw, how many were new to it, and the probabilities that follow."""

    reader: Model
    found: Embedded
    new: int
    probabilities: NDArray[np.float32]


def _read(recipe: Recipe, dtype: DType, photo_ids: Sequence[str], workspace: Workspace, settings: Settings) -> _Read:
    model = load_model(recipe.score.model, settings=settings, dtype=dtype)
    reader = model.scene_reader() if isinstance(model, SceneModel) else model
    found, new = embedded_photos(reader, photo_ids, workspace, settings=settings, view=recipe.score.view)
    return _Read(reader, found, new, background_scores(model, found.features, recipe.vocabulary()))


def _reduced(recipe: Recipe, photo_ids: Sequence[str], workspace: Workspace, settings: Settings) -> dict[str, Any]:
    """Score some photos in float32 too; ids are digests, so the first of them are a random sample.

    Returns
    -------
    dict
        `compared` photos, of which `changed` got another proposal, and `warning`: a sentence where that is more than
        `TOLERATED` of them, else empty.
    """
    words: list[dict[str, str]] = []
    for dtype in ("float32", recipe.score.dtype):
        read = _read(recipe, dtype, photo_ids, workspace, settings)
        table = background_columns(read.found.photo_ids, read.probabilities, recipe.vocabulary())
        words.append(dict(zip(*(table.column(name).to_pylist() for name in ("photo_id", "background")), strict=True)))
    changed = sum(words[0].get(photo_id) != words[1].get(photo_id) for photo_id in photo_ids)
    told = {"compared": len(photo_ids), "changed": changed, "warning": ""}
    if changed > TOLERATED * len(photo_ids):
        told["warning"] = (
            f"{recipe.score.dtype} changes {changed} of {len(photo_ids)} proposals ({changed / len(photo_ids):.1%}), more than "
            f"{TOLERATED:.1%} of them; set dtype to float32 under [score] in the recipe"
        )
    return told


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


def background_columns(
    photo_ids: Sequence[str],
    probabilities: NDArray[np.float32],
    vocabulary: Sequence[str],
    *,
    seen: Sequence[Content] = (),
) -> pa.Table:
    """Return the columns of `scores` that follow from features, one row a photo.

    Parameters
    ----------
    photo_ids : sequence of n str
    probabilities : array of shape (n, len(vocabulary)), float32
    vocabulary : sequence of str
        Equal probabilities go to the earlier word; below `ABSTAIN_BELOW` the background is `not_sure`.
    seen : sequence of n Content, optional
        Where the model can tell.
    """
    number, size = probabilities.shape
    best = probabilities.argmax(axis=1) if number else np.zeros(0, np.int64)
    confidence = probabilities[np.arange(number), best]
    words = pa.array([*vocabulary, ABSTAINED], pa.string())
    ends = np.arange(0, number * size + 1, size, dtype=np.int32)
    columns: dict[str, Any] = {
        "photo_id": pa.array(photo_ids, pa.string()),
        "background": words.take(pa.array(np.where(confidence >= ABSTAIN_BELOW, best, size))),
        "confidence": confidence,
        "probabilities": pa.ListArray.from_arrays(ends, probabilities.reshape(-1)),
        "status": pa.array(["ok"] * number, pa.string()),
    }
    if seen:
        columns |= dict(zip(Content._fields, np.array(seen, dtype=np.float32).T, strict=True))
    return pa.table(columns)


def _seen(reader: Model, features: NDArray[np.float32]) -> list[Content]:
    if not isinstance(reader, SurroundClassifier) or not len(features):
        return []
    return [content_of(animal, objects) for animal, objects in zip(*reader.seen(features), strict=True)]


def _turned_away(rejected: Mapping[str, Rejected]) -> pa.Table:
    columns = {
        "photo_id": list(rejected),
        "status": ["rejected"] * len(rejected),
        "reason": [found.reason.value for found in rejected.values()],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _with_quality(table: pa.Table, quality: pa.Table) -> pa.Table:
    """Add each photo's measures, and what they propose."""
    place = pc.index_in(table.column("photo_id"), value_set=quality.column("photo_id").combine_chunks())
    for name in Quality._fields:
        table = table.append_column(name, quality.column(name).take(place))
    measured = [name for name in (*Quality._fields, *Content._fields) if name in table.column_names]
    proposed = [proposals(row) for row in table.select(measured).to_pylist()]
    return table.append_column("proposals", pa.array(proposed, pa.list_(pa.string())))


def _quality(photo_ids: Sequence[str], workspace: Workspace, *, settings: Settings) -> pa.Table:
    parts = workspace.parts("scores", VERSION)
    shards = [(workspace.blobs.root, ids) for ids in shards_of(parts.missing(photo_ids))]
    pool, store = Pool.of(settings), workspace.blobs.root
    for rows in map_shards(_quality_shard, shards, pool=pool, title="measure quality", store=store):
        parts.write(tables.conform("scores", rows))
    return parts.view(photo_ids)


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
