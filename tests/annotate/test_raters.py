"""Simulated raters: named as such, repeatable, resumable."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import push
from counteranimal.annotate.raters import SimulatedRaters, answer_of, rate
from counteranimal.annotate.rounds import load_round
from counteranimal.errors import UsageError
from counteranimal.workspace import Workspace
from tests.fakes.label_studio import FakeStudio, Killed
from tests.fakes.photo_pool import a_recipe

WORKERS = ["simulated-1", "simulated-2"]
OFFERED = ["grass", "sand", "other", "mixed", "not_sure"]


def test_raters_err_at_their_rate() -> None:
    """One answer in ten is another background of the page, and an unknown truth is answered with not_sure."""
    raters = SimulatedRaters(lambda _: "grass", 0.1, "seed")
    words = [
        answer_of(raters, worker="simulated-1", photo_id=str(i), offered=OFFERED)[0].background for i in range(3000)
    ]
    assert set(words) == {"grass", "sand"}
    assert 0.08 < words.count("sand") / len(words) < 0.12
    blank = SimulatedRaters(lambda _: None, 0.0, "seed")
    assert answer_of(blank, worker="simulated-1", photo_id="1", offered=OFFERED)[0].background == "not_sure"


def test_an_interrupted_rehearsal_goes_on_with_the_same_answers(
    workspace: Workspace, pool: list[str], studio: FakeStudio, now: datetime, rng: np.random.Generator
) -> None:
    """Killed after an answer, the next run gives only the missing ones, and all are those of an undisturbed run."""
    recipe, raters = a_recipe(), SimulatedRaters(lambda _: "grass", 0.3, "seed")
    plan(recipe, workspace, round_id="r1", workers=WORKERS, now=now, rng=rng)
    push(recipe, workspace, studio, round_id="r1", link=str, now=now)
    studio.killed_after = {"annotate"}
    with pytest.raises(Killed):
        rate(workspace, studio, raters, round_id="r1", now=now)
    rate(workspace, studio, raters, round_id="r1", now=now)
    last = rate(workspace, studio, raters, round_id="r1", now=now)
    assert (last["answered"], last["known"], last["simulated"]) == (0, 24, True)
    pull(workspace, studio, round_id="r1", now=now)
    votes = workspace.journal.rows("votes")
    page = load_round(workspace.journal, "r1").page
    assert len(votes) == 24
    for row in votes:
        due, _ = answer_of(raters, worker=row["worker"], photo_id=row["photo_id"], offered=page.offered["background"])
        assert row["background"] == due.background
    assert workspace.journal.rows("rounds", event="simulated")[0]["content"]["error_rate"] == 0.3


def test_nobody_is_answered_for(
    workspace: Workspace, pool: list[str], studio: FakeStudio, now: datetime, rng: np.random.Generator
) -> None:
    """A round in which a person takes part cannot be simulated."""
    plan(a_recipe(), workspace, round_id="r1", workers=["simulated-1", "anna"], now=now, rng=rng)
    with pytest.raises(UsageError, match="'anna' is a person"):
        rate(workspace, studio, SimulatedRaters(lambda _: "grass", 0.0, "s"), round_id="r1", now=now)
