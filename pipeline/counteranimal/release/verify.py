"""Verifies a release: bytes first, meaning second, and every problem named.

Decides the order in which a release earns trust, as states that are passed one after the other: *root* (signature and root
digest, before anything is parsed), *files* (the digest of every file, nothing missing or added), *manifest*, *tables* (schema),
*content* (counts, references, conservation, licences, folds), *withdrawn* (what its publisher says of it since), *photos*. Content is only read from bytes that passed, and a
failed state is reported beside whatever later states can still be checked without it. Tables are read a few thousand rows at a
time, so that a release of any length is verified in the same memory. Works offline, with the base install.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release import crossrefs, rows, signature, strict_json, sums
from counteranimal.release import manifest as manifests
from counteranimal.release.flat import csv_pieces
from counteranimal.release.layout import ENTRIES_CSV, MANIFEST, PUBLISHED_TABLES, SIGNATURE, SUMS, WITHDRAWN, table_file
from counteranimal.release.manifest import Manifest
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import file_problems, read_sums
from counteranimal.release.stream import StoredTable
from counteranimal.release.withdrawn import WithdrawnList, read_withdrawn

__all__ = ["VerifyReport", "verify"]

Signed = Literal["good", "not pinned", "unsigned", "bad"]

_TOLD = 10_000
"""Problems that are kept word for word; a table that lies in every row would fill the memory with sentences."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found; `ok` only if nothing was.

    `signature` is `good` for the pinned key, `not pinned` for a signature that fits a key nobody vouched for. `notes` say what
    was not checked and why, without being problems. `withdrawn` are photos of this release that its publisher took back since, and
    `successor` is the newest version that the publisher's list names above this one; a release stays good for either.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    counts: dict[str, int]
    signature: Signed
    digest: str
    name: str = ""
    version: str = ""
    signed_by: str | None = None
    withdrawn: tuple[str, ...] = ()
    successor: str = ""

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
            "signed_by": self.signed_by,
            "withdrawn": list(self.withdrawn),
            "successor": self.successor,
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
    tables: dict[str, StoredTable] = field(default_factory=dict)
    untold: int = 0
    withdrawn: list[str] = field(default_factory=list)
    successor: str = ""

    def attempt(self, step: Callable[..., object], *given: object) -> bool:
        """Take a step; what it raises becomes a problem."""
        try:
            step(*given)
        except IntegrityError as error:
            self.note_problems([str(error)])
            return False
        return True

    def note_problems(self, found: Iterable[str]) -> None:
        """Keep problems, and count those beyond the number that is told."""
        for problem in found:
            if len(self.problems) < _TOLD:
                self.problems.append(problem)
            else:
                self.untold += 1

    def report(self) -> VerifyReport:
        """Return what was found."""
        stated = self.manifest
        more = (f"{self.untold} more problems of the same kinds",) if self.untold else ()
        return VerifyReport(
            problems=(*self.problems, *more),
            notes=tuple(self.notes),
            counts=self.counts,
            signature=self.signature,
            digest=self.digest,
            name=stated.name if stated else "",
            version=stated.version if stated else "",
            signed_by=self.signed_by,
            withdrawn=tuple(self.withdrawn),
            successor=self.successor,
        )


