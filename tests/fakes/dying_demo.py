"""A demo that dies: one folder, one `counteranimal demo --quick` after another, each killed at the next point, then one to the end.

Run as `python -m tests.fakes.dying_demo FOLDER PORT some|every`; prints JSON: for every point how the run ended and what it left, and how the
last run ended. A point is a call of a named function, and the run dies as it is reached, or as soon as it has returned. Models are
loaded once, in the parent, since loading them is most of what a run costs; nothing else is shared between runs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counteranimal.cli import app
from counteranimal.models import registry
from counteranimal.release.verify import verify
from counteranimal.settings import load_settings
from counteranimal.steps.curation import conservation
from counteranimal.workspace import Workspace


@dataclass(frozen=True)
class Point:
    """Where a run dies: at the n-th call of a function (with an argument, if one is given), before or after it.

    `some` points, one or two a step, are where what is done and what is on record differ most; they stand for `every` point.
    """

    name: str
    owner: str
    function: str
    call: int = 1
    argument: str = ""
    after: bool = False
    kind: signal.Signals = signal.SIGKILL
    some: bool = False

    def arm(self) -> None:
        """Put the death into this process."""
        module, _, inner = self.owner.partition(":")
        owner = getattr(importlib.import_module(module), inner) if inner else importlib.import_module(module)
        original = getattr(owner, self.function)
        seen = 0

        def dying(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            here = not self.argument or self.argument in args
            seen += here
            now = here and seen == self.call
            if now and not self.after:
                os.kill(os.getpid(), self.kind)
            result = original(*args, **kwargs)
            if now and self.after:
                os.kill(os.getpid(), self.kind)
            return result

        setattr(owner, self.function, dying)


TABLE = ("counteranimal.workspace:Workspace", "write_table")
STUDIO = "counteranimal.annotate.studio:LabelStudioServer"
POINTS = (
    Point(
        "prepare, among the photos of the sample", "counteranimal.serving.sample", "write_atomically", call=2, some=True
    ),
    Point("crawl, candidates known", "counteranimal.steps.curation:crawl_run", "fetch_pending"),
    Point(
        "crawl, Ctrl-C", "counteranimal.workspace:Blobs", "put_many", call=2, after=True, kind=signal.SIGINT, some=True
    ),
    Point(
        "crawl, blobs stored and not recorded",
        "counteranimal.workspace:Blobs",
        "put_many",
        after=True,
        some=True,
    ),
    Point("dedupe, fingerprints kept", "counteranimal.workspace:Parts", "write", after=True),
    Point("dedupe, clusters", *TABLE, argument="clusters", some=True),
    Point("score, photos embedded", "counteranimal.workspace:Parts", "write", after=True, some=True),
    Point("score, scores", *TABLE, argument="scores"),
    Point("propose", *TABLE, argument="preview"),
    Point("label, server starting", "counteranimal.annotate.server", "_await", some=True),
    Point("label, server started", "counteranimal.annotate.server", "_prove"),
    Point("label, projects made and not recorded", STUDIO, "create_project", after=True, some=True),
    Point("label, tasks made and not recorded", STUDIO, "create_tasks", after=True, some=True),
    Point("label, pushed", "counteranimal.steps.rounds", "push", after=True),
    Point("label, in the middle of voting", STUDIO, "annotate", call=20, after=True, some=True),
    Point("label, Ctrl-C while voting", STUDIO, "annotate", call=20, after=True, kind=signal.SIGINT, some=True),
    Point("label, votes on record", "counteranimal.steps.rounds", "pull", after=True),
    Point("label, settling round pushed", "counteranimal.steps.rounds", "adjudicate", after=True, some=True),
    Point("label, settling round answered", "counteranimal.steps.rounds", "simulate", call=2, after=True),
    Point("label, settling votes on record", "counteranimal.steps.rounds", "pull", call=2, after=True),
    Point("label, settling round closed", "counteranimal.steps.rounds", "close", after=True, some=True),
    Point("label, round closed", "counteranimal.steps.rounds", "close", after=True),
    Point("verdicts", *TABLE, argument="verdicts"),
    Point("splits", *TABLE, argument="splits", some=True),
    Point("freeze, some photos exported", "counteranimal.freeze.photos", "write_atomically", call=3, some=True),
    Point("freeze, written and not published", "counteranimal.freeze.write", "_require_good", some=True),
    Point("verify", "counteranimal.steps.demo", "verify"),
    Point("evaluate, one model done", "counteranimal.evaluate.run:Evaluator", "_predictions", call=2, some=True),
    Point("evaluate, all predicted", "counteranimal.evaluate.run", "results_table"),
    Point("report", "counteranimal.report.page", "environment", some=True),
)


def _load_models_once(specs: tuple[str, ...]) -> None:
    import torch

    torch.set_num_threads(1)  # threads of a parent do not live on in its forked children
    settings, load = load_settings(), registry.load_model
    loaded = {spec: load(spec, settings=settings) for spec in specs}
    for module in list(sys.modules.values()):
        if getattr(module, "load_model", None) is load:
            module.load_model = lambda spec, **_: loaded[spec]  # type: ignore[attr-defined]


def in_child(work: Callable[[], int]) -> int:
    """Do work in a forked child and return its wait status."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def run_demo(folder: Path, port: int, said: Path, point: Point | None = None) -> int:
    """Run the verb in this process, with its words in a file, and return its exit code."""
    words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(words, 1)
    os.dup2(words, 2)
    if point is not None:
        point.arm()
    try:
        app(["demo", "--quick", "--folder", str(folder), "--port", str(port)])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def found(home: Path, into: Path) -> int:
    """Write down what a reader finds in a workspace that a run was killed in."""
    state: dict[str, Any] = {"balanced": True, "release": "none"}
    if (home / "tables" / "photos.parquet").exists():
        conservation(Workspace(home)).require_balance()
    release = home / "releases" / "1.0.0"
    if release.exists():
        state["release"] = "whole" if verify(release).ok else "broken"
    into.write_text(json.dumps(state))
    return 0


def main(folder: Path, port: int, points: str) -> None:
    """Die at some points or at every one, then run to the end."""
    _load_models_once(("stand-in", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"))
    said, state = folder.with_name("said.txt"), folder.with_name("state.json")
    deaths = []
    for point in [point for point in POINTS if point.some or points == "every"]:
        status = in_child(lambda point=point: run_demo(folder, port, said, point))  # type: ignore[misc]
        state.unlink(missing_ok=True)
        in_child(lambda: found(folder / "home", state))
        deaths.append(
            {
                "point": point.name,
                "signal": signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "",
                "exit": os.waitstatus_to_exitcode(status),
                "said": said.read_text().splitlines()[-1:],
                "interrupt": point.kind == signal.SIGINT,
                **(json.loads(state.read_text()) if state.exists() else {"balanced": False}),
            }
        )
        sys.stderr.write(f"{deaths[-1]}\n")
    status = in_child(lambda: run_demo(folder, port, said))
    sys.stdout.write(
        json.dumps({"deaths": deaths, "exit": os.waitstatus_to_exitcode(status), "said": said.read_text()})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
