"""Releases of splits that discovery itself made: by class, one pair for all classes, and by the paper's rule."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from counteranimal.discovery import assign, choose_pairs, group_figures
from counteranimal.freeze.draft import draft
from counteranimal.freeze.write import write_release
from counteranimal.recipe import SplitRule
from counteranimal.release.read import open_release
from counteranimal.release.verify import verify
from tests.fakes.small_workspace import IDENTITY, build, terms

RULES = (
    SplitRule(name="by-class", n_min=1),
    SplitRule(name="pooled", unit="pool", n_min=2),
    SplitRule(name="paper", rule="paper", n_min=2),
    SplitRule(name="nothing", n_min=1000),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unsigned release with four splits, after a round that says its raters were simulated."""
    place = tmp_path_factory.mktemp("discovered")
    small = build(place / "home")
    workspace, recipe = small.workspace, small.recipe.model_copy(update={"splits": RULES})
    pool, predictions = workspace.table("pool"), workspace.table("predictions")
    classes = [item.id for item in recipe.classes]
    chosen = [choose_pairs(pool, predictions, rule, recipe.vocabulary(), classes) for rule in RULES]
    pairs = workspace.write_table("pairs", pa.concat_tables(chosen))
    splits = workspace.write_table("splits", assign(pool, pairs))
    workspace.write_table("groups", group_figures(splits, predictions, pool, RULES))
    at = datetime(2026, 11, 1, tzinfo=UTC)
    workspace.journal.append("rounds", [{"round": "one", "at": at, "event": "simulated", "content": {}}])
    made = draft(recipe, workspace, terms(selectors={rule.name: IDENTITY for rule in RULES}))
    return write_release(made, place / "releases")


def test_what_discovery_makes_verifies(folder: Path) -> None:
    """Groups, pairs and counts of all four rules pass the verifier, which counts them again in its own way."""
    report = verify(folder)
    assert report.problems == ()
    assert report.signature == "unsigned"
    assert len(open_release(folder).splits) == 4 * 40


def test_the_card_tells_the_rules_apart(folder: Path) -> None:
    """One pair for all classes, no pair at all, and pairs estimated on the photos that chose them are each said."""
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    assert "one pair for all classes" in card
    assert "| all | grass | water |" in card
    assert "No pair of backgrounds qualifies for 4 of 4: lion, ostrich, otter, zebra." in card
    assert "The pairs of the split paper were chosen and estimated on the same photos" in card


def test_simulated_raters_are_called_simulated(folder: Path) -> None:
    """Votes that programs entered are said to be such, in the card and in the manifest, without anybody asking for it."""
    said = [caveat for caveat in open_release(folder).manifest["caveats"] if "simulated raters" in caveat]
    assert len(said) == 1
    assert said[0].startswith("Votes of one come from simulated raters")
