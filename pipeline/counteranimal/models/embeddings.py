"""Image features, computed once for each (photo, trunk, view) and kept as Parquet parts.

Models that share a trunk share what is stored: the features kept are the trunk's, and each model maps them on.

Decides how photos become features: read, decoded and cropped in worker threads while the models run, written in parts of `PART`
photos, so that a killed run loses at most one part a device and a second run computes only what is missing. A photo that does not
decode, or whose feature is not finite, is turned away with its reason; it is never given a score. Leaves the size of a batch to
`batches` and the file of crops to `crops`.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import Reason, Rejected
from counteranimal.images import decode
from counteranimal.models.batches import BatchSize, features_of
from counteranimal.models.crops import CropFile, CropSet, Room
from counteranimal.models.protocol import Model, OnTrunk, Preprocessing
from counteranimal.pool import shards_of
from counteranimal.progress import Estimate, bar
from counteranimal.settings import Settings
from counteranimal.workspace import Parts

__all__ = ["PART", "Embedded", "Photos", "embed", "embed_in_turn", "embedding_key"]

PART = 256
_AHEAD = 2  # batches that are decoded while one is with the model: bounds memory, hides decoding
_VERSION = "1"

Crop = NDArray[np.uint8] | Rejected


class Embedded(NamedTuple):
    """Photo ids in sorted order, their features (n, d) float32 in the same order, and the photos turned away."""

    photo_ids: list[str]
    features: NDArray[np.float32]
    rejected: dict[str, Rejected]


@dataclass(frozen=True, slots=True)
class Photos:
    """Photo ids, how their bytes are read (in worker threads), and where their crops are kept (none: nowhere)."""

    ids: Sequence[str]
    read: Callable[[str], bytes]
    crops: CropSet | None = None


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
    EnvironmentFailure
        If memory runs out even for one photo at a time.
    """
    wanted = sorted(set(photo_ids))
    rejected: dict[str, Rejected] = {}
    if missing := parts.missing(wanted):
        for found in _Run((_trunk(model),), view, Photos(wanted, read), parts, settings).shards(missing):
            rejected |= found.rejected
    kept, features = _stored(parts, wanted)
    return _mapped(model, Embedded(kept, features, rejected))


def embed_in_turn(
    models: Sequence[Model], photos: Photos, *, store: Path, settings: Settings, view: str = "centre"
) -> Iterator[Embedded]:
    """Yield the features of photos as they come: first those that are stored, then a part each time one is computed.

    Parameters
    ----------
    models : sequence of Model
        One model, once for each device that it runs on; parts are dealt to whichever is free.
    photos : Photos
        `ids` sorted, each once.
    store : Path
        Folder of features, one sub-folder an `embedding_key`.
    settings : Settings
        As for `embed`, and how much disk crops may take.

    Raises
    ------
    IntegrityError, EnvironmentFailure
        As `embed` does; what was yielded before is stored.
    """
    model, parts = models[0], Parts(store / embedding_key(models[0], view), "embeddings")
    kept, features = _stored(parts, photos.ids)
    for start in range(0, len(kept), PART):
        stored = Embedded(kept[start : start + PART], features[start : start + PART], {})
        yield _mapped(model, stored)
    del features
    there = set(kept)
    if missing := [photo_id for photo_id in photos.ids if photo_id not in there]:
        run = _Run(tuple(_trunk(model) for model in models), view, photos, parts, settings)
        for found in run.shards(missing):
            yield _mapped(model, found)


def _mapped(model: Model, found: Embedded) -> Embedded:
    if isinstance(model, OnTrunk) and found.photo_ids:
        return found._replace(features=model.from_trunk(found.features))
    return found


@dataclass
class _Shard:
    """Photos that become one part; rows are collected until all have come."""

    photo_ids: Sequence[str]
    left: int
    kept: list[str] = field(default_factory=list)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    rejected: dict[str, Rejected] = field(default_factory=dict)

    def take(self, crops: dict[str, NDArray[np.uint8]], features: NDArray[np.float32]) -> None:
        for photo_id, feature in zip(crops, features, strict=True):
            if np.isfinite(feature).all():
                self.kept.append(photo_id)
                self.features.append(feature)
            else:
                self.rejected[photo_id] = Rejected(
                    Reason.NOT_FINITE, "the model's features of this photo are not finite"
                )

    def embedded(self) -> Embedded:
        features = np.stack(self.features) if self.features else np.empty((0, 0), np.float32)
        return Embedded(self.kept, features, self.rejected)


class _Batch(NamedTuple):
    shard: _Shard
    jobs: dict[str, Future[Crop]]


