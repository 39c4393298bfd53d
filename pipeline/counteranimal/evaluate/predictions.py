"""A file of predictions: its name, and the statement in it of the release, model, labels and machine that it comes from.

Decides when a file may be used again (everything that decides a prediction is the same) and which files may be scored together.
Leaves the answers themselves to `engine`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.evaluate.engine import Labels
from counteranimal.evaluate.protocols import ProtocolName
from counteranimal.evaluate.spaces import LabelSpace
from counteranimal.ids import digest_of
from counteranimal.release.read import Release

__all__ = [
    "Statement",
    "kept",
    "parts_folder",
    "prediction_files",
    "predictions_file",
    "read_predictions",
    "write_predictions",
]

# Raised when the same inputs give other predictions, so that old files are not reused.
VERSION = "1"
_KEY = b"counteranimal-predictions"
_STATEMENT = b"counteranimal-statement"


@dataclass(frozen=True)
class Statement:
    """Where predictions come from: a release's digest, an identity record, labels, and the machine that ran the model."""

    release: str
    identity: dict[str, Any]
    names: str
    templates: str
    protocols: tuple[ProtocolName, ...]
    device: str
    versions: dict[str, str]
    label_space: dict[str, Any] | None = None
    precision: list[dict[str, Any]] = field(default_factory=list)
    """What a reduced precision changed; see `precision.compared`. Measured on the predictions, so no part of their key."""

    def bytes(self) -> bytes:
        """Return canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).encode()

    def key(self, labels: Labels) -> str:
        """Return a digest of everything that decides the predictions, with the candidates of 1 vs 20."""
        candidates = {name: list(indices) for name, indices in labels.candidates.items()}
        stated = asdict(self)
        del stated["precision"]
        return digest_of(json.dumps(stated | {"version": VERSION, "candidates": candidates}, sort_keys=True))


def _parsed(text: str | bytes) -> Statement:
    """Return a statement; raises ValueError, TypeError or KeyError where the text is none."""
    stated = json.loads(text)
    return Statement(**stated | {"protocols": tuple(stated["protocols"])})


def predictions_file(spec: str) -> str:
    """Return the name of a model's file of predictions.

    Examples
    --------
    >>> predictions_file("open_clip:ViT-B-32/laion400m_e32")
    'predictions-open_clip-ViT-B-32-laion400m_e32.parquet'
    """
    return f"predictions-{re.sub(r'[^A-Za-z0-9._-]+', '-', spec)}.parquet"


def prediction_files(places: Sequence[Path]) -> list[Path]:
    """Return files as given, and for each folder the files of predictions in it, by name.

    Raises
    ------
    UsageError
        If a place is not there, or a folder holds none.
    """
    found: list[Path] = []
    for place in places:
        listed = sorted(place.glob("predictions-*.parquet")) if place.is_dir() else [place]
        if not listed or not listed[0].is_file():
            raise UsageError(f"{place} holds no predictions; name a file predictions-*.parquet or a folder of results")
        found += listed
    return found


def write_predictions(path: Path, predictions: pa.Table, statement: Statement, labels: Labels) -> None:
    """Write a model's predictions with their statement."""
    metadata = {_KEY: statement.key(labels).encode(), _STATEMENT: statement.bytes()}
    tables.write(path, predictions.replace_schema_metadata(metadata))


def parts_folder(path: Path) -> Path:
    """Return where the parts of a file of predictions lie while a run is making it."""
    return path.with_suffix(".parts")


def kept(path: Path, key: str) -> tuple[pa.Table, Statement] | None:
    """Return the predictions of an earlier run where everything that decides them is the same, else None."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None  # absent or torn: it is made again
    if metadata.get(_KEY) != key.encode():
        return None
    return tables.read(path, "predictions"), _parsed(metadata[_STATEMENT])


def read_predictions(path: Path, release: Release) -> tuple[pa.Table, Statement]:
    """Read one model's predictions and hold them against a release.

    Raises
    ------
    IntegrityError
        If the file states nothing about its origin, is of another release, names photos that the release lacks, or calls an
        answer right that is not.
    """
    table = tables.read(path, "predictions")
    text = (pq.read_schema(path).metadata or {}).get(_STATEMENT)
    if text is None:
        raise IntegrityError(f"{path} does not say which release and model it comes from; evaluate the model again")
    try:
        statement = _parsed(text)
        spec = statement.identity["spec"]
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{path} states its origin in no form known here; evaluate the model again") from error
    if statement.release != release.digest:
        raise IntegrityError(
            f"{path} was made on another release than {release.name} {release.version}; name the release it comes from"
        )
    classes = dict(zip(release.entries["photo_id"].to_pylist(), release.entries["class_id"].to_pylist(), strict=True))
    right = _right(statement, release)
    if pc.unique(table.column("model")).to_pylist() != [spec]:
        raise IntegrityError(f"{path} holds answers of another model than {spec}, which it names; evaluate it again")
    columns = (table.column(name).to_pylist() for name in ("photo_id", "protocol", "predicted", "correct"))
    for photo_id, protocol, predicted, correct in zip(*columns, strict=True):
        known = right.get((protocol, classes.get(photo_id, "")))
        if known is None or correct != (predicted in known):
            raise IntegrityError(
                f"the answer for photo {photo_id} in {path} contradicts the release; evaluate the model again"
            )
    return table, statement


def _right(statement: Statement, release: Release) -> dict[tuple[str, str], set[int]]:
    """Return what is right of a class under each protocol of a statement."""
    space = None if statement.label_space is None else LabelSpace.of_record(statement.label_space)
    return {
        (protocol, class_id): set(space.right(class_id, indices) if space and protocol == "custom" else indices)
        for protocol in statement.protocols
        for class_id, indices in release.class_indices.items()
    }
