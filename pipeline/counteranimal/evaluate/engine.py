"""Runs one model over photos and judges its logits under each protocol.

Decides the order of photos (by id), that features are embedded once and serve every protocol, that none is skipped, and what
happens when memory runs out. Leaves decoding and storing features to `models.embeddings`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.evaluate.protocols import PROTOCOLS, STANDARD, ProtocolName, judge
from counteranimal.evaluate.spaces import LabelSpace
from counteranimal.models import Model, load_model
from counteranimal.models.embeddings import Embedded, embed, embedding_key
from counteranimal.settings import Settings
from counteranimal.workspace import Parts
from counteranimal.zeroshot import class_logits
from counteranimal.zeroshot.names import NameList
from counteranimal.zeroshot.templates import TemplateSet

__all__ = ["VIEW", "Labels", "PhotoSet", "Question", "candidates_1v20", "predict"]

VIEW = "centre"
# Logits of so many photos are in memory at a time; fixed, so that results do not depend on a machine's batch size.
_CHUNK = 512


class Question(NamedTuple):
    """Right indices, the candidates (None: all 1,000), and which of them are one answer, as `judge` takes them."""

    right: Sequence[int]
    candidates: Sequence[int] | None
    groups: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Labels:
    """What a model chooses between.

    `names` and `templates` turn classes into prompts of image-text models; `candidates` are class id -> the indices of 1 vs 20,
    a class without any is left out of that protocol. `space` is the label space of the protocol `custom`.

    Raises
    ------
    UsageError
        For names, templates or a protocol that do not exist, and for `custom` without a space.
    """

    names: str = "wordnet"
    templates: str = "paper"
    protocols: tuple[ProtocolName, ...] = STANDARD
    candidates: Mapping[str, Sequence[int]] = field(default_factory=dict)
    space: LabelSpace | None = None

    def __post_init__(self) -> None:
        """Refuse what nothing could be judged by."""
        for what, given, known in (
            ("name list", self.names, get_args(NameList)),
            ("templates", self.templates, get_args(TemplateSet)),
            *(("protocol", protocol, PROTOCOLS) for protocol in self.protocols),
        ):
            if given not in known:
                raise UsageError(f"unknown {what} {given!r}; use {' or '.join(known)}")
        if "custom" in self.protocols and self.space is None:
            raise UsageError("the protocol custom needs a label space; name a file with --label-space")

    def question(self, protocol: ProtocolName, class_id: str, right: Sequence[int]) -> Question | None:
        """Return what photos of a class are asked under a protocol; None where it has no candidates for the class."""
        if protocol == "custom" and self.space is not None:
            groups = self.space.groups
            return Question(self.space.right(class_id, right), [index for group in groups for index in group], groups)
        candidates = None if protocol == "1v1000" else self.candidates.get(class_id)
        return None if protocol == "1v20" and not candidates else Question(right, candidates, ())


@dataclass(frozen=True)
class PhotoSet:
    """Photos and their truth: `classes` is photo id -> class id, `indices` class id -> right ImageNet indices.

    `read` returns a photo's bytes by id, after holding them against their digest.
    """

    classes: Mapping[str, str]
    indices: Mapping[str, Sequence[int]]
    read: Callable[[str], bytes]

    def __post_init__(self) -> None:
        """Refuse a class without an index and an index of two classes."""
        owner: dict[int, str] = {}
        for class_id in sorted(set(self.classes.values())):
            if not self.indices.get(class_id):
                raise UsageError(f"class {class_id} has no ImageNet index; name at least one in the recipe")
            for index in self.indices[class_id]:
                if owner.setdefault(index, class_id) != class_id:
                    raise UsageError(f"ImageNet index {index} belongs to two classes, {owner[index]} and {class_id}")

    @classmethod
    def of(cls, table: pa.Table, indices: Mapping[str, Sequence[int]], read: Callable[[str], bytes]) -> PhotoSet:
        """Return the photos of a table with the columns photo_id and class_id (`pool`, `photos`, `entries`)."""
        rows = table.select(["photo_id", "class_id"])
        return cls(dict(zip(rows[0].to_pylist(), rows[1].to_pylist(), strict=True)), indices, read)


def predict(model: str | Model, photos: PhotoSet, labels: Labels, *, settings: Settings, store: Path) -> pa.Table:
    """Return the table `predictions` of one model: one row a photo and protocol.

    Parameters
    ----------
    model : str or Model
        A spec, or a model in memory.
    photos : PhotoSet
        Every one is judged; a photo that cannot be decoded is an error.
    labels : Labels
        Candidates and prompts.
    settings : Settings
        `device`, `batch_size`, `workers`, `cache_folder` are read.
    store : Path
        Folder of embeddings, one sub-folder a model and view; what lies there is not computed again.

    Raises
    ------
    IntegrityError
        If a photo is not what its digest says, or a feature is not finite.
    EnvironmentFailure
        If memory runs out even for one photo at a time.
    """
    loaded = load_model(model, settings=settings) if isinstance(model, str) else model
    parts: list[pa.Table] = []
    for ids, logits in _logits(loaded, photos, labels, settings=settings, store=store):
        members: dict[str, list[int]] = defaultdict(list)
        for place, photo_id in enumerate(ids):
            members[photos.classes[photo_id]].append(place)
        for class_id, places in members.items():
            for protocol in labels.protocols:
                question = labels.question(protocol, class_id, photos.indices[class_id])
                if question is None:
                    continue
                judged = judge(logits[places], *question)
                key = {"model": loaded.identity.spec, "protocol": protocol}
                parts.append(_rows([ids[place] for place in places], judged, key))
    return tables.conform("predictions", pa.concat_tables(parts)) if parts else tables.empty("predictions")


def candidates_1v20(
    model: str | Model, photos: PhotoSet, labels: Labels, *, settings: Settings, store: Path
) -> dict[str, list[int]]:
    """Return class id -> the 20 indices with the highest logits summed over that class's photos (paper, appendix C.1).

    Parameters are those of `predict`; the photos should be those of both groups, and the model the selector.
    """
    from counteranimal.zeroshot.candidates import top20

    loaded = load_model(model, settings=settings) if isinstance(model, str) else model
    found, ids = [], []
    for chunk, logits in _logits(loaded, photos, labels, settings=settings, store=store):
        found.append(logits)
        ids += chunk
    if not ids:
        return {}
    listed = top20(np.concatenate(found), [photos.classes[photo_id] for photo_id in ids])
    return {class_id: [int(index) for index in indices] for class_id, indices in listed.items()}


def _logits(
    model: Model, photos: PhotoSet, labels: Labels, *, settings: Settings, store: Path
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Yield photo ids, in order, with their logits, shape (n, 1000)."""
    ids = sorted(photos.classes)
    features = _features(model, ids, photos.read, settings=settings, store=store)
    for start in range(0, len(ids), _CHUNK):
        yield (
            ids[start : start + _CHUNK],
            class_logits(
                model,
                features[start : start + _CHUNK],
                names=labels.names,
                templates=labels.templates,
                cache=settings.cache_folder,
            ),
        )


