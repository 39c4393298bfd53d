"""Evaluates models on a release and writes what came out.

Decides the order of things: every photo is held against its digest before any model runs, each model's predictions are written
as soon as they are there and reused when release, model and labels are the same, and the result files come last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.evaluate.document import json_bytes, results_document, rules_of, versions
from counteranimal.evaluate.engine import Labels, PhotoSet, predict
from counteranimal.evaluate.overlap import Compare, TrainingOverlap, overlap_record
from counteranimal.evaluate.predictions import (
    Statement,
    kept,
    predictions_file,
    read_predictions,
    write_predictions,
)
from counteranimal.evaluate.results import results_table
from counteranimal.evaluate.robustness import robustness
from counteranimal.models import Model, load_model
from counteranimal.progress import track
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import Release
from counteranimal.settings import Settings
from counteranimal.workspace import write_atomically

__all__ = ["Evaluator", "evaluate"]


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
        for class_id, indices in release.class_indices.items():
            for protocol in self.labels.protocols:
                self.labels.question(protocol, class_id, indices)
        entries = release.entries.to_pylist()
        folder = PhotoFolder(photos)
        _check_photos(entries, folder)
        overlap = self.compare(release, folder) if self.compare is not None else None
        by_id = {entry["photo_id"]: entry for entry in entries}
        chosen = PhotoSet.of(release.entries, release.class_indices, lambda photo_id: folder.read(by_id[photo_id]))
        labels = replace(self.labels, candidates=self.labels.candidates or release.candidates_1v20)
        read = []
        for spec in _distinct(specs):
            model = load_model(spec, settings=self.settings) if isinstance(spec, str) else spec
            read.append(self._predictions(model, chosen, labels, release=release, out=out))
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
            if replace(statement, identity=read[0][1].identity) != read[0][1]:
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
        document["counteranimal"]["training_overlap"] = overlap_record(release, predictions, overlap)
        document["time"] = {"started": started.isoformat(), "finished": self.clock().isoformat()}
        _write_overlaps(out / "reference_overlaps.parquet", overlap)
        tables.write(out / "results.parquet", results)
        write_atomically(out / "results.json", json_bytes(document))
        return results

    def _predictions(
        self, model: Model, photos: PhotoSet, labels: Labels, *, release: Release, out: Path
    ) -> tuple[pa.Table, Statement]:
        """Return a model's predictions, from an earlier run where everything that decides them is the same."""
        path = out / predictions_file(model.identity.spec)
        statement = Statement(
            release=release.digest,
            identity=model.identity.record(),
            names=labels.names,
            templates=labels.templates,
            protocols=tuple(labels.protocols),
            device=self._device(),
            versions=versions(),
            label_space=labels.space.record() if labels.space else None,
        )
        found = kept(path, statement.key(labels))
        if found is None:
            store = self.store or self.settings.cache_folder / "embeddings"
            found = predict(model, photos, labels, settings=self.settings, store=store)
            write_predictions(path, found, statement, labels)
        return found, statement

    def _device(self) -> str:
        from counteranimal.models.runtime import device_for

        return device_for(self.settings.device)


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
