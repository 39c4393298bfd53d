"""Writes the pages of docs/reference from the code, so that they cannot rot: `make docs`.

A test holds the written pages against what this script would write.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from counteranimal import recipe, settings, tables
from counteranimal.errors import Reason

REFERENCE = Path(__file__).parent / "reference"


def command_line() -> str:
    """Return the reference of every verb, from its own help."""
    command = [sys.executable, "-m", "typer", "counteranimal.cli", "utils", "docs", "--name", "counteranimal"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines()) + "\n"


def table_schemas() -> str:
    """Return every table with its key and columns."""
    lines = [
        "# Tables",
        "",
        "Every stage meets the next in one of these (`counteranimal.tables`). Keys are in bold.",
        "",
    ]
    for name, schema in tables.SCHEMAS.items():
        lines += [f"## {name}", "", "| column | type |", "|---|---|"]
        lines += [
            f"| {f'**{item.name}**' if item.name in tables.KEYS[name] else item.name} | `{item.type}` |"
            for item in schema
        ]
        lines.append("")
    lines += ["## Reason codes", "", "A row that is turned away, put off or merged carries one of:", ""]
    lines += [f"`{reason}`" for reason in Reason]
    return "\n".join(lines) + "\n"


def _default(item: FieldInfo) -> str:
    if item.default is PydanticUndefined:
        return "required" if item.default_factory is None else "empty"
    text = repr(item.default)
    return "see text" if len(text) > 60 else f"`{text}`"


def _fields(model: type[BaseModel]) -> Iterable[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, item in model.model_fields.items():
        if item.exclude:
            continue
        kind = str(item.annotation).replace("counteranimal.recipe.", "").replace("typing.", "").replace("|", "\\|")
        kind = kind.removeprefix("<class '").removesuffix("'>")
        yield f"| {name} | `{kind}` | {_default(item)} | {item.description or ''} |"


def recipe_keys() -> str:
    """Return the keys of a recipe, part by part."""
    parts: list[tuple[str, Any]] = [
        ("The file", recipe.Recipe), ("[[classes]]", recipe.RecipeClass), ("[[classes.taxa]]", recipe.Taxon), ("[classes.paper]", recipe.PaperPair),
        ("[[sources]]", recipe.SourceSpec), ("[licences]", recipe.Licences), ("[dedupe]", recipe.DedupeRules),
        ("[score]", recipe.ScoreRules), ("[annotate]", recipe.AnnotateRules), ("[[splits]]", recipe.SplitRule),
        ("[evaluate]", recipe.EvaluateRules),
    ]  # fmt: skip
    lines = ["# Recipe", "", "One TOML file decides a benchmark. Paths in it are relative to the file.", ""]
    for title, model in parts:
        lines += [f"## {title}", "", (model.__doc__ or "").strip(), "", *_fields(model), ""]
    lines += ["## Backgrounds", "", "| name | what it is | hotkey |", "|---|---|---|"]
    lines += [f"| {name} | {item.hint} | {item.key} |" for name, item in recipe.backgrounds().items()]
    return "\n".join(lines) + "\n"


def setting_keys() -> str:
    """Return the settings of a machine."""
    lines = ["# Settings", "", (settings.Settings.__doc__ or "").strip(), ""]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for name, item in settings.Settings.model_fields.items():
        shown = "number of processors, at most 8" if name == "workers" else str(item.default)
        lines.append(f"| {name} | `{shown}` | {item.description or ''} |")
    return "\n".join(lines) + "\n"


PAGES = {
    "cli.md": command_line,
    "tables.md": table_schemas,
    "recipe.md": recipe_keys,
    "settings.md": setting_keys,
}


def main() -> None:
    """Write all pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
