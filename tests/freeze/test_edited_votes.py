"""What people change on the labelling server after a freeze reaches the next release and leaves the frozen one alone."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counteranimal import tables
from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import push
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.verdicts import verdicts
from counteranimal.discovery import group_figures
from counteranimal.freeze.draft import draft
from counteranimal.freeze.sign import keygen
from counteranimal.freeze.write import write_release
from counteranimal.release.read import open_release
from counteranimal.release.sums import digest_of_file
from counteranimal.release.verify import verify
from tests.fakes.label_studio import FakeStudio
from tests.fakes.small_workspace import Small, build


def voted_on(small: Small, studio: FakeStudio, now: datetime) -> None:
    """Let two people say of every photo what the workspace was built with, and judge."""
    built = {row["photo_id"]: row for row in small.workspace.table("verdicts").to_pylist()}
    recipe = small.recipe
    rng = np.random.default_rng(1)
    plan(recipe, small.workspace, round_id="r1", workers=["anna", "ben"], now=now, rng=rng)
    push(recipe, small.workspace, studio, round_id="r1", link=str, now=now)
    page = load_round(small.workspace.journal, "r1").page
    assert page is not None
    for own in studio.by_project.values():
        for task in list(own):
            said = built.get(str(task.data["photo_id"]), {"background": "grass", "usable": False})
            answer = Answer(said["background"], usable=said["usable"])
            studio.annotate(task.task_id, to_result(answer, page.offered), seconds=1.0)
    judged(small, studio, now)


def judged(small: Small, studio: FakeStudio, now: datetime) -> dict[str, Any]:
    """Pull and judge, and let the pool and the splits follow the verdicts as a rebuild does; return what the pull said."""
    pulled = pull(small.workspace, studio, round_id="r1", now=now)
    verdicts(small.recipe, small.workspace)
    words = {row["photo_id"]: row for row in small.workspace.table("verdicts").to_pylist()}
    for name in ("pool", "splits"):
        rows = [
            {**row, "background": words[row["photo_id"]]["background"]}
            for row in small.workspace.table(name).to_pylist()
        ]
        if name == "pool":
            rows = [{**row, "inclusion_probability": words[row["photo_id"]]["inclusion_probability"]} for row in rows]
        small.workspace.write_table(name, tables.conform(name, rows))
    predictions, pool, splits = (small.workspace.table(name) for name in ("predictions", "pool", "splits"))
    small.workspace.write_table("groups", group_figures(splits, predictions, pool, small.recipe.splits))
    return pulled


def digests(folder: Path) -> dict[str, str]:
    return {path.name: digest_of_file(path)[0] for path in sorted(folder.iterdir())}


@pytest.mark.case("F13")
def test_a_vote_edited_after_the_freeze_changes_the_next_release_only(tmp_path: Path, now: datetime) -> None:
    """Two people correct one photo from grass to sky: the frozen release keeps its bytes and verifies, the next says sky."""
    small, studio = build(tmp_path / "home"), FakeStudio()
    voted_on(small, studio, now)
    private, public = keygen(tmp_path / "keys")
    first = write_release(draft(small.recipe, small.workspace, small.terms), tmp_path / "releases", private_key=private)
    before = digests(first)
    entries = open_release(first).entries.to_pylist()
    photo = next(row["photo_id"] for row in entries if row["background"] == "grass" and row["class_id"] == "otter")
    page = load_round(small.workspace.journal, "r1").page
    assert page is not None
    for project in studio.projects:
        annotation = studio.task_of(photo, project).annotations[0]
        studio.edit(annotation.annotation_id, to_result(Answer("sky"), page.offered))
    assert judged(small, studio, now)["edited"] == 2
    terms = dataclasses.replace(small.terms, version="2.0.0", predecessor="1.0.0")
    second = write_release(draft(small.recipe, small.workspace, terms), tmp_path / "releases", private_key=private)
    assert digests(first) == before
    assert verify(first, public_key=public).ok
    changed = [
        (old["photo_id"], old["background"], new["background"])
        for old, new in zip(entries, open_release(second).entries.to_pylist(), strict=True)
        if old["background"] != new["background"]
    ]
    assert changed == [(photo, "grass", "sky")]
