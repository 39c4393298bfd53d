"""Verbs of an evaluator, who needs a frozen release and nothing else: `verify`, `fetch`, `evaluate`, `compare`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from counteranimal.cli.common import AsJson, emit, verb
from counteranimal.errors import IntegrityError, PolicyError, UpstreamError, UsageError
from counteranimal.models.runtime import DTYPES
from counteranimal.release.read import open_release
from counteranimal.settings import load_settings
from counteranimal.steps import comparing, restoring
from counteranimal.steps.publishing import (
    evaluate_release,
    evaluator_of,
    fetch_weights,
    headline,
    labels_of,
    rescore_release,
)
from counteranimal.steps.verification import check_release

__all__ = ["register"]

ReleaseFolder = Annotated[Path, typer.Argument(help="The release's folder, such as releases/1.0.0.")]

# What `evaluate` takes.
PhotosFolder = Annotated[
    Path | None, typer.Option("--photos", help="Folder with the release's photos.", show_default=False)
]
ModelSpecs = Annotated[list[str] | None, typer.Option("--model", help="A model's spec; repeat for each.")]
ModelList = Annotated[
    str | None, typer.Option("--models", help="paper: the 43 models of the paper's tables, beside --model.")
]
Answers = Annotated[
    list[Path] | None,
    typer.Option(
        "--from", help="File of predictions, or folder of results, to score again without models. Repeatable."
    ),
]
Against = Annotated[
    list[Path] | None,
    typer.Option("--against", help="Hash list of a training or reference set to look for the photos in. Repeatable."),
]
Names = Annotated[
    str | None, typer.Option("--names", help="Class names in prompts: wordnet (the paper's, default) or openai.")
]
Templates = Annotated[
    str | None, typer.Option("--templates", help="Prompts: paper (one sentence, default) or openai80.")
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", help="cpu, cuda, cuda:N or mps; repeat to spread the photos over several."),
]
Precision = Annotated[
    str, typer.Option("--dtype", help="fp32 is the reference; bf16 and fp16 also count the answers that they change.")
]
WeightsOnly = Annotated[
    bool,
    typer.Option("--weights-only", help="Only bring the models' weights onto this machine and name files and hashes."),
]
LabelSpaceFile = Annotated[
    Path | None,
    typer.Option("--label-space", help="TOML file of labels and their ImageNet indices, judged as one more protocol."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command(epilog="Example: counteranimal verify releases/1.0.0 --key release-key.pub.pem --photos photos/")(
        verify
    )
    app.command(epilog="Example: counteranimal fetch releases/1.0.0 -o photos/")(fetch)
    app.command(
        epilog="Example: counteranimal evaluate releases/1.0.0 --photos photos/ --model efficientnet-lite2 -o results/"
    )(evaluate)
    app.command(
        epilog="Example: counteranimal compare results/ --release releases/1.0.0 --baseline efficientnet-lite0"
    )(compare)


@verb
def verify(
    release: ReleaseFolder,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", help="Public key that must have signed it; repeat after a change of keys."),
    ] = None,
    root_digest: Annotated[
        str | None, typer.Option("--root-digest", help="sha256 of SHA256SUMS, as a paper or page states it.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option("--photos", help="Also hold this folder's photos to their digests.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a release byte by byte and row by row; offline, every problem named, exit code 3 if there is one.

    A folder of releases, or a link named latest, asks for the newest release: with --key, one that is older than any seen before
    is refused.
    """
    release, found = check_release(release, keys=tuple(key or ()), photos=photos, root_digest=root_digest)
    if as_json:
        emit(found.record(), as_json=True)
    else:
        for problem in found.problems:
            typer.echo(f"problem: {problem}", err=True)
        for note in found.notes:
            typer.echo(f"note: {note}")
    if not found.ok:
        sentence = f"{release} does not verify: {len(found.problems)} problem(s), the first: {found.problems[0]}"
        if as_json:  # the record above is the one JSON object, and it holds the problems
            typer.echo(f"error: {sentence}", err=True)
            raise typer.Exit(IntegrityError.exit_code)
        raise IntegrityError(sentence)
    if not as_json:
        counted = ", ".join(f"{name} {number}" for name, number in found.counts.items())
        typer.echo(f"{found.name} {found.version} verifies ({counted}; signature {found.signature})")


