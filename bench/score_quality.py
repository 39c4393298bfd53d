"""How often a quality proposal is wrong, against the shared flags: `python bench/score_quality.py`.

Decides which flag answers to which proposal, and that a photo counts as flagged where either labelling says so. Each half of
the photos is printed by itself: the limits (`counteranimal.score.quality.LIMITS`) were set on the tuning half. Where a flag occurs
less than five times in a half, its figures are printed and mean little. Exposure has no flag and cannot be measured here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from counteranimal.images import grey_thumbnail
from counteranimal.score.quality import LIMITS, SIDE, content_of, proposals, quality_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds
from bench.shared_photos import Labelled, features, interval, labelled, stand_in

FLAGS: dict[str, tuple[str, ...]] = {
    "blurred": ("blurry",),
    "several_animals": ("multiple_animals",),
    "person_visible": ("person_visible",),
    "text_or_drawing": ("text_or_watermark", "drawing_or_statue"),
    "animal_small": ("animal_small",),
}


def measures_of(photos: list[Labelled], store: Path) -> list[dict[str, Any]]:
    """Return each photo's measures, as the table `scores` has them."""
    reader = stand_in().scene_reader()
    seen = reader.seen(features(photos, reader, "whole", store))
    return [
        {
            **quality_of(grey_thumbnail(photo.path.read_bytes(), least_side=SIDE))._asdict(),
            **content_of(animal, objects)._asdict(),
        }
        for photo, animal, objects in zip(photos, *seen, strict=True)
    ]


def flagged(photo: Labelled, name: str) -> bool:
    """Say whether either labelling has a flag that answers to the proposal."""
    return any(set(FLAGS[name]) & own for own in photo.flags)


def _row(name: str, half: str, inside: list[tuple[Labelled, Mapping[str, Any]]]) -> list[str]:
    limit = LIMITS[name]
    true = np.array([flagged(photo, name) for photo, _ in inside])
    said = np.array([name in proposals(found) for _, found in inside])
    value = np.array([found[limit.measure] for _, found in inside]) * (1 if limit.above else -1)
    return [
        name,
        half,
        interval(int((said & true).sum()), int(true.sum())),
        interval(int((said & ~true).sum()), int((~true).sum())),
        interval(int((said & true).sum()), int(said.sum())),
        f"{_area(value, true):.2f}" if true.any() else "-",
    ]


def _area(value: Any, true: Any) -> float:
    """Return the area under the ROC curve: how often a flagged photo ranks before one that is not."""
    n = int(true.sum())
    return float((rankdata(value)[true].sum() - n * (n + 1) / 2) / (n * (true.size - n)))


def main() -> None:
    """Print the table and a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="every fourth photo: shows that it runs, and no more")
    parser.add_argument("--store", type=Path, help="keep features here between runs")
    given = parser.parse_args()
    photos = labelled(every=4 if given.quick else 1)
    with tempfile.TemporaryDirectory() as folder:
        seconds, measured = cpu_seconds(lambda: measures_of(photos, given.store or Path(folder)))
    print(f"{len(photos)} photos, {seconds:.0f} CPU s\n")
    columns = ("proposal", "half", "found of flagged", "false of unflagged", "flagged of proposed", "ranking (AUC)")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    areas = {}
    for name in FLAGS:
        for half, tuned in (("tuning", True), ("reporting", False)):
            inside = [pair for pair in zip(photos, measured, strict=True) if pair[0].tuned == tuned]
            row = _row(name, half, inside)
            areas[name, half] = row[-1]
            print(f"| {' | '.join(row)} |")
    print()
    for name in FLAGS:
        if (area := areas[name, "reporting"]) != "-":
            print(Figure(f"quality_ranking_{name}", float(area), None, 0.7, "higher").line())


if __name__ == "__main__":
    main()
