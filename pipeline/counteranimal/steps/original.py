"""The step behind `import-original`: the archive read, written as a release, and its oddities told.

Decides what a person is told of it. Leaves reading to `freeze.original`; photos stay where they are, since nobody may publish them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from counteranimal.errors import UsageError
from counteranimal.freeze.original import Archive, draft_of, read_archive
from counteranimal.freeze.write import write_release
from counteranimal.settings import Settings
from counteranimal.steps.run import Outcome

__all__ = ["Import", "import_original"]


@dataclass(frozen=True, slots=True)
class Import:
    """What is imported and where to: the archive, the folder that gets `releases/<version>`, key and counts where given."""

    folder: Path
    out: Path
    version: str = "1.0.0"
    key: Path | None = None
    counts: Path | None = None


def import_original(asked: Import, *, settings: Settings, now: datetime) -> Outcome:
    """Write an archive as a release and return what was found."""
    stated = _counts(asked.counts) if asked.counts else {}
    archive = read_archive(asked.folder, workers=settings.workers)
    differences = archive.differences(stated)
    draft = draft_of(archive, version=asked.version, at=now, notes=differences)
    path = write_release(draft, asked.out / "releases", private_key=asked.key)
    found = {
        "photos": len(archive.photos),
        "rejected": [f"{item.path} ({item.reason})" for item in archive.rejected],
        "stem_collisions": archive.collisions,
        "skipped": archive.skipped,
        "differences": differences,
        "release": str(path),
    }
    return Outcome("import-original", found, _told(archive, differences))


def _counts(path: Path) -> dict[int, tuple[int, int]]:
    """Read common and counter counts by ImageNet index from a CSV with the columns index, common, counter."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {int(row["index"]): (int(row["common"]), int(row["counter"])) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"{path} is no table of counts ({error}); give a CSV with index, common, counter") from error


def _told(archive: Archive, differences: list[str]) -> str:
    lines = [
        f"{len(archive.rejected)} file(s) turned away",
        *(f"  {item.path}: {item.reason}" for item in archive.rejected),
    ]
    lines += [f"{len(archive.collisions)} stem(s) that two files share", *(f"  {stem}" for stem in archive.collisions)]
    lines += [f"{len(archive.skipped)} other file(s) skipped", *(f"  {name}" for name in archive.skipped)]
    lines += differences or ["no difference from the stated counts"]
    return "\n".join(lines)
