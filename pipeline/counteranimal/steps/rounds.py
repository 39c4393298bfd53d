"""The steps of a labelling round: plan, push, pull, settle, close; against a local or a remote Label Studio.

Decides how a round's photos reach the annotators' browsers (links signed for a month) and which rounds a sync pulls. Leaves
rounds themselves to `annotate` and photo serving to `serving`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counteranimal.annotate import adjudicate as annotate_adjudicate
from counteranimal.annotate import again, duplicates, raters, recorded, size
from counteranimal.annotate import agreement as annotate_agreement
from counteranimal.annotate import plan as annotate_plan
from counteranimal.annotate import pull as annotate_pull
from counteranimal.annotate import push as annotate_push
from counteranimal.annotate import status as annotate_status
from counteranimal.annotate.pairs import photos_of
from counteranimal.annotate.port import Studio
from counteranimal.annotate.push import pages_of
from counteranimal.annotate.rounds import known_rounds, record_event, seed_of
from counteranimal.annotate.server import address
from counteranimal.errors import UsageError
from counteranimal.serving.links import load_secret, signed_link
from counteranimal.serving.photos import PhotoServer
from counteranimal.steps.curation import similar
from counteranimal.steps.run import Outcome, Run, step

__all__ = [
    "Queue",
    "Wishes",
    "adjudicate",
    "agreement",
    "close",
    "labelled_photos",
    "photo_server",
    "plan",
    "pull",
    "pull_recorded",
    "push",
    "round_status",
    "simulate",
    "studio_of",
    "sync",
]

_LINK_DAYS = 31

Queue = Literal["photos", "lacking", "duplicates"]
"""What a round asks about: new photos, photos that lack votes, or pairs that may be one photo."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a curator may ask of a plan.

    Attributes
    ----------
    seed : str
        What the draw starts from; empty: the recipe's seed and the round's name.
    hours : float or None
        Hours that each person has; None asks for as many photos as the recipe says.
    drop : float or None
        A drop in percentage points, for which the photos still needed are told; it changes nothing of the draw.
    """

    seed: str = ""
    hours: float | None = None
    drop: float | None = None


def _rng(run: Run, purpose: str) -> np.random.Generator:
    """Return a generator that depends on the recipe's seed and the purpose alone."""
    return np.random.default_rng(zlib.crc32(f"{run.recipe.seed}\n{purpose}".encode()))


@contextmanager
def studio_of(run: Run) -> Iterator[Studio]:
    """Yield a client of the configured Label Studio: the one that settings give a token for, else our own that runs.

    Raises EnvironmentFailure where there is none, or one older than the pinned version.
    """
    # The client is a large import, which every other verb would pay for.
    from counteranimal.annotate.studio import LabelStudioServer

    studio = LabelStudioServer(*address(run.settings))
    try:
        studio.require_version()
        yield studio
    finally:
        studio.close()


def _link(run: Run) -> Callable[[str], str]:
    base = f"http://{run.settings.photo_server}"
    secret = load_secret(run.workspace.home)
    expires = int(run.now.timestamp()) + _LINK_DAYS * 86_400
    return lambda photo_id: signed_link(base, photo_id, secret=secret, expires=expires)


def labelled_photos(run: Run) -> frozenset[str]:
    """Return the photos that people of open rounds are to see, gold items among them: all that the photo server gives out."""
    dealt = (
        own
        for item in known_rounds(run.workspace.journal).values()
        if not item.closed
        for own in item.assignments.values()
    )
    return frozenset(photo for own in dealt for item in own for photo in photos_of(item.photo_id))


def photo_server(run: Run) -> PhotoServer:
    """Return the photo server of the settings' host and port, not yet started."""
    host, _, port = run.settings.photo_server.rpartition(":")
    return PhotoServer(
        run.workspace,
        host=host,
        port=int(port),
        secret=load_secret(run.workspace.home),
        allowed=lambda: labelled_photos(run),
    )


