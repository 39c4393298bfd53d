"""Verbs for anyone: `doctor`, `status`, `why`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from counteranimal import __version__
from counteranimal.cli.common import AsJson, Home, emit, open_workspace, verb
from counteranimal.errors import EnvironmentFailure
from counteranimal.settings import load_settings
from counteranimal.steps import inspect

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command(epilog="Example: counteranimal doctor")(doctor)
    app.command(epilog="Example: counteranimal status --home demo/home --json")(status)
    app.command(epilog="Example: counteranimal why inaturalist:12345 --home demo/home")(why)
    app.command(epilog="Example: counteranimal version")(version)


@verb
def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Say whether this machine is ready, and what to install where it is not."""
    checks = inspect.doctor(load_settings(home=home))
    if as_json:
        emit({what: {"ready": ready, "detail": detail} for what, ready, detail in checks}, as_json=True)
    else:
        for what, ready, detail in checks:
            typer.echo(f"{'ready  ' if ready else 'missing'}  {what}: {detail}")
    if not all(ready for what, ready, _ in checks if what in {"python", "disk", "torch"}):
        raise EnvironmentFailure("this machine is not ready; mend what is missing above")


@verb
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Say what is stored, what was rejected and why, what is deferred until when, and the disk used."""
    workspace, _ = open_workspace(home)
    found = inspect.status(workspace)
    lines = [
        found["sentence"],
        f"votes {found['votes']}; verdicts " + (", ".join(f"{k} {v}" for k, v in found["verdicts"].items()) or "none"),
        "splits " + (", ".join(f"{k} {v}" for k, v in found["splits"].items()) or "none"),
        "releases " + (", ".join(found["releases"]) or "none"),
        f"disk {found['disk_mb']} MB used, {found['free_mb']} MB free at {found['home']}",
    ]
    if found["deferred_until"]:
        lines.insert(1, f"the last deferred photo may be tried again at {found['deferred_until']}")
    emit(found, as_json=as_json, sentence="\n".join(lines))


@verb
def why(
    photo: Annotated[
        str, typer.Argument(help="A photo id (or its first characters) or a candidate id source:native_id.")
    ],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one photo, from candidate to prediction, with every reason."""
    workspace, _ = open_workspace(home)
    story = inspect.why(workspace, photo)
    if as_json:
        emit(story, as_json=True)
        return
    for table, rows in story.items():
        for row in rows:
            told = {key: value for key, value in row.items() if value not in (None, "", []) and key != "probabilities"}
            typer.echo(f"{table}: {json.dumps(told, ensure_ascii=False, default=str)}")


@verb
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    emit({"counteranimal": __version__}, as_json=as_json, sentence=__version__)
