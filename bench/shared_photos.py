"""The shared labelled photos, scored once for the benches of scoring: labels, flags, and what the stand-in makes of each photo.

Decides which photos count (each file's bytes once) and keeps features in a folder between runs, so that a second bench, or
a second run, costs no forward pass. Figures are left to the benches.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counteranimal.ids import photo_id_of
from counteranimal.models import load_model
from counteranimal.models.embeddings import embed, embedding_key
from counteranimal.recipe import background_mapping
from counteranimal.score.measure import may_tune_on
from counteranimal.settings import Settings, load_settings
from counteranimal.workspace import Parts

__all__ = ["FOLDER", "Labelled", "features", "interval", "labelled"]

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One photo: its file, both labellings' backgrounds (this project's words) and flags, and its ImageNet indices."""

    photo_id: str
    path: Path
    backgrounds: tuple[str, str]
    flags: tuple[frozenset[str], frozenset[str]]
    indices: frozenset[int]

    @property
    def tuned(self) -> bool:
        """Whether it belongs to the half that tuning may look at."""
        return may_tune_on(self.photo_id)


def labelled(*, every: int = 1) -> list[Labelled]:
    """Return the labelled photos by id, each once; with `every`, only each n-th of them.

    Exits with 4 where the shared folder is not beside the checkout.
    """
    if not FOLDER.is_dir():
        print(f"error: no shared photos at {FOLDER}; this bench needs them", file=sys.stderr)
        raise SystemExit(4)
    answers = {row["sha256"]: row for row in _rows("backgrounds.csv")}
    words = background_mapping("shared")
    found = {}
    for row in _rows("photos.csv"):
        answer, path = answers[row["sha256"]], FOLDER / row["set"] / row["file"]
        found[row["sha256"]] = Labelled(
            photo_id=photo_id_of(path.read_bytes()),
            path=path,
            backgrounds=(words[answer["background_1"]], words[answer["background_2"]]),
            flags=(frozenset(answer["flags_1"].split(";")), frozenset(answer["flags_2"].split(";"))),
            indices=frozenset(int(index) for index in row["imagenet_index"].split(";") if index),
        )
    return sorted(found.values(), key=lambda photo: photo.photo_id)[::every]


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def features(photos: list[Labelled], model: Any, view: str, store: Path) -> NDArray[np.float32]:
    """Return a model's features of the photos, in their order; those in `store` are not computed again."""
    paths = {photo.photo_id: photo.path for photo in photos}
    parts = Parts(store / embedding_key(model, view), "embeddings")
    found = embed(
        model, list(paths), read=lambda name: paths[name].read_bytes(), parts=parts, settings=settings(), view=view
    )
    if found.rejected:
        raise SystemExit(f"error: {len(found.rejected)} shared photos were turned away; compare them with photos.csv")
    return found.features


def settings() -> Settings:
    """Return settings for the processor, two decoding threads."""
    return load_settings(device="cpu", workers=2)


def stand_in() -> Any:
    """Return the stand-in; the only model of the kind that runs without a hub."""
    return load_model("stand-in", settings=settings())


def interval(right: int, n: int) -> str:
    """Return a share with its Wilson 95 % interval, as text."""
    from counteranimal.stats import wilson

    if n == 0:
        return "- (0)"
    low, high = wilson(right / n, n)
    return f"{right / n:.3f} [{low:.3f}, {high:.3f}] ({n})"
