"""Reads the archive of the original CounterAnimal as a release: its folders are the labels, and what it does not say stays unknown.

Decides how the archive's names are read: `<ImageNet index> <name>/common-<background>` and `counter-<background>`, as App. A of the paper
and its users describe it, other entries skipped and told. Every photo is decoded in full, its licence and author are unknown, and
nothing is invented to fill the gap. Leaves files, signature and the rename to `write`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import pyarrow as pa

import counteranimal
from counteranimal import ids, tables
from counteranimal.errors import Reason, Rejected, UsageError
from counteranimal.freeze.draft import Draft
from counteranimal.freeze.inputs import Terms
from counteranimal.images import DecoderPool
from counteranimal.progress import track
from counteranimal.published import published_copy
from counteranimal.recipe import background_mapping, backgrounds
from counteranimal.release.layout import GIVEN, ORIGINAL
from counteranimal.release.licences import UNKNOWN
from counteranimal.release.sums import digest_of_bytes

__all__ = ["PAPER_TOTALS", "Archive", "Found", "draft_of", "read_archive"]

SPLIT, SOURCE = "original", "archive"
SELECTOR = "open_clip:ViT-B-32/laion400m_e31"
PAPER_TOTALS = {"common": 7174, "counter": 5926}
"""Photos as the paper states them; the printed common count contradicts its own accuracies for one class (class 23: 25 or 259)."""
_CLASS = re.compile(r"(\d{1,3}) (.+)")
_GROUP = re.compile(r"(common|counter)-(.+)")
_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True)
class Found:
    """One image file: where it lies, what its folders say, and what its bytes are; `reason` for one that was turned away."""

    path: str
    index: int
    name: str
    group: str
    background: str
    photo_id: str = ""
    mime: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    published_sha256: str = ""
    published_bytes: int = 0
    reason: str = ""


@dataclass(slots=True)
class Archive:
    """What an archive holds: photos, files that were turned away, and what else a reader must know of it."""

    photos: list[Found] = field(default_factory=list)
    rejected: list[Found] = field(default_factory=list)
    collisions: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def differences(self, counts: Mapping[int, tuple[int, int]]) -> list[str]:
        """Return how its numbers differ from the paper's totals and, where given, from common and counter counts by ImageNet index."""
        have = Counter((item.index, item.group) for item in self.photos)
        lines = []
        for group, stated in PAPER_TOTALS.items():
            number = sum(n for (_, its), n in have.items() if its == group)
            if number != stated:
                lines.append(f"{group}: {number} photos, the paper states {stated}")
        for index, pair in sorted(counts.items()):
            for group, stated in zip(("common", "counter"), pair, strict=True):
                if have[index, group] != stated:
                    lines.append(f"class {index} {group}: {have[index, group]} photos, the table states {stated}")
        return lines


def read_archive(root: Path, *, workers: int = 1) -> Archive:
    """Read an unpacked archive; `root` is the folder of the class folders, or the one above it.

    Raises
    ------
    UsageError
        If there is no class folder in it.
    """
    folders = _class_folders(root) or [each for below in _folders(root) for each in _class_folders(below)]
    if not folders:
        raise UsageError(f"{root} has no folder such as `100 black swan/common-water`; give the unpacked archive")
    archive = Archive()
    files = list(_files(folders, archive))
    root = folders[0].parent
    with DecoderPool(workers) as pool, ThreadPoolExecutor(workers) as threads:
        looked = list(track(threads.map(lambda item: _looked(root, item, pool), files), "original photos"))
    _sort_out(looked, archive)
    stems = Counter(str(PurePosixPath(item.path).with_suffix("")) for item in looked)
    archive.collisions = sorted(stem for stem, number in stems.items() if number > 1)
    return archive


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if path.is_dir() and not path.is_symlink())


def _class_folders(root: Path) -> list[Path]:
    return [path for path in _folders(root) if _CLASS.fullmatch(path.name)]


