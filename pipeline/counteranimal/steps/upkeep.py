"""What keeps a workspace sound over months: `recover` a damaged or restored one, `gc` what nothing refers to.

Decides what may be removed: temporary files of killed writers, photos that neither the journal nor a readable side record
knows, files that were set aside as damaged, crops that evaluations kept, parts of a stage's earlier versions. Never anything that a row of the journal
refers to, and never a row.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

from counteranimal.crawl.adopt import Reconciled, adopt, lost_photos, record_losses, unexplained
from counteranimal.crawl.claims import Life
from counteranimal.crawl.intake import look_at
from counteranimal.dedupe.fingerprint import DEFAULT_RECIPE, recipe_name
from counteranimal.dedupe.run import looks_key
from counteranimal.errors import IntegrityError
from counteranimal.images import DecoderPool
from counteranimal.score.quality import VERSION as QUALITY_VERSION
from counteranimal.settings import Settings
from counteranimal.steps.run import Outcome, Run
from counteranimal.workspace import Workspace, hold, seal
from counteranimal.workspace.events import TABLES
from counteranimal.workspace.forgetting import crops_of
from counteranimal.workspace.salvage import salvage, set_aside

__all__ = ["gc", "recover"]


def recover(settings: Settings, *, now: datetime) -> Outcome:
    """Bring journal and store together: read what is left of a damaged journal, list the stored photos again, note lost ones.

    The damaged file is kept beside the new one. Votes, rounds and withdrawals are in the journal only: what of them could
    not be read has to come from a backup.

    Raises
    ------
    EnvironmentFailure
        If another process holds the workspace.
    """
    counts: dict[str, int | str] = {}
    with hold(settings.home):
        file = settings.home.resolve() / "journal.sqlite"
        aside = None
        if not settings.journal_url and (wrong := seal.damage(file)):
            aside = set_aside(file, now.strftime("%Y%m%dT%H%M%SZ"))
            counts["damaged"] = wrong
        workspace = Workspace(settings.home, settings.journal_url, settings.store)
        if aside is not None:
            kept = salvage(aside, file)
            counts |= {"kept_aside": str(aside), **{f"{name}_read": number for name, number in kept.items() if number}}
        life = Life(workspace, lease=settings.claim_seconds, now=now)
        life.look()
        with DecoderPool(settings.workers) as pool:
            found = adopt(workspace, now=now, look=lambda data: look_at(data, pool), living=life.living())
        lost = lost_photos(workspace)
        waiting = record_losses(workspace, lost, now=now)
        workspace.journal.close(sealed=not workspace.shared)
    counts |= {**found.counts(), "lost": len(lost), "to_fetch_again": waiting}
    return Outcome("recover", counts, _told(found, lost, aside))


def _told(found: Reconciled, lost: list[str], aside: Path | None) -> str:
    parts = [found.sentence()] if found.sentence() else []
    if lost:
        parts.append(f"{len(lost)} photos are gone from the store; the next crawl fetches them again")
    if aside is not None:
        parts.append("votes, rounds and withdrawals that could not be read have to come from a backup of the journal")
    return "; ".join(parts) or "journal and store agree"


@dataclass(frozen=True, slots=True)
class _Rubbish:
    what: str
    path: Path
    size: int


def gc(run: Run, *, dry_run: bool = False) -> Outcome:
    """Remove what nothing refers to; with `dry_run` only say what that is.

    Raises
    ------
    EnvironmentFailure
        If another process holds the workspace.
    IntegrityError
        If the journal is damaged: then nothing can be said to be unused.
    """
    with run.workspace.lock():
        if lost := lost_photos(run.workspace):
            raise IntegrityError(
                f"{len(lost)} photos that the journal lists are not in the store; run `counteranimal recover` before removing anything"
            )
        found = list(_rubbish(run))
        if not dry_run:
            for item in found:
                _remove(run.workspace, item)
    kinds = {
        kind: sum(item.what == kind for item in found) for kind in ("temporary", "photo", "damaged", "crops", "parts")
    }
    counts = {**kinds, "bytes": sum(item.size for item in found)}
    listed = [f"{item.what} {item.path} ({item.size:,} bytes)" for item in found]
    verb = "would remove" if dry_run else "removed"
    return Outcome("gc", {**counts, "items": listed}, verb + (":\n" + "\n".join(listed) if listed else " nothing"))


def _rubbish(run: Run) -> Iterator[_Rubbish]:
    workspace = run.workspace
    life = Life(workspace, lease=run.settings.claim_seconds, now=run.now)
    life.look()
    temporary = workspace.blobs.temporary_files(life.living())
    temporary += sorted(workspace.home.glob(".*.tmp"))
    for name in ("tables", "releases", "rounds", "photos"):
        temporary += sorted((workspace.home / name).rglob(".*.tmp"))
    for path in temporary:
        yield _Rubbish("temporary", path, path.lstat().st_size)
    for photo_id in unexplained(workspace):
        if not _is_referred_to(workspace, photo_id):
            path = workspace.blobs.path(photo_id)
            yield _Rubbish("photo", path, path.lstat().st_size)
    for path in sorted((workspace.blobs.root / "damaged").glob("*")):
        yield _Rubbish("damaged", path, path.lstat().st_size)
    for path in sorted(crops_of(workspace).glob("*")):
        # A cache: the next evaluation decodes the photos again.
        yield _Rubbish("crops", path, path.stat().st_blocks * 512)
    for path in _old_parts(run):
        yield _Rubbish("parts", path, sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))


def _is_referred_to(workspace: Workspace, photo_id: str) -> bool:
    """Say whether any row of any journal table names the photo."""
    named = [name for name, table in TABLES.items() if "photo_id" in table.columns]
    return any(workspace.journal.rows(name, photo_id=photo_id) for name in named)


def _old_parts(run: Run) -> Iterator[Path]:
    """Yield folders of parts that no stage of this version reads, or whose model the recipe does not name any more."""
    recipe, tables = run.recipe, run.workspace.home / "tables"
    current = {
        "fingerprints": {recipe_name(DEFAULT_RECIPE)},
        "looked_pairs": {looks_key(recipe.dedupe)},
        "scores": {QUALITY_VERSION},
    }
    for name, keys in current.items():
        yield from (path for path in sorted((tables / name).glob("*")) if path.is_dir() and path.name not in keys)
    models = {recipe.score.model, *recipe.evaluate.models, *(rule.selector for rule in recipe.splits)}
    for path in sorted((tables / "embeddings").glob("*")):
        if path.is_dir() and not _models_of(path) <= models:
            yield path


def _models_of(folder: Path) -> set[str]:
    """Return the models whose features a folder holds, as its first part tells."""
    part = min(folder.glob("part-*.parquet"), default=None)
    return set() if part is None else set(pq.read_table(part, columns=["model"]).column("model").to_pylist())


def _remove(workspace: Workspace, item: _Rubbish) -> None:
    if item.what == "photo":
        workspace.blobs.remove(item.path.name)
    elif item.path.is_dir():
        shutil.rmtree(item.path)
    else:
        item.path.unlink(missing_ok=True)
