"""Scoring that is started again and again in a fork of one warm process, and is killed where it is told to.

`killed_score.py FOLDER PHOTOS KILLS` scores generated photos once in peace, and for each kill in a child that sends itself SIGKILL
at a moment (before or after a write of a table or part, or a batch that the model saw; the moments are spread evenly over the
whole work) and then once more. It prints one JSON line. Step, store and parts are the real ones; the model is small.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.models import embeddings
from counteranimal.score import run as score_run
from counteranimal.settings import load_settings
from counteranimal.workspace import Workspace
from tests.fakes.scoring import filled, noise, recipe
from tests.fakes.tiny_model import TinyModel

SETTINGS = load_settings(batch_size=4, workers=1, device="cpu")
RECIPE = recipe("efficientnet-lite0")


class Moments:
    """Counts moments of the work, and ends the process at the one it is told."""

    def __init__(self, fatal: int | None = None) -> None:
        self.count, self.fatal = 0, fatal

    def pass_by(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self.pass_by()
            found = work(*arguments, **named)
            self.pass_by()
            return found

        return watched


def score(workspace: Workspace, moments: Moments) -> None:
    """Score a workspace with every moment counted."""
    write, model = tables.write, TinyModel()
    model.features = moments.around(model.features)  # type: ignore[method-assign]
    score_run.load_model = lambda *_, **__: model  # type: ignore[assignment]
    tables.write = moments.around(write)
    try:
        score_run.score(RECIPE, workspace, settings=SETTINGS)
    finally:
        tables.write = write


def killed(home: Path, fatal: int) -> bool:
    """Score in a child that dies at a moment; say whether it did, or was done before."""
    child = os.fork()
    if child == 0:
        score(Workspace(home), Moments(fatal))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def stored(workspace: Workspace) -> list[str]:
    """Return the photo of every row of every part, of features and of measures."""
    paths = sorted((workspace.home / "tables").rglob("part-*.parquet"))
    return [name for path in paths for name in pq.read_table(path, columns=["photo_id"]).column(0).to_pylist()]


def main(folder: Path, number: int, kills: int) -> None:
    """Do all of it and print what became of the photos."""
    embeddings.PART = 16
    filled(folder / "untouched", [noise(seed) for seed in range(number)])
    shutil.copytree(folder / "untouched", folder / "peace")
    peace, moments = Workspace(folder / "peace"), Moments()
    score(peace, moments)
    told = {"died": 0, "photos": number, "twice": 0, "lost": 0, "same": 0}
    for fatal in np.linspace(1, moments.count, kills).round().astype(int).tolist():
        home = folder / f"killed-{fatal}"
        shutil.copytree(folder / "untouched", home)
        told["died"] += killed(home, fatal)
        score(Workspace(home), Moments())
        rows = Counter(stored(Workspace(home)))
        told["lost"] += number - len(rows)
        told["twice"] += sum(count != 2 for count in rows.values())  # one feature, one measure
        told["same"] += Workspace(home).table_path("scores").read_bytes() == peace.table_path("scores").read_bytes()
        shutil.rmtree(home)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
