"""The demo: the whole main job on real photos, as a list of steps that a verb and a flow both run.

Decides what the demo crawls (a sample upstream on loopback, or a little of the real iNaturalist), who votes (simulated raters,
called so) and that a second run redoes nothing. Each step has the servers it needs and stops them again, so that any step may be
killed and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from counteranimal.annotate import server
from counteranimal.annotate.adjudicate import queue
from counteranimal.annotate.raters import SimulatedRaters
from counteranimal.annotate.rounds import adjudication_of, known_rounds
from counteranimal.errors import IntegrityError
from counteranimal.release.read import open_release
from counteranimal.release.verify import verify
from counteranimal.resources import resource
from counteranimal.serving.demo import demo_recipe
from counteranimal.serving.material import obtain_material
from counteranimal.serving.sample import SampleIndex, build_sample, open_sample
from counteranimal.serving.upstream import DEFAULT_PORT, SampleUpstream
from counteranimal.settings import Settings
from counteranimal.steps import curation, publishing, rounds, splitting
from counteranimal.steps.run import Outcome, Run
from counteranimal.workspace import Workspace, write_atomically

__all__ = ["DEFAULT_PORT", "DEMO", "LIVE", "VERSION", "Place", "label_studio", "prepare", "prepare_live"]

VERSION = "1.0.0"
ROUND = "demo"
RATERS = ("simulated-one", "simulated-two")
ADJUDICATOR = "simulated-three"
ERROR_RATE = 0.04
LIVE_PHOTOS = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where a demo lives: its recipe and its workspace below one folder."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The recipe that this demo runs."""
        return self.folder / "recipe.toml"

    @property
    def home(self) -> Path:
        """The demo's workspace."""
        return self.folder / "home"

    @property
    def sample(self) -> Path:
        """What the sample upstream serves."""
        return self.folder / "sample"

    def open(self, settings: Settings) -> Run:
        """Return the run of this place."""
        return Run.of(self.recipe, settings.model_copy(update={"home": self.home}))


def prepare(place: Place, settings: Settings, *, quick: bool = False, port: int = DEFAULT_PORT) -> Outcome:
    """Get the photo material from Debian packages, render the sample and write the recipe; done once a folder.

    Raises
    ------
    MissingDependency
        Where the packages cannot be had; the sentence names them.
    """
    material = obtain_material(settings.cache_folder, root=settings.material)
    index = build_sample(place.sample, material_root=material.root, quick=quick)
    text = demo_recipe(resource("data_manifest/recipes/demo.toml"), port, quick=quick)
    write_atomically(place.recipe, text.encode())
    composites = sum(photo.kind == "composite" for photo in index.photos)
    return Outcome("prepare", {"photos": len(index.photos), "composites": composites})


def prepare_live(place: Place) -> Outcome:
    """Write the recipe of a small polite crawl of the real iNaturalist."""
    write_atomically(place.recipe, resource("data_manifest/recipes/live.toml").read_bytes())
    return Outcome("prepare", {}, "a small polite crawl of the real iNaturalist, within its published limits")


def _sample(run: Run) -> SampleIndex:
    return open_sample(Place(run.workspace.home.parent).sample)


@contextmanager
def label_studio(place: Place, settings: Settings) -> Iterator[None]:
    """Begin the demo's Label Studio at once, since its first start takes a minute, and see that it is stopped in the end.

    Raises
    ------
    MissingDependency
        If it is not installed: before the work, not in the middle of it.
    """
    chosen = settings.model_copy(update={"home": place.home})
    folder = server.data_folder(chosen)
    try:
        if not _labelled(Workspace(place.home, settings.journal_url)):
            server.begin(chosen, folder)
        yield
    finally:
        server.down(folder)


def _labelled(workspace: Workspace) -> bool:
    known = known_rounds(workspace.journal).get(ROUND)
    return known is not None and known.closed


def crawl(run: Run) -> Outcome:
    """Crawl the sample upstream, which runs on loopback for as long as this step does."""
    port = int(run.recipe.sources[0].loopback[0].rpartition(":")[2])
    with SampleUpstream(_sample(run).folder, port=port):
        return curation.crawl(run)


