"""Other prompts in the step that chooses pairs: all 80 templates, over every ImageNet class, by a model that reads words."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from counteranimal.discovery import choose_pairs
from counteranimal.evaluate import engine
from counteranimal.evaluate.engine import Labels, predict
from counteranimal.recipe import Recipe, SensitivityRules
from counteranimal.settings import load_settings
from counteranimal.steps import splitting
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace
from tests.fakes.small_workspace import MODEL, build
from tests.fakes.word_model import WordModel

OTHER = f"{MODEL} (openai80)"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> WordModel:
    """The selector, whoever loads it."""
    found = WordModel(spec=MODEL)
    for module in (engine, splitting):
        monkeypatch.setattr(module, "load_model", lambda *_, **__: found)
    return found


def chosen(workspace: Workspace, recipe: Recipe, labels: Labels, run: Run) -> list[dict[str, object]]:
    """The pairs that the same model's answers under other labels lead to, from scratch."""
    pool = workspace.table("pool")
    answers = predict(
        MODEL, splitting.photo_set(run, pool), labels, settings=run.settings, store=workspace.home / "apart"
    )
    return choose_pairs(pool, answers, recipe.splits[0], recipe.vocabulary()).to_pylist()


def test_eighty_templates_are_tried_beside_the_one_and_change_no_published_pair(
    model: WordModel, tmp_path: Path, now: datetime
) -> None:
    """The table has a row of its own for them, with the pairs that their answers choose; prompts are read once."""
    small = build(tmp_path / "home")
    small.workspace.journal.append(
        "candidates", [{"candidate_id": "sample:000", "seen_at": now}]
    )  # a journal that has begun
    plain = small.recipe
    both = plain.model_copy(update={"sensitivity": SensitivityRules(templates=("openai80",))})
    settings = load_settings(cache=tmp_path / "cache", device="cpu", workers=1, free_space_floor_mb=0)
    run, without = (Run(recipe=each, workspace=small.workspace, settings=settings, now=now) for each in (both, plain))

    rows = splitting.splits(without).counts["sensitivity"]["first"]
    published = small.workspace.table("pairs")
    assert OTHER not in {row["selector"] for row in rows}
    assert model.texts_read == 1000

    told = splitting.splits(run).counts["sensitivity"]["first"]
    assert model.texts_read == 81_000
    assert small.workspace.table("pairs").equals(published)
    assert [row for row in told if row["selector"] == MODEL] == rows
    (row,) = (row for row in told if row["selector"] == OTHER)
    expected = chosen(small.workspace, plain, Labels(templates="openai80", protocols=("1v1000",)), run)
    drops = [pair["drop_report"] for pair in expected if pair["status"] == "pair"]
    assert row["pairs"] == len(drops)
    assert row["drop_report"] == (pytest.approx(sum(drops) / len(drops)) if drops else None)
    assert model.texts_read == 81_000
