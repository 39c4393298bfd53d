"""The steps from splits to numbers: freeze a release, evaluate models on it, write the report.

Decides which version a freeze makes when none is named and where a workspace keeps releases, keys, photos, evaluations and
reports. Leaves their content to `freeze`, `evaluate` and `report`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal import tables
from counteranimal.annotate.duplicates import settle
from counteranimal.dedupe.hash_list import HashList
from counteranimal.dedupe.reference import stored
from counteranimal.dedupe.released import held_against, read_lists
from counteranimal.errors import PolicyError, UsageError
from counteranimal.evaluate.citation import citation
from counteranimal.evaluate.engine import Labels, candidates_1v20
from counteranimal.evaluate.overlap import NOT_CHECKED, Compare, TrainingOverlap
from counteranimal.evaluate.predictions import prediction_files
from counteranimal.evaluate.protocols import STANDARD
from counteranimal.evaluate.results import WITHOUT_OVERLAP
from counteranimal.evaluate.run import Evaluator
from counteranimal.evaluate.spaces import read_label_space
from counteranimal.freeze import draft as freeze_draft
from counteranimal.freeze import export as freeze_export
from counteranimal.freeze import photos as freeze_photos
from counteranimal.freeze import sign, succeed, write
from counteranimal.freeze.export import Choice
from counteranimal.freeze.inputs import Terms
from counteranimal.freeze.withdrawn import write_withdrawn
from counteranimal.models import load_model
from counteranimal.models.files import sha256_of_file
from counteranimal.models.registry import find_weights, require_known
from counteranimal.models.runtime import DType
from counteranimal.pool import Pool
from counteranimal.release.layout import parse_version, versions_in
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import Release, open_release
from counteranimal.release.withdrawn import read_withdrawn
from counteranimal.report.gallery import write_gallery
from counteranimal.report.gather import gather, gather_evaluation
from counteranimal.report.leaderboard import write_leaderboard
from counteranimal.report.page import write_report
from counteranimal.report.summary import summary_text
from counteranimal.settings import Settings
from counteranimal.steps.curation import similar, snapshot
from counteranimal.steps.discovered import balance, on_verdicts
from counteranimal.steps.models import check_models
from counteranimal.steps.rechecking import leave_out
from counteranimal.steps.rounds import agreement
from counteranimal.steps.run import Outcome, Run, step
from counteranimal.steps.splitting import choose_splits, embeddings_of, per_class_rule, photo_set
from counteranimal.workspace import write_atomically
from counteranimal.workspace.forgetting import crops_of

__all__ = [
    "evaluate",
    "evaluate_release",
    "evaluator_of",
    "export",
    "export_layout",
    "fetch_weights",
    "freeze",
    "gallery",
    "headline",
    "keys",
    "labels_of",
    "list_withdrawn",
    "release_of",
    "report",
]

CITATION = "CITATION.txt"


def release_of(run: Run, version: str) -> Path:
    """Return where the workspace keeps a release."""
    return run.workspace.home / "releases" / version


def keys(run: Run) -> tuple[Path, Path]:
    """Return the workspace's private and public key, made on first use."""
    folder = run.workspace.home / "keys"
    private, public = folder / sign.PRIVATE_KEY, folder / sign.PUBLIC_KEY
    if not private.exists():
        sign.keygen(folder)
    return private, public


@step
def freeze(run: Run, *, version: str, private_key: Path | None = None, without: Path | None = None) -> Outcome:
    """Freeze the verified pool as a signed release of the workspace, and export its published photos.

    Parameters
    ----------
    version : str
        MAJOR.MINOR.PATCH; a version that exists is refused.
    private_key : Path, optional
        PEM file made by `keygen`; without it the workspace's own key signs.
    without : Path, optional
        List of photos that this and later releases leave out; the splits are chosen anew without them.
    """
    parse_version(version)
    releases = run.workspace.folder("releases")
    write.refuse_existing(releases / version)
    older = versions_in(releases)
    if older:
        succeed.require_next(version, older[-1].name)
    check_models(run.recipe)
    snapshot(run)
    if without is not None and leave_out(run, without):
        choose_splits(run)
    similar(run)
    answers = settle(run.recipe, run.workspace)
    terms = Terms(
        version=version,
        date=run.now.date().isoformat(),
        agreement=agreement(run),
        selectors={
            rule.name: load_model(rule.selector, settings=run.settings).identity.record() for rule in run.recipe.splits
        },
        candidates_1v20=_candidates(run),
        covariates=balance(run),
        settled_pairs=[(row["photo_a"], row["photo_b"]) for row in answers if row["answer"] == "different"],
        predecessor=older[-1].name if older else None,
    )
    draft = freeze_draft.draft(run.recipe, run.workspace, terms, pool=Pool.of(run.settings))
    if older:
        draft = succeed.succeed(draft, open_release(older[-1]), withdrawn=run.workspace.journal.withdrawn())
    key = private_key or keys(run)[0]
    # Photos first: a freeze that is killed here is run again, while a version that exists never is.
    exported = _export(run, draft.tables["entries"])
    path = write.write_release(draft, releases, private_key=key)
    list_withdrawn(run, private_key=key)
    told = {"version": version, **exported, "digest": open_release(path).digest, "release": str(path)}
    return Outcome("freeze", {**told, "discovery": on_verdicts(run)})