def _files(folders: Sequence[Path], archive: Archive) -> Iterator[Found]:
    for folder in folders:
        found = _CLASS.fullmatch(folder.name)
        if found is None or int(found[1]) > 999:
            archive.skipped.append(folder.name)
            continue
        for group in sorted(folder.iterdir()):
            named = _GROUP.fullmatch(group.name)
            if named is None or not group.is_dir() or group.is_symlink():
                archive.skipped.append(f"{folder.name}/{group.name}")
                continue
            for path in sorted(group.iterdir()):
                place = f"{folder.name}/{group.name}/{path.name}"
                if path.suffix.lower() in _IMAGES and path.is_file() and not path.is_symlink():
                    yield Found(place, int(found[1]), found[2], named[1], named[2])
                else:
                    archive.skipped.append(place)


def _looked(root: Path, item: Found, pool: DecoderPool) -> Found:
    try:
        data = (root / item.path).read_bytes()
        info = pool.inspect(data)
        copy = published_copy(data)
    except Rejected as rejected:
        return replace(item, reason=str(rejected.reason))
    except OSError:
        return replace(item, reason=str(Reason.LOST))
    return replace(
        item, photo_id=ids.photo_id_of(data), mime=info.mime, bytes=len(data), width=info.width, height=info.height,
        published_sha256=digest_of_bytes(copy), published_bytes=len(copy),
    )  # fmt: skip


def _sort_out(looked: Sequence[Found], archive: Archive) -> None:
    """Keep each photo once; one that lies under two labels is kept under neither, since nothing says which is right."""
    labels: dict[str, set[tuple[int, str, str]]] = defaultdict(set)
    for item in looked:
        labels[item.photo_id].add((item.index, item.group, item.background))
    seen: set[str] = set()
    for item in looked:
        if item.reason:
            archive.rejected.append(item)
        elif len(labels[item.photo_id]) > 1:
            archive.rejected.append(replace(item, reason=str(Reason.CLASS_CONFLICT)))
        elif item.photo_id in seen:
            archive.rejected.append(replace(item, reason="exact"))
        else:
            seen.add(item.photo_id)
            archive.photos.append(item)


def draft_of(archive: Archive, *, version: str, at: datetime, notes: Sequence[str] = ()) -> Draft:
    """Return the archive as the draft of a release under the paper's rule.

    Parameters
    ----------
    at : datetime
        When the archive was read; nothing says when its photos were fetched.
    notes : sequence of str
        Caveats to add, such as the differences from the paper's counts.
    """
    if not archive.photos:
        raise UsageError("no photo of the archive can be read, so there is nothing to release")
    rows = _rows(archive, at.replace(microsecond=0))
    made = {name: tables.conform(name, listed).combine_chunks() for name, listed in rows.items()}
    selector = {
        "spec": SELECTOR,
        "family": "open_clip",
        "weights_sha256": "",
        "note": "stated by the paper; weights not at hand",
    }
    terms = Terms(
        version=version,
        date=at.date().isoformat(),
        agreement={},
        selectors={SPLIT: selector},
        changes=("The original archive, imported.",),
    )
    manifest = {**_manifest(archive, terms, made), "caveats": [*_CAVEATS, *notes]}
    return Draft(manifest=manifest, tables=made, agreement={}, terms=terms, recipe_text=f'name = "{ORIGINAL}"\n')


def _class_id(item: Found) -> str:
    return f"{item.index:03}-{re.sub('[^a-z0-9]+', '-', item.name.split(',')[0].casefold()).strip('-')}"


def _background(item: Found) -> str:
    return background_mapping("paper").get(item.background, item.background)


