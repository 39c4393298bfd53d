"""Documents that are generated from the code are what the code says now, and the README's commands exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "tables.md", "recipe.md", "settings.md"])
def test_reference_is_current(name: str) -> None:
    """`make docs` would change nothing."""
    written = (REPOSITORY / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == _generator().PAGES[name](), "run `make docs` and commit the page"


def test_readme_names_only_verbs_that_exist() -> None:
    """Every `counteranimal <verb>` in the README and the how-tos is in the reference of the command line."""
    reference = (REPOSITORY / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs" / "how-to").glob("*.md"))]
    for page in pages:
        for verb in re.findall(r"^counteranimal ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
            assert f"`counteranimal {verb}`" in reference, f"{page.name} names the verb {verb}"


def test_links_between_documents_hold() -> None:
    """Every relative link of the README and of docs/ leads to a file."""
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(REPOSITORY)} links to {target}"


def test_the_plan_past_one_machine_is_what_its_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of docs/explanation/scale.md are those of bench/scale_plan.py, to the letter."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    plan = importlib.import_module("scale_plan")
    page = (REPOSITORY / "docs" / "explanation" / "scale.md").read_text(encoding="utf-8")
    assert "\n\n".join(map(plan.table, plan.SIZES)) in page, "run bench/scale_plan.py and put its tables into the page"