@verb
def fetch(
    release: ReleaseFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the photos; what is there stays.")],
    loopback: Annotated[
        list[str] | None, typer.Option("--loopback", help="host:port on this machine that may be asked. Repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore a release's photos from their sources, at the pace its recipe allows, and refuse bytes that are others.

    Exit code 4 where a later run may bring the rest, 3 where photos are gone or changed: then missing.csv lists them.
    """
    outcome, lacking = restoring.fetch(
        open_release(release), out, settings=load_settings(), now=datetime.now(UTC), loopback=tuple(loopback or ())
    )
    emit(outcome.counts, as_json=as_json, sentence=outcome.sentence())
    if any(item.pending for item in lacking):
        raise UpstreamError(f"{len(lacking)} photos are not there yet; run the same command again later")
    if lacking:
        raise PolicyError(f"{len(lacking)} photos cannot be restored; {out / restoring.MISSING} says why of each")


@verb
def evaluate(
    release: ReleaseFolder,
    photos: PhotosFolder = None,
    model: ModelSpecs = None,
    models: ModelList = None,
    predictions: Answers = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("results"),
    against: Against = None,
    names: Names = None,
    templates: Templates = None,
    label_space: LabelSpaceFile = None,
    device: Devices = None,
    dtype: Precision = "fp32",
    weights_only: WeightsOnly = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate models on a frozen release: accuracy on common and counter, the drop, an interval beside every figure."""
    if models not in {None, "paper"}:
        raise UsageError(f"there is no list of models {models!r}; --models knows paper")
    model = [*(model or ()), *(comparing.paper_models() if models else ())]
    if predictions and (model or weights_only):
        raise UsageError("--from scores what models have answered, so it takes no --model; leave one of the two out")
    if not (model or predictions):
        raise UsageError("no model is named; pass --model, for example --model efficientnet-lite2")
    if (predictions or weights_only) and (names or templates or label_space or device or dtype != "fp32"):
        raise UsageError(
            f"{'--from' if predictions else '--weights-only'} asks no model anything; leave out --names, --templates, "
            "--label-space, --device and --dtype"
        )
    if dtype not in DTYPES:
        raise UsageError(f"there is no precision {dtype!r}; --dtype knows {', '.join(DTYPES)}")
    if weights_only:
        fetched = fetch_weights(model)
        emit(fetched.counts, as_json=as_json, sentence=fetched.note)
        return
    labels = labels_of(names or "wordnet", templates or "paper", label_space)
    opened = open_release(release)
    settings = load_settings(device=",".join(device) if device else None)
    evaluator = evaluator_of(settings, against or (), DTYPES[dtype], labels=labels)
    if predictions:
        outcome = rescore_release(evaluator, opened, predictions, photos=photos, out=out)
    elif model and photos:
        outcome = evaluate_release(evaluator, opened, model, photos=photos, out=out)
    else:
        raise UsageError("models need the photos; pass --photos with the folder that holds them")
    emit(outcome.counts, as_json=as_json, sentence=f"{headline(out)}\n{outcome.sentence()}")


@verb
def compare(
    predictions: Annotated[list[Path], typer.Argument(help="Files of predictions, or folders of results.")],
    release: Annotated[Path, typer.Option("--release", help="The release that they were made on.")],
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="The model to compare with (default: that of the first file).")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--with", help="paper: set macro accuracies beside those that the paper printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare models on one release: differences of drops with interval and Holm's correction, and McNemar's test.

    Needs no photos and no models. Models that chose a split, and their relatives, are marked.
    """
    if reference not in {None, "paper"}:
        raise UsageError(f"there is no reference {reference!r}; --with knows paper")
    if reference and baseline:
        raise UsageError("--with paper compares with the paper, so it takes no --baseline; leave one of the two out")
    opened = open_release(release)
    if reference:
        rows = comparing.against_paper(opened, predictions)
        lines = comparing.paper_lines(rows)
    else:
        rows = comparing.against_baseline(opened, predictions, baseline)
        lines = comparing.baseline_lines(rows)
    emit({"release": opened.digest, "comparisons": rows}, as_json=as_json, sentence="\n".join(lines))
