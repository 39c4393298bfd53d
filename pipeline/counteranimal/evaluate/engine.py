"""Runs one model over photos and judges its logits under each protocol.

Decides the order of photos (by id), that features are embedded once and serve every protocol, and that none is skipped. Leaves
decoding, batches, devices and storing features to `models.embeddings`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.evaluate.protocols import PROTOCOLS, STANDARD, ProtocolName, judge
from counteranimal.evaluate.spaces import LabelSpace
from counteranimal.models import Model, load_model
from counteranimal.models.crops import CropSet
from counteranimal.models.embeddings import Photos, embed_in_turn
from counteranimal.models.runtime import DType
from counteranimal.settings import Settings
from counteranimal.zeroshot import class_logits
from counteranimal.zeroshot.names import NameList
from counteranimal.zeroshot.templates import TemplateSet

__all__ = ["VIEW", "Labels", "PhotoSet", "Question", "candidates_1v20", "load_replicas", "predict", "predict_in_turn"]

VIEW = "centre"


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

    `read` returns a photo's bytes by id, after holding them against their digest. `crops` says where the squares that models see
    are kept; none: they are decoded anew for each model.
    """

    classes: Mapping[str, str]
    indices: Mapping[str, Sequence[int]]
    read: Callable[[str], bytes]
    crops: CropSet | None = None

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

    def only(self, photo_ids: Iterable[str]) -> PhotoSet:
        """Return the set with some of its photos."""
        return replace(self, classes={photo_id: self.classes[photo_id] for photo_id in photo_ids})


def load_replicas(model: str | Model, *, settings: Settings, dtype: DType = "float32") -> list[Model]:
    """Return a model once for each device that the settings name, in that order; a model in memory only as it is.

    Raises
    ------
    UsageError, EnvironmentFailure, IntegrityError
        As `load_model` does.
    """
    if not isinstance(model, str):
        return [model]
    devices = [settings.model_copy(update={"device": name}) for name in settings.device.split(",")]
    return [load_model(model, settings=device, dtype=dtype) for device in devices]


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
        `device`, `batch_size`, `workers`, `cache_folder` and the limits of the disk are read.
    store : Path
        Folder of embeddings, one sub-folder a model and view; what lies there is not computed again.

    Raises
    ------
    IntegrityError
        If a photo is not what its digest says, or a feature is not finite.
    EnvironmentFailure
        If memory runs out even for one photo at a time.
    """
    replicas = load_replicas(model, settings=settings)
    parts = list(predict_in_turn(replicas, photos, labels, settings=settings, store=store))
    return tables.conform("predictions", pa.concat_tables(parts)) if parts else tables.empty("predictions")


def predict_in_turn(
    replicas: Sequence[Model], photos: PhotoSet, labels: Labels, *, settings: Settings, store: Path
) -> Iterator[pa.Table]:
    """Yield predictions as photos are judged, some hundred at a time; together they are what `predict` returns.

    `replicas` are one model, once for each device that it runs on; the rest is as for `predict`.
    """
    for ids, logits in _logits(replicas, photos, labels, settings=settings, store=store):
        parts = list(_judged(replicas[0].identity.spec, ids, logits, photos, labels))
        if parts:
            yield tables.conform("predictions", pa.concat_tables(parts))


def _judged(
    spec: str, ids: Sequence[str], logits: NDArray[np.float32], photos: PhotoSet, labels: Labels
) -> Iterator[pa.Table]:
    """Yield the rows of photos, class by class and protocol by protocol."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, photo_id in enumerate(ids):
        members[photos.classes[photo_id]].append(place)
    for class_id, places in members.items():
        for protocol in labels.protocols:
            question = labels.question(protocol, class_id, photos.indices[class_id])
            if question is None:
                continue
            judged = judge(logits[places], *question)
            yield _rows([ids[place] for place in places], judged, {"model": spec, "protocol": protocol})


def candidates_1v20(
    model: str | Model, photos: PhotoSet, labels: Labels, *, settings: Settings, store: Path
) -> dict[str, list[int]]:
    """Return class id -> the 20 indices with the highest logits summed over that class's photos (paper, appendix C.1).

    Parameters are those of `predict`; the photos should be those of both groups, and the model the selector.
    """
    from counteranimal.zeroshot.candidates import top20

    replicas = load_replicas(model, settings=settings)
    found, ids = [], []
    for chunk, logits in _logits(replicas, photos, labels, settings=settings, store=store):
        found.append(logits)
        ids += chunk
    if not ids:
        return {}
    listed = top20(np.concatenate(found), [photos.classes[photo_id] for photo_id in ids])
    return {class_id: [int(index) for index in indices] for class_id, indices in listed.items()}


def _logits(
    replicas: Sequence[Model], photos: PhotoSet, labels: Labels, *, settings: Settings, store: Path
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Yield photo ids with their logits, shape (n, 1000); a photo without any stops the run: a silent subset is no evaluation."""
    wanted = Photos(sorted(photos.classes), photos.read, photos.crops)
    for found in embed_in_turn(replicas, wanted, store=store, settings=settings):
        for photo_id, rejected in sorted(found.rejected.items()):
            raise IntegrityError(f"photo {photo_id} cannot be judged ({rejected}); make a release without it")
        logits = class_logits(
            replicas[0],
            found.features,
            names=labels.names,
            templates=labels.templates,
            cache=settings.cache_folder,
        )
        yield found.photo_ids, logits


def _rows(ids: Sequence[str], judged: Any, key: Mapping[str, str]) -> pa.Table:
    if len(judged.rank) != len(ids):
        raise IntegrityError("a model answered for fewer photos than it was shown; report this as a bug")
    columns: dict[str, Any] = {name: pa.array([value] * len(ids), pa.string()) for name, value in key.items()}
    columns |= {name: pa.array(values) for name, values in judged._asdict().items()}
    # No right index among the candidates: no rank and no margin, rather than numbers that look like some.
    columns["rank"] = pa.array(judged.rank, mask=judged.rank == 0)
    columns["margin"] = pa.array(judged.margin, mask=np.isnan(judged.margin))
    return pa.table({"photo_id": pa.array(ids, pa.string()), **columns})
