"""The demo as a flow: the same steps as `counteranimal demo`, each a Prefect task on a temporary local server.

Run it as `python -m flows.demo`; the environment that keeps Prefect quiet and off the network is set here, before Prefect is
imported, because it reads it once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from counteranimal.cli.common import verb
from counteranimal.settings import load_settings
from counteranimal.steps.demo import DEFAULT_PORT, DEMO, LIVE, Place, prepare, prepare_live

__all__ = ["main"]

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


def _run(place: Place, *, live: bool) -> dict[str, dict[str, Any]]:
    """Run the demo's steps as one flow and return each step's counts."""
    from prefect import flow

    from flows.step_task import Reference, as_task

    @flow(name="demo", persist_result=False, log_prints=False)
    def demo(recipe: str, home: str) -> dict[str, dict[str, Any]]:
        reference = Reference(recipe, home)
        counts: dict[str, dict[str, Any]] = {}
        for step in LIVE if live else DEMO:
            counts[step.__name__] = as_task(step, say=step.__name__ not in {"report", "report_live"})(reference)
        return counts

    return demo(str(place.recipe), str(place.home))


@verb
def main(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo lives; a second run resumes.")] = Path(
        "demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A tiny sample.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Crawl a few photos of the real iNaturalist.")] = False,
    port: Annotated[int, typer.Option("--port", help="Loopback port of the sample upstream.")] = DEFAULT_PORT,
) -> None:
    """Run the whole main job on real photos as a Prefect flow."""
    place, settings = Place(folder.resolve()), load_settings()
    for name, value in {**_QUIET, "PREFECT_HOME": str(place.folder / "prefect")}.items():
        os.environ.setdefault(name, value)
    prepared = prepare_live(place) if live else prepare(place, settings, quick=quick, port=port)
    typer.echo(prepared.sentence(), err=True)
    counts = _run(place, live=live)
    last = counts["report_live" if live else "report"]
    typer.echo(f"{last['summary']}\n\nreport:  {last['page']}")
    if not live:
        typer.echo(f"release: {place.home / 'releases' / counts['freeze']['version']}")


if __name__ == "__main__":
    typer.run(main)
