"""The command line as a person uses it: in a folder with a recipe of two classes and a workspace. Decides both; a test, what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from counteranimal.cli import app
from counteranimal.workspace import Workspace

RECIPE = """
name = "small"
[licences]
allow = ["CC0-1.0"]
[[sources]]
name = "folder"
kind = "folder"
[sources.options]
folder = "."
[[classes]]
id = "cat"
name = "cat"
imagenet = [281, 282]
[[classes]]
id = "dog"
name = "dog"
imagenet = [151, 152]
"""


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch, *, votes_per_photo: int = 2) -> Workspace:
    """Make a folder with a recipe and a workspace the working folder and the settings' own, and return the workspace."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COUNTERANIMAL_HOME", "home")
    monkeypatch.setenv("COUNTERANIMAL_RECIPE", "recipe.toml")
    Path("recipe.toml").write_text(f"{RECIPE}[annotate]\nvotes_per_photo = {votes_per_photo}\n")
    return Workspace(folder / "home")


def run(command: str) -> tuple[int, str]:
    """Return a command's exit code and all that it prints."""
    result = CliRunner().invoke(app, command.split())
    return result.exit_code, result.output


def said(command: str) -> str:
    """Return what a command prints on standard output; it has to succeed."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    return result.stdout
