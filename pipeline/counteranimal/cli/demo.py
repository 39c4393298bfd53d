"""The verb `demo`, and what the flow that runs the same steps shares with it: options, first and last words.

Decides what a person reads before and after the steps. Leaves the steps to `steps.demo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from counteranimal.cli.common import AsJson, emit, verb
from counteranimal.settings import Settings, load_settings
from counteranimal.steps import demo as demo_steps
from counteranimal.steps.demo import DEFAULT_PORT, Place

__all__ = ["Folder", "Live", "Port", "Quick", "demo", "ending", "prepared"]

Folder = Annotated[Path, typer.Option("--folder", help="Where the demo lives; a second run resumes.")]
Quick = Annotated[bool, typer.Option("--quick", help="A tiny sample, for a look or a test.")]
Live = Annotated[bool, typer.Option("--live", help="Crawl a few photos of the real iNaturalist instead.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Loopback port of the sample upstream.")]


@verb
def demo(
    folder: Folder = Path("demo"),
    quick: Quick = False,
    live: Live = False,
    port: Port = DEFAULT_PORT,
    as_json: AsJson = False,
) -> None:
    """Run the whole main job on real photos, without Prefect: from candidates to an evaluated, frozen release."""
    place, settings = Place(folder.resolve()), load_settings()
    content: dict[str, Mapping[str, Any]] = {}
    with prepared(place, settings, live=live, quick=quick, port=port):
        for each in demo_steps.LIVE if live else demo_steps.DEMO:
            outcome = each(place.open(settings))
            content[outcome.step] = outcome.counts
            if outcome.step != "report":
                typer.echo(outcome.sentence(), err=True)
    emit(content, as_json=as_json, sentence=ending(place, content))


@contextmanager
def prepared(place: Place, settings: Settings, *, live: bool, quick: bool, port: int) -> Iterator[None]:
    """Prepare a place and keep the servers of its steps until they are done."""
    if live:
        typer.echo(demo_steps.prepare_live(place).sentence(), err=True)
        yield
        return
    with demo_steps.label_studio(place, settings):
        typer.echo(demo_steps.prepare(place, settings, quick=quick, port=port).sentence(), err=True)
        yield


def ending(place: Place, content: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the last words: the table, and where report and release are; `content` is step -> counts, the report last."""
    last = list(content.values())[-1]
    lines = [str(last["summary"]), "", f"report:  {last['page']}"]
    if "freeze" in content:
        lines.append(f"release: {place.home / 'releases' / str(content['freeze']['version'])}")
    return "\n".join(lines)
