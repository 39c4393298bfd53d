"""Image features, computed once for every (photo, model, view) and stored as they come.

Decides batches, what runs beside the model, and that a feature which is not finite stops the run. Leaves decoding to `images`
and where parts lie to the caller. Photos were proved decodable at intake; their bytes are held against their digest by `read`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import IntegrityError, Rejected
from counteranimal.images import decode
from counteranimal.models.protocol import Model
from counteranimal.pool import shards_of
from counteranimal.progress import track
from counteranimal.settings import Settings
from counteranimal.workspace import Parts

__all__ = ["embed"]


def embed(  # noqa: PLR0913 - a model, its photos, and where bytes come from and features go
    model: Any,
    photo_ids: Sequence[str],
    *,
    read: Callable[[str], bytes],
    parts: Parts,
    settings: Settings,
    view: str = "centre",
) -> NDArray[np.float32]:
    """Return features, shape (n, d), float32, in the order of `photo_ids`.

    Each batch becomes a part as soon as it is done, so a run that is stopped, or goes on with smaller batches, repeats nothing.

    Parameters
    ----------
    model : Model
        With `preprocessing_for(view)`, or `preprocessing` where only the centre view is asked for.
    read : callable
        Photo id -> bytes, held against their digest.
    parts : Parts
        Of the table `embeddings`, under a key that names model and view.
    settings : Settings
        `batch_size` and `workers` (decoding threads) are read.

    Raises
    ------
    IntegrityError
        If a photo does not decode or has a feature that is not finite; the sentence names it.
    """
    missing = parts.missing(photo_ids)
    batches = shards_of(missing, settings.batch_size)
    with ThreadPoolExecutor(settings.workers) as decoders:
        for batch, crops in track(
            _decoded_ahead(model, batches, (decoders, read, view)), f"{model.identity.spec} {view}"
        ):
            features = model.features(crops)
            _require_finite(model, batch, features)
            rows = [
                {"photo_id": photo_id, "model": model.identity.spec, "view": view, "embedding": row}
                for photo_id, row in zip(batch, features, strict=True)
            ]
            parts.write(tables.conform("embeddings", rows))
    return _in_order(parts, photo_ids)


def _decoded_ahead(
    model: Any, batches: Sequence[Sequence[str]], with_: tuple[ThreadPoolExecutor, Callable[[str], bytes], str]
) -> Iterator[tuple[Sequence[str], NDArray[np.uint8]]]:
    """Yield (ids, crops) while the next batch is being decoded."""
    decoders, read, view = with_
    frame = model.preprocessing if view == "centre" else model.preprocessing_for(view)

    def crop(photo_id: str) -> NDArray[np.uint8]:
        try:
            return np.asarray(frame.crop(decode(read(photo_id))), dtype=np.uint8)
        except Rejected as error:
            raise IntegrityError(f"photo {photo_id} no longer decodes ({error}); withdraw or crawl it again") from error

    pending = [[decoders.submit(crop, photo_id) for photo_id in batch] for batch in batches[:1]]
    for batch, following in pairwise([*batches, ()]):
        current = pending.pop()
        pending.append([decoders.submit(crop, photo_id) for photo_id in following])
        yield batch, np.stack([future.result() for future in current])


def _require_finite(model: Model, batch: Sequence[str], features: NDArray[np.float32]) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise IntegrityError(
            f"model {model.identity.spec} gives photo {batch[int(bad[0])]} a feature that is not finite; check its weights"
        )


def _in_order(parts: Parts, photo_ids: Sequence[str]) -> NDArray[np.float32]:
    view = parts.view(photo_ids)
    if not len(view):
        return np.empty((0, 0), dtype=np.float32)
    place = {photo_id: row for row, photo_id in enumerate(view.column("photo_id").to_pylist())}
    column = view.column("embedding").combine_chunks()
    width = len(column.values) // len(column)
    matrix = column.values.to_numpy().reshape(len(column), width)
    return np.ascontiguousarray(matrix[[place[photo_id] for photo_id in photo_ids]], dtype=np.float32)
