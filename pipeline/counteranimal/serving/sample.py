"""Builds the sample that the demo crawls: renders every photo once and writes the truth beside them.

Decides where files lie and that a stopped build goes on where it was. Leaves what is in the sample to `plan` and serving to
`upstream`.

::

    FOLDER/
      photos/<photo id>.jpg     what the upstream serves
      index.json                what the upstream answers from; written last
      truth.csv                 class, background and what is planted, for simulated raters and tests; never served
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from PIL import Image

from counteranimal.errors import EnvironmentFailure
from counteranimal.ids import digest_of, photo_id_of
from counteranimal.progress import track
from counteranimal.serving.material import Material
from counteranimal.serving.plan import DEAD, Photo, plan_sample
from counteranimal.serving.rendering import MaterialReader, render
from counteranimal.workspace import write_atomically

__all__ = ["TRUTH_COLUMNS", "SampleIndex", "build_sample", "open_sample"]

# Raise it when rendering changes, so that photos of an older build are not taken for today's.
_VERSION = 1
TRUTH_COLUMNS = (
    "native_photo_id", "sha256", "class_id", "background", "planted", "copy_of", "kind", "cut_out", "scene", "observation_id", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SampleIndex:
    """A built sample: its folder, the plan's photos, and size in pixels and sha256 of each file; dead links have neither."""

    folder: Path
    photos: tuple[Photo, ...]
    sizes: dict[int, tuple[int, int]]
    digests: dict[int, str]

    def file(self, photo_id: int) -> Path:
        """Return where a photo's bytes lie; dead links have none."""
        return self.folder / "photos" / f"{photo_id}.jpg"

    def backgrounds(self) -> dict[str, str]:
        """Return the true background by sha256 of the original bytes, which is the photo id of a crawl of originals."""
        return {self.digests[item.photo_id]: item.background for item in self.photos if item.photo_id in self.digests}

    @property
    def truth(self) -> Path:
        """Return the truth table, a CSV file with the columns `TRUTH_COLUMNS`."""
        return self.folder / "truth.csv"


def build_sample(folder: Path, *, material_root: Path, quick: bool = False) -> SampleIndex:
    """Render the sample into a folder, or return it as it is when it is already there.

    Parameters
    ----------
    folder : Path
        Where the sample lives; made when missing.
    material_root : Path
        `Material.root`: the folder below which the Debian packages' `usr/share` lies.
    quick : bool
        A sample of about 70 photos (8 classes, 4 backgrounds) instead of about 470.

    Raises
    ------
    IntegrityError
        If a package's file is missing or damaged.
    EnvironmentFailure
        If the disk is full; what was rendered stays and the next run goes on.
    """
    reader = MaterialReader(Material(material_root))
    photos = plan_sample(reader.origin, quick=quick)
    key = _key(photos)
    done = _read_index(folder, key)
    if done:
        return done
    _start(folder, key)
    index = SampleIndex(folder, photos, {}, {})
    for photo in track(photos, "sample photos"):
        if photo.planted != DEAD:
            path = index.file(photo.photo_id)
            data = path.read_bytes() if path.exists() else render(photo, photos, reader)
            if not path.exists():
                write_atomically(path, data)
            index.digests[photo.photo_id] = photo_id_of(data)
            index.sizes[photo.photo_id] = Image.open(io.BytesIO(data), formats=("JPEG",)).size
    write_atomically(index.truth, _truth(index).encode())
    write_atomically(folder / "index.json", _index_bytes(index, key))
    return index


def open_sample(folder: Path) -> SampleIndex:
    """Return a sample that `build_sample` made.

    Raises
    ------
    EnvironmentFailure
        If there is none, or only part of one.
    """
    index = _read_index(folder, None)
    if index is None:
        raise EnvironmentFailure(f"{folder} holds no finished sample; run `counteranimal demo`, which builds it")
    return index


def _key(photos: tuple[Photo, ...]) -> str:
    return digest_of(str(_VERSION), *(json.dumps(_as_json(photo), sort_keys=True) for photo in photos))


def _start(folder: Path, key: str) -> None:
    """Make room for this build; photos of another plan or version go, those of a stopped build of this one stay."""
    marker = folder / "building"
    if not marker.exists() or marker.read_text(encoding="utf-8") != key:
        shutil.rmtree(folder / "photos", ignore_errors=True)
        (folder / "index.json").unlink(missing_ok=True)
        write_atomically(marker, key.encode())


def _as_json(photo: Photo) -> dict[str, object]:
    return {**asdict(photo), "observed_at": photo.observed_at.isoformat()}


def _index_bytes(index: SampleIndex, key: str) -> bytes:
    content = {
        "key": key,
        "photos": [_as_json(photo) for photo in index.photos],
        "sizes": {str(photo_id): list(size) for photo_id, size in index.sizes.items()},
        "digests": {str(photo_id): digest for photo_id, digest in index.digests.items()},
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()


def _read_index(folder: Path, key: str | None) -> SampleIndex | None:
    path = folder / "index.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Photo)}
        photos = tuple(
            Photo(
                **{
                    **{k: v for k, v in row.items() if k in known},
                    "observed_at": datetime.fromisoformat(row["observed_at"]),
                }
            )
            for row in content["photos"]
        )
        sizes = {int(photo_id): (size[0], size[1]) for photo_id, size in content["sizes"].items()}
        digests = {int(photo_id): str(digest) for photo_id, digest in content["digests"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    index = SampleIndex(folder, photos, sizes, digests)
    whole = all(index.file(photo_id).is_file() for photo_id in sizes) and index.truth.is_file()
    return index if whole and key in {None, content["key"]} else None


def _truth(index: SampleIndex) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    for item in index.photos:
        row = {**asdict(item), "native_photo_id": item.photo_id, "sha256": index.digests.get(item.photo_id, "")}
        writer.writerow([row[column] for column in TRUTH_COLUMNS])
    return stream.getvalue()
