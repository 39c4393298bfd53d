"""A signed release of the small workspace, and the tools of somebody who tampers with one.

`copy_of` gives a test its own release to damage; `reseal` makes a damaged one consistent again, as its publisher or an attacker
with another key could, so that what lies behind the digests can be tested too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import rfc8785

from counteranimal import tables
from counteranimal.freeze.draft import draft
from counteranimal.freeze.photos import export_photos
from counteranimal.freeze.sign import keygen, load_private_key, sign
from counteranimal.freeze.write import write_release
from counteranimal.release import sums
from counteranimal.release.layout import MANIFEST, SIGNATURE, SUMMED_FILES, SUMS, table_file
from counteranimal.release.read import open_release, read_table
from tests.fakes.small_workspace import Small, build


@dataclass(frozen=True)
class Released:
    """The release folder, exported photos, the publisher's keys, and what it was made from."""

    folder: Path
    photos: Path
    private_key: Path
    public_key: Path
    small: Small

    def copy_of(self, place: Path) -> Path:
        """Copy the release folder for a test to damage."""
        shutil.copytree(self.folder, place / "release")
        return place / "release"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small workspace, which tests only read."""
    return build(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def released(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """A signed release of it with its photos, which tests only read."""
    place = tmp_path_factory.mktemp("released")
    private, public = keygen(place / "keys")
    folder = write_release(draft(small.recipe, small.workspace, small.terms), place / "releases", private_key=private)
    export_photos(open_release(folder).entries, small.workspace, place / "photos")
    return Released(folder, place / "photos", private, public, small)


def reseal(folder: Path, private_key: Path | None) -> None:
    """Write SHA256SUMS and signature anew over whatever the files are now; without a key, remove the signature."""
    digests = {name: sums.digest_of_file(folder / name)[0] for name in SUMMED_FILES}
    (folder / SUMS).write_bytes(sums.render(digests))
    (folder / SIGNATURE).unlink(missing_ok=True)
    if private_key is not None:
        signed = sign(load_private_key(private_key), (folder / SUMS).read_bytes())
        (folder / SIGNATURE).write_bytes(signed.render())


def rewrite(folder: Path, private_key: Path, files: dict[str, bytes], **stated: Any) -> None:
    """Replace files and keys of release.json and make digests, manifest and signature fit again."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name, data in files.items():
        (folder / name).write_bytes(data)
        manifest["files"][name] = {"sha256": sums.digest_of_bytes(data), "bytes": len(data)}
    (folder / MANIFEST).write_bytes(rfc8785.dumps(manifest | stated))
    reseal(folder, private_key)


def edited(folder: Path, name: str, change: Callable[[list[dict[str, Any]]], None]) -> dict[str, bytes]:
    """Return the file of a published table after `change` has edited its rows."""
    rows = read_table(folder, name).to_pylist()
    change(rows)
    table: pa.Table = tables.conform(name, rows)
    return {table_file(name): tables.parquet_bytes(table.combine_chunks())}
