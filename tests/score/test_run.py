"""Scoring and the preview on the real photos, held against two people's labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from counteranimal import tables
from counteranimal.errors import UsageError
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, SplitRule, background_mapping
from counteranimal.score.backgrounds import ABSTAIN_BELOW
from counteranimal.score.measure import may_tune_on, measure
from counteranimal.score.propose import preview
from counteranimal.score.quality import proposals
from counteranimal.score.run import score
from counteranimal.settings import Settings
from counteranimal.workspace import Blob, Workspace

pytestmark = [pytest.mark.model, pytest.mark.shared]


class Scored(NamedTuple):
    """A workspace after scoring, with what its step said and both labellings."""

    workspace: Workspace
    recipe: Recipe
    counts: dict[str, Any]
    labels: tuple[dict[str, str], dict[str, str]]


def _recipe() -> Recipe:
    return Recipe(
        name="shared",
        classes=(
            RecipeClass(id="dog", name="dog", imagenet=tuple(range(151, 269))),
            RecipeClass(id="cat", name="cat", imagenet=tuple(range(281, 286))),
        ),
        sources=(SourceSpec(name="photos", kind="folder"),),
        splits=(SplitRule(name="first", n_min=3),),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def scored(shared_data: Path, offline_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """The shared photos, two thirds of the tuning half left out to save time, scored by the stand-in."""
    folder, recipe = shared_data / "photos", _recipe()
    workspace = Workspace(tmp_path_factory.mktemp("scored"))
    listed = [row for row in _rows(folder / "photos.csv") if not may_tune_on(row["sha256"]) or row["sha256"][0] < "5"]
    ids = workspace.blobs.put_many([Blob((folder / row["set"] / row["file"]).read_bytes()) for row in listed])
    photos = {}
    for photo_id, row in zip(ids, listed, strict=True):
        indices = {int(index) for index in row["imagenet_index"].split(";") if index}
        named = [item.id for item in recipe.classes if indices & set(item.imagenet)]
        photos[photo_id] = {
            "photo_id": photo_id,
            "class_id": named[0] if named else "none",
            "fold_unit": photo_id,
            "status": "ok",
        }
    workspace.write_table("photos", tables.conform("photos", photos.values()))
    workspace.write_table("clusters", tables.conform("clusters", [{"photo_id": key, "kept": True} for key in photos]))
    words = background_mapping("shared")
    answers = _rows(folder / "backgrounds.csv")
    labels = tuple({row["sha256"]: words[row[f"background_{which}"]] for row in answers} for which in (1, 2))
    counts = score(recipe, workspace, settings=offline_settings)
    return Scored(workspace, recipe, counts, (labels[0], labels[1]))


def test_proposed_backgrounds_beat_the_majority_class(scored: Scored, capsys: pytest.CaptureFixture[str]) -> None:
    """On the half that nothing was tuned on, by ten points, against either labelling; both halves are printed."""
    proposed = {row["photo_id"]: _best(row) for row in scored.workspace.table("scores").to_pylist()}
    reported = []
    with capsys.disabled():
        print()
        for half, tuned in (("tuning half", True), ("reporting half", False)):
            for which, labels in enumerate(scored.labels, start=1):
                own = {photo_id: word for photo_id, word in labels.items() if may_tune_on(photo_id) == tuned}
                found = measure(proposed, own)
                print(f"stand-in backgrounds, {half}, labelling {which}: {found}")
                reported += [] if tuned else [found]
    for found in reported:
        assert found.n > 100
        assert found.accuracy > found.majority + 0.10
        assert found.macro_f1 > 0.3


def _best(row: dict[str, Any]) -> str:
    return str(row["vocabulary"].split(",")[int(np.argmax(row["probabilities"]))])


def test_every_photo_is_a_row_with_probabilities_and_quality(scored: Scored) -> None:
    """Probabilities in the vocabulary's order, the proposal the largest of them."""
    rows = scored.workspace.table("scores").to_pylist()
    assert scored.counts["photos"] == scored.counts["scored"] == scored.counts["new"] == len(rows)
    assert sum(scored.counts["backgrounds"].values()) == len(rows)
    assert scored.counts["backgrounds"]["not_sure"] > 0
    assert sum(scored.counts["proposals"].values()) == sum(len(row["proposals"]) for row in rows) > 0
    for row in rows:
        vocabulary = row["vocabulary"].split(",")
        assert vocabulary == list(scored.recipe.vocabulary())
        assert sum(row["probabilities"]) == pytest.approx(1.0, abs=1e-5)
        best = vocabulary[int(np.argmax(row["probabilities"]))]
        assert row["background"] == (best if row["confidence"] >= ABSTAIN_BELOW else "not_sure")
        assert row["confidence"] == max(row["probabilities"])
        assert 0 < row["animal_area"] < 1
        assert row["proposals"] == proposals(row)
        assert row["sharpness"] > 0
        assert 0 < row["brightness"] < 1


def test_scoring_again_computes_nothing_and_writes_the_same(scored: Scored, offline_settings: Settings) -> None:
    """Embeddings and quality are kept."""
    path = scored.workspace.table_path("scores")
    before = path.read_bytes()
    again = score(scored.recipe, scored.workspace, settings=offline_settings)
    assert again["new"] == 0
    assert path.read_bytes() == before


def test_the_preview_says_that_it_decides_nothing(scored: Scored, offline_settings: Settings) -> None:
    """Photos of the recipe's classes with machine background, right or wrong, and a proposed group."""
    workspace = scored.workspace
    few = workspace.table("photos").to_pylist()
    chosen = [row for row in few if row["class_id"] != "none"][:24]
    small = Workspace(workspace.home.parent / "preview")
    small.blobs.put_many([Blob(workspace.blobs.read(row["photo_id"])) for row in chosen])
    ids = {row["photo_id"] for row in chosen}
    small.write_table("photos", tables.conform("photos", chosen))
    small.write_table("clusters", tables.conform("clusters", [{"photo_id": key, "kept": True} for key in ids]))
    kept = [row for row in workspace.table("scores").to_pylist() if row["photo_id"] in ids]
    small.write_table("scores", tables.conform("scores", kept))
    counts = preview(scored.recipe, small, settings=offline_settings)
    rows = small.table("preview").to_pylist()
    assert "decide nothing" in counts["statement"]
    assert len(rows) == counts["photos"] == 24
    assert {row["group"] for row in rows} <= {"common", "counter", "other"}
    assert any(row["correct"] for row in rows)
    assert {row["background"] for row in rows} == {row["background"] for row in kept}
    assert {row["class_id"] for row in counts["pairs"]} == {"dog", "cat"}


def test_scoring_before_deduplication_names_the_missing_step(workspace: Workspace, offline_settings: Settings) -> None:
    """Instead of scoring duplicates."""
    with pytest.raises(UsageError, match=r"clusters is missing.*counteranimal dedupe"):
        score(_recipe(), workspace, settings=offline_settings)