def crawl_live(run: Run) -> Outcome:
    """Crawl a few photos of the real iNaturalist."""
    return curation.crawl(run, limit=LIVE_PHOTOS)


def label(run: Run) -> Outcome:
    """Hold a round on a real Label Studio: push, let simulated raters vote, pull, settle disagreements, close."""
    folder = server.data_folder(run.settings)
    try:
        if _labelled(run.workspace):
            return Outcome("label", {}, "the round is closed already; every vote is kept")
        server.up(run.settings, folder)
        votes = _vote(run)
    finally:
        # Also one that a killed run left behind: the demo's workspace has a server of its own.
        server.down(folder)
    return Outcome("label", {**votes}, "votes are by simulated raters")


def _vote(run: Run) -> dict[str, object]:
    truth = _sample(run).backgrounds().get
    seed = run.recipe.seed
    planned = rounds.plan(run, round_id=ROUND, workers=RATERS)
    with rounds.photo_server(run):
        rounds.push(run, round_id=ROUND)
        rounds.simulate(run, round_id=ROUND, answers=SimulatedRaters(truth, error_rate=ERROR_RATE, seed=seed))
        rounds.pull(run, round_id=ROUND)
        settled = _settle(run, SimulatedRaters(truth, error_rate=0.0, seed=seed))
    rounds.close(run, round_id=ROUND)
    return {"photos": planned.counts.get("photos", 0), "votes": planned.counts.get("votes", 0), "settled": settled}


def _settle(run: Run, answers: SimulatedRaters) -> int:
    """Hold the round that settles disagreements, also one that a killed run has left open; return how many it settled."""
    name = adjudication_of(ROUND)
    begun = known_rounds(run.workspace.journal).get(name)
    if queue(run.recipe, run.workspace, round_id=ROUND) or (begun is not None and not begun.closed):
        rounds.adjudicate(run, round_id=ROUND, adjudicator=ADJUDICATOR)
        rounds.simulate(run, round_id=name, answers=answers)
        rounds.pull(run, round_id=name)
        rounds.close(run, round_id=name)
    held = known_rounds(run.workspace.journal).get(name)
    return len(held.photos) if held is not None else 0


def freeze(run: Run) -> Outcome:
    """Freeze the demo's release; a release of the same photos and groups is left as it is.

    Raises
    ------
    IntegrityError
        If the release that is there was made from other splits: a released version is never changed.
    """
    path = publishing.release_of(run, VERSION)
    if not path.exists():
        return publishing.freeze(run, version=VERSION)
    release = open_release(path)
    if not release.splits.equals(run.workspace.table("splits")):
        raise IntegrityError(
            f"release {VERSION} at {path} was made from other splits; a version is never changed, choose another --folder"
        )
    return Outcome("freeze", publishing.export(run, version=VERSION), "frozen already")


def check(run: Run) -> Outcome:
    """Verify the release against the demo's public key, and every photo against its digest.

    Raises
    ------
    IntegrityError
        If anything is not as it was frozen; the sentence names the first problems.
    """
    found = verify(
        publishing.release_of(run, VERSION),
        public_key=publishing.keys(run)[1],
        photos=run.workspace.folder("photos"),
    )
    if not found.ok:
        raise IntegrityError(f"the release does not verify: {'; '.join(found.problems[:3])}")
    return Outcome("verify", {**found.counts, "signature": found.signature})


def evaluate(run: Run) -> Outcome:
    """Evaluate the recipe's models on the frozen release."""
    return publishing.evaluate(run, version=VERSION)


def report(run: Run) -> Outcome:
    """Write the report of the release and its evaluation."""
    return publishing.report(run, version=VERSION)


def report_live(run: Run) -> Outcome:
    """Write the report of what was crawled and proposed."""
    return publishing.report(run)


DEMO: tuple[Callable[[Run], Outcome], ...] = (
    crawl,
    curation.dedupe,
    curation.score,
    curation.propose,
    label,
    splitting.verdicts,
    splitting.splits,
    freeze,
    check,
    evaluate,
    report,
)
LIVE: tuple[Callable[[Run], Outcome], ...] = (
    crawl_live,
    curation.dedupe,
    curation.score,
    curation.propose,
    report_live,
)
