"""The step `withdraw`: a takedown from the request to the signed list beside the releases.

Decides the order. The journal first, so that nothing brings back what a killed run had not removed yet; then bytes, copies and
rows; then the labelling server, which may be away; then the list that tells readers of older releases. A re-run finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counteranimal.annotate.removal import remove_tasks, tasks_to_remove
from counteranimal.dedupe.copies import copies_of, marks_of
from counteranimal.freeze.withdrawn import require_same_key
from counteranimal.steps.curation import snapshot
from counteranimal.steps.publishing import keys, list_withdrawn
from counteranimal.steps.rounds import studio_of
from counteranimal.steps.run import Outcome, Run, step
from counteranimal.steps.takedown import Request, named, removed, rows_of

__all__ = ["withdraw"]


@step
def withdraw(run: Run, request: Request, *, beside: Sequence[Path] = (), private_key: Path | None = None) -> Outcome:
    """Remove photos and all their copies for good; twice is as good as once.

    Parameters
    ----------
    beside : sequence of Path
        Folders outside the workspace that hold exported photos, galleries or reports.
    private_key : Path, optional
        The key that signed the releases; by default the workspace's own.

    Raises
    ------
    UsageError
        If a term of the request is unknown; nothing was removed.
    PolicyError
        If the key is not the one that signed the newest release; nothing was removed.
    EnvironmentFailure
        If the labelling server is away; everything else is removed, and a re-run finishes.
    """
    workspace, journal = run.workspace, run.workspace.journal
    key = private_key or keys(run)[0]
    require_same_key(workspace.folder("releases"), key)
    found = named(request, workspace)
    copies = copies_of(workspace, found.photos, run.recipe.dedupe)
    asked = len(found.photos)
    found.photos |= {copy: f"photo:{of}" for copy, of in sorted(copies.same.items())}
    marks = marks_of(workspace, found.photos)
    journal.append("withdrawals", rows_of(found, request.why, journal=journal, marks=marks, now=run.now))
    counts: dict[str, object] = {"photos": asked, "copies": len(copies.same)}
    counts |= removed(workspace, found.photos, beside)
    snapshot(run)
    counts |= _off_the_server(run)
    listed = list_withdrawn(run, private_key=key)
    note = f"look at {', '.join(sorted(copies.unsure))}, which may show the same" if copies.unsure else ""
    return Outcome("withdraw", {**counts, "unsure": sorted(copies.unsure), "releases": listed}, note or _next(listed))


def _off_the_server(run: Run) -> dict[str, int]:
    if not tasks_to_remove(run.workspace.journal):
        return {"tasks": 0}
    with studio_of(run) as studio:
        return {"tasks": remove_tasks(run.workspace, studio, now=run.now)["tasks"]}


def _next(listed: dict[str, int]) -> str:
    touched = [f"{version} ({number})" for version, number in listed.items() if number]
    if not touched:
        return "run `counteranimal rebuild` before the next release"
    return (
        f"releases with withdrawn photos: {', '.join(touched)}; publish WITHDRAWN.json with them, run `counteranimal rebuild`, and "
        "freeze the next MAJOR release"
    )
