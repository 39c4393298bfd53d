"""Verbs that keep a workspace sound: `gc`, `recover`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from counteranimal.cli.common import AsJson, Home, RecipeFile, emit, open_run, verb
from counteranimal.settings import load_settings
from counteranimal.steps import upkeep

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command(epilog="Example: counteranimal gc -r recipe.toml --dry-run")(gc)
    app.command(epilog="Example: counteranimal recover --home .counteranimal")(recover)


@verb
def gc(
    recipe_file: RecipeFile,
    home: Home = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove temporary files, photos that nothing refers to, and parts of earlier versions; never what a journal row names."""
    outcome = upkeep.gc(open_run(recipe_file, home), dry_run=dry_run)
    emit({"step": outcome.step, **outcome.counts}, as_json=as_json, sentence=outcome.sentence())


@verb
def recover(home: Home = None, as_json: AsJson = False) -> None:
    """Mend a damaged or restored workspace: list the stored photos again, and note which ones are gone."""
    outcome = upkeep.recover(load_settings(home=home), now=datetime.now(UTC))
    emit({"step": outcome.step, **outcome.counts, "note": outcome.note}, as_json=as_json, sentence=outcome.sentence())
