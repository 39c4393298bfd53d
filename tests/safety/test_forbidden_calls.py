"""Our own code never does what the security rules forbid; the checker is itself held to planted examples."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKED = ("pipeline", "flows", "bench", "tests")

MODULES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "unittest.mock"}
CALLS = {
    "eval": "evaluates text",
    "exec": "executes text",
    "builtins.eval": "evaluates text",
    "builtins.exec": "executes text",
    "os.system": "starts a shell",
    "os.popen": "starts a shell",
    "tempfile.mktemp": "names a file without making it",
    "yaml.load": "builds objects from text",
    "yaml.load_all": "builds objects from text",
    "yaml.full_load": "builds objects from text",
    "yaml.unsafe_load": "builds objects from text",
    "ssl._create_unverified_context": "does not verify certificates",
}
# Keyword -> the only constant it may have, wherever it is passed.
KEYWORDS = {"shell": False, "verify": True, "trust_remote_code": False, "check_hostname": True}

Problem = tuple[int, str]


class Checker(ast.NodeVisitor):
    """Walks one module with its import aliases resolved and collects what is forbidden."""

    def __init__(self, *, images: bool) -> None:
        self.problems: list[Problem] = []
        self.images = images
        self._names: dict[str, str] = {}

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            self._import(node, item.name)
            self._names[item.asname or item.name.split(".")[0]] = item.name if item.asname else item.name.split(".")[0]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for item in node.names:
            full = f"{node.module}.{item.name}"
            self._import(node, full if full in MODULES else str(node.module))
            self._names[item.asname or item.name] = full

    def _import(self, node: ast.AST, name: str) -> None:
        if name in MODULES or name.split(".", maxsplit=1)[0] in MODULES:
            self._add(node, f"imports {name}")

    def visit_Call(self, node: ast.Call) -> None:
        name = self._dotted(node.func)
        given = {item.arg: item.value for item in node.keywords}
        last = name.rsplit(".", 1)[-1]
        if name in CALLS:
            self._add(node, f"{name} {CALLS[name]}")
        for keyword, allowed in KEYWORDS.items():
            if keyword in given and not _is(given[keyword], allowed):
                self._add(node, f"{keyword} is not {allowed}")
        for wrong, problem in self._rules(name, last, given):
            if wrong:
                self._add(node, problem)
        self.generic_visit(node)

    def _rules(self, name: str, last: str, given: dict[str | None, ast.expr]) -> Iterator[tuple[bool, str]]:
        allowed = given.get("allow_pickle")
        yield allowed is not None and not _is(allowed, False), "allow_pickle is not False"
        yield last in {"read_pickle", "to_pickle"}, f"{last} unpickles or pickles"
        yield last == "extractall" and "filter" not in given, "extractall without filter"
        weights = given.get("weights_only")
        yield name == "torch.load" and not _is(weights, True), "torch.load without weights_only=True"
        yield name.startswith(("aiohttp.", "session.")) and _is(given.get("ssl"), False), "ssl=False"
        yield self.images and name == "PIL.Image.open" and "formats" not in given, "Image.open without formats"

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            name = self._dotted(target)
            last = name.rsplit(".", 1)[-1]
            if last == "LOAD_TRUNCATED_IMAGES" and not _is(node.value, False):
                self._add(node, "LOAD_TRUNCATED_IMAGES is set")
            if last == "MAX_IMAGE_PIXELS" and _is(node.value, None):
                self._add(node, "MAX_IMAGE_PIXELS is None")
            if last == "check_hostname" and _is(node.value, False):
                self._add(node, "check_hostname is False")
            if last == "verify_mode" and self._dotted(node.value).endswith("CERT_NONE"):
                self._add(node, "verify_mode is CERT_NONE")
        self.generic_visit(node)

    def _dotted(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        return ""

    def _add(self, node: ast.AST, problem: str) -> None:
        self.problems.append((getattr(node, "lineno", 0), problem))


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def problems_of(source: str, *, images: bool = True) -> list[Problem]:
    """Return line and problem of everything forbidden in a module's text."""
    checker = Checker(images=images)
    checker.visit(ast.parse(source))
    return checker.problems


def modules() -> list[Path]:
    """Return every Python file of the repository's own folders."""
    return [path for folder in CHECKED for path in sorted((REPOSITORY / folder).rglob("*.py"))]


@pytest.mark.case("S03")
def test_our_code_does_nothing_forbidden() -> None:
    """No unpickling, no evaluated text, no shell, no unverified connection, no lenient image loading."""
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {problem}"
        for path in modules()
        for line, problem in problems_of(
            path.read_text(encoding="utf-8"), images=not path.is_relative_to(REPOSITORY / "tests")
        )
    ]
    assert found == []


@pytest.mark.case("S03")
@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as innocent",
        "from pickle import loads",
        "import joblib",
        "from joblib import load",
        "import dill",
        "from unittest import mock",
        "from unittest.mock import Mock",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy\nnumpy.load(path, allow_pickle=flag)",
        "import pandas as pd\npd.read_pickle(path)",
        "frame.to_pickle(path)",
        "import yaml\nyaml.load(text)",
        "from yaml import load\nload(text)",
        "import yaml\nyaml.unsafe_load(text)",
        "eval(text)",
        "exec(text)",
        "import builtins\nbuiltins.eval(text)",
        "import subprocess\nsubprocess.run(command, shell=True)",
        "import subprocess\nsubprocess.run(command, shell=flag)",
        "import os\nos.system(command)",
        "import requests\nrequests.get(url, verify=False)",
        "session.get(url, verify=False)",
        "session.get(url, ssl=False)",
        "import aiohttp\naiohttp.TCPConnector(ssl=False)",
        "import ssl\nssl._create_unverified_context()",
        "context.check_hostname = False",
        "import ssl\ncontext.verify_mode = ssl.CERT_NONE",
        "archive.extractall(folder)",
        "from PIL import ImageFile\nImageFile.LOAD_TRUNCATED_IMAGES = True",
        "from PIL import Image\nImage.MAX_IMAGE_PIXELS = None",
        "from PIL import Image\nImage.open(path)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load\nload(path)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "import tempfile\ntempfile.mktemp()",
    ],
)  # fmt: skip
def test_the_checker_finds_planted_examples(source: str) -> None:
    """Each forbidden thing is found, under its own name or another."""
    assert problems_of(source)


@pytest.mark.case("S03")
@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load(path)\nnp.load(path, allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)",
        "model.eval()",
        "import ast\nast.literal_eval(text)",
        "import subprocess\nsubprocess.run(command, shell=False)",
        "import requests\nrequests.get(url, verify=True)",
        "archive.extractall(folder, filter='data')",
        "from PIL import Image\nImage.open(path, formats=('JPEG',))\nImage.MAX_IMAGE_PIXELS = 50_000_000",
        "import torch\ntorch.load(path, weights_only=True)",
        "import json\njson.load(file)",
        "text = 'import pickle; eval(x)'",
    ],
)  # fmt: skip
def test_the_checker_leaves_safe_code_alone(source: str) -> None:
    """The allowed form of each is not reported."""
    assert problems_of(source) == []


def test_the_checker_looks_at_every_folder_of_code() -> None:
    """The package and the tests are among what was checked."""
    assert {"pipeline", "tests"} <= {path.relative_to(REPOSITORY).parts[0] for path in modules()}
