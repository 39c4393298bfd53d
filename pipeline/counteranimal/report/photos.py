"""The photos beside the numbers: which ones are shown, and small copies of them that carry nothing but pixels.

Decides the choice (spread over classes, the same every time) and the size. Leaves decoding to `images`; a photo that is not
at hand or cannot be decoded is shown as missing, never replaced by another.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from counteranimal.errors import Rejected
from counteranimal.ids import photo_id_of
from counteranimal.images import decode
from counteranimal.report.context import ExamplePhoto, MergedPair
from counteranimal.workspace import write_atomically

__all__ = ["EDGE", "Thumbnails", "examples_of", "left_out_of", "merged_of", "thumbnail"]

EDGE = 320

PathOf = Callable[[str], Path | None]


def thumbnail(data: bytes, *, edge: int = EDGE) -> bytes:
    """Return a JPEG of at most `edge` pixels a side, without any metadata.

    Raises
    ------
    Rejected
        If the bytes are no photo.
    """
    image = decode(data)
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    # Pillow carries a JPEG's comment and profile along with the image object; a new object has none.
    bare = Image.new("RGB", image.size, (255, 255, 255))
    bare.paste(image.convert("RGB"))
    sink = io.BytesIO()
    bare.save(sink, "JPEG", quality=84, optimize=True)
    return sink.getvalue()


class Thumbnails:
    """Writes small copies into one folder and forgets those that no page shows any more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._used: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, path: Path | None) -> str | None:
        """Return the file name of a photo's small copy, made unless it is there already; None for a missing photo.

        The name follows from the bytes, so nothing that came from outside becomes a file name.
        """
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None
        name = f"{photo_id_of(data)[:24]}-{EDGE}.jpg"
        if not (self.folder / name).exists():
            try:
                write_atomically(self.folder / name, thumbnail(data))
            except Rejected:
                return None
        self._used.add(name)
        return name

    def forget_others(self) -> None:
        """Remove copies that were not added this time: a withdrawn photo must not stay in an old report."""
        for path in self.folder.glob(f"*-{EDGE}.jpg"):
            if path.name not in self._used:
                path.unlink()


def examples_of(
    splits: pa.Table, entries: pa.Table, *, path_of: PathOf, class_names: Mapping[str, str], per_group: int = 8
) -> list[ExamplePhoto]:
    """Return photos of every split's common and counter group, taken from its classes in turn, first ids first.

    Parameters
    ----------
    splits, entries : pa.Table
        As in `tables.SCHEMAS`.
    path_of : callable
        Photo id -> path of its bytes, or None.
    class_names : mapping
        Class id -> name for people.
    per_group : int
        Photos of each split and group at most.
    """
    entry_of = {row["photo_id"]: row for row in entries.to_pylist()}
    queues: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in splits.to_pylist():
        if row["group"] in ("common", "counter"):
            queues.setdefault((row["split"], row["group"]), {}).setdefault(row["class_id"], []).append(row)
    found = []
    for _, by_class in sorted(queues.items()):
        turns = zip_longest(*(by_class[class_id] for class_id in sorted(by_class)))
        rows = [row for turn in turns for row in turn if row is not None][:per_group]
        found += [_example(row, entry_of.get(row["photo_id"], {}), path_of, class_names) for row in rows]
    return found


def _example(
    row: Mapping[str, Any], entry: Mapping[str, Any], path_of: PathOf, class_names: Mapping[str, str]
) -> ExamplePhoto:
    return ExamplePhoto(
        split=row["split"],
        group=row["group"],
        class_name=class_names.get(row["class_id"], row["class_id"]),
        background=row["background"],
        path=path_of(row["photo_id"]),
        author=entry.get("attribution") or entry.get("author") or "",
        licence=entry.get("licence") or "",
        page_url=entry.get("page_url") or "",
        kind=entry.get("kind") or "photo",
    )


def merged_of(
    found: Mapping[str, pa.Table],
    *,
    path_of: PathOf,
    credit_of: Callable[[str], str] = lambda _: "",
    limit: int = 200,
) -> list[MergedPair]:
    """Return dropped photos beside their kept partners, then the pairs that people have to look at or have settled.

    Parameters
    ----------
    found : mapping of str to pa.Table
        The tables `clusters`, `unsure_pairs`, `similar_pairs`, `settled_pairs` and `reference_overlaps`, as far as they exist.
    path_of, credit_of : callable
        Photo id -> path of its bytes or None; whom to credit.
    limit : int
        Pairs shown of each kind (dropped, unsure, similar, settled, overlap) at most.
    """
    return [_merged(ids, row, path_of, credit_of) for rows in _by_kind(found).values() for ids, row in rows[:limit]]


def left_out_of(found: Mapping[str, pa.Table], *, limit: int = 200) -> dict[str, int]:
    """Return how many pairs of each kind `merged_of` does not show; kinds shown in full are absent."""
    return {kind: len(rows) - limit for kind, rows in _by_kind(found).items() if len(rows) > limit}


def _by_kind(found: Mapping[str, pa.Table]) -> dict[str, list[tuple[tuple[str, str], dict[str, Any]]]]:
    """Return kind -> ((first or dropped, second or kept), row with reason and rule)."""
    listed = {name: table.to_pylist() for name, table in found.items()}
    dropped = [row for row in listed.get("clusters", []) if not row["kept"]]
    answers = {(row["photo_a"], row["photo_b"]): row for row in listed.get("settled_pairs", [])}

    overlaps = [row for row in listed.get("reference_overlaps", []) if row["verdict"] == "unsure"]

    def pairs(name: str, reason: str) -> list[tuple[tuple[str, str], dict[str, Any]]]:
        rows = [((row["photo_a"], row["photo_b"]), row) for row in listed.get(name, [])]
        return [(ids, {**row, "reason": reason, "rule": _rule_of(row)}) for ids, row in rows if ids not in answers]

    return {
        "dropped": [((row["photo_id"], row["partner"] or row["cluster"]), row) for row in dropped],
        "unsure": pairs("unsure_pairs", "unsure"),
        "similar": pairs("similar_pairs", "similar"),
        "settled": [(ids, {**row, "reason": row["answer"], "rule": _rule_of(row)}) for ids, row in answers.items()],
        "overlap": [
            ((row["photo_id"], f"{row['reference']}:{row['path']}"), {**row, "reason": "unsure overlap"})
            for row in overlaps
        ],
    }


def _rule_of(row: Mapping[str, Any]) -> str:
    if "why" in row:
        return str(row["why"])
    if "cosine" in row:
        return f"close in the features of {row['model']} (cosine {row['cosine']:.2f}), and one fits inside the other"
    return f"people found: {row['answer']} ({row['method']} of {row['n_votes']} vote(s) in round {row['round']})"


def _merged(
    ids: tuple[str, str], row: Mapping[str, Any], path_of: PathOf, credit_of: Callable[[str], str]
) -> MergedPair:
    return MergedPair(
        dropped=path_of(ids[0]),
        kept=path_of(ids[1]),
        dropped_id=ids[0],
        kept_id=ids[1],
        reason=row["reason"],
        rule=row["rule"] or "",
        phash_distance=row.get("phash_distance"),
        dhash_distance=row.get("dhash_distance"),
        pixel_difference=row.get("pixel_difference"),
        dropped_credit=credit_of(ids[0]),
        kept_credit=credit_of(ids[1]),
    )
