"""Models beside a baseline, and a run beside the paper: right differences, right corrections, right bands."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from counteranimal import tables
from counteranimal.cli import app
from counteranimal.errors import UsageError
from counteranimal.evaluate import Evaluator
from counteranimal.evaluate.compare import compare_models
from counteranimal.evaluate.paper import compare_with_paper, paper_models
from counteranimal.evaluate.predictions import read_predictions
from counteranimal.models.registry import require_known
from counteranimal.release.read import open_release
from counteranimal.resources import resource
from counteranimal.settings import Settings
from counteranimal.stats import holm, mcnemar_exact
from tests.fakes.small_release import Released
from tests.fakes.tiny_model import TinyModel


@pytest.mark.case("I12")
@pytest.mark.case("I13")
def test_each_model_is_compared_with_the_baseline(released: Released, tmp_path: Path) -> None:
    """The difference is that of the published drops; p-values are corrected over the models; relatives are marked."""
    release, out = open_release(released.folder), tmp_path / "out"
    models = [TinyModel(name, seed=seed) for seed, name in enumerate(("base", "one", "two"), 1)]
    models[1].lineage = ("efficientnet-lite2",)
    settings = Settings(cache=tmp_path / "cache", workers=1, device="cpu")
    results = Evaluator(settings).evaluate(release, models, photos=released.photos, out=out)
    read = [read_predictions(path, release) for path in sorted(out.glob("predictions-*.parquet"))]
    predictions = pa.concat_tables([table.replace_schema_metadata(None) for table, _ in read])
    identities = [statement.identity for _, statement in read]
    rows = compare_models(release, predictions, identities, baseline="base")
    drops = {
        (row["model"], row["protocol"]): row["value"]
        for row in results.to_pylist()
        if (row["fold"], row["figure"]) == ("report", "macro_drop")
    }
    assert {(row["model"], row["protocol"], row["mark"]) for row in rows} == {
        (model, protocol, said) for model, said in (("one", "relative"), ("two", "")) for protocol in ("1v1000", "1v20")
    }
    for row in rows:
        expected = drops[row["model"], row["protocol"]] - drops["base", row["protocol"]]
        assert row["difference"] == pytest.approx(expected)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p_mcnemar"] == mcnemar_exact(row["only_model"], row["only_baseline"])
    for protocol in ("1v1000", "1v20"):
        family = [row for row in rows if row["protocol"] == protocol]
        assert [row["p_holm"] for row in family] == holm([row["p"] for row in family])
    assert rows == compare_models(release, predictions, identities, baseline="base")
    told = _told(f"compare {out} --release {released.folder} --baseline base --json", 0)
    assert json.loads(told)["comparisons"] == rows
    assert "one [relative of the selection model] - base: drop" in _told(
        f"compare {out} --release {released.folder}", 0
    )
    for options, said in (
        (f"{out} --with paper", "no split here is made by the paper's rule"),
        (f"{out} --with books", "--with knows paper"),
        (f"{out} --with paper --baseline base", "leave one of the two out"),
        (f"{out} {out}", "has two files of predictions"),
        (f"{tmp_path / 'cache'}", "holds no predictions"),
    ):
        assert said in _told(f"compare {options} --release {released.folder}", 2)
    _told(f"evaluate {released.folder} --from {out} -o {tmp_path / 'again'}", 0)
    assert (tmp_path / "again" / "results.parquet").read_bytes() == (out / "results.parquet").read_bytes()
    assert "takes no --model" in _told(f"evaluate {released.folder} --from {out} --model stand-in", 2)
    assert "pass --photos" in _told(f"evaluate {released.folder} --model stand-in", 2)
    with pytest.raises(UsageError, match="choose one of base, one, two"):
        compare_models(release, predictions, identities, baseline="three")
    with pytest.raises(UsageError, match="at least two"):
        compare_models(release, predictions, identities[:1], baseline="base")


def _told(command: str, code: int) -> str:
    """Return what a command says on both streams."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == code, result.output
    return result.output


def _recomputed(suffix: str) -> pa.Table:
    """Return macro accuracies of the five models of tables 15 and 16, with or without the corrections."""
    values = defaultdict(list)
    with resource("data_manifest/paper/classwise.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for group in ("common", "counter"):
                values[row["model"], group].append(float(row.get(group + suffix) or row[group]))
    rows = [
        {"split": "paper", "fold": "all", "model": model, "protocol": "1v1000", "class_id": "*"}
        | {"figure": f"macro_accuracy_{group}", "value": sum(found) / len(found) / 100, "n": 1, "n_effective": 1.0}
        | {"low": 0.0, "high": 1.0}
        for (model, group), found in values.items()
    ]
    return tables.conform("results", rows)


def test_tables_15_and_16_reproduce_table_3() -> None:
    """Class means lie within 0.06 points of table 3, and inside the band; 0.31 points more lie outside."""
    rows = compare_with_paper(_recomputed("_corrected"), ["paper"])
    assert len(rows) == 10
    assert all(row["within"] and abs(row["difference"]) <= 0.06 and row["table"] == 3 for row in rows)
    shifted = _recomputed("_corrected").to_pylist()
    for row in shifted:
        row["value"] += 0.0037
    assert not any(row["within"] for row in compare_with_paper(tables.conform("results", shifted), ["paper"]))


def test_what_the_paper_did_not_measure_is_refused() -> None:
    """Splits by another rule and models that are in no table are no comparison."""
    results = _recomputed("")
    with pytest.raises(UsageError, match="no split here is made by the paper's rule"):
        compare_with_paper(results, [])
    with pytest.raises(UsageError, match="none of these models"):
        compare_with_paper(results.filter(pa.array([False] * len(results))), ["paper"])


def test_the_papers_43_models_are_in_both_protocols() -> None:
    """Tables 3 and 4 name 43 models, tables 13 and 14 the same ones."""
    with resource("data_manifest/paper/macro.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [{row["model"] for row in rows if row["protocol"] == protocol} for protocol in ("1v1000", "1v20")]
    assert found[0] == found[1]
    assert len(found[0]) == len(paper_models()) == 43
    for spec in paper_models():
        require_known(spec)
    assert "--models knows paper" in _told("evaluate nowhere --models books", 2)
