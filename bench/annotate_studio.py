"""Importing and reconciling 10,000 tasks on a real Label Studio: our CPU beside the server's, and the peak memory of a full pull.

Decides the size: 10,000 photos of one annotator, `--quick` 1,000. The peer of the import is the server itself, which answers the same
requests: CPU of both processes, ours with everything that a push does (search, links, journal). For the pull, a second round is
imported already answered, since answering 10,000 tasks one by one would measure nothing of ours; it runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from counteranimal import tables
from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.interface import interface
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import push
from counteranimal.annotate.server import StudioServer, down, running, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.recipe import AnnotateRules, Recipe, RecipeClass, SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds, run_apart

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RECIPE = Recipe(
    name="bench",
    classes=(RecipeClass(id="cat", name="cat", imagenet=(281,)),),
    sources=(SourceSpec(name="folder", kind="folder"),),
    annotate=AnnotateRules(votes_per_photo=1),
)


class _Answered(LabelStudioServer):
    """The server, given every task together with an answer."""

    def create_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        result = to_result(Answer("grass"), interface(RECIPE).offered)
        return super().create_tasks(
            project_id, [{**task, "annotations": [{"result": result, "lead_time": 6.0}]} for task in tasks]
        )


def _fill(workspace: Workspace, number: int) -> None:
    names = [f"{index * 2654435761 % 2**64:064x}" for index in range(number)]
    photos = [
        {"photo_id": name, "candidate_ids": [f"folder:{index}"], "class_id": "cat", "fold_unit": name, "status": "ok"}
        for index, name in enumerate(names)
    ]
    clusters = [{"photo_id": name, "cluster": name, "kept": True, "reason": "unique"} for name in names]
    workspace.write_table("photos", tables.conform("photos", photos))
    workspace.write_table("clusters", tables.conform("clusters", clusters))


def _link(photo_id: str) -> str:
    return f"http://127.0.0.1:8182/photos/{photo_id}?expires=2000000000&signature={photo_id}"


def _push(place: Path, name: str, number: int, studio: LabelStudioServer) -> float:
    """Return our CPU seconds of a push of a new round in a workspace of its own."""
    workspace = Workspace(place / name)
    _fill(workspace, number)
    plan(RECIPE, workspace, round_id="r1", workers=["anna"], now=NOW, rng=np.random.default_rng(1))
    cpu, made = cpu_seconds(lambda: push(RECIPE, workspace, studio, round_id="r1", link=_link, now=NOW))
    if made["tasks"] != number:
        raise SystemExit(f"{made['tasks']} tasks were made instead of {number}")
    return cpu


def _cpu_of(server: StudioServer) -> float:
    """Return the CPU seconds that the server's process has taken."""
    fields = Path(f"/proc/{server.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(home: Path, url: str, token_file: Path) -> None:
    studio = LabelStudioServer(url, token_file.read_text(encoding="utf-8").strip())
    started = time.monotonic()
    cpu, told = cpu_seconds(lambda: pull(Workspace(home), studio, round_id="r1", now=NOW))
    print(json.dumps({"cpu": cpu, "seconds": time.monotonic() - started, "new": told["new"]}))


def main() -> None:
    """Start a server, push and pull, and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="1,000 tasks instead of 10,000; not extrapolated")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        _work(Path(given.work[0]), given.work[1], Path(given.work[2]))
        return
    number = 1_000 if given.quick else 10_000
    venv = Path(__file__).resolve().parents[1] / ".venv-label-studio"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        server = up(Settings(home=place, label_studio_venv=venv), place / "server")
        try:
            _measure(place, server, number)
        finally:
            if running(server.data_dir):
                down(server.data_dir)


def _measure(place: Path, server: StudioServer, number: int) -> None:
    studio = LabelStudioServer(server.url, server.token)
    before = _cpu_of(server)
    started = time.monotonic()
    ours = _push(place, "plain", number, studio)
    theirs = _cpu_of(server) - before
    print(
        f"import of {number:,} tasks: {time.monotonic() - started:.1f} s, ours {ours:.1f} CPU s, server {theirs:.1f} CPU s"
    )
    _push(place, "answered", number, _Answered(server.url, server.token))
    before = _cpu_of(server)
    token = str(server.data_dir / "secrets" / "token")
    cost = run_apart([sys.executable, __file__, "--work", str(place / "answered"), server.url, token])
    told = json.loads(cost.output.splitlines()[-1])
    theirs_too = _cpu_of(server) - before
    if told["new"] != number:  # seen once, while a browser wrote to the same SQLite
        print(
            f"the server kept {told['new']:,} of the {number:,} answers that it was given with their tasks; run it alone"
        )
    print(
        f"pull of {number:,} tasks: {told['seconds']:.1f} s, ours {told['cpu']:.1f} CPU s, server {theirs_too:.1f} CPU s, "
        f"peak {cost.peak_mb:.0f} MB"
    )
    print(Figure(f"import_cpu_beside_server_{number}", ours, theirs, 0.2, "lower").line())
    print(Figure(f"reconcile_peak_mb_{number}", cost.peak_mb, None, 500.0, "lower").line())


if __name__ == "__main__":
    main()