@dataclass(frozen=True)
class _Run:
    """One computation of missing features: on which replicas of a trunk, of which photos, kept where."""

    models: tuple[Model, ...]
    view: str
    photos: Photos
    parts: Parts
    settings: Settings

    def shards(self, missing: Sequence[str]) -> Iterator[Embedded]:
        """Yield the features of missing photos, part by part; each part is written before it is yielded."""
        spec = self.models[0].identity.spec
        title, estimate = f"embed ({spec}, {self.view})", Estimate(spec, len(missing))
        todo, counting = _Shared(shards_of(missing, PART)), threading.Lock()
        with contextlib.ExitStack() as stack:
            file = self._crop_file()
            if file is not None:
                stack.callback(file.close)
            threads = ThreadPoolExecutor(self.settings.workers)
            stack.callback(threads.shutdown, cancel_futures=True)
            progress = stack.enter_context(bar())
            counted = progress.add_task(title, total=len(missing))

            def submit(photo_id: str) -> Future[Crop]:
                return threads.submit(_crop, self.photos.read, self._preprocessing, photo_id, file)

            def advance(number: int) -> None:
                with counting:
                    progress.advance(counted, number)
                    estimate.advance(number)

            streams = [_Stream(self, model, todo, submit, advance) for model in self.models]
            yield from streams[0] if len(streams) == 1 else _side_by_side(streams, todo.stopped)

    @property
    def _preprocessing(self) -> Preprocessing:
        return _preprocessing(self.models[0], self.view)

    def _crop_file(self) -> CropFile | None:
        crops = self.photos.crops
        return CropFile(crops, self._preprocessing, Room.of(self.settings)) if crops is not None else None

    def write(self, found: Embedded) -> None:
        """Keep features as one part."""
        if not found.photo_ids:
            return
        number, width = found.features.shape
        ends = np.arange(0, number * width + 1, width, dtype=np.int32)
        text = {"model": self.models[0].identity.spec, "view": self.view}
        columns = {name: pa.array([word] * number, pa.string()) for name, word in text.items()}
        columns |= {"photo_id": pa.array(found.photo_ids, pa.string())}
        columns |= {"embedding": pa.ListArray.from_arrays(ends, found.features.reshape(-1))}
        self.parts.write(tables.conform("embeddings", pa.table(columns)))


class _Shared:
    """Shards that several streams take from, until one of them fails."""

    def __init__(self, shards: Sequence[Sequence[str]]) -> None:
        self._left = iter(shards)
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def take(self) -> Sequence[str] | None:
        with self._lock:
            return next(self._left, None)


class _Stream:
    """What one device works on: batches cut from shards that it takes while others are free, decoded ahead of it."""

    def __init__(
        self,
        run: _Run,
        model: Model,
        todo: _Shared,
        submit: Callable[[str], Future[Crop]],
        advance: Callable[[int], None],
    ) -> None:
        self._run, self._model, self._todo, self._submit, self._advance = run, model, todo, submit, advance
        self._size = BatchSize.for_model(model, run.settings.batch_size)
        self._cutting: tuple[_Shard, deque[str]] | None = None

    def __iter__(self) -> Iterator[Embedded]:
        waiting: deque[_Batch] = deque()
        shard: _Shard | None = None
        try:
            while not self._todo.stopped.is_set():
                while len(waiting) < _AHEAD and (batch := self._cut()) is not None:
                    waiting.append(batch)
                if not waiting:
                    return
                batch = waiting.popleft()
                shard = batch.shard
                self._see(batch)
                if not shard.left:
                    done, shard = shard.embedded(), None
                    self._run.write(done)
                    yield done
        finally:
            if shard is not None:  # interrupted: what was seen of the part is not seen again
                self._run.write(shard.embedded())

    def _cut(self) -> _Batch | None:
        """Return the next batch with its photos on the way to the decoders."""
        if self._cutting is None or not self._cutting[1]:
            photo_ids = self._todo.take()
            if photo_ids is None:
                return None
            self._cutting = _Shard(photo_ids, len(photo_ids)), deque(photo_ids)
        shard, left = self._cutting
        chosen = [left.popleft() for _ in range(min(self._size.now, len(left)))]
        return _Batch(shard, {photo_id: self._submit(photo_id) for photo_id in chosen})

    def _see(self, batch: _Batch) -> None:
        results = {photo_id: job.result() for photo_id, job in batch.jobs.items()}
        batch.shard.rejected |= {name: found for name, found in results.items() if isinstance(found, Rejected)}
        crops = {name: found for name, found in results.items() if not isinstance(found, Rejected)}
        if crops:
            batch.shard.take(crops, features_of(self._model, np.stack(list(crops.values())), self._size))
        batch.shard.left -= len(results)
        self._advance(len(results))


def _side_by_side(streams: Sequence[_Stream], stopped: threading.Event) -> Iterator[Embedded]:
    """Yield what streams yield, each in a thread of its own; the first error stops all."""
    out: queue.SimpleQueue[Embedded | BaseException | None] = queue.SimpleQueue()

    def drain(stream: _Stream) -> None:
        try:
            for found in stream:
                out.put(found)
            out.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            out.put(error)

    threads = [threading.Thread(target=drain, args=(stream,), daemon=True) for stream in streams]
    try:
        for thread in threads:
            thread.start()
        left = len(threads)
        while left:
            found = out.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _trunk(model: Model) -> Model:
    return model.trunk() if isinstance(model, OnTrunk) else model


def _preprocessing(model: Model, view: str) -> Preprocessing:
    # A model in memory may know no view but its own.
    return model.preprocessing if view == "centre" else model.preprocessing_for(view)


def _crop(read: Callable[[str], bytes], preprocessing: Preprocessing, photo_id: str, file: CropFile | None) -> Crop:
    if file is not None and (kept := file.get(photo_id)) is not None:
        return kept
    data = read(photo_id)
    try:
        crop = preprocessing.crop(decode(data))
    except Rejected as rejected:
        return rejected
    if file is not None:
        file.put(photo_id, crop)
    return crop


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
