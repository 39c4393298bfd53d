"""The step behind `fetch`: a release's photos restored, and a table of what could not be.

Decides which hosts a release may have asked: those that its recipe lists, and of this machine only pairs that the caller names,
since a release comes from elsewhere. Leaves restoring to `crawl.restore`.
"""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.restore import Restored, Upstream, counted, restore
from counteranimal.errors import IntegrityError
from counteranimal.recipe import SourceSpec
from counteranimal.release.read import Release
from counteranimal.release.withdrawn import read_withdrawn
from counteranimal.settings import Settings
from counteranimal.steps.run import Outcome
from counteranimal.workspace import Journal

__all__ = ["MISSING", "fetch"]

MISSING = "missing.csv"


def fetch(
    release: Release, out: Path, *, settings: Settings, now: datetime, loopback: tuple[str, ...] = ()
) -> tuple[Outcome, list[Restored]]:
    """Restore photos into a folder; returns the outcome, and what is not there in the end.

    Parameters
    ----------
    loopback : tuple of str
        Exact host:port pairs on this machine that may be asked, for a sample upstream.
    """
    sources = [_spec(content, loopback) for content in release.manifest["recipe"]["sources"]]
    listed = read_withdrawn(release.path.resolve().parent)
    withdrawn = listed.withdrawn if listed and listed.name == release.name else {}
    wanted = [row for row in release.entries.to_pylist() if row["photo_id"] not in withdrawn]
    settings.cache_folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(f"sqlite:///{settings.cache_folder / 'fetch.sqlite'}")
    try:
        found = restore(wanted, out, upstream=Upstream(sources, Clock(now), settings.contact, journal))
    finally:
        journal.close()
    lacking = [item for item in found if item.status not in {"present", "restored"}]
    place = out / MISSING
    if lacking:
        _write(place, lacking)
    else:
        place.unlink(missing_ok=True)
    counts = {"photos": len(wanted), "withdrawn": len(release.entries) - len(wanted), **counted(found)}
    return Outcome("fetch", counts, f"the rest is listed in {place}" if lacking else ""), lacking


def _spec(content: dict[str, object], loopback: tuple[str, ...]) -> SourceSpec:
    try:
        return SourceSpec.model_validate({**content, "loopback": loopback})
    except ValueError as error:
        raise IntegrityError(
            f"release.json names a source that cannot be asked ({error}); verify the release"
        ) from error


def _write(place: Path, lacking: list[Restored]) -> None:
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["photo_id", "status", "reason", "detail"])
        writer.writerows((item.photo_id, item.status, item.reason, item.detail) for item in lacking)