@step
def plan(
    run: Run, *, round_id: str, workers: Sequence[str], queue: Queue = "photos", wishes: Wishes | None = None
) -> Outcome:
    """Draw a round's photos, or take those that lack votes or the pairs that may be one photo, and deal them to people."""
    wishes = wishes or Wishes()
    seed = wishes.seed or f"{run.recipe.seed}\nround {round_id}"
    named: dict[str, Any] = {
        "round_id": round_id, "workers": list(workers), "now": run.now, "rng": np.random.default_rng(zlib.crc32(seed.encode())),
    }  # fmt: skip
    if wishes.hours is not None and queue != "photos":
        raise UsageError(f"a round over {queue} asks about all of them; leave --hours out")
    if queue == "duplicates":
        similar(run)
        counts = duplicates.plan_pairs(run.recipe, run.workspace, **named)
    elif queue == "lacking":
        counts = again.plan_again(run.recipe, run.workspace, **named)
    else:
        counts = annotate_plan.plan(run.recipe, run.workspace, **named, hours=wishes.hours)
    if not counts["already"]:
        record_event(run.workspace.journal, round_id, "drawn", {"seed": seed, "hours": wishes.hours}, now=run.now)
    if wishes.drop is not None:
        counts["needed"] = size.still_needed(run.recipe, run.workspace, drop=wishes.drop)
    return Outcome("plan", counts | {"seed": seed_of(run.workspace.journal, round_id)})


@step
def push(run: Run, *, round_id: str, relink: bool = False) -> Outcome:
    """Make what is missing of a round on the server."""
    with studio_of(run) as studio:
        counts = annotate_push.push(
            run.recipe, run.workspace, studio, round_id=round_id, link=_link(run), now=run.now, relink=relink
        )
    return Outcome("push", counts)


@step
def pull(run: Run, *, round_id: str) -> Outcome:
    """Append every answer ever given in a round to the journal."""
    with studio_of(run) as studio:
        return Outcome("pull", annotate_pull.pull(run.workspace, studio, round_id=round_id, now=run.now))


@step
def sync(run: Run) -> Outcome:
    """Pull every open round that lives on a server; the counts name the addresses of its pages."""
    journal = run.workspace.journal
    waiting = [name for name, item in known_rounds(journal).items() if not item.closed and item.role != "recorded"]
    pages = {f"{name}, project {number}": page for name in waiting for number, page in pages_of(journal, name).items()}
    counts: dict[str, object] = {"open_rounds": len(waiting), "pages": pages}
    if waiting:
        with studio_of(run) as studio:
            for name in waiting:
                counts[name] = annotate_pull.pull(run.workspace, studio, round_id=name, now=run.now)
    return Outcome("sync", counts, "" if waiting else "no round is open, so there is nothing to pull")


@step
def pull_recorded(run: Run, *, path: Path, mapping: str, round_id: str) -> Outcome:
    """Enter recorded labellings of a CSV file as the votes of a round."""
    counts = recorded.pull_recorded(run.recipe, run.workspace, path, mapping=mapping, round_id=round_id, now=run.now)
    return Outcome("pull", counts)


@step
def simulate(run: Run, *, round_id: str, answers: raters.SimulatedRaters) -> Outcome:
    """Let simulated raters answer a round's open tasks through the server; they are called simulated everywhere."""
    with studio_of(run) as studio:
        return Outcome("simulate", raters.rate(run.workspace, studio, answers, round_id=round_id, now=run.now))


@step
def adjudicate(run: Run, *, round_id: str, adjudicator: str) -> Outcome:
    """Queue a round's disagreements for one named person."""
    with studio_of(run) as studio:
        counts = annotate_adjudicate.adjudicate(
            run.recipe,
            run.workspace,
            studio,
            round_id=round_id,
            adjudicator=adjudicator,
            link=_link(run),
            now=run.now,
        )
    return Outcome("adjudicate", counts)


@step
def close(run: Run, *, round_id: str) -> Outcome:
    """End a round; answers that come later are still kept."""
    return Outcome("close", annotate_status.close(run.recipe, run.workspace, round_id=round_id, now=run.now))


def agreement(run: Run, *, round_id: str | None = None) -> dict[str, Any]:
    """Return the agreement figures of a round, or pooled over all of them."""
    rng = _rng(run, "agreement")
    return annotate_agreement.agreement(run.recipe, run.workspace, rng=rng, round_id=round_id)


def round_status(run: Run) -> dict[str, object]:
    """Return how far each round is."""
    return annotate_status.status(run.recipe, run.workspace)
