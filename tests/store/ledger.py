"""What the crash harness holds a store against, after every kill and at the end."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from counteranimal.workspace import Workspace
from counteranimal.workspace.durable import target_and_writer


@dataclass
class Ledger:
    """What was found over all kills of a harness."""

    root: Path
    corrupt: set[str] = field(default_factory=set)
    asked_again: set[str] = field(default_factory=set)
    kills: int = 0
    _whole: set[Path] = field(default_factory=set)
    _safe: set[str] = field(default_factory=set)
    _read: set[Path] = field(default_factory=set)

    def look(self, asked_since: list[str], *, killed: bool) -> None:
        """Note short files, and photos that were asked for although an earlier kill found them on the disk.

        Parameters
        ----------
        asked_since : list of str
            Candidates that the server was asked for since the last look.
        killed : bool
            Whether the crawl before this look was killed.
        """
        self.kills += killed
        self.asked_again |= self._safe & set(asked_since)
        for path in self.root.glob("??/*"):
            if path not in self._whole and len(path.name) == 64:
                if hashlib.sha256(path.read_bytes()).hexdigest() == path.name:
                    self._whole.add(path)
                else:
                    self.corrupt.add(path.name)
        self._safe |= self._on_disk()

    def _on_disk(self) -> set[str]:
        """Return the candidates whose bytes and side record are complete on the disk, under whatever name."""
        found = set()
        names: dict[Path, list[Path]] = {}
        for path in self.root.glob("??/.*.tmp"):
            names.setdefault(target_and_writer(path)[0], []).append(path)
        for side in [*self.root.glob("??/*.json"), *(name for name in names if name.suffix == ".json")]:
            if side in self._read:
                continue
            blob = side.with_name(side.name[:64])
            bytes_there = blob in self._whole or any(
                hashlib.sha256(path.read_bytes()).hexdigest() == blob.name for path in names.get(blob, ())
            )
            if bytes_there:
                try:
                    text = side.read_bytes() if side.exists() else names[side][0].read_bytes()
                    found.add(str(json.loads(text)["candidate_id"]))
                    if side.exists():
                        self._read.add(side)
                except ValueError:
                    continue
        return found


def faults(workspace: Workspace, wanted: set[str]) -> dict[str, int]:
    """Return the number of faults of each kind in a workspace whose crawl is finished."""
    blobs, journal = workspace.blobs, workspace.journal
    rows = journal.rows("stored")
    fetched = Counter(row["candidate_id"] for row in journal.rows("fetches") if row["status"] == "stored")
    listed = {row["photo_id"] for row in rows}
    on_disk = set(blobs.ids())
    sides = {path.name[:64] for path in blobs.root.glob("??/*.json")}
    return {
        "lost": len(wanted - {row["candidate_id"] for row in rows}) + len(listed - on_disk),
        "duplicate": sum(n > 1 for n in Counter((row["photo_id"], row["candidate_id"]) for row in rows).values())
        + sum(n > 1 for n in fetched.values()),
        "corrupt": sum(hashlib.sha256(blobs.path(name).read_bytes()).hexdigest() != name for name in on_disk),
        "orphan": len(on_disk ^ sides) + len(on_disk - listed),
        "temporary": len(list(workspace.home.rglob("*.tmp"))),
    }


NO_FAULTS = {"lost": 0, "duplicate": 0, "corrupt": 0, "orphan": 0, "temporary": 0}