def export(run: Run, *, version: str) -> dict[str, object]:
    """Write a release's published photos into the workspace, those that are missing."""
    release = open_release(release_of(run, version))
    return {"version": version, **_export(run, release.entries), "digest": release.digest}


def _export(run: Run, entries: pa.Table) -> dict[str, int]:
    exported = freeze_photos.export_photos(entries, run.workspace, run.workspace.folder("photos"))
    return {"entries": len(entries), **exported}


def list_withdrawn(run: Run, *, private_key: Path) -> dict[str, int]:
    """Write the signed list of withdrawals beside the workspace's releases; returns version -> photos withdrawn of it."""
    rows = run.workspace.journal.rows("withdrawals")
    days = {row["photo_id"]: row["at"].date().isoformat() for row in reversed(rows) if row["photo_id"] and row["at"]}
    return write_withdrawn(run.recipe.name, run.workspace.folder("releases"), days, private_key)


def _candidates(run: Run) -> dict[str, list[int]]:
    """Return the 1-vs-20 labels by the first split's selector, over the photos of its two groups."""
    rule = run.recipe.splits[0]
    splits = run.workspace.table("splits")
    grouped = splits.filter(pc.and_(pc.equal(splits["split"], rule.name), pc.not_equal(splits["group"], "other")))
    store = embeddings_of(run.workspace)
    return candidates_1v20(rule.selector, photo_set(run, grouped), Labels(), settings=run.settings, store=store)


@step
def evaluate(run: Run, *, version: str, models: Sequence[str] = ()) -> Outcome:
    """Evaluate the recipe's models (or those named) on one of the workspace's releases, and compare it with the workspace's hash lists."""
    chosen = tuple(models) or run.recipe.evaluate.models
    if not chosen:
        raise UsageError("no model is named; add models to [evaluate] in the recipe or pass --model")
    release = open_release(release_of(run, version))
    out = run.workspace.folder("evaluations") / version
    compare = _comparing(stored(run.workspace), run.settings)
    chosen_by = run.recipe.evaluate
    labels = Labels(names=chosen_by.names, templates=chosen_by.templates, protocols=chosen_by.protocols)
    evaluator = Evaluator(
        run.settings, labels, store=embeddings_of(run.workspace), crops=crops_of(run.workspace), compare=compare
    )
    return evaluate_release(evaluator, release, chosen, photos=run.workspace.folder("photos"), out=out)


def evaluator_of(
    settings: Settings, against: Sequence[Path] = (), dtype: DType = "float32", *, labels: Labels | None = None
) -> Evaluator:
    """Return how somebody without a workspace evaluates; `against` are hash lists of training or reference sets."""
    return Evaluator(settings, labels or Labels(), compare=_comparing(read_lists(against), settings), dtype=dtype)


def labels_of(names: str, templates: str, label_space: Path | None) -> Labels:
    """Return what models choose between; a label space of one's own is judged beside the standard protocols."""
    if label_space is None:
        return Labels(names, templates)
    return Labels(names, templates, (*STANDARD, "custom"), space=read_label_space(label_space))


def evaluate_release(
    evaluator: Evaluator, release: Release, models: Sequence[str], *, photos: Path, out: Path
) -> Outcome:
    """Evaluate models on a release, and say how many of its photos hash lists hold; needs no workspace."""
    for spec in models:
        require_known(spec)
    _refuse_withdrawn(release)
    find_weights(models)  # all of them, so that the last model's are not missed after hours
    out.mkdir(parents=True, exist_ok=True)  # before the work, so that a bad place costs nothing
    results = evaluator.evaluate(release, list(models), photos=photos, out=out)
    return _evaluated(release, len(models), results, out)


def fetch_weights(models: Sequence[str]) -> Outcome:
    """Bring the weights of models onto this machine, into their libraries' caches, and say which file has which digest."""
    for spec in models:
        require_known(spec)
    files = {spec: (str(path), sha256_of_file(path)) for spec, path in find_weights(models).items()}
    lines = [f"{spec}: {path} sha256 {digest}" for spec, (path, digest) in files.items()]
    counts = {
        "models": len(models),
        "files": {spec: {"file": path, "sha256": digest} for spec, (path, digest) in files.items()},
    }
    return Outcome("weights", counts, "\n".join(lines) or "these models' weights are in installed packages")