def verify(
    path: Path,
    *,
    public_key: Path | Collection[Path] | None = None,
    photos: Path | None = None,
    root_digest: str | None = None,
) -> VerifyReport:
    """Verify the release in a folder and report every problem.

    Parameters
    ----------
    public_key : Path or several, optional
        The publisher's key, got from elsewhere than the release; several where it was changed, and any of them will do. Without
        one a signature only shows that nothing was damaged.
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
    keys = [public_key] if isinstance(public_key, Path) else public_key or []
    pinned = frozenset(signature.load_public_key(key) for key in keys)
    folder = PhotoFolder(photos) if photos else None
    course = _Course(path)
    trusted = _root(course, pinned, root_digest)
    _files(course)
    if trusted:
        _manifest(course)
        _tables(course)
        _content(course)
        _withdrawn(course, pinned)
    else:
        course.notes.append(f"content was not read, since {SUMS} is not trusted")
    if folder is not None:
        _photos(course, folder)
    return course.report()


def _root(course: _Course, pinned: Collection[str], root_digest: str | None) -> bool:
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


def _signature(course: _Course, pinned: Collection[str]) -> None:
    place = course.path / SIGNATURE
    if not place.exists() and not place.is_symlink():
        if pinned:
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
    course.signature = "good" if pinned else "not pinned"
    if not pinned:
        course.notes.append(f"signed by the key {found.public_key}, which nothing here vouches for; pin it with --key")


def _files(course: _Course) -> None:
    if not course.listed:
        return
    found = file_problems(course.path, course.listed)
    course.note_problems(found.values())
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
    course.tables[name] = StoredTable.checked(course.path, name)


def _json(path: Path) -> None:
    strict_json.loads(path.read_bytes(), name=path.name)


def _content(course: _Course) -> None:
    """Check what the tables say, as far as they could be read."""
    manifest, found = course.manifest, course.tables
    if manifest is None or set(found) != set(PUBLISHED_TABLES):
        course.notes.append("counts and references were not checked, since a file they need is not intact")
        return
    entries = found["entries"]
    course.counts |= {name: table.length for name, table in found.items()}
    course.note_problems(rows.entry_problems(manifest, entries))
    course.note_problems(rows.fold_problems(manifest.seed, entries))
    course.note_problems(crossrefs.count_problems(manifest, found))
    course.note_problems(crossrefs.conservation_problems(manifest))
    course.note_problems(crossrefs.split_problems(manifest, found))
    course.note_problems(crossrefs.covariate_problems(manifest, found))
    course.note_problems(crossrefs.prediction_problems(manifest, found))
    course.note_problems(crossrefs.group_problems(found))
    if ENTRIES_CSV in course.good and not _says(course.path / ENTRIES_CSV, entries):
        course.problems.append(f"{ENTRIES_CSV} does not say what entries.parquet says")
    if "recipe.toml" in course.good:
        course.attempt(_recipe, course.path / "recipe.toml", manifest)


def _says(path: Path, entries: StoredTable) -> bool:
    """Say whether the CSV holds just what the entries do."""
    with path.open("rb") as file:
        for piece in csv_pieces(tables.schema_of("entries").names, entries.batches()):
            if file.read(len(piece)) != piece:
                return False
        return not file.read(1)


def _recipe(path: Path, manifest: Manifest) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"recipe.toml is not TOML ({error}); get the release again") from error
    if content.get("name") != manifest.name:
        raise IntegrityError(f"recipe.toml is the recipe of {content.get('name')!r}, not of {manifest.name!r}")


def _withdrawn(course: _Course, pinned: Collection[str]) -> None:
    """Read the publisher's list of withdrawals beside the release; one that is not believed is a note, since the release stands."""
    manifest, entries = course.manifest, course.tables.get("entries")
    if manifest is None or entries is None:
        return
    keys = pinned or ({course.signed_by} if course.signed_by else set())
    try:
        listed = read_withdrawn(course.path.resolve().parent, keys)
    except IntegrityError as error:
        course.notes.append(f"what was withdrawn since is not known, because the list is not believed: {error}")
        return
    if listed is None or listed.name != manifest.name:
        return
    course.successor = listed.after(manifest.version)
    course.withdrawn = [photo_id for photo_id, *_ in entries.tuples("photo_id") if photo_id in listed.withdrawn]
    course.notes += _since(listed, course)
    if listed.releases.get(manifest.version, course.digest) != course.digest:
        course.problems.append(
            f"{WITHDRAWN} states another root digest for version {manifest.version}; a version never changes, do not use this one"
        )


def _since(listed: WithdrawnList, course: _Course) -> Iterator[str]:
    if course.withdrawn:
        days = sorted({listed.withdrawn[photo_id] for photo_id in course.withdrawn})
        yield (
            f"{len(course.withdrawn)} of its photos withdrawn since ({days[0]} to {days[-1]}): delete your copies"
            + (f" and use release {course.successor}" if course.successor else "")
        )
    elif course.successor:
        yield f"release {course.successor} is newer"


def _photos(course: _Course, folder: PhotoFolder) -> None:
    entries = course.tables.get("entries")
    if entries is None:
        course.notes.append("photos were not checked, since entries.parquet is not trusted")
        return
    course.counts["photos"] = 0
    gone = set(course.withdrawn)
    columns = ("photo_id", "bytes", "published_sha256", "published_bytes")
    for row in entries.tuples(*columns):
        # A withdrawn photo need not be there any more.
        if row[0] not in gone and course.attempt(folder.read, dict(zip(columns, row, strict=True))):
            course.counts["photos"] += 1
