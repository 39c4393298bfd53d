"""Opens a release: digests first, then the manifest, then the tables, each held against its schema.

Decides when a folder may be read as a release. Leaves the signature and everything that is true or false *between* the tables
to `verify`: opening finds changed bytes, verifying also finds a release that lies.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release import manifest as manifests
from counteranimal.release import strict_json, sums
from counteranimal.release.layout import MANIFEST, PUBLISHED_TABLES, SIGNATURE, SUMMED_FILES, SUMS, table_file

__all__ = ["Release", "file_problems", "open_release", "read_sums", "read_table"]

# Far above any real one; a list or manifest beyond it is not read into memory.
_LARGEST_TEXT = 512 * 1024 * 1024


@dataclass(frozen=True)
class Release:
    """A release whose bytes are what SHA256SUMS says.

    Attributes
    ----------
    path : Path
        Its folder.
    manifest : dict
        release.json.
    digest : str
        Root digest: sha256 of SHA256SUMS, which stands for every byte of the release.
    entries, splits, pairs, groups, predictions : pa.Table
        As in `tables.SCHEMAS`, in key order.
    agreement : dict
        agreement.json; workers are pseudonyms and undefined figures are null.
    """

    path: Path
    manifest: dict[str, Any]
    digest: str
    entries: pa.Table
    splits: pa.Table
    pairs: pa.Table
    groups: pa.Table
    predictions: pa.Table
    agreement: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the benchmark."""
        return str(self.manifest["name"])

    @property
    def version(self) -> str:
        """MAJOR.MINOR.PATCH."""
        return str(self.manifest["version"])

    @property
    def class_names(self) -> dict[str, str]:
        """Class id -> name for people."""
        return {item["id"]: item["name"] for item in self.manifest["classes"]}

    @property
    def class_indices(self) -> dict[str, tuple[int, ...]]:
        """Class id -> ImageNet-1K indices that count as right."""
        return {item["id"]: tuple(item["imagenet_indices"]) for item in self.manifest["classes"]}

    @functools.cached_property
    def candidates_1v20(self) -> dict[str, tuple[int, ...]]:
        """Class id -> the 20 candidate indices of the 1-vs-20 protocol; empty where they were not computed."""
        return {item["id"]: tuple(item["candidates_1v20"]) for item in self.manifest["classes"]}

    @property
    def selectors(self) -> dict[str, dict[str, Any]]:
        """Split -> identity record of the model that chose its backgrounds."""
        return {item["name"]: item["selector"] for item in self.manifest["splits"]}


def open_release(path: Path) -> Release:
    """Open the release in a folder.

    Raises
    ------
    UsageError
        If there is no such folder.
    IntegrityError
        If a file is missing, added, changed or of another schema; the sentence names it, and how many more there are.
    """
    if not path.is_dir():
        raise UsageError(f"release {path} does not exist; give the folder that holds {SUMS}")
    listed, digest = read_sums(path)
    found = file_problems(path, listed)
    if found:
        more = f" (and {len(found) - 1} more; `counteranimal verify` lists them)" if len(found) > 1 else ""
        raise IntegrityError(f"release {path}: {next(iter(found.values()))}{more}")
    manifest = manifests.parse((path / MANIFEST).read_bytes())
    _refuse_other_files(manifest, listed)
    read = {name: read_table(path, name) for name in PUBLISHED_TABLES}
    agreement = strict_json.loads((path / "agreement.json").read_bytes(), name="agreement.json")
    return Release(path=path, manifest=manifest.model_dump(mode="json"), digest=digest, agreement=agreement, **read)


def read_sums(path: Path) -> tuple[dict[str, str], str]:
    """Return the listed digests of a release folder, path -> sha256, and the root digest.

    Raises
    ------
    IntegrityError
        If SHA256SUMS is missing, a link, or not spelled as it must be.
    """
    digest, length = sums.digest_of_file(path / SUMS)
    if length > _LARGEST_TEXT:
        raise IntegrityError(f"{SUMS} is {length} bytes long, which no release is; get the release again")
    return sums.parse((path / SUMS).read_bytes()), digest


def file_problems(path: Path, listed: Mapping[str, str]) -> dict[str, str]:
    """Return file name -> one sentence for every file of a release folder that is missing, added, no plain file or changed."""
    problems = {}
    expected = set(SUMMED_FILES)
    for name in sorted(expected | set(listed)):
        if name not in listed:
            problems[name] = f"{name} is not listed in {SUMS}; get the release again"
        elif name not in expected:
            problems[name] = f"{name} is listed in {SUMS} but is no file of a release"
        else:
            problem = _file_problem(path / name, listed[name])
            problems |= {name: problem} if problem else {}
    known = {*expected, *listed, SUMS, SIGNATURE}
    for name in sorted(item.name for item in path.iterdir() if item.name not in known):
        problems[name] = f"{name} is not part of the release; remove it or get the release again"
    return problems


def _file_problem(file: Path, expected: str) -> str:
    try:
        digest, _ = sums.digest_of_file(file)
    except IntegrityError as error:
        return str(error)
    return "" if digest == expected else f"{file.name} has changed: its digest is not the one in {SUMS}; get it again"


def _refuse_other_files(manifest: manifests.Manifest, listed: Mapping[str, str]) -> None:
    recorded = {name: record.sha256 for name, record in manifest.files.items()}
    expected = {name: digest for name, digest in listed.items() if name != MANIFEST}
    if recorded != expected:
        name = min(set(recorded.items()) ^ set(expected.items()))[0]
        raise IntegrityError(
            f"{MANIFEST} and {SUMS} disagree about {name}: parts of two releases; get the release again"
        )


def read_table(path: Path, name: str) -> pa.Table:
    """Read one published table of a release folder.

    Raises
    ------
    IntegrityError
        If it is no Parquet, has another schema, is not in key order or repeats a key.
    """
    file = path / table_file(name)
    try:
        with file.open("rb") as opened:
            table = pq.ParquetFile(opened).read()
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{file.name} cannot be read as Parquet ({error}); get the release again") from error
    if not table.schema.equals(tables.schema_of(name)):
        raise IntegrityError(
            f"{file.name} has other columns or types than {name} has in this format; get the release again"
        )
    if not tables.conform(name, table).equals(table):
        raise IntegrityError(f"{file.name} is not in the order of its key; get the release again")
    return table
