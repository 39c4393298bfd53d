"""Verbs of whoever publishes and keeps releases: `withdraw`, `diff`, `export`, `gallery`,
`import-original`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from counteranimal.cli.common import AsJson, Home, RecipeFile, emit, open_run, verb
from counteranimal.freeze.export import Choice, Fold
from counteranimal.release.read import open_release
from counteranimal.settings import load_settings
from counteranimal.steps import comparison, original, publishing
from counteranimal.steps.takedown import Request
from counteranimal.steps.withdrawal import withdraw as withdraw_photos

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command(epilog='Example: counteranimal withdraw -r recipe.toml --author "Jo Doe" --why "asked by e-mail"')(
        withdraw
    )
    app.command(
        epilog="Example: counteranimal export webdataset releases/1.0.0 --photos photos/ -o shards/", name="export"
    )(export)
    app.command(epilog="Example: counteranimal gallery releases/1.0.0 --photos photos/ -o gallery/")(gallery)
    app.command(epilog="Example: counteranimal import-original LAION-final -o original/", name="import-original")(
        import_original
    )
    app.command(epilog="Example: counteranimal diff releases/1.0.0 releases/2.0.0")(diff)


@verb
def withdraw(
    recipe_file: RecipeFile,
    photo: Annotated[list[str] | None, typer.Argument(help="Photo ids.")] = None,
    url: Annotated[list[str] | None, typer.Option("--url", help="Address of the photo or of its page.")] = None,
    digest: Annotated[
        list[str] | None, typer.Option("--hash", help="sha256 of the original or of the published copy.")
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option("--author", help="Name as credited, or the source's id of the observer.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="Kept in the journal.")] = "",
    beside: Annotated[
        list[Path] | None,
        typer.Option("--also", help="Folder outside the workspace with exported photos or galleries."),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key that signed the releases.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Remove photos and every copy of them for good, keep them from coming back, and tell readers of older releases."""
    request = Request(
        photos=tuple(photo or ()),
        digests=tuple(digest or ()),
        urls=tuple(url or ()),
        authors=tuple(author or ()),
        why=why,
    )
    outcome = withdraw_photos(open_run(recipe_file, home), request, beside=tuple(beside or ()), private_key=key)
    emit({"step": outcome.step, **outcome.counts}, as_json=as_json, sentence=outcome.sentence())


@verb
def diff(
    old: Annotated[Path, typer.Argument(help="Folder of the older release.")],
    new: Annotated[Path, typer.Argument(help="Folder of the newer release.")],
    old_results: Annotated[
        Path | None, typer.Option("--old-results", help="Folder of the older release's evaluation.")
    ] = None,
    new_results: Annotated[
        Path | None, typer.Option("--new-results", help="Folder of the newer release's evaluation.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two releases, photo by photo, and what it does to each model's figures."""
    outcome = comparison.diff(old, new, results=(old_results, new_results))
    emit(outcome.counts, as_json=as_json, sentence=outcome.note)


@verb
def export(
    layout: Annotated[str, typer.Argument(help="imagefolder, webdataset or parquet.")],
    release: Annotated[Path, typer.Argument(help="Folder of the release.")],
    photos: Annotated[Path, typer.Option("--photos", help="Folder with the release's photos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.")],
    split: Annotated[str, typer.Option("--split", help="Split of the release (default: its first).")] = "",
    fold: Annotated[Fold, typer.Option("--fold", help="Report estimates; select chose the backgrounds.")] = "report",
    as_json: AsJson = False,
) -> None:
    """Write a release with its photos as `datasets`, `webdataset`, torchvision and `clip_benchmark` read it."""
    outcome = publishing.export_layout(open_release(release), photos, out, layout=layout, choice=Choice(split, fold))
    emit(outcome.counts, as_json=as_json, sentence=outcome.sentence())


@verb
def gallery(
    release: Annotated[Path, typer.Argument(help="Folder of the release.")],
    photos: Annotated[Path, typer.Option("--photos", help="Folder with the release's photos.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the pages.")],
    split: Annotated[str, typer.Option("--split", help="Split of the release (default: its first).")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a static gallery: a page a class, common beside counter, each photo with provenance, votes and predictions."""
    outcome = publishing.gallery(open_release(release), photos, out, split=split, settings=load_settings())
    emit(outcome.counts, as_json=as_json, sentence=outcome.sentence())


@verb
def import_original(
    folder: Annotated[Path, typer.Argument(help="The unpacked archive of CounterAnimal.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Gets releases/<version>.")],
    version: Annotated[str, typer.Option("--version", help="MAJOR.MINOR.PATCH.")] = "1.0.0",
    counts: Annotated[
        Path | None, typer.Option("--counts", help="CSV (index, common, counter) to hold its numbers against.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Private key to sign with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn the original CounterAnimal archive into a release: groups, indices, hashes, and a card that says what is unknown."""
    asked = original.Import(folder, out, version=version, key=key, counts=counts)
    outcome = original.import_original(asked, settings=load_settings(), now=datetime.now(UTC))
    emit(outcome.counts, as_json=as_json, sentence=outcome.sentence())
