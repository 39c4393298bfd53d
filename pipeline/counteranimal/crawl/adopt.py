"""Brings store and journal together: after a kill, a restored backup, a lost journal.

Decides that a photo which reached the store is never fetched again: what a killed run wrote completely is finished and recorded
from its side records. Decides, too, what counts as lost: a photo that the journal says lies in this store and does not. Leaves
to the caller whether lost photos stop a run or are fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from counteranimal.crawl.intake import LOST, stored_row
from counteranimal.errors import EnvironmentFailure, IntegrityError, Reason, Rejected
from counteranimal.ids import is_photo_id
from counteranimal.images import ImageInfo
from counteranimal.workspace import Workspace
from counteranimal.workspace.blobs import Side
from counteranimal.workspace.events import TABLES

__all__ = ["Reconciled", "adopt", "lost_photos", "record_losses", "unexplained"]

_STORED, _CANDIDATES = TABLES["stored"], TABLES["candidates"]
_AT_ONCE = 500


@dataclass(slots=True)
class Reconciled:
    """What was found in a store that the journal did not know.

    finished: photos that a killed writer had written but not renamed; removed: its other temporary files; adopted: candidates
    recorded from side records; damaged: files whose bytes are not what their name says, set aside; unknown: photos that no
    readable side record explains.
    """

    finished: int = 0
    removed: int = 0
    adopted: int = 0
    damaged: int = 0
    unknown: list[str] = field(default_factory=list)

    def __iadd__(self, more: Reconciled) -> Self:
        """Add what a later look at the same store found; `unknown` is what that one still cannot explain."""
        self.finished += more.finished
        self.removed += more.removed
        self.adopted += more.adopted
        self.damaged += more.damaged
        self.unknown = more.unknown
        return self

    def sentence(self) -> str:
        """Return what was found as one line, empty when nothing was."""
        told = {
            "finished {} photos that a stopped run had begun to store": self.finished,
            "recorded {} photos that lay in the store unrecorded": self.adopted,
            "removed {} temporary files": self.removed,
            "set aside {} damaged files": self.damaged,
            "found {} photos without a readable side record": len(self.unknown),
        }
        return ", ".join(text.format(number) for text, number in told.items() if number)

    def counts(self) -> dict[str, int]:
        """Return the numbers."""
        return {**asdict(self), "unknown": len(self.unknown)}


def adopt(
    workspace: Workspace, *, now: datetime, look: Callable[[bytes], ImageInfo], living: Collection[str] = ()
) -> Reconciled:
    """Finish and record what lies in the store unrecorded; the workspace's lock must be held.

    Parameters
    ----------
    now : datetime
        Moment of attempts whose side record does not tell its own.
    look : callable
        Decodes a photo whose side record does not say what it is.
    living : collection of str
        Runs of others that store here, too; what they are writing is left alone.
    """
    blobs, found = workspace.blobs, Reconciled()
    found.finished, found.removed = blobs.finish_temporary(living)
    for folder, recorded in _folders(workspace):
        on_disk = _Listing.of(folder)
        new = [name for name in on_disk.photos if name not in recorded]
        new += [name for name in on_disk.shared if name in recorded]
        for start in range(0, len(new), _AT_ONCE):
            _adopt_some(workspace, new[start : start + _AT_ONCE], found, _Look(now, look, living, recorded))
        for side in on_disk.orphans(living, blobs.side):
            side.unlink()
            found.removed += 1
    return found


@dataclass(slots=True)
class _Listing:
    """What lies in one folder of a store: photos, those with several side records, side records by photo."""

    folder: Path
    photos: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    sides: dict[str, list[Path]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> _Listing:
        found = cls(folder)
        for path in sorted(folder.iterdir()):
            name, dot, _ = path.name.partition(".")
            if not is_photo_id(name):
                continue
            if not dot:
                found.photos.append(name)
            elif path.suffix == ".json":
                found.sides.setdefault(name, []).append(path)
        found.shared = [name for name in found.photos if len(found.sides.get(name, ())) > 1]
        return found

    def orphans(self, living: Collection[str], read: Callable[[str], Side]) -> Iterator[Path]:
        """Yield side records without a photo whose writer is dead."""
        present = set(self.photos)
        for name, paths in self.sides.items():
            if name not in present and read(name).get("run") not in living:
                yield from paths


def _folders(workspace: Workspace) -> Iterator[tuple[Path, dict[str, set[str]]]]:
    """Yield each folder of the store and what the journal lists in it; the journal is read in sixteen pieces."""
    for first, folders in groupby(workspace.blobs.folders(), key=lambda folder: folder.name[0]):
        recorded = _recorded(workspace, first)
        for folder in folders:
            yield folder, recorded


def _recorded(workspace: Workspace, prefix: str) -> dict[str, set[str]]:
    """Return photo -> candidates of all that the journal lists, in whatever store, under a prefix of one character."""
    after = chr(ord(prefix) + 1)
    query = (
        sa.select(_STORED.c.photo_id, _STORED.c.candidate_id, _STORED.c.store, _STORED.c.status)
        .where(_STORED.c.photo_id >= prefix, _STORED.c.photo_id < after)
        .order_by(_STORED.c.position)
    )
    there: dict[tuple[str, str, str | None], bool] = {}
    for photo_id, candidate, store, status in workspace.journal.each(query):
        there[photo_id, candidate, store] = status != LOST
    found: dict[str, set[str]] = {}
    for (photo_id, candidate, _), is_there in there.items():
        if is_there:
            found.setdefault(photo_id, set()).add(candidate)
    return found


@dataclass(frozen=True, slots=True)
class _Look:
    """What adopting needs to know beside the photos."""

    now: datetime
    info: Callable[[bytes], ImageInfo]
    living: Collection[str]
    recorded: dict[str, set[str]]


def _adopt_some(workspace: Workspace, names: list[str], found: Reconciled, look: _Look) -> None:
    """Record some photos and the candidates that brought them, in one transaction."""
    sides: list[tuple[str, ImageInfo, Side]] = []
    for photo_id in names:
        known = look.recorded.get(photo_id, set())
        told = [
            side for side in workspace.blobs.sides(photo_id) if _is_told(side) and side.get("run") not in look.living
        ]
        if photo_id not in look.recorded and not told:
            found.unknown.append(photo_id)
        told = [side for side in told if side["candidate_id"] not in known]
        if not told:
            continue
        try:
            info = _info_of(told[0], data := workspace.blobs.read(photo_id), look.info)
        except IntegrityError:
            workspace.blobs.set_aside(photo_id)
            found.damaged += 1
            continue
        except Rejected:
            found.unknown.append(photo_id)
            continue
        sides += [(photo_id, info, {**side, "bytes": len(data)}) for side in told]
    if not sides:
        return
    rows = _rows_of(workspace, sides, look.now)
    workspace.journal.append_all(rows)
    found.adopted += len(rows["stored"])


def _is_told(side: Side) -> bool:
    return all(isinstance(side.get(name), str) and side[name] for name in ("candidate_id", "source"))


def _info_of(side: Side, data: bytes, look: Callable[[bytes], ImageInfo]) -> ImageInfo:
    mime, width, height = (side.get(name) for name in ("mime", "width", "height"))
    if isinstance(mime, str) and isinstance(width, int) and isinstance(height, int):
        return ImageInfo(mime, width, height, suspect=side.get("suspect") is True)
    return look(data)


def _rows_of(
    workspace: Workspace, sides: list[tuple[str, ImageInfo, Side]], now: datetime
) -> dict[str, list[dict[str, Any]]]:
    """Return the journal's rows that the side records tell of and the journal lacks."""
    names = [str(side["candidate_id"]) for _, _, side in sides]
    candidates = workspace.journal.last_of("candidates", "candidate_id", names)
    fetches = workspace.journal.last_of("fetches", "candidate_id", names)
    withdrawn = {row["photo_id"] for row in workspace.journal.rows("withdrawals")}
    rows: dict[str, list[dict[str, Any]]] = {"candidates": [], "stored": [], "fetches": []}
    store = workspace.blobs.identity()
    for photo_id, info, side in sides:
        name, at = str(side["candidate_id"]), _moment(side.get("retrieved_at"), now)
        if photo_id in withdrawn:
            continue
        if name not in candidates:
            candidates[name] = _candidate_of(side, at)
            rows["candidates"].append(candidates[name])
        facts = {"photo_id": photo_id, "bytes": side["bytes"], "stored_at": at, "store": store}
        rows["stored"].append(stored_row(candidates[name], info, facts))
        last = fetches.get(name)
        if last is None or (last["status"], last["photo_id"]) != ("stored", photo_id):
            number = 1 + int(last["attempt"]) if last else int(side.get("attempt") or 1)
            told = {"at": at, "status": "stored", "http_status": side.get("http_status"), "bytes": side["bytes"]}
            fetches[name] = {"candidate_id": name, "attempt": number, "photo_id": photo_id, **told}
            rows["fetches"].append(fetches[name])
    return rows


