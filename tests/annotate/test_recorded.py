"""Labellings that were made elsewhere become votes."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from counteranimal import tables
from counteranimal.annotate.agreement import agreement
from counteranimal.annotate.recorded import pull_recorded, read_recorded
from counteranimal.annotate.verdicts import verdicts
from counteranimal.errors import UsageError
from counteranimal.workspace import Workspace
from tests.fakes.photo_pool import a_recipe

HEADER = "sha256,background_1,flags_1,background_2,flags_2"


def table(path: Path, *lines: str) -> Path:
    file = path / "labels.csv"
    file.write_text("\n".join([HEADER, *lines]) + "\n")
    return file


def test_both_labellings_become_votes(workspace: Workspace, pool: list[str], tmp_path: Path, now: datetime) -> None:
    """Words and flags are mapped, a drawing is unusable, a photo that is not in the store is counted."""
    file = table(
        tmp_path,
        f"{pool[0]},grass,none,grass,person_visible;blurry",
        f"{pool[1]},plain,drawing_or_statue,plain,drawing_or_statue",
        f"{'f' * 64},sand,none,sand,none",
    )
    made = pull_recorded(a_recipe(), workspace, file, mapping="shared", round_id="shared", now=now)
    assert (made["photos"], made["votes"], made["new"], made["not_kept"]) == (2, 4, 4, 1)
    assert made["workers"] == ["labelling-1", "labelling-2"]
    counts = verdicts(a_recipe(), workspace)
    assert counts == {"photos": 2, "ok": 1, "unanimous": 1, "unusable": 1, "votes": 4}
    row = next(row for row in workspace.table("verdicts").to_pylist() if row["photo_id"] == pool[0])
    assert (row["background"], row["inclusion_probability"], row["codes"]) == (
        "grass",
        1.0,
        ["hand_or_body", "not_clear"],
    )


def test_reading_twice_adds_nothing_and_a_correction_supersedes(
    workspace: Workspace, pool: list[str], tmp_path: Path, now: datetime
) -> None:
    """The same file brings no rows; a changed word brings one, and only the last form counts."""
    file = table(tmp_path, f"{pool[0]},grass,none,grass,none")
    pull_recorded(a_recipe(), workspace, file, mapping="shared", round_id="shared", now=now)
    assert pull_recorded(a_recipe(), workspace, file, mapping="shared", round_id="shared", now=now)["known"] == 2
    changed = table(tmp_path, f"{pool[0]},grass,none,sand,none")
    made = pull_recorded(a_recipe(), workspace, changed, mapping="shared", round_id="shared", now=now)
    assert (made["edited"], made["known"]) == (1, 1)
    assert verdicts(a_recipe(), workspace)["no_majority"] == 1
    assert len(workspace.journal.rows("votes")) == 3


@pytest.mark.parametrize(
    "case",
    [
        ("{0},lawn,none,grass,none", r"line 3: unknown background 'lawn'"),
        ("{0},grass,happy,grass,none", r"line 3: unknown flag 'happy'"),
        ("nothing,grass,none,grass,none", r"line 3: 'nothing' is no sha256"),
        ("{0},grass,none,gra", r"line 3: not as many fields as columns; the file is cut short"),
        ("{0},grass,none,grass,none,more", r"line 3: not as many fields as columns"),
    ],
)
@pytest.mark.case("F16")
def test_a_line_that_cannot_be_read_whole_is_refused_with_its_number(
    case: tuple[str, str], workspace: Workspace, pool: list[str], tmp_path: Path, now: datetime
) -> None:
    """No word is guessed, and nothing of the file enters."""
    file = table(tmp_path, f"{pool[0]},grass,none,grass,none", case[0].format(pool[1]))
    with pytest.raises(UsageError, match=case[1]):
        pull_recorded(a_recipe(), workspace, file, mapping="shared", round_id="shared", now=now)
    assert workspace.journal.rows("votes") == []


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    """A CSV of something else is named as such, and a missing file too."""
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="needs the columns"):
        read_recorded(other, mapping="shared")
    with pytest.raises(UsageError, match="cannot be read"):
        read_recorded(tmp_path / "none.csv", mapping="shared")


@pytest.mark.shared
def test_the_shared_labellings_pass_the_gate(
    shared_data: Path, workspace: Workspace, now: datetime, rng: np.random.Generator
) -> None:
    """The two labellings of the shared photos agree on 271 of 285, alpha 0.94 or so; the gate passes."""
    file = shared_data / "photos" / "backgrounds.csv"
    photos = sorted({row.photo_id for row in read_recorded(file, mapping="shared")})
    rows = [{"photo_id": name, "candidate_ids": ["folder:x"], "class_id": "cat", "status": "ok"} for name in photos]
    workspace.write_table("photos", tables.conform("photos", rows))
    workspace.write_table("clusters", tables.conform("clusters", [{"photo_id": name, "kept": True} for name in photos]))
    pull_recorded(a_recipe(), workspace, file, mapping="shared", round_id="shared", now=now)
    figures = agreement(a_recipe(), workspace, rng=rng)
    assert figures["background"]["raw"] == pytest.approx(271 / 285)
    assert figures["background"]["alpha"] == pytest.approx(0.94, abs=0.02)
    assert figures["gate"] == "pass"
    assert Counter(verdicts(a_recipe(), workspace))["photos"] == len(photos)
