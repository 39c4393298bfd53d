"""The steps from candidates to scored photos, in order: crawl, dedupe, score, propose.

Decides their order and what snapshot of the journal they stand on. Leaves each stage's work to its package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from counteranimal.annotate.duplicates import settle
from counteranimal.conservation import COLUMNS, Conservation, account
from counteranimal.crawl import run as crawl_run
from counteranimal.crawl.plan import in_words
from counteranimal.crawl.snapshot import candidates_table, fetches_table
from counteranimal.crawl.sources.protocol import plugin_of
from counteranimal.dedupe import run as dedupe_run
from counteranimal.dedupe import similar as dedupe_similar
from counteranimal.dedupe.hash_list import list_folder
from counteranimal.dedupe.reference import adopt
from counteranimal.errors import RecipeError, UsageError
from counteranimal.recipe import Recipe
from counteranimal.score import propose as score_propose
from counteranimal.score import run as score_run
from counteranimal.settings import Settings
from counteranimal.steps.discovered import on_preview
from counteranimal.steps.models import check_models
from counteranimal.steps.run import Outcome, Run, step
from counteranimal.steps.takedown import enforce, withhold
from counteranimal.workspace import Workspace

__all__ = [
    "check_sources",
    "conservation",
    "crawl",
    "dedupe",
    "fingerprint",
    "preview_crawl",
    "propose",
    "score",
    "similar",
    "snapshot",
]


def snapshot(run: Run) -> Conservation:
    """Write the views of the journal (candidates, fetches, photos) and return the conservation count over them.

    What was withdrawn and is stored all the same, say from a backup, is removed first.
    """
    workspace = run.workspace
    enforce(workspace, now=run.now)
    workspace.write_table("candidates", candidates_table(workspace.journal))
    workspace.write_table("fetches", fetches_table(workspace.journal))
    workspace.write_table("photos", crawl_run.photos_table(run.recipe, workspace.journal))
    counted = conservation(workspace)
    counted.require_balance()
    return counted


def conservation(workspace: Workspace) -> Conservation:
    """Return the conservation count over the workspace's tables as they stand."""
    withdrawn = workspace.journal.withdrawn()
    candidates, fetches, photos, clusters = (workspace.table_or_empty(name, COLUMNS[name]) for name in COLUMNS)
    return account(candidates, fetches, photos, clusters, withdrawn)


@step
def crawl(run: Run, *, limit: int | None = None, retry: Sequence[str] = ()) -> Outcome:
    """Ask the sources for candidates, then fetch what is pending.

    Parameters
    ----------
    limit : int, optional
        Fetch at most this many photos in this run.
    retry : sequence of str
        Also try again candidates whose last attempt ended in one of these states (`failed`, `deferred`, `rejected`).
    """
    discovered = crawl_run.discover(run.recipe, run.workspace, settings=run.settings, now=run.now)
    withhold(run.workspace.journal, now=run.now)
    try:
        fetched = crawl_run.fetch_pending(
            run.recipe, run.workspace, settings=run.settings, now=run.now, limit=limit, retry=retry
        )
    finally:
        counted = snapshot(run)
    return Outcome("crawl", {**discovered, **fetched, **counted.states}, counted.sentence())


def preview_crawl(run: Run, *, limit: int | None = None, retry: Sequence[str] = ()) -> Outcome:
    """Say what a crawl would fetch now, from which hosts, and how long that takes; makes no request and writes nothing."""
    found = crawl_run.preview(run.recipe, run.workspace.journal, now=run.now, limit=limit, retry=retry)
    waiting = {host: until.isoformat(timespec="seconds") for host, until in found.closed.items()}
    counts = {
        "photos": sum(found.hosts.values()),
        "hosts": found.hosts,
        "sources": {item.source: asdict(item) for item in found.forecasts},
        "seconds": round(max((item.seconds for item in found.forecasts), default=0.0)),
        "left_alone_until": waiting,
    }
    told = [f"{number} from {host or 'no address'}" for host, number in list(found.hosts.items())[:5]]
    more = f" and {len(found.hosts) - 5} more hosts" if len(found.hosts) > 5 else ""
    parts = [", ".join(told) + more, in_words(found.forecasts)]
    parts += [f"{host} is left alone until {until}" for host, until in waiting.items()]
    return Outcome("crawl --dry-run", counts, "; ".join(part for part in parts if part))


@step
def dedupe(run: Run, *, against: Sequence[Path] = ()) -> Outcome:
    """Fingerprint what is new and decide which photo of each cluster is kept, following what people settled.

    Parameters
    ----------
    against : sequence of Path
        Hash lists of training or reference sets; the workspace keeps them, and every later run compares with them too.
    """
    if not snapshot(run).discovered:
        raise UsageError(f"nothing is crawled in {run.workspace.home} yet; run `counteranimal crawl` first")
    adopt(run.workspace, against)
    settle(run.recipe, run.workspace)
    made = dedupe_run.fingerprint(run.workspace, settings=run.settings)
    counts = {**made, **dedupe_run.cluster(run.recipe, run.workspace)}
    counted = conservation(run.workspace)
    counted.require_balance()
    return Outcome("dedupe", counts, counted.sentence())


def fingerprint(folder: Path, out: Path, *, settings: Settings) -> dict[str, Any]:
    """Write the hash list of a folder, for `dedupe --against`; needs no workspace. Returns what `list_folder` counts."""
    return list_folder(folder, out, workers=settings.workers)


def similar(run: Run) -> dict[str, int]:
    """List the kept photos that lie close in the features stored so far: copies that hashes miss, for people to look at."""
    return dedupe_similar.list_similar(run.recipe, run.workspace)


@step
def score(run: Run) -> Outcome:
    """Score backgrounds and quality of every kept photo that has no score yet."""
    check_models(run.recipe)
    counts = score_run.score(run.recipe, run.workspace, settings=run.settings)
    return Outcome("score", counts, str(counts.get("warning", "")))


@step
def propose(run: Run) -> Outcome:
    """Write the preview: what the machine alone would split; it plans rounds and decides nothing."""
    check_models(run.recipe)
    counts = score_propose.preview(run.recipe, run.workspace, settings=run.settings)
    note = str(counts.pop("statement"))
    if counts["doubts"]:
        told = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in sorted(counts["doubts"].items()))
        note += f" Photos to look at first: {told}."
    if counts["left_out"]:
        note += f" Left out: {', '.join(f'{reason} {number}' for reason, number in counts['left_out'].items())}."
    return Outcome("propose", {**counts, "discovery": on_preview(run)}, note)


def check_sources(recipe: Recipe) -> None:
    """Raise RecipeError, naming each, if sources of the recipe are of no installed kind."""
    problems = []
    for spec in recipe.sources:
        try:
            plugin_of(spec)
        except RecipeError as error:
            problems.append(str(error))
    if problems:
        raise RecipeError("; ".join(problems))
