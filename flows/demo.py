"""The demo as a flow: the same steps as `counteranimal demo`, each a Prefect task on a temporary local server.

Run it as `python -m flows.demo`; the environment that keeps Prefect quiet and off the network is set here, before Prefect is
imported, because it reads it once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from counteranimal.cli.common import verb
from counteranimal.cli.demo import Folder, Live, Port, Quick, ending, prepared
from counteranimal.settings import load_settings
from counteranimal.steps.demo import DEFAULT_PORT, DEMO, LIVE, Place
from flows.temporary_server import temporary_server

__all__ = ["main"]

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    # What goes wrong is said once, by the verb, in one sentence; Prefect would add a traceback for each task and flow.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
}


def _run(place: Place, *, live: bool) -> dict[str, dict[str, Any]]:
    """Run the demo's steps as one flow and return each step's counts."""
    from prefect import flow

    from flows.step_task import Reference, as_task

    @flow(name="demo", persist_result=False, log_prints=False)
    def demo(recipe: Path, home: Path) -> dict[str, dict[str, Any]]:
        reference = Reference(recipe, home)
        counts: dict[str, dict[str, Any]] = {}
        for step in LIVE if live else DEMO:
            counts[step.__name__] = as_task(step, say=step.__name__ not in {"report", "report_live"})(reference)
        return counts

    return demo(place.recipe, place.home)


@verb
def main(folder: Folder = Path("demo"), quick: Quick = False, live: Live = False, port: Port = DEFAULT_PORT) -> None:
    """Run the whole main job on real photos as a Prefect flow."""
    place, settings = Place(folder.resolve()), load_settings()
    home = place.folder / "prefect"
    for name, value in {**_QUIET, "PREFECT_HOME": str(home)}.items():
        os.environ.setdefault(name, value)
    with temporary_server(home) as server, prepared(place, settings, live=live, quick=quick, port=port):
        server.wait()
        counts = _run(place, live=live)
    typer.echo(ending(place, counts))


if __name__ == "__main__":
    typer.run(main)
