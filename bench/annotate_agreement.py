"""Agreement with all intervals on 100,000 votes, in CPU seconds: journal read, votes counted, every figure with its bootstrap.

Decides the size: 50,000 photos of 45 classes, two votes each by five people; `--quick` a tenth. The peer computes one number of the
many: krippendorff's alpha of the background question, without an interval; it is there to show that ours is the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import krippendorff
import numpy as np

from counteranimal import tables
from counteranimal.annotate.agreement import agreement
from counteranimal.annotate.coefficients import count_values
from counteranimal.annotate.plan import plan
from counteranimal.annotate.rounds import load_round
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, backgrounds
from counteranimal.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds

CLASSES = 45
PEOPLE = ["anna", "ben", "cleo", "dora", "emil"]
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ERRS = 0.08


def _recipe() -> Recipe:
    classes = tuple(RecipeClass(id=f"class-{i:02d}", name=f"class {i}", imagenet=(i,)) for i in range(CLASSES))
    return Recipe(name="bench", classes=classes, sources=(SourceSpec(name="folder", kind="folder"),))


def _fill(workspace: Workspace, recipe: Recipe, number: int) -> None:
    """Plan a round over made-up photos and let everybody answer: right but for `ERRS`, a code in a twentieth of the votes."""
    names = [f"{index * 2654435761 % 2**64:064x}" for index in range(number)]
    photos = [
        {"photo_id": name, "candidate_ids": [f"folder:{index}"], "class_id": f"class-{index % CLASSES:02d}", "fold_unit": name,
         "status": "ok"} for index, name in enumerate(names)
    ]  # fmt: skip
    clusters = [{"photo_id": name, "cluster": name, "kept": True, "reason": "unique"} for name in names]
    workspace.write_table("photos", tables.conform("photos", photos))
    workspace.write_table("clusters", tables.conform("clusters", clusters))
    rng = np.random.default_rng(1)
    plan(recipe, workspace, round_id="r1", workers=PEOPLE, now=NOW, rng=rng)
    words = [word for word, item in backgrounds().items() if item.decides]
    truth = {name: int(word) for name, word in zip(names, rng.integers(len(words), size=number), strict=True)}
    rows = [
        {
            "annotation_id": f"r1:{worker}:{item.photo_id}", "round": "r1", "photo_id": item.photo_id, "worker": worker,
            "background": words[(truth[item.photo_id] + (rng.random() < ERRS)) % len(words)], "usable": bool(rng.random() > 0.1),
            "codes": ["text_or_watermark"] if rng.random() < 0.05 else [], "seconds": 6.0, "shown": False, "gold": False,
            "answered_at": NOW, "status": "counted",
        }
        for worker, own in load_round(workspace.journal, "r1").assignments.items() for item in own
    ]  # fmt: skip
    workspace.journal.append("votes", rows)


def main() -> None:
    """Fill a workspace, measure, and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="10,000 votes instead of 100,000; not extrapolated")
    number = 5_000 if parser.parse_args().quick else 50_000
    recipe = _recipe()
    with tempfile.TemporaryDirectory() as place:
        workspace = Workspace(Path(place))
        _fill(workspace, recipe, number)
        ours, figures = cpu_seconds(lambda: agreement(recipe, workspace, rng=np.random.default_rng(1), round_id="r1"))
        by_photo: dict[str, list[str]] = {}
        for row in workspace.journal.rows("votes"):
            by_photo.setdefault(row["photo_id"], []).append(row["background"])
    counts = count_values(by_photo.values())
    peer, alpha = cpu_seconds(lambda: krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    told = figures["background"]
    print(
        f"alpha {told['alpha']:.6f} [{told['low']:.4f}, {told['high']:.4f}], krippendorff {alpha:.6f} in {peer:.2f} s without interval"
    )
    print(Figure(f"agreement_cpu_s_{2 * number}_votes", ours, None, 10.0, "lower").line())


if __name__ == "__main__":
    main()
