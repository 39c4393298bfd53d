"""Which models draw the line of effective robustness, what stands on it, and when there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress

from counteranimal import tables
from counteranimal.evaluate.paper import printed_models
from counteranimal.evaluate.results import results_table
from counteranimal.evaluate.robustness import FIGURE, Lines, architecture_family, robustness
from counteranimal.release.layout import ORIGINAL
from counteranimal.release.read import Release, open_release
from tests.fakes.small_release import Released

NAMES = ("resnet18", "resnet50", "vit_b_16", "vit_l_16", "convnext_base")


@pytest.fixture(scope="module")
def release(released: Released) -> Release:
    """Four classes, 40 photos, one split chosen by the stand-in."""
    return open_release(released.folder)


def identity(name: str, **more: Any) -> dict[str, Any]:
    return {"spec": name, "family": "imagenet", "architecture": name, "weights_sha256": name, "lineage": []} | more


def answers(release: Release, chances: Mapping[str, float]) -> pa.Table:
    """Return predictions of models that are right with a probability, lower on the second half of the photos."""
    ids = sorted(release.entries.column("photo_id").to_pylist())
    rows = []
    for seed, (model, chance) in enumerate(chances.items()):
        rng = np.random.default_rng(seed)
        for photo_id in ids:
            right = bool(rng.random() < chance)
            rows.append(
                {"photo_id": photo_id, "model": model, "protocol": "1v1000", "predicted": 0, "rank": 1 if right else 2}
                | {"margin": 1.0 if right else -1.0, "tied": False, "correct": right}
            )
    return tables.conform("predictions", rows)


def measured(release: Release, predictions: pa.Table, found: Lines) -> pa.Table:
    rules = {item["name"]: item["rule"] for item in release.manifest["splits"]}
    return found.added_to(results_table(release.entries, release.splits, rules, predictions))


def test_the_line_and_the_distances_are_those_of_scipy(release: Release) -> None:
    """From the published macro accuracies alone, SciPy finds the same line and the same distances, also of a model off it."""
    chances = dict(zip([*NAMES, "clip"], (0.5, 0.65, 0.75, 0.85, 0.9, 0.6), strict=True))
    predictions = answers(release, chances)
    found = robustness(release, predictions, [*map(identity, NAMES), identity("clip", family="clip")])
    rows = measured(release, predictions, found).to_pylist()
    for record in found.records:
        assert (record["status"], record["models"], record["families"]) == (
            "line", sorted(NAMES), ["convnext", "resnet", "vit"],
        )  # fmt: skip
        smooth = {}
        for model in chances:
            here = {
                row["figure"]: row
                for row in rows
                if (row["fold"], row["model"], row["class_id"]) == (record["fold"], model, "*")
            }
            for side in ("common", "counter"):
                one = here[f"macro_accuracy_{side}"]
                smooth[model, side] = (one["n"] * one["value"] + 0.5) / (one["n"] + 1)
            assert here[FIGURE]["n"] == here["macro_drop"]["n"]
            assert here[FIGURE]["n_effective"] == here["macro_drop"]["n_effective"]
            assert here[FIGURE]["low"] < here[FIGURE]["value"] < here[FIGURE]["high"]
        x, y = (logit([smooth[model, side] for model in NAMES]) for side in ("common", "counter"))
        line = linregress(x, y)
        assert (record["slope"], record["intercept"]) == pytest.approx((line.slope, line.intercept))
        for row in (row for row in rows if (row["fold"], row["figure"]) == (record["fold"], FIGURE)):
            pair = [smooth[row["model"], side] for side in ("common", "counter")]
            assert row["value"] == pytest.approx(pair[1] - expit(line.intercept + line.slope * logit(pair[0])))
    assert {record["fold"] for record in found.records} == {"report", "select", "all"}


@pytest.mark.case("I13")
@pytest.mark.parametrize(
    ("names", "changes", "said"),
    [
        (NAMES[:4], {}, "took no part in the choice: 4, families: 2; needed are 5 of 2"),
        (tuple(f"resnet{n}" for n in (18, 34, 50, 101, 152)), {}, "5, families: 1;"),
        (NAMES, {"lineage": ["efficientnet-lite2"]}, "4, families: 3;"),
        (NAMES, {"family": "clip"}, "4, families: 3;"),
    ],
    ids=["four models", "one family", "a relative of the selector", "not an ImageNet model"],
)
def test_too_few_models_are_said_and_give_no_figure(
    release: Release, names: tuple[str, ...], changes: dict[str, Any], said: str
) -> None:
    """Four models, one family, or five of which one shares the selector's weights: not enough models, with the count."""
    predictions = answers(release, {name: 0.4 + 0.1 * place for place, name in enumerate(names)})
    first = identity(names[0], **changes)
    found = robustness(release, predictions, [first, *map(identity, names[1:])])
    assert found.rows == []
    assert {record["status"] for record in found.records} == {"not enough models"}
    assert all(said in record["why"] for record in found.records)


def test_equal_accuracies_are_said(release: Release) -> None:
    """Five models that know everything have one common accuracy: no line, and a sentence instead of a division by zero."""
    predictions = answers(release, dict.fromkeys(NAMES, 1.0))
    found = robustness(release, predictions, list(map(identity, NAMES)))
    assert found.rows == []
    assert all("the same accuracy on the common group" in record["why"] for record in found.records)


def test_the_papers_models_draw_the_line_on_the_imported_original_alone(release: Release) -> None:
    """There one model is enough: the printed 15 draw the line. Once all 15 are evaluated, their own answers do."""
    manifest = release.manifest | {
        "name": ORIGINAL,
        "splits": [item | {"rule": item["rule"] | {"rule": "paper"}} for item in release.manifest["splits"]],
    }
    original = replace(release, manifest=manifest)
    specs = sorted(printed_models("torchvision:"))
    chances = {spec: 0.4 + 0.03 * place for place, spec in enumerate(specs)} | {"clip": 0.7}
    identities = [identity(spec) for spec in specs] + [identity("clip", family="clip")]
    predictions = answers(original, chances)
    alone = predictions.filter(pc.equal(predictions.column("model"), "clip"))
    (record,) = robustness(original, alone, identities[-1:]).records
    (row,) = robustness(original, alone, identities[-1:]).rows
    assert (record["from"], record["models"], record["fold"], record["status"]) == ("the paper", specs, "all", "line")
    assert {point["model"] for point in record["points"] if point["draws_line"]} == set(specs)
    assert row["low"] < row["value"] < row["high"]
    (whole,) = robustness(original, predictions, identities).records
    assert (whole["from"], whole["models"]) == ("evaluated", specs)
    assert whole["slope"] != record["slope"]
    (elsewhere, *_) = robustness(release, alone, identities[-1:]).records
    assert elsewhere["status"] == "not enough models"


@pytest.mark.parametrize(
    ("name", "family"),
    [("resnet50.tv_in1k", "resnet"), ("torchvision vit_b_32", "vit"), ("tf_efficientnet_lite0", "efficientnet"),
     ("convnext_base", "convnext"), ("torchvision:resnext50_32x4d", "resnext"), ("7b", "7b")],
)  # fmt: skip
def test_families_are_read_from_names(name: str, family: str) -> None:
    """What timm and torchvision call an architecture begins with its family."""
    assert architecture_family(name) == family