def rescore_release(
    evaluator: Evaluator, release: Release, places: Sequence[Path], *, photos: Path | None, out: Path
) -> Outcome:
    """Score files of predictions, or those in folders of results, again without any model."""
    _refuse_withdrawn(release)
    files = prediction_files(places)
    results = evaluator.rescore(release, files, photos=photos, out=out)
    return _evaluated(release, len(files), results, out)


def _evaluated(release: Release, models: int, results: pa.Table, out: Path) -> Outcome:
    document = json.loads((out / "results.json").read_bytes())
    cited = citation(release, document)
    write_atomically(out / CITATION, cited.encode())
    page = write_leaderboard(out, context=gather_evaluation(release, out, citation=cited))
    counts = {"photos": len(release.entries), "models": models, "figures": len(results), "results": str(out)}
    overlap = _overlap_words(document["counteranimal"]["training_overlap"])
    return Outcome(
        "evaluate", {**counts, "training_overlap": overlap, "page": str(page), "citation": str(out / CITATION)}
    )


def _comparing(lists: Sequence[HashList], settings: Settings) -> Compare | None:
    """Return what holds a release's photos against hash lists; None without any, so that nothing is said to be checked."""
    if not lists:
        return None

    def compare(release: Release, photos: PhotoFolder) -> TrainingOverlap:
        return TrainingOverlap(*held_against(release.entries, photos, lists, workers=settings.workers))

    return compare


def _overlap_words(overlap: Any) -> str:
    if overlap == NOT_CHECKED:
        return NOT_CHECKED
    names = ", ".join(item["name"] for item in overlap["lists"])
    return f"{overlap['found']} of {overlap['photos']} photos are in {names}"


def export_layout(release: Release, photos: Path, out: Path, *, layout: str, choice: Choice) -> Outcome:
    """Write a release with its photos in a layout that other loaders read; see `freeze.export`."""
    _refuse_withdrawn(release)
    return Outcome(
        "export", {**freeze_export.export(release, photos, out, layout=layout, choice=choice), "folder": str(out)}
    )


def gallery(release: Release, photos: Path, out: Path, *, split: str, settings: Settings) -> Outcome:
    """Write the static gallery of a release; see `report.gallery`."""
    _refuse_withdrawn(release)
    counts = write_gallery(release, photos, out, split=split, workers=settings.workers)
    return Outcome("gallery", {**counts, "page": str(out / "index.html")})


def _refuse_withdrawn(release: Release) -> None:
    """Raise PolicyError, naming the successor, if photos of a release were withdrawn since: numbers without them would be others."""
    listed = read_withdrawn(release.path.resolve().parent)
    if listed is None or listed.name != release.name:
        return
    gone = pc.is_in(release.entries["photo_id"], value_set=pa.array(sorted(listed.withdrawn), pa.string()))
    if number := int(pc.sum(gone).as_py() or 0):
        later = listed.after(release.version)
        advice = f"evaluate release {later}" if later else "wait for its next release"
        raise PolicyError(f"{number} photo(s) of {release.name} {release.version} were withdrawn since; {advice}")


@step
def report(run: Run, *, version: str | None = None, out: Path | None = None) -> Outcome:
    """Write the static report of the workspace, or of one of its releases with its evaluation."""
    release = open_release(release_of(run, version)) if version else None
    evaluation = run.workspace.home / "evaluations" / version if version else None
    if evaluation is not None and not (evaluation / "results.parquet").exists():
        evaluation = None
    has_pool = run.workspace.table_path("pool").exists()
    extra: dict[str, Any] = {"per_class_rule": per_class_rule(run), "covariates": balance(run)} if has_pool else {}
    if release is None:
        extra["class_names"] = {item.id: item.name for item in run.recipe.classes}
    title = run.recipe.title or run.recipe.name
    context = gather(run.workspace, title=title, release=release, evaluation=evaluation, extra=extra)
    page = write_report(out or run.workspace.folder("report"), context=context)
    return Outcome("report", {"page": str(page), "summary": summary_text(context)})


def headline(out: Path) -> str:
    """Return the macro drop of every model, one line each, from `results.parquet`: the report fold first, with and without photos found."""
    lines = []
    rows = tables.read(out / "results.parquet", "results").to_pylist()
    for row in sorted(rows, key=lambda row: row["fold"].startswith("all")):
        fold, without, _ = row["fold"].partition(WITHOUT_OVERLAP)
        if row["class_id"] == "*" and row["figure"] == "macro_drop" and fold in {"report", "all"}:
            interval = "" if row["low"] is None else f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
            value = "not estimable" if row["value"] is None else f"{100 * row['value']:.1f} points{interval}"
            place = f"{fold} fold{' without photos in hash lists' if without else ''}"
            lines.append(f"{row['model']} {row['protocol']} {row['split']} ({place}): macro drop {value}, n {row['n']}")
    return "\n".join(lines) or "no class of this release has a pair of backgrounds, so there is no drop to report"
