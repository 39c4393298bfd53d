"""Evaluates models on a release and writes what came out.

Decides the order of things: every photo is held against its digest before any model runs, each model's predictions are written
as soon as they are there and reused when release, model and labels are the same, and the result files come last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.evaluate.document import json_bytes, results_document, rules_of
from counteranimal.evaluate.engine import Labels, PhotoSet, predict
from counteranimal.evaluate.overlap import Compare, TrainingOverlap, overlap_record
from counteranimal.evaluate.results import results_table
from counteranimal.ids import digest_of
from counteranimal.models import Model, load_model
from counteranimal.progress import track
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import Release
from counteranimal.settings import Settings
from counteranimal.workspace import write_atomically

__all__ = ["Evaluator", "evaluate", "predictions_file"]

# Raised when the same inputs give other predictions, so that old files are not reused.
VERSION = "1"
_KEY = b"counteranimal-predictions"


def evaluate(
    release: Release, specs: Sequence[str | Model], *, photos: Path, settings: Settings, out: Path
) -> pa.Table:
    """Evaluate models on a release with the paper's labels; see `Evaluator.evaluate`."""
    return Evaluator(settings).evaluate(release, specs, photos=photos, out=out)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Evaluator:
    """How to evaluate: settings of the machine, labels to choose between, and where the time of the run comes from.

    `labels.candidates` may stay empty: those of the release are used. `store` is where features are kept (none: the machine's
    cache); a workspace passes its own, so that what scoring embedded is not embedded again. `compare` holds the photos against training
    or reference sets (none: not checked).
    """

    settings: Settings
    labels: Labels = field(default_factory=Labels)
    clock: Callable[[], datetime] = _utc_now
    store: Path | None = None
    compare: Compare | None = None

    def evaluate(self, release: Release, specs: Sequence[str | Model], *, photos: Path, out: Path) -> pa.Table:
        """Evaluate models on every photo of a release.

        Writes `predictions-<model>.parquet`, `results.parquet` and `results.json` into `out`; where the photos were compared with
        other sets, `reference_overlaps.parquet` names those that were found.

        Parameters
        ----------
        release : Release
            As `open_release` returns it.
        specs : sequence of str or Model
            Models by spec, or models in memory; each once.
        photos : Path
            Folder with the release's photos, originals or published copies.
        out : Path
            Made when missing.

        Returns
        -------
        pa.Table
            The table `results`.

        Raises
        ------
        IntegrityError
            Before any model runs, if a photo is missing or changed.
        UsageError
            If no model is named, or one twice.
        """
        started = self.clock()
        entries = release.entries.to_pylist()
        folder = PhotoFolder(photos)
        _check_photos(entries, folder)
        overlap = self.compare(release, folder) if self.compare is not None else None
        by_id = {entry["photo_id"]: entry for entry in entries}
        chosen = PhotoSet.of(release.entries, release.class_indices, lambda photo_id: folder.read(by_id[photo_id]))
        labels = replace(self.labels, candidates=self.labels.candidates or release.candidates_1v20)
        identities: list[dict[str, Any]] = []
        parts = [tables.empty("predictions")]
        for spec in _distinct(specs):
            model = load_model(spec, settings=self.settings) if isinstance(spec, str) else spec
            identities.append(model.identity.record())
            parts.append(self._predictions(model, chosen, labels, release=release, out=out))
        predictions = pa.concat_tables(parts)
        _require_all(predictions, identities, len(entries))
        held = overlap.photos("overlap") if overlap is not None else ()
        results = results_table(release.entries, release.splits, rules_of(release), predictions, held)
        found = {"predictions": predictions, "results": results}
        document = results_document(release, identities, found, labels=labels, device=self._device())
        document["counteranimal"]["training_overlap"] = overlap_record(release, predictions, overlap)
        document["time"] = {"started": started.isoformat(), "finished": self.clock().isoformat()}
        _write_overlaps(out / "reference_overlaps.parquet", overlap)
        tables.write(out / "results.parquet", results)
        write_atomically(out / "results.json", json_bytes(document))
        return results

    def _predictions(self, model: Model, photos: PhotoSet, labels: Labels, *, release: Release, out: Path) -> pa.Table:
        """Return a model's predictions, from an earlier run where everything that decides them is the same."""
        path = out / predictions_file(model.identity.spec)
        key = _key(release, model.identity.record(), labels)
        kept = _kept(path, key)
        if kept is not None:
            return kept
        store = self.store or self.settings.cache_folder / "embeddings"
        found = predict(model, photos, labels, settings=self.settings, store=store)
        tables.write(path, found.replace_schema_metadata({_KEY: key.encode()}))
        return found

    def _device(self) -> str:
        from counteranimal.models.runtime import device_for

        return device_for(self.settings.device)


