"""A machine that does scheduled work at the moments of a fake clock, each job in a fork of one warm process, and dies where it is told to.

Run as a program it takes orders as `killed_crawl` does, with what is to be done and when beside them. A job is the steps of the flow of
that name, in the flow's order, on the real workspace, over real sockets. The clock stands still within a job, so that what is written in a
restart carries the moment of the schedule, as in a run that nothing disturbed. The model is small; crash points are those of `killed_crawl`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from counteranimal.crawl import politeness, session
from counteranimal.errors import CounteranimalError
from counteranimal.models import registry
from counteranimal.recipe import load_recipe
from counteranimal.settings import Settings
from counteranimal.steps.curation import crawl, dedupe
from counteranimal.steps.publishing import freeze, release_of
from counteranimal.steps.rounds import close, plan, pull_recorded, push, sync
from counteranimal.steps.run import Outcome, Run
from counteranimal.steps.splitting import REBUILD
from counteranimal.steps.upkeep import gc
from counteranimal.workspace import Workspace
from tests.fakes.killed_crawl import NearDecoder, die_at, serve
from tests.fakes.tiny_model import TinyModel

Step = Callable[..., Outcome]


def frozen(run: Run, *, version: str, private_key: Path) -> Outcome:
    """Freeze, unless a killed freeze has published the release already, with its photos."""
    if release_of(run, version).exists():
        return Outcome("freeze", {}, "frozen already")
    return freeze(run, version=version, private_key=private_key)


def steps_of(job: str, options: Mapping[str, Any]) -> Sequence[Step]:
    """Return the steps of a flow, by its name in Prefect, or of what a curator does by hand."""
    if job == "record-votes":
        return (partial(pull_recorded, path=Path(options["path"]), mapping="shared", round_id="recorded"),)
    if job == "open-round":
        named = {"round_id": options["round"]}
        return (partial(plan, **named, workers=options["workers"]), partial(push, **named))
    if job == "close-round":
        return (partial(close, round_id=options["round"]),)
    if job == "freeze-release":
        return (partial(frozen, version=options["version"], private_key=Path(options["key"])),)
    return {"gc": (gc,), "crawl-candidates": (crawl, dedupe), "sync-annotations": (sync,), "rebuild-splits": REBUILD}[
        job
    ]


def work(order: dict[str, Any]) -> int:
    """Do a job and return the exit code: 0, or the error's with its sentence on standard error."""
    moment = datetime.fromisoformat(order["at"])
    session.DecoderPool = NearDecoder  # type: ignore[misc, assignment]
    politeness.Clock.now = lambda self: self._start  # type: ignore[method-assign]
    tiny, load = TinyModel(spec="efficientnet-lite0"), registry.load_model
    for module in list(sys.modules.values()):
        if getattr(module, "load_model", None) is load:
            module.load_model = lambda *_, **__: tiny  # type: ignore[attr-defined]
    if order.get("point"):
        die_at(order["point"])
    settings = Settings(home=Path(order["home"]), workers=1, free_space_floor_mb=0, **order.get("studio", {}))
    run = Run(load_recipe(Path(order["recipe"])), Workspace(settings.home), settings, moment)
    try:
        for step in steps_of(order["job"], order.get("options", {})):
            step(run)
    except CounteranimalError as error:
        sys.stderr.write(f"{order['job']} at {order['at']}: {error}\n")
        return error.exit_code
    return 0


def warm() -> None:
    """Load what every job would load again in its fork: more CPU than its work."""
    for name in ("pandas", "pyarrow.dataset"):
        importlib.import_module(name)
    Image.preinit()


if __name__ == "__main__":
    warm()
    serve(work)
