"""The two recorded labellings of the shared photos, taken through a whole round on a real Label Studio.

Decides nothing new: a round is planned for two people over every labelled photo, pushed, answered through the server's API with what
each labelling says (first all of one, then all of the other, each in a project of its own), pulled, measured, judged, and its
disagreements queued for a third person. Prints the figures as Markdown; `--into PAGE` writes them between the page's two marks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from counteranimal import tables
from counteranimal.annotate.adjudicate import adjudicate
from counteranimal.annotate.agreement import agreement
from counteranimal.annotate.answers import to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, push
from counteranimal.annotate.recorded import RecordedRow, read_recorded
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.server import down, running, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.annotate.verdicts import verdicts
from counteranimal.recipe import AnnotateRules, Recipe, RecipeClass, SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.shared_photos import FOLDER, labelled

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MARKS = ("<!-- figures of bench/annotate_real_votes.py -->", "<!-- end of figures -->")
SETS = {"pets": 281, "wikimedia": 292}
RECIPE = Recipe(
    name="real-votes",
    classes=tuple(RecipeClass(id=name, name="animal", imagenet=(index,)) for name, index in SETS.items()),
    sources=(SourceSpec(name="folder", kind="folder"),),
    annotate=AnnotateRules(gold=0),
)


def _link(photo_id: str) -> str:
    return f"http://127.0.0.1:8182/photos/{photo_id}"


def _fill(workspace: Workspace, every: int) -> dict[str, str]:
    """Enter the labelled photos as kept ones and return photo id -> file."""
    photos = labelled(every=every)
    rows = [
        {"photo_id": item.photo_id, "candidate_ids": [f"folder:{item.path.name}"], "class_id": item.path.parent.name,
         "fold_unit": item.photo_id, "status": "ok"} for item in photos
    ]  # fmt: skip
    clusters = [
        {"photo_id": item.photo_id, "cluster": item.photo_id, "kept": True, "reason": "unique"} for item in photos
    ]
    workspace.write_table("photos", tables.conform("photos", rows))
    workspace.write_table("clusters", tables.conform("clusters", clusters))
    return {item.photo_id: item.path.name for item in photos}


def _answer(studio: LabelStudioServer, workspace: Workspace, recorded: Mapping[str, RecordedRow]) -> None:
    planned = load_round(workspace.journal, "r1")
    if planned.page is None:
        raise SystemExit("the round has no page")
    for worker in planned.workers:
        project = studio.find_project(project_key(planned, worker))
        for task in list(studio.tasks(project or 0, answers=False)):
            answer = recorded[str(task.data["photo_id"])].answers[worker]
            studio.annotate(task.task_id, to_result(answer, planned.page.offered), seconds=6.0)


def _confusion(recorded: Mapping[str, RecordedRow], photos: Mapping[str, str]) -> list[str]:
    """Return a Markdown table: rows by the first labelling, columns by the second."""
    pairs = Counter(tuple(answer.background for answer in recorded[name].answers.values()) for name in photos)
    words = sorted({word for pair in pairs for word in pair})
    lines = [f"| first \\ second | {' | '.join(words)} |", f"|---|{'--:|' * len(words)}"]
    lines += [f"| {a} | {' | '.join(str(pairs[a, b] or '·') for b in words)} |" for a in words]
    return lines


def _told(figures: Mapping[str, Any], judged: Mapping[str, Any]) -> list[str]:
    lines = [
        "| question | alpha | 95 % interval | raw agreement | 95 % interval | photos |",
        "|---|--:|---|--:|---|--:|",
    ]
    for name in ("background", "usable"):
        own = figures[name]
        alpha = "undefined" if own["alpha"] is None else f"{own['alpha']:.3f}"
        spread = "" if own["low"] is None else f"{own['low']:.3f} to {own['high']:.3f}"
        lines.append(
            f"| {name} | {alpha} | {spread} | {own['raw']:.3f} | {own['raw_low']:.3f} to {own['raw_high']:.3f} | {own['n_photos']} |"
        )
    (pair,) = figures["pairs"]
    lines += ["", f"Cohen's kappa of the background is {pair['kappa']:.3f} ({pair['low']:.3f} to {pair['high']:.3f}). Gate: {figures['gate']}, {figures['why']}.",
              "Verdicts: " + ", ".join(f"{name} {number}" for name, number in judged.items()) + ".", ""]  # fmt: skip
    lines += ["| code | positive agreement | 95 % interval | raw | ticked |", "|---|--:|---|--:|--:|"]
    for code, own in figures["codes"].items():
        spread = "" if own["low"] is None else f"{own['low']:.2f} to {own['high']:.2f}"
        lines.append(f"| {code} | {own['positive']:.2f} | {spread} | {own['raw']:.3f} | {own['n_yes']} |")
    return lines


def main() -> None:
    """Run the round and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="every sixth photo")
    parser.add_argument("--into", type=Path, help="a page with the two marks, whose figures are replaced")
    given = parser.parse_args()
    recorded = {row.photo_id: row for row in read_recorded(FOLDER / "backgrounds.csv", mapping="shared")}
    venv = Path(__file__).resolve().parents[1] / ".venv-label-studio"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        workspace = Workspace(place / "home")
        photos = _fill(workspace, 6 if given.quick else 1)
        server = up(Settings(home=place, label_studio_venv=venv), place / "server")
        try:
            lines = _round(workspace, LabelStudioServer(server.url, server.token), recorded, photos)
        finally:
            if running(server.data_dir):
                down(server.data_dir)
    text = "\n".join(lines)
    print(text)
    if given.into:
        page = given.into.read_text(encoding="utf-8")
        before, _, rest = page.partition(MARKS[0])
        _, found, after = rest.partition(MARKS[1])
        if not found:
            raise SystemExit(f"{given.into} lacks the marks {MARKS[0]} and {MARKS[1]}")
        given.into.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def _round(
    workspace: Workspace, studio: LabelStudioServer, recorded: Mapping[str, RecordedRow], photos: Mapping[str, str]
) -> list[str]:
    people = ["labelling-1", "labelling-2"]
    plan(RECIPE, workspace, round_id="r1", workers=people, now=NOW, rng=np.random.default_rng(1))
    push(RECIPE, workspace, studio, round_id="r1", link=_link, now=NOW)
    _answer(studio, workspace, recorded)
    pulled = pull(workspace, studio, round_id="r1", now=NOW)
    judged = verdicts(RECIPE, workspace)
    figures = agreement(RECIPE, workspace, rng=np.random.default_rng(1), round_id="r1")
    queued = adjudicate(RECIPE, workspace, studio, round_id="r1", adjudicator="dora", link=_link, now=NOW)
    waiting = [item.photo_id for item in load_round(workspace.journal, queued["round"]).assignments["dora"]]
    queue = [
        f"| {photos[name]} | " + " | ".join(
            f"{answer.background}{'' if answer.usable else ' (reject)'}" for answer in recorded[name].answers.values()
        ) + " |"
        for name in sorted(waiting, key=lambda name: photos[name])
    ]  # fmt: skip
    return [
        f"{len(photos)} photos, {pulled['counted']} votes pulled from the server, {queued['queued']} photos queued for adjudication.",
        "", *_told(figures, judged), "", *_confusion(recorded, photos), "",
        "| queued photo | first | second |", "|---|---|---|", *queue,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
