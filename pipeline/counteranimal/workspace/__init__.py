"""Where state lives: blobs (bytes), the journal (what happened outside), tables (what was computed).

Decides durability and places. Leaves meaning to the stages. One writer at a time holds a workspace; readers need no lock.

::

    HOME/
      blobs/ab/<sha256>         original bytes, read-only, with <sha256>.json beside them
      journal.sqlite            append-only; or any SQLAlchemy URL shared by several machines
      home.id                   names this home in a shared journal
      tables/<name>.parquet     sorted views
      tables/<name>/<key>/      append-only parts of per-photo stages
      rounds/ reports/ releases/ logs/
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from counteranimal import tables
from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.workspace import seal
from counteranimal.workspace.blobs import Blob, Blobs, write_atomically
from counteranimal.workspace.durable import stable_id
from counteranimal.workspace.journal import Journal
from counteranimal.workspace.parts import Parts

__all__ = ["Blob", "Blobs", "Journal", "Parts", "Workspace", "hold", "write_atomically"]

# The verb that makes a view; what is not here is made by `rebuild`.
_MADE_BY = {
    "candidates": "crawl",
    "fetches": "crawl",
    "photos": "crawl",
    "fingerprints": "dedupe",
    "clusters": "dedupe",
    "scores": "score",
    "preview": "propose",
}


class Workspace:
    """One folder of state and the journal that belongs to it.

    Parameters
    ----------
    home : Path
        Created when missing.
    journal_url : str
        SQLAlchemy URL; empty for SQLite inside `home`.
    store : Path, optional
        Folder of the blobs; by default inside `home`. Homes that share a journal may share it, too.

    Raises
    ------
    EnvironmentFailure, IntegrityError
        If the folder cannot be made, or the journal cannot be used or is damaged.
    """

    def __init__(self, home: Path, journal_url: str = "", store: Path | None = None) -> None:
        self.home = home.resolve()
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentFailure(
                f"workspace {home} cannot be made ({error.strerror}); choose another with --home"
            ) from error
        self.blobs = Blobs(store.resolve() if store else self.home / "blobs")
        self.shared = bool(journal_url)
        self.journal = Journal(journal_url or f"sqlite:///{self.home / 'journal.sqlite'}")

    def identity(self) -> str:
        """Return the id of this home, by which a shared journal tells the runs of several homes apart."""
        return stable_id(self.home / "home.id")

    def folder(self, name: str) -> Path:
        """Return a sub-folder (rounds, reports, releases, logs), made when missing."""
        path = self.home / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def parts(self, name: str, key: str) -> Parts:
        """Return the append-only parts of table `name` for one (function version, settings) key."""
        return Parts(self.home / "tables" / name / key, name)

    def write_table(self, name: str, table: pa.Table) -> pa.Table:
        """Write the sorted view of a table and return it as written."""
        ordered = tables.conform(name, table)
        tables.write(self.table_path(name), ordered)
        return ordered

    def table(self, name: str) -> pa.Table:
        """Read a view; raises UsageError, naming the verb to run, if its stage has not run."""
        path = self.table_path(name)
        if not path.exists():
            verb = _MADE_BY.get(name, "rebuild")
            raise UsageError(f"table {name} is missing at {path}; run `counteranimal {verb}` first")
        return tables.read(path, name)

    def table_or_empty(self, name: str, columns: Sequence[str] = ()) -> pa.Table:
        """Read a view, or the empty table where its stage has not run yet; `columns` reads no others, unchecked."""
        if not self.table_path(name).exists():
            return tables.empty(name).select(list(columns)) if columns else tables.empty(name)
        return pq.read_table(self.table_path(name), columns=list(columns)) if columns else self.table(name)

    def kept_photos(self) -> dict[str, dict[str, Any]]:
        """Return photo id -> row of `photos`, for those that are ok, kept by the duplicate rule and not withdrawn.

        Raises
        ------
        UsageError
            If `photos` or `clusters` has not been made yet.
        """
        clusters = self.table("clusters")
        kept = clusters.filter(pc.fill_null(clusters["kept"], fill_value=False))["photo_id"].combine_chunks()
        sound = self._sound()
        return _by_photo(sound.filter(pc.is_in(sound["photo_id"], value_set=kept)))

    def sound_photos(self) -> dict[str, dict[str, Any]]:
        """Return photo id -> row of `photos`, for those that are ok and not withdrawn, dropped duplicates among them."""
        return _by_photo(self._sound())

    def _sound(self) -> pa.Table:
        photos = self.table("photos")
        withdrawn = sorted({row["photo_id"] for row in self.journal.rows("withdrawals") if row["photo_id"]})
        gone = pc.is_in(photos["photo_id"], value_set=pa.array(withdrawn, pa.string()))
        return photos.filter(pc.and_(pc.equal(photos["status"], "ok"), pc.invert(gone)))

    def table_path(self, name: str) -> Path:
        """Return where a view is kept."""
        return self.home / "tables" / f"{name}.parquet"

    def require_free_space(self, floor_mb: int) -> None:
        """Refuse to start when the disk is nearly full; raises EnvironmentFailure."""
        free_mb = shutil.disk_usage(self.home).free // 1_000_000
        if free_mb < floor_mb:
            raise EnvironmentFailure(
                f"disk full: {free_mb} MB are free at {self.home}, {floor_mb} MB are wanted; free some space and run again"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace for writing; the kernel frees it when the process ends, however it ends.

        Raises
        ------
        EnvironmentFailure
            If another process holds it; the sentence names its pid.
        IntegrityError
            If the journal's bytes have changed since the last run, or it is empty while photos are stored.
        """
        with hold(self.home):
            self._require_sound_journal()
            try:
                yield
            finally:
                self.journal.close(sealed=not self.shared)

    def _require_sound_journal(self) -> None:
        file = self.journal.file
        if file is not None and not self.shared and (wrong := seal.damage(file)):
            raise IntegrityError(
                f"the journal {file} is damaged ({wrong}); restore it from a backup, or run `counteranimal recover`"
            )
        if not self.journal.position("candidates") and next(self.blobs.ids(), None) is not None:
            raise IntegrityError(
                f"the journal is empty, but photos are stored in {self.blobs.root}; restore it from a backup, or run "
                "`counteranimal recover` to list them again"
            )


def _by_photo(photos: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["photo_id"]: row for row in photos.to_pylist()}


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Hold a home for writing, whatever state its journal is in; raises EnvironmentFailure naming the pid that holds it."""
    owner = home / "lock.pid"
    lock = FileLock(home / "lock")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        pid = owner.read_text().strip() if owner.exists() else "unknown"
        raise EnvironmentFailure(
            f"workspace {home} is in use by pid {pid}; wait for it or choose another with --home"
        ) from error
    try:
        owner.write_text(f"{os.getpid()}\n")
        yield
    finally:
        lock.release()
