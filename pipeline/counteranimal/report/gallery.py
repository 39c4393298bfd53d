"""Writes the gallery of a release: a page a class, common beside counter, every photo with what is known of it.

Decides what stands on a page and in which order. The pages open from disk: small photos lie beside them, the one script is part of
the page and allowed by its digest alone, and without it everything is shown. Leaves thumbnails to `photos`.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from counteranimal.errors import IntegrityError, Rejected, UsageError
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.release.photos import PhotoFolder
from counteranimal.release.read import Release
from counteranimal.report.page import TEMPLATES, environment
from counteranimal.report.photos import EDGE, thumbnail
from counteranimal.workspace import write_atomically
from counteranimal.zeroshot.names import class_names

__all__ = ["write_gallery"]

_PHOTOS = "photos"
_SHARD = 64
_GROUPS = ("common", "counter", "other")
_DIGESTED = ("photo_id", "bytes", "published_sha256", "published_bytes")

Entry = dict[str, Any]


def write_gallery(release: Release, photos: Path, out: Path, *, split: str = "", workers: int = 1) -> dict[str, int]:
    """Write the gallery into a folder and return counts; pages and small photos of an earlier one there are replaced.

    Parameters
    ----------
    photos : Path
        Folder of the release's photos; one that is missing there is shown as missing.
    split : str
        Empty for the release's first.

    Raises
    ------
    UsageError
        If the release has no such split.
    """
    known = [item["name"] for item in release.manifest["splits"]]
    split = split or known[0]
    if split not in known:
        raise UsageError(f"release {release.version} has no split {split!r}; choose from {', '.join(known)}")
    entries = release.entries.to_pylist()
    shown = _small_copies(entries, photos, out / _PHOTOS, workers)
    by_class = _by_class(release, entries, split, shown)
    pages = _environment()
    pairs = {row["class_id"]: row for row in release.pairs.to_pylist() if row["split"] == split}
    classes = [
        {"id": class_id, "name": name, "pair": pairs.get(class_id) or pairs.get("*"), "photos": by_class[class_id]}
        for class_id, name in sorted(release.class_names.items(), key=lambda item: item[1].casefold())
    ]
    for place, item in enumerate(classes):
        around = {
            "before": classes[place - 1] if place else None,
            "after": classes[place + 1] if place + 1 < len(classes) else None,
        }
        page = pages.get_template("gallery-class.html.j2").render(release=release, split=split, item=item, **around)
        write_atomically(out / f"class-{item['id']}.html", page.encode())
    page = pages.get_template("gallery.html.j2").render(release=release, split=split, classes=classes)
    write_atomically(out / "index.html", page.encode())
    _forget_others(out, classes, shown)
    return {"classes": len(classes), "photos": len(entries), "missing": len(entries) - len(shown)}


def _environment() -> Any:
    pages = environment()
    script = (TEMPLATES / "gallery.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    pages.globals |= {"script": Markup(script), "script_digest": digest, "groups": _GROUPS}  # noqa: S704 - a file of this package
    return pages


def _by_class(
    release: Release, entries: Sequence[Entry], split: str, shown: Mapping[str, str]
) -> dict[str, dict[str, list[Entry]]]:
    """Return class -> group -> photos with everything that a page says of them."""
    placed = {row["photo_id"]: row for row in release.splits.to_pylist() if row["split"] == split}
    names = class_names("openai")
    predicted: dict[str, list[Entry]] = defaultdict(list)
    for row in release.predictions.to_pylist():
        predicted[row["photo_id"]].append({**row, "label": names[row["predicted"]]})
    found: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: {group: [] for group in _GROUPS})
    for entry in entries:
        place, answers = placed[entry["photo_id"]], predicted[entry["photo_id"]]
        main = next((row for row in answers if row["protocol"] == "1v1000"), None)
        told = {"file": shown.get(entry["photo_id"]), "group": place["group"], "answers": answers}
        right = "unknown" if main is None else "right" if main["correct"] else "wrong"
        found[entry["class_id"]][place["group"]].append({**entry, **told, "right": right})
    return found


def _small_copies(entries: Sequence[Entry], photos: Path, out: Path, workers: int) -> dict[str, str]:
    """Write the small copies that are missing and return photo id -> file name, without photos that are not at hand."""
    out.mkdir(parents=True, exist_ok=True)
    PhotoFolder(photos)  # a missing folder is said once
    digested = [{name: entry[name] for name in _DIGESTED} for entry in entries]
    shards = [(photos, out, list(shard)) for shard in shards_of(digested, _SHARD)]
    made = map_shards(_small_shard, shards, pool=Pool(workers), title="small photos")
    return {photo_id: name for shard in made for photo_id, name in shard}


def _small_shard(shard: tuple[Path, Path, list[Entry]]) -> list[tuple[str, str]]:
    photos, out, entries = shard
    folder, found = PhotoFolder(photos), []
    for entry in entries:
        name = f"{entry['published_sha256'][:24]}-{EDGE}.jpg"
        try:
            if not (out / name).exists():
                write_atomically(out / name, thumbnail(folder.read(entry)))
        except (IntegrityError, Rejected):
            continue
        found.append((entry["photo_id"], name))
    return found


def _forget_others(out: Path, classes: Sequence[Mapping[str, Any]], shown: Mapping[str, str]) -> None:
    """Remove pages and small copies of an earlier gallery: a withdrawn photo must not stay."""
    pages, kept = {f"class-{item['id']}.html" for item in classes}, set(shown.values())
    for path in _earlier(out):
        if path.name not in pages | kept:
            path.unlink()


def _earlier(out: Path) -> Iterator[Path]:
    yield from out.glob("class-*.html")
    yield from (out / _PHOTOS).glob(f"*-{EDGE}.jpg")
