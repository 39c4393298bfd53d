"""The steps between a rebuild and a freeze: upstream asked again about the pool's photos, and photos left out by a list.

Decides which photos a coming release is about (the pool, each as the candidate that its entry will name), where the list of photos
to leave out lies, and that a list changes nothing before every line of it is understood. Leaves asking to `crawl.recheck`, and
what an answer means to the gates of the freeze.
"""

from __future__ import annotations

from pathlib import Path

from counteranimal.crawl.recheck import recheck as ask_again
from counteranimal.errors import UsageError
from counteranimal.freeze.gates import LEFT_OUT_LIST
from counteranimal.steps.curation import snapshot
from counteranimal.steps.run import Outcome, Run, step
from counteranimal.workspace import write_atomically
from counteranimal.workspace.upstream import standing

__all__ = ["leave_out", "recheck"]


@step
def recheck(run: Run) -> Outcome:
    """Ask upstream again about every photo of the pool; a re-run asks for what is not answered yet.

    Raises
    ------
    UsageError
        If there is no pool yet, or nobody's contact is set and a host of the network is to be asked.
    UpstreamError
        If an API answers badly; what was answered before is kept.
    """
    workspace = run.workspace
    pool = set(workspace.table("pool").column("photo_id").to_pylist())
    rows = workspace.table("photos").select(["photo_id", "candidate_ids"]).to_pylist()
    photos = {row["photo_id"]: row["candidate_ids"][0] for row in rows if row["photo_id"] in pool}
    try:
        counts = ask_again(run.recipe, workspace.journal, photos, settings=run.settings, now=run.now)
    finally:
        snapshot(run)
        stood = standing(workspace.journal)
        gone, opted_out = stood.gone & pool, stood.opted_out & pool
        place = workspace.home / LEFT_OUT_LIST
        write_atomically(place, "".join(f"{photo_id}\n" for photo_id in sorted(gone | opted_out)).encode())
    standing_counts = {f"stands_{name}": number for name, number in stood.counts(pool).items()}
    counts |= {"photos": len(pool), "candidates_for_removal": len(gone), "opted_out": len(opted_out)}
    told = (
        f"{len(gone)} photo(s) gone by two answers a day apart, {len(opted_out)} not to be kept any more: see {place}"
    )
    return Outcome("recheck", {**counts, **standing_counts}, told if gone or opted_out else "")


def leave_out(run: Run, place: Path) -> int:
    """Leave the photos of a list out of this and later releases; returns how many of them were in the pool.

    Parameters
    ----------
    place : Path
        A photo id a line; empty lines and those that begin with # are skipped.

    Raises
    ------
    UsageError
        If the list cannot be read, or a line is no photo of the pool and was not left out before; nothing was changed.
    """
    try:
        lines = [line.strip() for line in place.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"list {place} cannot be read ({error}); give a text file with a photo id a line") from error
    journal = run.workspace.journal
    pool = set(run.workspace.table("pool").column("photo_id").to_pylist())
    before = {row["photo_id"] for row in journal.rows("left_out")}
    wanted = {line: number for number, line in enumerate(lines, start=1) if line and not line.startswith("#")}
    for line, number in wanted.items():
        if line not in pool | before:
            raise UsageError(
                f"line {number} of {place} is no photo of the coming release: {line[:80]!r}; give whole photo ids, one a line"
            )
    new = sorted(wanted.keys() - before)
    journal.append(
        "left_out", [{"photo_id": photo_id, "at": run.now, "why": f"listed in {place.name}"} for photo_id in new]
    )
    return len(wanted.keys() & pool)
