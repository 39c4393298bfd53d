"""A small release of the shared photos, one class a breed, for the benches of evaluation.

Decides how it is made: by the project's own steps, with the recorded labellings as votes and EfficientNet-Lite0 as selector, which
is the cheapest model there is. No breed has two backgrounds with enough photos, so that all of them lie in the group `other`,
and one run of a peer that evaluates group by group sees every photo.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.shared_photos import FOLDER
from counteranimal.recipe import load_recipe
from counteranimal.release.read import Release, open_release
from counteranimal.settings import load_settings
from counteranimal.steps import curation, publishing, rounds, splitting
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace

__all__ = ["small_release"]

RECIPE = Path(__file__).resolve().parents[1] / "data_manifest" / "recipes" / "breeds.toml"


def small_release(home: Path, *, classes: int | None = None) -> tuple[Release, Path]:
    """Return the release and the folder of its photos, made under `home` where they are not there yet.

    Parameters
    ----------
    home : Path
        Becomes a workspace.
    classes : int, optional
        Take only the first so many breeds.

    Exits with 4 where the shared photos are not beside the checkout.
    """
    if not FOLDER.is_dir():
        print(f"error: no shared photos at {FOLDER}; this bench needs them", file=sys.stderr)
        raise SystemExit(4)
    workspace = Workspace(home)
    recipe = load_recipe(_recipe(home, classes))
    settings = load_settings(home=home, device="cpu", workers=2, free_space_floor_mb=0)
    run = Run(recipe=recipe, workspace=workspace, settings=settings, now=datetime(2026, 1, 1, tzinfo=UTC))
    folder = publishing.release_of(run, "1.0.0")
    if not folder.is_dir():
        curation.crawl(run)
        curation.dedupe(run)
        rounds.pull_recorded(run, path=FOLDER / "backgrounds.csv", mapping="shared", round_id="recorded")
        splitting.verdicts(run)
        splitting.splits(run)
        publishing.freeze(run, version="1.0.0")
    return open_release(folder), home / "photos"


def _recipe(home: Path, classes: int | None) -> Path:
    head, *each = RECIPE.read_text(encoding="utf-8").split("[[classes]]")
    head = head.replace("../../../shared/data/photos", str(FOLDER))
    head = re.sub(r'selector = "stand-in"', 'selector = "efficientnet-lite0"', head)
    home.mkdir(parents=True, exist_ok=True)
    path = home / "breeds.toml"
    path.write_text("[[classes]]".join([head, *each[:classes]]), encoding="utf-8")
    return path