def _candidate_of(side: Side, at: datetime) -> dict[str, Any]:
    columns = {column.name for column in _CANDIDATES.columns} - {"position"}
    told = {name: side.get(name) for name in columns}
    return {**told, "seen_at": at, "status": "ok", "reason": None, "native_id": _native_id(side)}


def _native_id(side: Side) -> str:
    return str(side.get("native_id") or str(side["candidate_id"]).partition(":")[2])


def _moment(text: object, otherwise: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise
    return found if found.tzinfo is not None else otherwise


def lost_photos(workspace: Workspace) -> list[str]:
    """Return the photos that the journal says lie in this store, and that are not there.

    Raises
    ------
    EnvironmentFailure
        If nothing of what the journal lists has ever been in this store: then it is another store, and nothing is lost.
    """
    store = workspace.blobs.identity()
    mine = (
        sa.or_(_STORED.c.store == store, _STORED.c.store.is_(None))
        if not workspace.shared
        else _STORED.c.store == store
    )
    withdrawn = {row["photo_id"] for row in workspace.journal.rows("withdrawals")}
    query = sa.select(_STORED.c.photo_id, _STORED.c.candidate_id, _STORED.c.status).where(mine)
    there: dict[tuple[str, str], bool] = {}
    for photo_id, candidate, status in workspace.journal.each(query.order_by(_STORED.c.position)):
        there[photo_id, candidate] = status != LOST
    if not there and not workspace.shared and workspace.journal.position("stored"):
        raise EnvironmentFailure(
            f"{workspace.blobs.root} is not the store that the journal tells of; bring that folder back, or set `store` to where it is"
        )
    wanted = {photo_id for (photo_id, _), is_there in there.items() if is_there} - withdrawn
    return sorted(wanted - set(workspace.blobs.ids()))


def unexplained(workspace: Workspace) -> list[str]:
    """Return the photos in the store that the journal does not list and no readable side record explains."""
    found: list[str] = []
    for folder, recorded in _folders(workspace):
        new = [name for name in _Listing.of(folder).photos if name not in recorded]
        found += [name for name in new if not any(map(_is_told, workspace.blobs.sides(name)))]
    return found


def record_losses(workspace: Workspace, lost: Collection[str], *, now: datetime) -> int:
    """Record that photos are gone from this store, and return how many candidates the next crawl will fetch again for it."""
    mine, waiting = {workspace.blobs.identity(), None}, 0
    for photo_id in sorted(lost):
        last: dict[tuple[str, bool], dict[str, Any]] = {}
        for row in workspace.journal.rows("stored", photo_id=photo_id):
            last[row["candidate_id"], row["store"] in mine] = row
        there = {key: row for key, row in last.items() if row["status"] != LOST}
        gone = [{**row, "status": LOST, "stored_at": now} for (_, ours), row in there.items() if ours]
        for row in gone:
            row.pop("position")
        # A photo that another home's store still holds need not be fetched again.
        names = {row["candidate_id"] for row in gone} - {name for name, ours in there if not ours}
        names = {name for name in names if not _has_another(workspace, name, photo_id)}
        tried = workspace.journal.last_of("fetches", "candidate_id", sorted(names))
        failed = [
            {
                "candidate_id": name,
                "attempt": int(tried[name]["attempt"]) + 1 if name in tried else 1,
                "at": now,
                "status": "failed",
                "reason": str(Reason.LOST),
            }
            for name in sorted(names)
        ]
        workspace.journal.append_all({"stored": gone, "fetches": failed})
        waiting += len(failed)
    return waiting


def _has_another(workspace: Workspace, candidate: str, photo_id: str) -> bool:
    """Say whether another photo of a candidate lies in this store: then the row of the lost one may be the mistake."""
    others = {row["photo_id"] for row in workspace.journal.rows("stored", candidate_id=candidate)} - {photo_id}
    return any(workspace.blobs.has(other) for other in others)