def predictions_file(spec: str) -> str:
    """Return the name of a model's file of predictions.

    Examples
    --------
    >>> predictions_file("open_clip:ViT-B-32/laion400m_e32")
    'predictions-open_clip-ViT-B-32-laion400m_e32.parquet'
    """
    return f"predictions-{re.sub(r'[^A-Za-z0-9._-]+', '-', spec)}.parquet"


def _write_overlaps(path: Path, overlap: TrainingOverlap | None) -> None:
    """Write which photos were found; what an earlier run found must not stand beside results that were not checked."""
    if overlap is None:
        path.unlink(missing_ok=True)
    else:
        tables.write(path, overlap.overlaps)


def _distinct(specs: Sequence[str | Model]) -> Sequence[str | Model]:
    names = [predictions_file(spec if isinstance(spec, str) else spec.identity.spec) for spec in specs]
    if not names:
        raise UsageError("no model is named; give at least one with --model")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two models would write {twice[0]}; name each model once")
    return specs


def _check_photos(entries: Sequence[Mapping[str, Any]], folder: PhotoFolder) -> None:
    """Read every photo once; a number that is made from a part of a release is never published."""
    problems = []
    for entry in track(entries, "checking photos"):
        try:
            folder.read(entry)
        except IntegrityError as error:
            problems.append(str(error))
    if problems:
        more = f"; {len(problems)} of {len(entries)} photos are missing or changed in all" if len(problems) > 1 else ""
        raise IntegrityError(f"nothing was evaluated: {problems[0]}{more}")


def _require_all(predictions: pa.Table, identities: Sequence[Mapping[str, Any]], expected: int) -> None:
    """Hold the number of photos judged against the manifest's, for every model."""
    rows = predictions.select(["model", "protocol"]).group_by(["model", "protocol"]).aggregate([([], "count_all")])
    counted = {(row["model"], row["protocol"]): row["count_all"] for row in rows.to_pylist()}
    protocols = {protocol for _, protocol in counted}
    for identity in identities:
        for protocol in protocols - {"1v20"}:
            number = counted.get((identity["spec"], protocol), 0)
            if number != expected:
                raise IntegrityError(
                    f"{identity['spec']} judged {number} of {expected} photos; delete its file of predictions and run again"
                )


def _key(release: Release, identity: Mapping[str, Any], labels: Labels) -> str:
    """Return a digest of everything that decides a model's predictions."""
    decided = {
        "version": VERSION,
        "release": release.digest,
        "identity": dict(identity),
        "names": labels.names,
        "templates": labels.templates,
        "protocols": sorted(labels.protocols),
        "candidates": {name: list(indices) for name, indices in labels.candidates.items()},
    }
    return digest_of(json_bytes(decided).decode())


def _kept(path: Path, key: str) -> pa.Table | None:
    try:
        stated = (pq.read_schema(path).metadata or {}).get(_KEY, b"")
    except (OSError, pa.ArrowException):
        return None  # absent or torn: it is made again
    return tables.read(path, "predictions") if stated == key.encode() else None
