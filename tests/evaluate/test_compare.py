"""Models beside a baseline, and a run beside the paper: right differences, right corrections, right bands."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress
from typer.testing import CliRunner

from counteranimal import tables
from counteranimal.cli import app
from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.evaluate import Evaluator
from counteranimal.evaluate.compare import compare_models
from counteranimal.evaluate.engine import Labels
from counteranimal.evaluate.paper import compare_with_paper, paper_models, printed_models
from counteranimal.evaluate.predictions import Statement, predictions_file, read_predictions, write_predictions
from counteranimal.ids import digest_of
from counteranimal.models.registry import load_model, require_known
from counteranimal.release.read import Release, open_release
from counteranimal.resources import resource
from counteranimal.settings import Settings
from counteranimal.stats import holm, mcnemar_exact
from tests.fakes.small_release import Released, rewrite
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


def test_the_papers_43_models_are_in_both_protocols(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tables 3 and 4 name 43 models, tables 13 and 14 the same ones; each can be loaded where its weights are."""
    with resource("data_manifest/paper/macro.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [{row["model"] for row in rows if row["protocol"] == protocol} for protocol in ("1v1000", "1v20")]
    assert found[0] == found[1]
    assert len(found[0]) == len(paper_models()) == 43
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for spec in paper_models():
        require_known(spec)
        # Without weights that is as far as loading comes; a name under the wrong activation would end as a mistake of the command.
        with suppress(EnvironmentFailure):
            load_model(spec, settings=Settings(device="cpu", cache=tmp_path))
    assert "--models knows paper" in _told("evaluate nowhere --models books", 2)


def _group(index: int, group: str, n: int) -> list[dict[str, str]]:
    ids = [digest_of(f"{index} {group} {number}") for number in range(n)]
    return [{"photo_id": name, "class_id": f"c{index}", "group": group, "background": group} for name in ids]


@pytest.fixture(scope="module")
def original(released: Released, tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Path, int]:
    """The imported original as far as the paper's tables know it: its 45 classes, group sizes that give every printed accuracy,
    and the answers of the five models of tables 15 and 16, as files of predictions. Returns release, files, and photos.
    """
    place = tmp_path_factory.mktemp("original")
    with resource("data_manifest/paper/classwise.csv").open(encoding="utf-8", newline="") as file:
        printed = list(csv.DictReader(file))
    shares: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    for row in printed:
        for group in ("common", "counter"):
            accuracy = float(row[f"{group}_corrected"] or row[group]) / 100
            shares[int(row["imagenet"]), group][row["model"]] = accuracy
    groups = {key: _group(*key, _size(list(found.values()))) for key, found in shares.items()}
    folder = _as_original(released, place, groups)
    release = open_release(folder)
    for model in sorted({row["model"] for row in printed}):
        _answer(release, model, groups, shares, place / "results")
    return release, place / "results", sum(map(len, groups.values()))


def _size(accuracies: list[float]) -> int:
    """Return the smallest number of photos that gives every accuracy to the two printed places."""
    return next(n for n in range(1, 1000) if all(abs(round(a * n) / n - a) <= 0.000051 for a in accuracies))


def _as_original(released: Released, place: Path, groups: dict[tuple[int, str], list[dict[str, str]]]) -> Path:
    """Return a release folder under the original's name and rule, sealed again, with these photos."""
    folder = released.copy_of(place)
    photos = [photo for found in groups.values() for photo in found]
    shared = {"fold": "report"}
    entries = [
        {**shared, **{name: photo[name] for name in ("photo_id", "class_id", "background")}}
        | {"fold_unit": photo["photo_id"], "inclusion_probability": 1.0}
        for photo in photos
    ]
    splits = [shared | photo | {"split": "original"} for photo in photos]
    manifest = json.loads((folder / "release.json").read_bytes())
    rule = {"rule": "paper", "unit": "class", "n_min": 1, "min_difference": 5.0, "selector": None}
    [chosen, *_] = manifest["splits"]
    files = {}
    for name, rows in (("entries", entries), ("splits", splits), ("predictions", []), ("groups", []), ("pairs", [])):
        files[f"{name}.parquet"] = tables.parquet_bytes(tables.conform(name, rows).combine_chunks())
    rewrite(
        folder,
        released.private_key,
        files,
        name="counteranimal-original",
        classes=[
            {"id": f"c{index}", "name": str(index), "imagenet_indices": [index], "candidates_1v20": []}
            for index in sorted({index for index, _ in groups})
        ],
        splits=[{"name": "original", "selector": chosen["selector"], "rule": rule}],
        covariates={},
    )
    return folder


def _answer(
    release: Release,
    model: str,
    groups: dict[tuple[int, str], list[dict[str, str]]],
    shares: dict[tuple[int, str], dict[str, float]],
    out: Path,
) -> None:
    """Write a file of predictions that is right on as many photos of each group as the printed accuracy says."""
    rows = []
    for (index, group), photos in groups.items():
        right = round(shares[index, group][model] * len(photos))
        for place, photo in enumerate(photos):
            correct = place < right
            rows.append(
                {"photo_id": photo["photo_id"], "model": model, "protocol": "1v1000", "correct": correct}
                | {"predicted": index if correct else 0, "rank": 1 if correct else 2, "margin": 1.0, "tied": False}
            )
    identity = {"spec": model, "family": "clip", "architecture": model, "weights_sha256": model, "lineage": []}
    statement = Statement(
        release.digest, identity, names="wordnet", templates="paper", protocols=("1v1000",), device="cpu",
        versions={"counteranimal": "0.1.0"},
    )  # fmt: skip
    write_predictions(out / predictions_file(model), tables.conform("predictions", rows), statement, Labels())


def test_the_verb_sets_tables_15_and_16_recomputed_beside_table_3(
    original: tuple[Release, Path, int], tmp_path: Path
) -> None:
    """`compare --with paper` ends with 0 and ten figures inside the band of 0.3; one class of wrong answers too many is outside."""
    release, results, photos = original
    assert photos > 10_000
    told = _told(f"compare {results} --release {release.path} --with paper", 0)
    lines = told.strip().splitlines()
    assert lines[-1] == "10 of 10 figures lie within their band"
    assert "open_clip:ViT-B-32-quickgelu/laion400m_e31 common: ours 67.13, paper 67.13, +0.00 (within 0.3)" in told
    rows = json.loads(_told(f"compare {results} --release {release.path} --with paper --json", 0))["comparisons"]
    assert all(abs(row["difference"]) <= 0.06 for row in rows)
    [path, *_] = sorted(results.iterdir())
    table, statement = read_predictions(path, release)
    wrong = [
        row | ({"correct": False, "predicted": 0, "rank": 2} if row["predicted"] == 9 else {})
        for row in table.to_pylist()
    ]
    write_predictions(tmp_path / path.name, tables.conform("predictions", wrong), statement, Labels())
    told = _told(f"compare {tmp_path / path.name} --release {release.path} --with paper", 0)
    assert told.strip().endswith("0 of 2 figures lie within their band")
    assert "(outside 0.3)" in told


def test_the_papers_line_stands_under_the_imported_original(
    original: tuple[Release, Path, int], tmp_path: Path
) -> None:
    """Five CLIP models of the original lie where the paper's tables put them: four below the line of its 15 ImageNet models."""
    release, results, _ = original
    _told(f"evaluate {release.path} --from {results} -o {tmp_path}", 0)
    rows = {
        row["model"]: row
        for row in tables.read(tmp_path / "results.parquet", "results").to_pylist()
        if row["figure"] == "effective_robustness"
    }
    printed, clip = printed_models("torchvision:"), printed_models("open_clip:")
    x, y = (logit([pair[side] for pair in printed.values()]) for side in (0, 1))
    line = linregress(x, y)
    assert len(rows) == 5
    for model, row in rows.items():
        common, counter = clip[model]
        expected = counter - expit(line.intercept + line.slope * logit(common))
        assert row["value"] == pytest.approx(expected, abs=0.002)
        assert row["low"] < row["value"] < row["high"]
    [record] = json.loads((tmp_path / "results.json").read_bytes())["counteranimal"]["effective_robustness"]
    assert (record["from"], len(record["models"]), record["status"]) == ("the paper", 15, "line")
