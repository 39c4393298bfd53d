"""Modules say what they decide, stay small, and are named for what they are."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "pipeline" / "counteranimal"
MODULE_LINES = 400
FUNCTION_LINES = 60
MEDIAN_LINES = 150
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "misc", "common_utils"}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules() -> list[Path]:
    """Return the modules of the package and of the flows."""
    return sorted(PACKAGE.rglob("*.py")) + sorted((REPOSITORY / "flows").rglob("*.py"))


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how long a function is from its `def` to its end, its docstring left out."""
    first = node.body[0]
    documented = ast.get_docstring(node, clean=False) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def lines_of(path: Path) -> int:
    """Return the number of lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_module_says_what_it_is() -> None:
    """Each module of the package and of the flows opens with a docstring."""
    missing = [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert [str(path.relative_to(REPOSITORY)) for path in missing] == []


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    """A module that grows past it has two subjects."""
    assert [f"{p.relative_to(REPOSITORY)}: {lines_of(p)}" for p in modules() if lines_of(p) > MODULE_LINES] == []


def test_modules_are_mostly_small() -> None:
    """Half of the modules have at most 150 lines."""
    assert statistics.median(lines_of(path) for path in modules()) <= MEDIAN_LINES


def test_no_function_is_longer_than_sixty_lines() -> None:
    """Docstrings do not count; what is left can be read at one glance."""
    long = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}: {code_lines(node)}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, FUNCTIONS) and code_lines(node) > FUNCTION_LINES
    ]
    assert long == []


def test_nothing_is_named_for_nothing() -> None:
    """No file or folder is called utils, helpers or manager."""
    paths = [path for folder in ("pipeline", "flows", "bench", "tests") for path in (REPOSITORY / folder).rglob("*")]
    assert [str(path) for path in paths if path.stem.lower() in EMPTY_NAMES] == []


@pytest.mark.parametrize("lines", [FUNCTION_LINES, FUNCTION_LINES + 1])
def test_the_length_of_a_function_leaves_its_docstring_out(lines: int) -> None:
    """The measure itself counts what it says."""
    body = "\n".join("    pass" for _ in range(lines - 1))
    node = ast.parse(f'def function():\n    """One.\n\n    Two.\n    """\n{body}').body[0]
    assert isinstance(node, ast.FunctionDef)
    assert code_lines(node) == lines
