"""A round's draw: repeatable from the text it starts from, which is kept."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from counteranimal.annotate.rounds import load_round
from counteranimal.settings import Settings
from counteranimal.steps.rounds import Wishes, close, labelled_photos, plan
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace
from tests.fakes.photo_pool import a_recipe, fill


def drawn(home: Path, now: datetime, seed: str) -> tuple[set[str], str]:
    """Return the photos of a round of half the pool in a new workspace, and the seed that the plan tells."""
    workspace = Workspace(home)
    fill(workspace, 40)
    recipe = a_recipe(photos_per_cell=5)
    run = Run(recipe=recipe, workspace=workspace, settings=Settings(home=home), now=now)
    counts = plan(run, round_id="r1", workers=["anna", "ben"], wishes=Wishes(seed=seed)).counts
    again = plan(run, round_id="r1", workers=["anna", "ben"], wishes=Wishes(seed="another")).counts
    assert again["already"]
    assert again["seed"] == counts["seed"]
    return set(load_round(workspace.journal, "r1").photos), counts["seed"]


def test_a_seed_repeats_a_draw_and_is_kept(tmp_path: Path, now: datetime) -> None:
    """The same text draws the same photos, another one others; planning again tells the text that was drawn with."""
    first, told = drawn(tmp_path / "1", now, "spring")
    assert told == "spring"
    assert drawn(tmp_path / "2", now, "spring")[0] == first
    assert drawn(tmp_path / "3", now, "autumn")[0] != first


def test_people_are_shown_the_photos_of_open_rounds_and_gold_items(tmp_path: Path, now: datetime) -> None:
    """What the photo server may give out follows the journal: nothing, then everything dealt to anybody, then nothing."""
    workspace = Workspace(tmp_path)
    names = fill(workspace, 6)
    (workspace.folder("rounds") / "gold.csv").write_text(f"photo_id,background\n{names[0]},grass\n")
    run = Run(recipe=a_recipe(), workspace=workspace, settings=Settings(home=tmp_path), now=now)
    assert labelled_photos(run) == frozenset()
    plan(run, round_id="r1", workers=["anna", "ben"])
    assert labelled_photos(run) == frozenset(names)
    close(run, round_id="r1")
    assert labelled_photos(run) == frozenset()
