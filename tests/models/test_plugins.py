"""A model that somebody else wrote: the examples of docs/how-to/add-a-model.md, installed by entry point and in memory."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from counteranimal import tables
from counteranimal.cli import app
from counteranimal.errors import MissingDependency, UsageError
from counteranimal.models import load_model
from counteranimal.models.registry import require_known
from counteranimal.recipe import EvaluateRules
from counteranimal.settings import Settings
from counteranimal.steps import publishing
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace
from tests.fakes.small_release import Released, released, small

__all__ = ["released", "small"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-model.md"
ANIMALS = """
name = "four-legs-or-two"

[labels]
ostrich = [9]
"other birds" = ["7-8", "10-24"]
anything = ["0-6", "25-999"]
"""


def blocks(language: str) -> list[str]:
    """Return the page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Lay the page's package on the path as an installer would, and return the module's file."""
    code = blocks("python")[1]
    [project] = (tomllib.loads(text)["project"] for text in blocks("toml"))
    [(kind, target)] = project["entry-points"]["counteranimal.models"].items()
    module = target.partition(":")[0]
    place = tmp_path / "site-packages"
    metadata = place / f"{module}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (place / f"{module}.py").write_text(code, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[counteranimal.models]\n{kind} = {target}\n")
    monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()
    yield place / f"{module}.py"
    sys.modules.pop(module, None)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.pt"
    torch.save({f"head.{name}": value for name, value in torch.nn.Linear(3, 1000).state_dict().items()}, path)
    return path


def told(command: str, code: int, home: Path) -> str:
    result = CliRunner().invoke(
        app, command.split(), env={"COUNTERANIMAL_CACHE": str(home / "cache"), "COUNTERANIMAL_WORKERS": "1"}
    )
    assert result.exit_code == code, result.output
    return result.output


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_bytes())
    return found


def test_the_pages_family_is_evaluated_by_its_spec(
    site: Path, weights: Path, released: Released, tmp_path: Path
) -> None:
    """The verb finds the plug-in and judges every photo under three protocols; the file says names, templates and label space."""
    assert site.is_file()
    space, out = tmp_path / "space.toml", tmp_path / "out"
    space.write_text(ANIMALS)
    spec = f"laboratory:{weights}"
    evaluated = f"evaluate {released.folder} --photos {released.photos} --model {spec}"
    told(f"{evaluated} --names openai --templates openai80 --label-space {space} -o {out}", 0, tmp_path)
    about = document(out)["counteranimal"]
    assert (about["names"], about["templates"]) == ("openai", "openai80")
    assert about["label_space"]["name"] == "four-legs-or-two"
    assert about["label_space"]["labels"]["other birds"] == [7, 8, *range(10, 25)]
    [path] = out.glob("predictions-*.parquet")
    rows = tables.read(path, "predictions").to_pylist()
    assert {protocol: sum(row["protocol"] == protocol for row in rows) for protocol in ("1v1000", "1v20", "custom")} == {
        "1v1000": 40, "1v20": 40, "custom": 40,
    }  # fmt: skip
    told(f"evaluate {released.folder} --from {out} -o {tmp_path / 'again'}", 0, tmp_path)
    assert document(tmp_path / "again") | {"time": 0} == document(out) | {"time": 0}
    assert "asked with names openai" in told(f"compare {out} --release {released.folder} --with paper", 2, tmp_path)
    told(f"{evaluated} -o {tmp_path / 'plain'}", 0, tmp_path)
    assert document(tmp_path / "plain")["counteranimal"]["label_space"] is None
    both = f"{out} {tmp_path / 'plain'}"
    assert "between different labels" in told(f"compare {both} --release {released.folder}", 2, tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--names german", "unknown name list 'german'; use wordnet or openai"),
        ("--templates mine", "unknown templates 'mine'; use paper or openai80"),
        ("--label-space {tmp}/none.toml", "cannot be read (No such file"),
        ("--label-space {tmp}/space.toml", "no label of birds holds an ImageNet index of class"),
        ("--from {tmp} --names openai", "leave out --names"),
    ],
)
def test_labels_that_cannot_be_are_refused(options: str, said: str, released: Released, tmp_path: Path) -> None:
    """Unknown names, templates and files, a class without a label, and labels for answers already given: exit code 2, no file."""
    (tmp_path / "space.toml").write_text('name = "birds"\n[labels]\na = [998]\nb = [999]\n')
    model = "" if "--from" in options else f"--model stand-in --photos {released.photos}"
    given = options.format(tmp=tmp_path)
    answer = told(f"evaluate {released.folder} {model} {given} -o {tmp_path / 'out'}", 2, tmp_path)
    assert said in " ".join(answer.split())
    assert not (tmp_path / "out" / "results.json").exists()


def test_what_a_plug_in_may_not_do(site: Path, weights: Path, tmp_path: Path) -> None:
    """An object that is no model, another name, a missing import and a missing file each end with a sentence."""
    settings, spec = Settings(cache=tmp_path, device="cpu"), f"laboratory:{weights}"
    require_known(spec)
    assert load_model(spec, settings=settings).identity.spec == spec
    with pytest.raises(UsageError, match="leave bfloat16 out"):
        load_model(spec, settings=settings, dtype="bfloat16")
    with pytest.raises(UsageError, match="names no file"):
        load_model("laboratory:nothing.pt", settings=settings)
    with pytest.raises(UsageError, match=r"use one of .*laboratory:NAME"):
        load_model("observatory:x", settings=settings)
    code = site.read_text(encoding="utf-8")
    for changed, error, said in (
        (code.replace('f"laboratory:{name}"', '"something else"'), UsageError, "named 'something else'"),
        (f"{code}\n\ndef load(name, settings):\n    return 3\n", UsageError, "neither head_logits nor text_features"),
        (f"import not_installed_anywhere\n{code}", MissingDependency, "install what it needs"),
    ):
        site.write_text(changed, encoding="utf-8")
        sys.modules.pop(site.stem, None)
        importlib.invalidate_caches()
        with pytest.raises(error, match=said):
            load_model(spec, settings=settings)


def test_a_module_in_memory_is_evaluated_as_the_page_says(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's function runs as it stands; other weights under the same name get a digest of their own."""
    (tmp_path / "page_example.py").write_text(blocks("python")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    page = importlib.import_module("page_example")
    monkeypatch.setenv("COUNTERANIMAL_CACHE", str(tmp_path / "cache"))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(12, 1000))
        out = tmp_path / str(seed)
        results = page.measure(module, released.folder, released.photos, out)
        assert "macro_drop" in results.column("figure").to_pylist()
        found.append(document(out)["results"][0]["counteranimal"]["identity"])
    sys.modules.pop("page_example", None)
    told(f"evaluate {released.folder} --from {out} -o {out}", 0, tmp_path)
    assert "our-network" in (out / "leaderboard.md").read_text(encoding="utf-8")
    assert found[0]["spec"] == found[1]["spec"] == "our-network"
    assert found[0]["weights_sha256"] != found[1]["weights_sha256"]


def test_a_recipes_labels_and_models_are_those_of_its_evaluation(
    site: Path, weights: Path, released: Released, tmp_path: Path
) -> None:
    """`[evaluate]` of a recipe names models, names, templates and protocols, and its evaluation says the same."""
    assert site.is_file()
    settings = Settings(home=tmp_path / "home", cache=tmp_path / "cache", workers=1, device="cpu")
    workspace = Workspace(settings.home)
    shutil.copytree(released.folder, workspace.folder("releases") / "1.0.0")
    shutil.copytree(released.photos, workspace.folder("photos"), dirs_exist_ok=True)
    asked = EvaluateRules(
        models=(f"laboratory:{weights}",), protocols=("1v1000",), names="openai", templates="openai80"
    )
    recipe = released.small.recipe.model_copy(update={"evaluate": asked})
    outcome = publishing.evaluate(Run(recipe, workspace, settings, datetime.now(UTC)), version="1.0.0")
    about = document(Path(outcome.counts["results"]))["counteranimal"]
    assert (about["names"], about["templates"], about["protocols"]) == ("openai", "openai80", ["1v1000"])
