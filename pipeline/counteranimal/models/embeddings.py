"""Image features, computed once for each (photo, trunk, view) and kept as Parquet parts.

Models that share a trunk share what is stored: the features kept are the trunk's, and each model maps them on.

Decides how photos become features: decoded and cropped in worker threads while the model runs, written in parts of `PART`
photos, so that a killed run loses at most one part and a second run computes only what is missing. A photo that does not
decode, or whose feature is not finite, is turned away with its reason; it is never given a score.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import Reason, Rejected
from counteranimal.images import decode
from counteranimal.models.protocol import Model, OnTrunk, Preprocessing
from counteranimal.pool import shards_of
from counteranimal.progress import bar
from counteranimal.settings import Settings
from counteranimal.workspace import Parts

__all__ = ["PART", "Embedded", "embed", "embedding_key"]

PART = 256
_AHEAD = 2  # batches that are decoded while one is with the model: bounds memory, hides decoding
_VERSION = "1"

Crop = NDArray[np.uint8] | Rejected


class Embedded(NamedTuple):
    """Photo ids in sorted order, their features (n, d) float32 in the same order, and the photos turned away."""

    photo_ids: list[str]
    features: NDArray[np.float32]
    rejected: dict[str, Rejected]


def embedding_key(model: Model, view: str) -> str:
    """Return the folder name for a model's features of a view: another trunk, crop or version of this code starts afresh."""
    seen_by = _trunk(model)
    crop = _preprocessing(seen_by, view).key
    return re.sub(r"[^a-z0-9.-]+", "-", f"{seen_by.identity.key()}-{view}-{crop}-v{_VERSION}")


def embed(  # noqa: PLR0913 - what to embed, how to read it, where to keep it
    model: Model,
    photo_ids: Sequence[str],
    *,
    read: Callable[[str], bytes],
    parts: Parts,
    settings: Settings,
    view: str = "centre",
) -> Embedded:
    """Return the features of photos, computing those that no part holds.

    Parameters
    ----------
    model : Model
        Its own preprocessing for `view` crops the photos.
    photo_ids : sequence of str
        In any order, repeats allowed.
    read : callable
        Photo id to bytes; runs in worker threads.
    parts : Parts
        Parts of table `embeddings`, best under `embedding_key(model, view)`.
    settings : Settings
        `batch_size` and `workers` are read; neither changes a feature by more than 1e-5 (fp32 on a CPU).
    view : str
        `centre` or `whole`.

    Raises
    ------
    IntegrityError
        From `read`, if a photo is missing or changed; everything embedded before stays.
    """
    wanted = sorted(set(photo_ids))
    rejected: dict[str, Rejected] = {}
    kept, features = _stored(parts, wanted)
    if missing := sorted(set(wanted) - set(kept)):
        for shard in shards_of(missing, PART):
            _embed_shard(_Task(_trunk(model), view, read, settings), shard, parts, rejected)
        kept, features = _stored(parts, wanted)
    if isinstance(model, OnTrunk) and kept:
        features = model.from_trunk(features)
    return Embedded(kept, features, rejected)


class _Task(NamedTuple):
    model: Model
    view: str
    read: Callable[[str], bytes]
    settings: Settings


def _embed_shard(task: _Task, shard: Sequence[str], parts: Parts, rejected: dict[str, Rejected]) -> None:
    rows: list[dict[str, object]] = []
    try:
        for photo_ids, crops in _batches(task, shard, rejected):
            for photo_id, feature in zip(photo_ids, task.model.features(crops), strict=True):
                if np.isfinite(feature).all():
                    rows.append(
                        {
                            "photo_id": photo_id,
                            "model": task.model.identity.spec,
                            "view": task.view,
                            "embedding": feature,
                        }
                    )
                else:
                    rejected[photo_id] = Rejected(
                        Reason.NOT_FINITE, "the model's features of this photo are not finite"
                    )
    finally:
        if rows:  # also when memory ran out: the next, smaller batch goes on from here
            parts.write(tables.conform("embeddings", rows))


def _batches(
    task: _Task, shard: Sequence[str], rejected: dict[str, Rejected]
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """Yield (photo ids, crops of shape (n, size, size, 3)); decoding runs ahead of the model by a few batches."""
    preprocessing = _preprocessing(task.model, task.view)
    waiting: deque[tuple[Sequence[str], list[Future[Crop]]]] = deque()
    todo = deque(shards_of(shard, task.settings.batch_size))
    with ThreadPoolExecutor(task.settings.workers) as threads, bar() as progress:
        counted = progress.add_task(f"embed ({task.model.identity.spec}, {task.view})", total=len(shard))
        try:
            while todo or waiting:
                while todo and len(waiting) < _AHEAD:
                    batch = todo.popleft()
                    jobs = [threads.submit(_crop, task.read, preprocessing, photo_id) for photo_id in batch]
                    waiting.append((batch, jobs))
                photo_ids, futures = waiting.popleft()
                results = dict(zip(photo_ids, (future.result() for future in futures), strict=True))
                rejected |= {name: found for name, found in results.items() if isinstance(found, Rejected)}
                crops = {name: found for name, found in results.items() if not isinstance(found, Rejected)}
                if crops:
                    yield list(crops), np.stack(list(crops.values()))
                progress.advance(counted, len(photo_ids))
        finally:
            threads.shutdown(cancel_futures=True)


def _trunk(model: Model) -> Model:
    return model.trunk() if isinstance(model, OnTrunk) else model


def _preprocessing(model: Model, view: str) -> Preprocessing:
    # A model in memory may know no view but its own.
    return model.preprocessing if view == "centre" else model.preprocessing_for(view)


def _crop(read: Callable[[str], bytes], preprocessing: Preprocessing, photo_id: str) -> Crop:
    data = read(photo_id)
    try:
        return preprocessing.crop(decode(data))
    except Rejected as rejected:
        return rejected


def _stored(parts: Parts, wanted: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
    """Return the wanted ids that are stored, sorted, and their features.

    Part after part into one matrix: sorting and filtering a whole table of long lists would copy every feature several times.
    """
    place = {photo_id: row for row, photo_id in enumerate(wanted)}
    features, found = np.empty((0, 0), np.float32), np.zeros(len(wanted), dtype=bool)
    for path in sorted(parts.folder.glob("part-*.parquet")):
        part = tables.read(path, "embeddings")
        rows = np.array([place.get(photo_id, -1) for photo_id in part.column("photo_id").to_pylist()], dtype=np.intp)
        flat = part.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        flat = np.asarray(flat, dtype=np.float32).reshape(len(part), -1)
        if not features.size:
            features = np.empty((len(wanted), flat.shape[1]), np.float32)
        features[rows[rows >= 0]] = flat if (rows >= 0).all() else flat[rows >= 0]
        found[rows[rows >= 0]] = True
    if found.all() or not features.size:
        return list(wanted)[: len(features)], features
    return [photo_id for photo_id, there in zip(wanted, found, strict=True) if there], features[found]