def _rows(archive: Archive, at: datetime) -> dict[str, list[dict[str, Any]]]:
    entries, splits = [], []
    chosen: dict[str, dict[str, str]] = defaultdict(dict)
    for item in archive.photos:
        class_id, background = _class_id(item), _background(item)
        chosen[class_id][item.group] = background
        label = {"photo_id": item.photo_id, "class_id": class_id, "background": background}
        label["fold"] = ids.fold_of(ORIGINAL, item.photo_id)
        splits.append({**label, "split": SPLIT, "group": item.group})
        entries.append({
            **label, "imagenet_indices": [item.index], "codes": [], "source": SOURCE, "native_id": item.path,
            "url": f"file:{quote(item.path)}", "kind": "photo", "licence": UNKNOWN, "author": None,
            "attribution": "author and licence unknown; the archive names none", "retrieved_at": at, "mime": item.mime,
            "bytes": item.bytes, "width": item.width, "height": item.height, "published_sha256": item.published_sha256,
            "published_bytes": item.published_bytes, "fold_unit": item.photo_id, "n_votes": 0, "method": GIVEN,
            "inclusion_probability": 1.0, "selector_model": SELECTOR, "selector_sha256": "",
        })  # fmt: skip
    pairs = [_pair(class_id, groups, splits) for class_id, groups in chosen.items()]
    return {"entries": entries, "splits": splits, "pairs": pairs, "groups": [], "predictions": []}


def _pair(class_id: str, groups: Mapping[str, str], splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(set(groups.values())) < 2:
        return {
            "split": SPLIT,
            "class_id": class_id,
            "status": "no_pair",
            "reason": "the archive has one group of this class",
        }
    counted = Counter((row["group"], row["fold"]) for row in splits if row["class_id"] == class_id)
    numbers = {
        f"n_{group}_{fold}": counted[group, fold] for group in ("common", "counter") for fold in ("select", "report")
    }
    return {"split": SPLIT, "class_id": class_id, "status": "pair", **groups, **numbers}


def _manifest(archive: Archive, terms: Terms, made: Mapping[str, pa.Table]) -> dict[str, Any]:
    classes = {_class_id(item): item for item in archive.photos}
    words = {_background(item) for item in archive.photos}
    duplicates = sum(item.reason == "exact" for item in archive.rejected)
    reasons = Counter(
        f"{'duplicate' if item.reason == 'exact' else 'rejected'} {item.reason}" for item in archive.rejected
    )
    stored, turned_away = len(archive.photos), len(archive.rejected) - duplicates
    return {
        "name": ORIGINAL, "title": "CounterAnimal, the original archive", "version": terms.version, "date": terms.date,
        "predecessor": None, "made_with": {"counteranimal": counteranimal.__version__}, "seed": ORIGINAL,
        "classes": [
            {"id": class_id, "name": item.name, "imagenet_indices": [item.index], "candidates_1v20": []}
            for class_id, item in sorted(classes.items())
        ],
        "backgrounds": [*(name for name, item in backgrounds().items() if item.decides), *sorted(words - backgrounds().keys())],
        "undecided": [name for name, item in backgrounds().items() if not item.decides],
        "licences": [UNKNOWN],
        "splits": [
            {
                "name": SPLIT, "selector": dict(terms.selectors[SPLIT]),
                "rule": {"rule": "paper", "unit": "class", "n_min": 1, "min_difference": 5.0, "selector": None},
            }
        ],
        "counts": {
            **{name: len(table) for name, table in made.items()}, "votes": 0, "kinds": {"photo": stored},
            "licences": {UNKNOWN: stored},
        },
        "conservation": {
            "discovered": stored + len(archive.rejected),
            "states": {"stored": stored, "duplicate": duplicates, "rejected": turned_away}, "reasons": dict(sorted(reasons.items())),
        },
        "photos": {"kept": stored, "published": stored, "left_out": {}}, "references": [], "recipe": {},
    }  # fmt: skip


_CAVEATS = (
    "This is the original archive read again, not a new collection: labels, groups and photos are its authors'.",
    "No licence, author, source id or date is known of any photo. They come from iNaturalist, whose observers keep their rights.",
    "These photos must not be published.",
    "Pairs were chosen and estimated on the same photos, as in the paper; the drops are inflated by that.",
    "Who labelled, how often and with what agreement is not known. Bursts of one observation and near-copies were not removed.",
    "The paper's selecting model was probably run with another activation than it was trained with.",
)
