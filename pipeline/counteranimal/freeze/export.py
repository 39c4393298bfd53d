"""A release with its photos, in the layouts that other people's loaders read: an image folder, WebDataset shards, Parquet.

Decides which photos go where: one split of the release, one fold, and its groups (common, counter, other) as the loaders' splits.
Only published copies leave, never an original with its metadata, and each is held against its digest. Built beside its place
and put there by one rename. Leaves the formats themselves to the modules beside this one.

* `imagefolder`: `<group>/<class>/<sha256>.jpg` with `metadata.csv` in each group, for `datasets.load_dataset` and torchvision.
* `webdataset`: `<group>/0.tar ...` with `nshards.txt`, `classnames.txt` and templates, for `clip_benchmark eval` and webdataset.
* `parquet`: `data/<group>-00000-of-00001.parquet` with the bytes inside, for `datasets.load_dataset`.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.freeze import layouts
from counteranimal.published import published_copy
from counteranimal.release.photos import EXTENSIONS, PhotoFolder
from counteranimal.release.read import Release

__all__ = ["GROUPS", "LAYOUTS", "Choice", "export"]

GROUPS = ("common", "counter", "other")
LAYOUTS = {"imagefolder": layouts.imagefolder, "webdataset": layouts.webdataset, "parquet": layouts.parquet}
_COLUMNS = (
    "photo_id", "class_id", "imagenet_indices", "background", "kind", "licence", "author", "attribution", "url", "page_url",
    "fold_unit", "inclusion_probability",
)  # fmt: skip
Fold = Literal["report", "select", "all"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a release is exported; `split` empty for the first one."""

    split: str = ""
    fold: Fold = "report"


def export(release: Release, photos: Path, out: Path, *, layout: str, choice: Choice) -> dict[str, Any]:
    """Write one layout to a new folder and return the number of photos by group.

    Parameters
    ----------
    photos : Path
        Folder of the release's photos, originals or published copies.

    Raises
    ------
    UsageError
        If the layout or split is unknown, or the folder exists.
    IntegrityError
        If a photo is missing or has other bytes; nothing is written then.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"{layout!r} is no layout; choose from {', '.join(LAYOUTS)}")
    names = [item["name"] for item in release.manifest["splits"]]
    split = choice.split or names[0]
    if split not in names:
        raise UsageError(f"release {release.version} has no split {split!r}; choose from {', '.join(names)}")
    if out.exists():
        raise UsageError(f"{out} exists and is not overwritten; choose another folder")
    members = _members(release, split, choice.fold)
    folder = PhotoFolder(photos)
    _require_all(members, folder)
    exported = layouts.Exported(
        release,
        split,
        choice.fold,
        {group: [member for member in members if member["group"] == group] for group in GROUPS},
    )
    building = out.with_name(f".{out.name}.{secrets.token_hex(4)}.building")
    try:
        building.mkdir(parents=True)
        LAYOUTS[layout](exported, building, lambda member: _copy(folder, member))
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return {group: len(rows) for group, rows in exported.groups.items()} | {"split": split, "fold": choice.fold}


def _members(release: Release, split: str, fold: Fold) -> list[dict[str, Any]]:
    """Return the chosen entries with their group and file name, in the order of photo ids."""
    chosen = {
        row["photo_id"]: row
        for row in release.splits.to_pylist()
        if row["split"] == split and fold in {"all", row["fold"]}
    }
    names = release.class_names
    return [
        {
            **{name: entry[name] for name in (*_COLUMNS, "bytes", "mime", "published_sha256", "published_bytes")},
            "class_name": names[entry["class_id"]],
            "group": chosen[entry["photo_id"]]["group"],
            "fold": chosen[entry["photo_id"]]["fold"],
            "file": f"{entry['published_sha256']}{EXTENSIONS[entry['mime']]}",
        }
        for entry in release.entries.to_pylist()
        if entry["photo_id"] in chosen
    ]


def _require_all(members: list[dict[str, Any]], folder: PhotoFolder) -> None:
    missing = list(_missing(members, folder))
    if missing:
        raise IntegrityError(
            f"{len(missing)} of {len(members)} photos are not in {folder.folder} (the first: {missing[0]}); fetch them, an export "
            "never leaves any out"
        )


def _missing(members: list[dict[str, Any]], folder: PhotoFolder) -> Iterator[str]:
    for member in members:
        try:
            folder.path(member)
        except IntegrityError:
            yield member["photo_id"]


def _copy(folder: PhotoFolder, member: Mapping[str, Any]) -> bytes:
    data = folder.read(member)
    if hashlib.sha256(data).hexdigest() != member["published_sha256"]:
        data = published_copy(data)
        if hashlib.sha256(data).hexdigest() != member["published_sha256"]:
            raise IntegrityError(
                f"the copy of photo {member['photo_id']} is not the one that the release names; use the version of counteranimal "
                "that froze it"
            )
    return data
