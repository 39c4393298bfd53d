"""Evaluates models on a release and writes what came out.

Decides the order of things: every photo is held against its digest before any model runs; predictions are written as photos are
judged, some hundred at a time, and reused when release, model and labels are the same; and the result files come last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.evaluate.document import json_bytes, results_document, rules_of, versions
from counteranimal.evaluate.engine import Labels, PhotoSet, load_replicas, predict_in_turn
from counteranimal.evaluate.overlap import Compare, TrainingOverlap, overlap_record
from counteranimal.evaluate.precision import COMPARED, compared, sentences
from counteranimal.evaluate.predictions import (
    Statement,
    kept,
    parts_folder,
    predictions_file,
    read_predictions,
    write_predictions,
)
from counteranimal.evaluate.results import results_table
from counteranimal.evaluate.robustness import robustness
from counteranimal.models import Model
from counteranimal.models.crops import CropSet
from counteranimal.models.runtime import DType, OnRunner, devices_of
from counteranimal.pool import shards_of
from counteranimal.progress import note, track
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import Release
from counteranimal.settings import Settings
from counteranimal.workspace import Parts, write_atomically

__all__ = ["Evaluator", "evaluate"]

_CHECKED = 256


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

    `labels.candidates` may stay empty: those of the release are used. `store` is where features are kept and `crops` where crops
    are (none: the machine's cache); a workspace passes its own, so that what scoring embedded is not embedded again. `compare` holds
    the photos against training or reference sets (none: not checked). Models named by spec run in `dtype`; where that is not
    float32, the predictions that it changes are counted and published.
    """

    settings: Settings
    labels: Labels = field(default_factory=Labels)
    clock: Callable[[], datetime] = _utc_now
    store: Path | None = None
    crops: Path | None = None
    compare: Compare | None = None
    dtype: DType = "float32"

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
        for class_id, indices in release.class_indices.items():
            for protocol in self.labels.protocols:
                self.labels.question(protocol, class_id, indices)
        devices_of(self.settings.device)  # a device that is not there is said before photos are read
        entries = release.entries.to_pylist()
        folder = PhotoFolder(photos)
        _check_photos(entries, folder, workers=self.settings.workers)
        overlap = self.compare(release, folder) if self.compare is not None else None
        by_id = {entry["photo_id"]: entry for entry in entries}
        chosen = replace(
            PhotoSet.of(release.entries, release.class_indices, lambda photo_id: folder.read(by_id[photo_id])),
            crops=CropSet(self.crops or self.settings.cache_folder / "crops", sorted(by_id)),
        )
        labels = replace(self.labels, candidates=self.labels.candidates or release.candidates_1v20)
        read = [self._predictions(spec, chosen, labels, release=release, out=out) for spec in _distinct(specs)]
        return self._write(release, read, overlap, out=out, started=started)

    def rescore(self, release: Release, files: Sequence[Path], *, out: Path, photos: Path | None = None) -> pa.Table:
        """Score files of predictions again; no model is loaded, and photos are read only to `compare` them.

        Writes `results.parquet` and `results.json`: those of the run that made the predictions, but for the block `time`.

        Raises
        ------
        IntegrityError
            If a file is not of this release or contradicts it, or lacks photos.
        UsageError
            If files hold one model twice, were made with different labels, devices or versions, or photos are lacking.
        """
        started = self.clock()
        if self.compare is not None and photos is None:
            raise UsageError("holding photos against a list needs the photos; pass --photos, or leave out --against")
        read = [read_predictions(path, release) for path in files]
        _distinct([statement.identity["spec"] for _, statement in read])
        for path, (_, statement) in zip(files, read, strict=True):
            first = read[0][1]
            if replace(statement, identity=first.identity, precision=first.precision) != first:
                raise UsageError(
                    f"{path} was made with other labels, device or versions than {files[0]}; score them apart"
                )
        overlap = self.compare(release, PhotoFolder(photos)) if self.compare and photos else None
        return self._write(release, read, overlap, out=out, started=started)

    def _write(
        self,
        release: Release,
        read: Sequence[tuple[pa.Table, Statement]],
        overlap: TrainingOverlap | None,
        *,
        out: Path,
        started: datetime,
    ) -> pa.Table:
        """Score predictions of models that share labels and machine, and write the files of results."""
        identities = [statement.identity for _, statement in read]
        predictions = pa.concat_tables([table.replace_schema_metadata(None) for table, _ in read])
        _require_all(predictions, identities, len(release.entries))
        held = overlap.photos("overlap") if overlap is not None else ()
        lines = robustness(release, predictions, identities)
        results = lines.added_to(results_table(release.entries, release.splits, rules_of(release), predictions, held))
        found = {"predictions": predictions, "results": results}
        document = results_document(release, identities, found, origin=read[0][1])
        document["counteranimal"]["effective_robustness"] = lines.records
        document["counteranimal"]["precision"] = {
            statement.identity["spec"]: statement.precision for _, statement in read if statement.precision
        }
        document["counteranimal"]["training_overlap"] = overlap_record(release, predictions, overlap)
        document["time"] = {"started": started.isoformat(), "finished": self.clock().isoformat()}
        _write_overlaps(out / "reference_overlaps.parquet", overlap)
        tables.write(out / "results.parquet", results)
        write_atomically(out / "results.json", json_bytes(document))
        return results

    def _predictions(
        self, spec: str | Model, photos: PhotoSet, labels: Labels, *, release: Release, out: Path
    ) -> tuple[pa.Table, Statement]:
        """Return a model's predictions, from an earlier run where everything that decides them is the same."""
        replicas = load_replicas(spec, settings=self.settings, dtype=self.dtype)
        identity = replicas[0].identity
        path = out / predictions_file(identity.spec)
        statement = Statement(
            release=release.digest,
            identity=identity.record(),
            names=labels.names,
            templates=labels.templates,
            protocols=tuple(labels.protocols),
            device=",".join(devices_of(self.settings.device)),
            versions=versions(),
            label_space=labels.space.record() if labels.space else None,
        )
        key = statement.key(labels)
        if (found := kept(path, key)) is not None:
            return found
        predictions = self._judged(replicas, photos, labels, parts_folder(path) / key[:16])
        statement = replace(statement, precision=self._changed(replicas, predictions, photos, labels))
        for sentence in sentences(identity.spec, identity.dtype, statement.precision):
            note(sentence)
        write_predictions(path, predictions, statement, labels)
        shutil.rmtree(parts_folder(path), ignore_errors=True)
        return predictions, statement

    def _judged(self, replicas: Sequence[Model], photos: PhotoSet, labels: Labels, folder: Path) -> pa.Table:
        """Judge the photos that no part in the folder holds, writing parts as they come, and return all."""
        parts = Parts(folder, "predictions")
        left = photos.only(parts.missing(photos.classes))
        for table in self._in_turn(replicas, left, labels):
            parts.write(table)
        return parts.view()

    def _changed(
        self, replicas: Sequence[Model], predictions: pa.Table, photos: PhotoSet, labels: Labels
    ) -> list[dict[str, Any]]:
        """Return what a reduced precision changed on a sample that is judged in float32 too; nothing for float32 itself."""
        full = [model.in_dtype("float32") for model in replicas if isinstance(model, OnRunner)]
        if replicas[0].identity.dtype == "float32" or not full:
            return []
        sample = photos.only(sorted(photos.classes)[:COMPARED])
        return compared(predictions, pa.concat_tables(self._in_turn(full, sample, labels)))

    def _in_turn(self, replicas: Sequence[Model], photos: PhotoSet, labels: Labels) -> Iterator[pa.Table]:
        store = self.store or self.settings.cache_folder / "embeddings"
        return predict_in_turn(replicas, photos, labels, settings=self.settings, store=store)


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


def _check_photos(entries: Sequence[Mapping[str, Any]], folder: PhotoFolder, *, workers: int) -> None:
    """Read every photo; a number that is made from a part of a release is never published."""

    def problem(entry: Mapping[str, Any]) -> str:
        try:
            folder.read(entry)
        except IntegrityError as error:
            return str(error)
        return ""

    problems: list[str] = []
    with ThreadPoolExecutor(workers) as threads:
        # Some at a time: what is submitted all at once cannot be interrupted.
        for some in track(shards_of(entries, _CHECKED), "checking photos"):
            problems += filter(None, threads.map(problem, some))
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
