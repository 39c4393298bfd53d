"""Verbs of a curator: from `demo` and `crawl` to `freeze` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counteranimal.cli.common import AsJson, Home, RecipeFile, emit, open_run, verb
from counteranimal.cli.demo import demo
from counteranimal.cli.discovered import discovery_text
from counteranimal.errors import UpstreamError, UsageError
from counteranimal.freeze.sign import keygen as make_keys
from counteranimal.settings import load_settings
from counteranimal.steps import curation, publishing, rechecking, rounds, splitting
from counteranimal.steps.run import Outcome, Run

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command(epilog="Example: counteranimal demo --folder demo")(demo)
    app.command(epilog="Example: counteranimal crawl -r recipe.toml --limit 500")(crawl)
    app.command(epilog="Example: counteranimal dedupe -r recipe.toml --against imagenet.parquet")(dedupe)
    app.command(epilog="Example: counteranimal fingerprint /data/imagenet/train --out imagenet.parquet")(fingerprint)
    app.command(epilog="Example: counteranimal score -r recipe.toml")(score)
    app.command(epilog="Example: counteranimal propose -r recipe.toml")(propose)
    app.command(epilog="Example: counteranimal rebuild -r recipe.toml --json")(rebuild)
    app.command(epilog="Example: counteranimal keygen keys/")(keygen)
    app.command(epilog="Example: counteranimal freeze 1.0.0 -r recipe.toml --key keys/release-key.pem")(freeze)
    app.command(epilog="Example: counteranimal report -r recipe.toml --release 1.0.0")(report)
    app.command(name="serve-photos", epilog="Example: counteranimal serve-photos -r recipe.toml")(serve_photos)


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    sentence = outcome.sentence()
    if found := outcome.counts.get("discovery"):
        sentence = f"{discovery_text(found)}\n\n{sentence}"
    emit({"step": outcome.step, **outcome.counts, "note": outcome.note}, as_json=as_json, sentence=sentence)


@verb
def crawl(
    recipe_file: RecipeFile,
    home: Home = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Fetch at most this many photos.")] = None,
    retry: Annotated[
        list[str] | None, typer.Option("--retry", help="Try again what ended so: failed, deferred or rejected.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be fetched and how long it takes; asks nobody.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--recheck", help="Instead ask again about the photos of the coming release.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the recipe's sources for candidates and fetch what is pending, politely and resumably.

    With --recheck: ask instead whether the photos of the coming release are still there, with the same bytes and licences. Exit code 4
    where a later run may bring answers that are missing.
    """
    if again:
        if limit is not None or retry or dry_run:
            raise UsageError("--recheck asks about every photo of the coming release; leave the other options away")
        _recheck(open_run(recipe_file, home), as_json=as_json)
        return
    allowed = {"failed", "deferred", "rejected"}
    if unknown := sorted(set(retry or ()) - allowed):
        raise UsageError(f"--retry {unknown[0]!r} is no state; use one of {', '.join(sorted(allowed))}")
    work = curation.preview_crawl if dry_run else curation.crawl
    _tell(work(open_run(recipe_file, home), limit=limit, retry=tuple(retry or ())), as_json=as_json)


def _recheck(run: Run, *, as_json: bool) -> None:
    outcome = rechecking.recheck(run)
    _tell(outcome, as_json=as_json)
    if open_questions := outcome.counts.get("deferred", 0) + outcome.counts.get("failed", 0):
        raise UpstreamError(f"{open_questions} photos were not answered for; run the same command again later")


@verb
def dedupe(
    recipe_file: RecipeFile,
    home: Home = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Hash list of a training or reference set; the workspace keeps it. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fingerprint new photos, keep one of each cluster of copies, and drop what a reference set holds."""
    _tell(curation.dedupe(open_run(recipe_file, home), against=tuple(against or ())), as_json=as_json)


@verb
def fingerprint(
    folder: Annotated[Path, typer.Argument(help="Folder of the photos of a training or reference set.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The list (default: FOLDER.parquet here).")] = None,
    as_json: AsJson = False,
) -> None:
    """List the hashes of a folder's photos, so that `dedupe --against` finds them elsewhere; a killed run goes on."""
    place = out or Path(f"{folder.resolve().name}.parquet")
    counts = curation.fingerprint(folder, place, settings=load_settings())
    reasons = ", ".join(f"{reason} {number}" for reason, number in counts["reasons"].items())
    unreadable = f"{counts['unreadable']} unreadable" + (f" ({reasons})" if reasons else "")
    sentence = f"fingerprint: {counts['hashed']} of {counts['files']} files hashed, {unreadable}; list {place}"
    emit({"list": str(place), **counts}, as_json=as_json, sentence=sentence)


@verb
def score(recipe_file: RecipeFile, home: Home = None, as_json: AsJson = False) -> None:
    """Score backgrounds and quality of the kept photos."""
    _tell(curation.score(open_run(recipe_file, home)), as_json=as_json)


@verb
def propose(recipe_file: RecipeFile, home: Home = None, as_json: AsJson = False) -> None:
    """Preview what the machine alone would split; it plans rounds and decides nothing."""
    _tell(curation.propose(open_run(recipe_file, home)), as_json=as_json)


@verb
def rebuild(recipe_file: RecipeFile, home: Home = None, as_json: AsJson = False) -> None:
    """Recompute everything that follows from the journal, from duplicates to splits."""
    outcomes = splitting.rebuild(open_run(recipe_file, home))
    emit(
        {each.step: each.counts for each in outcomes},
        as_json=as_json,
        sentence="\n".join(each.sentence() for each in outcomes),
    )


@verb
def keygen(
    folder: Annotated[Path, typer.Argument(help="Where the two key files go.")], as_json: AsJson = False
) -> None:
    """Make an Ed25519 key pair to sign releases with; keep the private one to yourself, publish the other."""
    private, public = make_keys(folder)
    emit({"private": private, "public": public}, as_json=as_json)


@verb
def freeze(
    version: Annotated[str, typer.Argument(help="MAJOR.MINOR.PATCH of the new release.")],
    recipe_file: RecipeFile,
    home: Home = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key (default: the workspace's own).")] = None,
    without: Annotated[
        Path | None, typer.Option("--without", help="List of photo ids, one a line, to leave out from now on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Freeze the verified pool into a signed, versioned release; refused, with every reason, while a gate is open."""
    run = open_run(recipe_file, home)
    _tell(publishing.freeze(run, version=version, private_key=key, without=without), as_json=as_json)


@verb
def report(
    recipe_file: RecipeFile,
    home: Home = None,
    release: Annotated[str | None, typer.Option("--release", help="Version to report on.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the static report: counts, agreement, splits, and each model's accuracies with intervals."""
    outcome = publishing.report(open_run(recipe_file, home), version=release, out=out)
    emit(outcome.counts, as_json=as_json, sentence=f"{outcome.counts['summary']}\n\nreport: {outcome.counts['page']}")


@verb
def serve_photos(recipe_file: RecipeFile, home: Home = None) -> None:
    """Serve the photos of open rounds to annotators' browsers until Ctrl-C: signed links, copies without metadata."""
    server = rounds.photo_server(open_run(recipe_file, home))
    server.serve_forever(started=lambda url: typer.echo(f"serving photos of open rounds at {url}; Ctrl-C stops"))