def _features(
    model: Model, ids: Sequence[str], read: Callable[[str], bytes], *, settings: Settings, store: Path
) -> NDArray[np.float32]:
    """Return features, shape (n, d), in the order of `ids`; the batch halves when memory runs out.

    Batches that were done are stored, so a smaller batch goes on where the larger one stopped.
    """
    parts = Parts(store / embedding_key(model, VIEW), "embeddings")
    batch = settings.batch_size
    while True:
        current = settings.model_copy(update={"batch_size": batch})
        try:
            return _complete(embed(model, ids, read=read, parts=parts, settings=current))
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if batch == 1:
                raise EnvironmentFailure(
                    f"memory ran out with one photo at a time ({model.identity.spec}); use a smaller model or --device cpu"
                ) from error
            batch = max(1, batch // 2)


def _complete(found: Embedded) -> NDArray[np.float32]:
    """Return the features; a photo without one stops the run, since a silent subset is no evaluation."""
    for photo_id, rejected in sorted(found.rejected.items()):
        raise IntegrityError(f"photo {photo_id} cannot be judged ({rejected}); make a release without it")
    return found.features


def _out_of_memory(error: Exception) -> bool:
    """Say whether an error means too little memory; torch has no one type for it across devices."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def _rows(ids: Sequence[str], judged: Any, key: Mapping[str, str]) -> pa.Table:
    if len(judged.rank) != len(ids):
        raise IntegrityError("a model answered for fewer photos than it was shown; report this as a bug")
    columns: dict[str, Any] = {name: pa.array([value] * len(ids), pa.string()) for name, value in key.items()}
    columns |= {name: pa.array(values) for name, values in judged._asdict().items()}
    # No right index among the candidates: no rank and no margin, rather than numbers that look like some.
    columns["rank"] = pa.array(judged.rank, mask=judged.rank == 0)
    columns["margin"] = pa.array(judged.margin, mask=np.isnan(judged.margin))
    return pa.table({"photo_id": pa.array(ids, pa.string()), **columns})
