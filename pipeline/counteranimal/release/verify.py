"""Verifies a release: bytes first, meaning second, and every problem named.

Decides the order in which a release earns trust, as states that are passed one after the other: *root* (signature and root
digest, before anything is parsed), *files* (the digest of every file, nothing missing or added), *manifest*, *tables* (schema),
*content* (counts, references, conservation, licences, folds), *photos*. Content is only read from bytes that passed, and a
failed state is reported beside whatever later states can still be checked without it. Works offline, with the base install.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release import crossrefs, rows, signature, strict_json, sums
from counteranimal.release import manifest as manifests
from counteranimal.release.flat import entries_csv
from counteranimal.release.layout import ENTRIES_CSV, MANIFEST, PUBLISHED_TABLES, SIGNATURE, SUMS, table_file
from counteranimal.release.manifest import Manifest
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import file_problems, read_sums, read_table

__all__ = ["VerifyReport", "verify"]

Signed = Literal["good", "not pinned", "unsigned", "bad"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found; `ok` only if nothing was.

    `signature` is `good` for the pinned key, `not pinned` for a signature that fits a key nobody vouched for. `notes` say what
    was not checked and why, without being problems.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    counts: dict[str, int]
    signature: Signed
    digest: str
    name: str = ""
    version: str = ""

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    def record(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "ok": self.ok,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "signature": self.signature,
            "counts": self.counts,
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


@dataclass(slots=True)
class _Course:
    """Where a verification stands: what it found, and what it may still believe."""

    path: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    signature: Signed = "unsigned"
    signed_by: str | None = None
    digest: str = ""
    listed: dict[str, str] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)
    manifest: Manifest | None = None
    tables: dict[str, pa.Table] = field(default_factory=dict)

    def attempt(self, step: Callable[..., object], *given: object) -> bool:
        """Take a step; what it raises becomes a problem."""
        try:
            step(*given)
        except IntegrityError as error:
            self.problems.append(str(error))
            return False
        return True

    def report(self) -> VerifyReport:
        """Return what was found."""
        stated = self.manifest
        return VerifyReport(
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            counts=self.counts,
            signature=self.signature,
            digest=self.digest,
            name=stated.name if stated else "",
            version=stated.version if stated else "",
        )


def verify(
    path: Path, *, public_key: Path | None = None, photos: Path | None = None, root_digest: str | None = None
) -> VerifyReport:
    """Verify the release in a folder and report every problem.

    Parameters
    ----------
    public_key : Path, optional
        The publisher's key, got from elsewhere than the release. Without it a signature only shows that nothing was damaged.
    photos : Path, optional
        A folder of photos to hold against the entries.
    root_digest : str, optional
        Digest of SHA256SUMS that a paper or page states; an alternative to a key.

    Raises
    ------
    UsageError
        If the release folder, key or photo folder does not exist.
    """
    if not path.is_dir():
        raise UsageError(f"release {path} does not exist; give the folder that holds {SUMS}")
    pinned = signature.load_public_key(public_key) if public_key else None
    folder = PhotoFolder(photos) if photos else None
    course = _Course(path)
    trusted = _root(course, pinned, root_digest)
    _files(course)
    if trusted:
        _manifest(course)
        _tables(course)
        _content(course)
    else:
        course.notes.append(f"content was not read, since {SUMS} is not trusted")
    if folder is not None:
        _photos(course, folder)
    return course.report()


def _root(course: _Course, pinned: str | None, root_digest: str | None) -> bool:
    """Check root digest and signature over the raw bytes, then parse the list they cover."""
    stated = course.attempt(_root_digest, course, root_digest)
    if not course.digest:
        return False
    signed = course.attempt(_signature, course, pinned)
    # The list is parsed even when the signature is bad: only to say which files differ from it, never to believe them.
    return course.attempt(_list, course) and signed and stated


def _root_digest(course: _Course, stated: str | None) -> None:
    course.digest, _ = sums.digest_of_file(course.path / SUMS)
    if stated is not None and course.digest != stated.lower():
        raise IntegrityError(
            f"{SUMS} has the digest {course.digest}, not the one that was stated; do not use this release"
        )


def _list(course: _Course) -> None:
    course.listed, _ = read_sums(course.path)


def _signature(course: _Course, pinned: str | None) -> None:
    place = course.path / SIGNATURE
    if not place.exists() and not place.is_symlink():
        if pinned is not None:
            course.signature = "bad"
            raise IntegrityError(
                f"the release is unsigned ({SIGNATURE} is missing) though a key is pinned; do not use it"
            )
        course.notes.append("the release is unsigned; digests show damage, not who made it")
        return
    course.signature = "bad"
    sums.digest_of_file(place)  # refuses links and devices
    found = signature.parse(place.read_bytes())
    signature.check(found, (course.path / SUMS).read_bytes(), pinned=pinned)
    course.signed_by = found.public_key
    course.signature = "good" if pinned is not None else "not pinned"
    if pinned is None:
        course.notes.append(f"signed by the key {found.public_key}, which nothing here vouches for; pin it with --key")


def _files(course: _Course) -> None:
    if not course.listed:
        return
    found = file_problems(course.path, course.listed)
    course.problems += found.values()
    course.counts["files"] = len(course.listed)
    course.good = set(course.listed) - set(found)


def _manifest(course: _Course) -> None:
    if MANIFEST not in course.good:
        return
    course.attempt(_parse_manifest, course)
    if course.manifest is None:
        return
    recorded = course.manifest.files
    for name in sorted(set(recorded) ^ (set(course.listed) - {MANIFEST})):
        course.problems.append(f"{MANIFEST} and {SUMS} disagree on whether {name} is part of the release")
    for name, record in recorded.items():
        if name in course.good and record.sha256 != course.listed[name]:
            course.problems.append(f"{MANIFEST} and {SUMS} disagree about {name}: parts of two releases")
        elif name in course.good and record.bytes != (course.path / name).stat().st_size:
            course.problems.append(f"{MANIFEST} states another length for {name}")
    if course.manifest.signed_by != course.signed_by:
        course.problems.append(
            f"{MANIFEST} says the release is signed by {course.manifest.signed_by or 'nobody'}, {SIGNATURE} by "
            f"{course.signed_by or 'nobody'}; a signature was stripped or exchanged"
        )


def _parse_manifest(course: _Course) -> None:
    course.manifest = manifests.parse((course.path / MANIFEST).read_bytes())


def _tables(course: _Course) -> None:
    for name in PUBLISHED_TABLES:
        if table_file(name) in course.good:
            course.attempt(_table, course, name)
    for name in ("agreement.json", "croissant.json"):
        if name in course.good:
            course.attempt(_json, course.path / name)


def _table(course: _Course, name: str) -> None:
    course.tables[name] = read_table(course.path, name)


def _json(path: Path) -> None:
    strict_json.loads(path.read_bytes(), name=path.name)


def _content(course: _Course) -> None:
    """Check what the tables say, as far as they could be read."""
    manifest, tables = course.manifest, course.tables
    if manifest is None or set(tables) != set(PUBLISHED_TABLES):
        course.notes.append("counts and references were not checked, since a file they need is not intact")
        return
    entries = tables["entries"]
    course.counts |= {name: len(table) for name, table in tables.items()}
    course.problems += [
        *rows.entry_problems(manifest, entries),
        *rows.fold_problems(manifest.seed, entries),
        *crossrefs.count_problems(manifest, tables),
        *crossrefs.conservation_problems(manifest),
        *crossrefs.split_problems(manifest, tables),
        *crossrefs.covariate_problems(manifest, tables),
        *crossrefs.prediction_problems(manifest, tables),
        *crossrefs.group_problems(tables),
    ]
    if ENTRIES_CSV in course.good and (course.path / ENTRIES_CSV).read_bytes() != entries_csv(entries):
        course.problems.append(f"{ENTRIES_CSV} does not say what entries.parquet says")
    if "recipe.toml" in course.good:
        course.attempt(_recipe, course.path / "recipe.toml", manifest)


def _recipe(path: Path, manifest: Manifest) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"recipe.toml is not TOML ({error}); get the release again") from error
    if content.get("name") != manifest.name:
        raise IntegrityError(f"recipe.toml is the recipe of {content.get('name')!r}, not of {manifest.name!r}")


def _photos(course: _Course, folder: PhotoFolder) -> None:
    entries = course.tables.get("entries")
    if entries is None:
        course.notes.append("photos were not checked, since entries.parquet is not trusted")
        return
    course.counts["photos"] = 0
    for row in rows.rows_of(entries.select(["photo_id", "bytes", "published_sha256", "published_bytes"])):
        if course.attempt(folder.read, row):
            course.counts["photos"] += 1
