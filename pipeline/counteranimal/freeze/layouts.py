"""How an exported release lies on disk, layout by layout: files, shards, rows, and the few words that loaders look for.

Decides names and bytes; the same photos give the same bytes. Leaves which photos those are to `export`.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal.release.flat import cell
from counteranimal.release.read import Release
from counteranimal.zeroshot.names import class_names

__all__ = ["Exported", "imagefolder", "parquet", "webdataset"]

Member = Mapping[str, Any]
Copy = Callable[[Member], bytes]

_TOLD = (
    "photo_id", "class_id", "class_name", "background", "group", "fold", "kind", "licence", "author", "attribution", "url",
    "page_url", "fold_unit", "inclusion_probability",
)  # fmt: skip
_SHARD_PHOTOS, _SHARD_BYTES = 1000, 512 * 1024 * 1024
_ROW_GROUP = 100
# As clip_benchmark spells the place of the name; its own prompts are used where this file is missing.
_TEMPLATES = "a photo of {c}.\n"


@dataclass(frozen=True, slots=True)
class Exported:
    """What is exported: photos by group, each with its entry's columns, `group`, `fold`, `class_name` and `file`."""

    release: Release
    split: str
    fold: str
    groups: Mapping[str, Sequence[Member]]

    def present(self) -> Iterator[tuple[str, Sequence[Member]]]:
        """Yield the groups that have photos."""
        yield from ((group, members) for group, members in self.groups.items() if members)


def imagefolder(exported: Exported, out: Path, copy: Copy) -> None:
    """Write `<group>/<class>/<file>` and a `metadata.csv` in each group."""
    for group, members in exported.present():
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(["file_name", *_TOLD])
        for member in members:
            name = f"{member['class_id']}/{member['file']}"
            (out / group / member["class_id"]).mkdir(parents=True, exist_ok=True)
            (out / group / name).write_bytes(copy(member))
            writer.writerow([name, *(cell(member[column]) for column in _TOLD)])
        (out / group / "metadata.csv").write_text(lines.getvalue(), encoding="utf-8")
    _read_me(exported, out, "{group}/**")


def webdataset(exported: Exported, out: Path, copy: Copy) -> None:
    """Write `<group>/<n>.tar` with the photo, its label and its record under one key each, and what clip_benchmark reads beside."""
    names, label_of = _labels(exported.release)
    for group, members in exported.present():
        (out / group).mkdir()
        number = 0
        for number, shard in enumerate(_shards(members), start=1):
            with tarfile.open(out / group / f"{number - 1}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                for member in shard:
                    key, _, extension = member["file"].partition(".")
                    record = {column: member[column] for column in _TOLD}
                    record["imagenet_indices"] = list(member["imagenet_indices"])
                    _add(tar, f"{key}.{extension}", copy(member))
                    _add(tar, f"{key}.cls", str(label_of[member["class_id"]]).encode())
                    _add(tar, f"{key}.json", json.dumps(record, ensure_ascii=False, sort_keys=True).encode())
        (out / group / "nshards.txt").write_text(f"{number}\n")
    (out / "classnames.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (out / "zeroshot_classification_templates.txt").write_text(_TEMPLATES)
    (out / "dataset_type.txt").write_text("classification\n")
    _read_me(exported, out, "{group}/*.tar")


def _labels(release: Release) -> tuple[list[str], dict[str, int]]:
    """Return the candidate names and each class's place among them.

    All 1,000 ImageNet names where every class is one of them; a label can hold one number, so that a benchmark whose classes
    stand for several gets its own classes as candidates.
    """
    indices = release.class_indices
    if all(len(found) == 1 for found in indices.values()):
        return list(class_names("openai")), {class_id: found[0] for class_id, found in indices.items()}
    names = release.class_names
    return list(names.values()), {class_id: place for place, class_id in enumerate(names)}


def _shards(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    start = size = 0
    for place, member in enumerate(members):
        size += member["published_bytes"]
        if place + 1 - start == _SHARD_PHOTOS or size >= _SHARD_BYTES or place + 1 == len(members):
            yield members[start : place + 1]
            start, size = place + 1, 0


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # Neither moment nor owner: the same photos give the same shard.
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def parquet(exported: Exported, out: Path, copy: Copy) -> None:
    """Write `data/<group>-<n>-of-<m>.parquet` with the photo's bytes in the column `image`."""
    names = list(exported.release.class_names)
    schema = _schema(names)
    (out / "data").mkdir()
    for group, members in exported.present():
        shards = list(_shards(members))
        for number, shard in enumerate(shards):
            path = out / "data" / f"{group}-{number:05}-of-{len(shards):05}.parquet"
            with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
                for start in range(0, len(shard), _ROW_GROUP):
                    rows = [_row(member, names, copy) for member in shard[start : start + _ROW_GROUP]]
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    _read_me(exported, out, "data/{group}-*.parquet")


def _row(member: Member, names: Sequence[str], copy: Copy) -> dict[str, Any]:
    told = {column: member[column] for column in _TOLD}
    image = {"bytes": copy(member), "path": member["file"]}
    return {"image": image, "label": names.index(member["class_id"]), **told}


def _schema(names: Sequence[str]) -> pa.Schema:
    """Return the columns, with the description by which `datasets` knows an image and a label from bytes and a number."""
    kinds = {name: pa.float64() if name == "inclusion_probability" else pa.string() for name in _TOLD}
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
        **{name: {"dtype": str(kind).replace("double", "float64"), "_type": "Value"} for name, kind in kinds.items()},
    }
    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    fields = [
        pa.field("image", image),
        pa.field("label", pa.int64()),
        *(pa.field(name, kind) for name, kind in kinds.items()),
    ]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _read_me(exported: Exported, out: Path, files: str) -> None:
    """Write README.md, whose front matter tells `datasets` which files are which group."""
    release = exported.release
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for group, _ in exported.present():
        lines += [f"  - split: {group}", f"    path: {files.format(group=group)}"]
    lines += [
        "---",
        "",
        f"# {release.name} {release.version}, split {exported.split}, fold {exported.fold}",
        "",
        f"Exported from the release with the root digest `{release.digest}`. Terms, credits and caveats are the release's: see its",
        "`ATTRIBUTION.md` and `CARD.md`. Photos are named by the sha256 of their bytes.",
    ]
    (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
