"""The seal of a SQLite journal: the digest of the file as the last run left it, by which damage is found at the next start.

Decides what counts as damaged: a sealed file whose bytes are others, or, after a run that could not seal, a file that SQLite
itself finds broken. SQLite keeps no checksums of its own: changed bytes inside a text would pass for what was written. Leaves
mending to `recover`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from counteranimal.errors import EnvironmentFailure
from counteranimal.workspace.durable import sync_folder, write_atomically

__all__ = ["break_seal", "damage", "put_seal", "resealing", "seal_of"]


def seal_of(file: Path) -> Path:
    """Return where the seal of a journal file lies."""
    return file.with_name(f"{file.name}.seal")


def put_seal(file: Path) -> bool:
    """Move everything into the file itself and note its digest.

    False where that cannot be done (another process reads it, the disk is full); then the next start looks at every page.
    """
    try:
        with closing(sqlite3.connect(file, timeout=1)) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    if busy:
        return False
    try:
        write_atomically(seal_of(file), json.dumps(_state(file)).encode())
    except (EnvironmentFailure, OSError):
        return False
    return True


def break_seal(file: Path) -> None:
    """Forget the digest, durably, before the file is changed."""
    path = seal_of(file)
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


@contextmanager
def resealing(file: Path) -> Iterator[None]:
    """Let the body change a file that is whole under its seal, and seal it anew; a damaged file keeps the seal that shows it."""
    whole = seal_of(file).exists() and not damage(file)
    if whole:
        break_seal(file)
    yield
    if whole:
        put_seal(file)


def damage(file: Path) -> str:
    """Return what is wrong with a journal file in a few words, empty when nothing is known to be."""
    if not file.exists():
        return ""
    try:
        noted = json.loads(seal_of(file).read_bytes())
    except FileNotFoundError:
        return _broken(file)
    except (ValueError, OSError):
        noted = None
    if noted == _state(file) and not _has_log(file):
        return ""
    return _broken(file) or "its bytes are not those of the last run"


def _state(file: Path) -> dict[str, object]:
    with file.open("rb") as opened:
        return {"bytes": os.fstat(opened.fileno()).st_size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}


def _has_log(file: Path) -> bool:
    log = file.with_name(f"{file.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _broken(file: Path) -> str:
    """Return the first thing that SQLite's own check finds."""
    try:
        with closing(sqlite3.connect(file, timeout=60)) as connection:
            [(found,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error as error:
        return str(error)
    except UnicodeDecodeError:  # SQLite's own message quotes a damaged name
        return "its schema is not text"
    return "" if found == "ok" else " ".join(str(found).split())
