"""How many planted copies the duplicate rule finds, kind by kind, and how many unrelated photos it would merge.

Run `.venv/bin/python bench/dedupe_quality.py [--quick]`. Real photos of the shared collection are edited in 20 ways; each
(photo, edited copy) pair is a true one, every pair of files of two different photos an unrelated one. The photo that the
collection holds under two names counts once. Our rule, pHash within 10 bits, imagededup (PHash, threshold 10) and cleanvision
(near duplicates) see the same files in one run, each of the two peers in a process of `.venv-peers`.

The unrelated pairs are not independent: 21 files a photo share its content. So two upper bounds are printed: over the pairs
of files as if they were independent, and over the pairs of photos, of which each counts once.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import Figure, cpu_seconds, run_apart
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from scipy.stats import beta

from counteranimal.dedupe.fingerprint import Hashes, hashes_in
from counteranimal.dedupe.neighbours import cross_pairs_within, pairs_within
from counteranimal.dedupe.second_look import compare, judge, look_at, mirrored
from counteranimal.images import decode
from counteranimal.recipe import DedupeRules

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
PEERS = ROOT / ".venv-peers" / "bin" / "python"
RULES = DedupeRules()
RADIUS = 10
QUICK = 16
ORIGINAL = "original"

Picture = Image.Image


def _noise(image: Picture) -> Picture:
    rng = np.random.default_rng(image.width * 10_000 + image.height)
    values = np.asarray(image, dtype=np.float64) + rng.normal(0, 12, (image.height, image.width, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _written(image: Picture, text: str, *, size: float, place: tuple[float, float], alpha: int) -> Picture:
    """Return the picture with white text, `size` of its height, at a place in shares of its sides."""
    layer = Image.new("RGBA", image.size)
    where = (round(place[0] * image.width), round(place[1] * image.height))
    height = max(8, round(size * image.height))
    draw = ImageDraw.Draw(layer)
    # Pillow's own font comes in one size here, so the text is drawn small and enlarged.
    small = Image.new("L", (8 * len(text), 14))
    ImageDraw.Draw(small).text((1, 1), text, fill=alpha)
    mask = small.resize((small.width * height // small.height, height), Image.Resampling.BICUBIC)
    draw.bitmap(where, mask, fill=(255, 255, 255, alpha))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _crop(image: Picture, share: float) -> Picture:
    """Return the middle of the picture without `share` of each side's length."""
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((x, y, image.width - x, image.height - y))


def _jpeg(image: Picture, quality: int = 90, **more: object) -> bytes:
    return _encoded(image, "JPEG", quality=quality, **more)


def _encoded(image: Picture, kind: str, **more: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **more)
    return sink.getvalue()


def _turned_by_exif(image: Picture) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


EDITS: dict[str, Callable[[Picture], bytes]] = {
    "jpeg quality 40": lambda image: _jpeg(image, 40),
    "png": lambda image: _encoded(image, "PNG", compress_level=1),
    "webp quality 70": lambda image: _encoded(image, "WEBP", quality=70),
    "half size": lambda image: _jpeg(image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)),
    "grey": lambda image: _jpeg(image.convert("L")),
    "brighter 1.3": lambda image: _jpeg(ImageEnhance.Brightness(image).enhance(1.3)),
    "contrast 1.4": lambda image: _jpeg(ImageEnhance.Contrast(image).enhance(1.4)),
    "blur 2 px": lambda image: _jpeg(image.filter(ImageFilter.GaussianBlur(2))),
    "noise 12": lambda image: _jpeg(_noise(image)),
    "exif turned": _turned_by_exif,
    "squeezed 10 %": lambda image: _jpeg(image.resize((image.width * 9 // 10, image.height), Image.Resampling.LANCZOS)),
    "turned 1 degree": lambda image: _jpeg(image.rotate(1, Image.Resampling.BICUBIC)),
    "turned 3 degrees": lambda image: _jpeg(image.rotate(3, Image.Resampling.BICUBIC)),
    "text overlay": lambda image: _jpeg(_written(image, "fox 2026", size=0.06, place=(0.05, 0.9), alpha=255)),
    "watermark": lambda image: _jpeg(_written(image, "SAMPLE", size=0.3, place=(0.05, 0.35), alpha=110)),
    "cropped 5 %": lambda image: _jpeg(_crop(image, 0.05)),
    "cropped 10 %": lambda image: _jpeg(_crop(image, 0.10)),
    "border 8 %": lambda image: _jpeg(ImageOps.expand(image, border=round(0.08 * min(image.size)), fill="white")),
    "corner crop 70 %": lambda image: _jpeg(image.crop((0, 0, image.width * 7 // 10, image.height * 7 // 10))),
    "mirror": lambda image: _jpeg(ImageOps.mirror(image)),
}
"""Kind of edit -> the edited copy's file."""


@dataclass(frozen=True)
class Files:
    """The files of the run, `n` photos times (original and edits), photo by photo."""

    folder: Path
    names: list[str]
    photo: np.ndarray
    kind: list[str]


def photos(limit: int | None) -> list[bytes]:
    """Return the shared photos, each once: the shrimp lies there under two names."""
    paths = sorted(path for name in ("pets", "wikimedia") for path in (PHOTOS / name).iterdir())
    if not paths:
        raise SystemExit(f"the shared photos are not at {PHOTOS}; put them there and run again")
    different = list(dict.fromkeys(path.read_bytes() for path in paths))
    return different if limit is None else different[:: len(different) // limit][:limit]


def plant(originals: Iterable[bytes], folder: Path) -> Files:
    """Write every photo and its edited copies into a folder."""
    names, photo, kinds = [], [], []
    for number, data in enumerate(originals):
        image = decode(data)
        copies = {ORIGINAL: data} | {kind: edit(image) for kind, edit in EDITS.items()}
        for kind, content in copies.items():
            ending = {b"\x89PN": "png", b"RIF": "webp"}.get(content[:3], "jpg")
            name = f"{number:04d}-{list(copies).index(kind):02d}.{ending}"
            (folder / name).write_bytes(content)
            names.append(name)
            photo.append(number)
            kinds.append(kind)
    return Files(folder, names, np.array(photo), kinds)


@dataclass(frozen=True)
class Found:
    """What one method says: the pairs it merges and, for ours, those it puts before people."""

    merged: set[tuple[int, int]]
    asked: set[tuple[int, int]]
    cpu: float


def ours(files: Files) -> tuple[Found, Found]:
    """Return what our rule finds, and what pHash within 10 bits alone would."""
    hashing, hashes = cpu_seconds(lambda: [hashes_in((files.folder / name).read_bytes()) for name in files.names])
    column = lambda name: np.array([getattr(item, name) for item in hashes], dtype=np.uint64)  # noqa: E731
    looking, (merged, asked) = cpu_seconds(lambda: _decided(files, hashes))
    search, near = cpu_seconds(lambda: pairs_within(column("phash"), RADIUS))
    plain = {(int(a), int(b)) for a, b in zip(near.first, near.second, strict=True)}
    return Found(merged, asked, hashing + looking), Found(plain, set(), hashing + search)


def _decided(files: Files, hashes: list[Hashes]) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Judge the candidates that matter: an original with its copies, and files of different photos.

    Two copies of one photo are left out; a workspace would look at them too, and nothing here would count them.
    """
    column = lambda name: np.array([getattr(item, name) for item in hashes], dtype=np.uint64)  # noqa: E731
    look = functools.cache(lambda index: look_at((files.folder / files.names[index]).read_bytes()))
    merged, asked = set(), set()
    for flipped in (False, True):
        suffix = "_mirrored" if flipped else ""
        phash, dhash = column("phash"), column("dhash")
        other = column(f"dhash{suffix}")
        near = (
            cross_pairs_within(phash, column("phash_mirrored"), RULES.phash_radius)
            if flipped
            else pairs_within(phash, RULES.phash_radius)
        )
        for a, b in zip(near.first.tolist(), near.second.tolist(), strict=True):
            related = files.photo[a] == files.photo[b]
            if a >= b or (related and files.kind[a] != ORIGINAL):
                continue
            if int(np.bitwise_count(dhash[a] ^ other[b])) > RULES.dhash_radius:
                continue
            verdict = judge(compare(look(a), mirrored(look(b)) if flipped else look(b), RULES), RULES)
            if verdict == "same":
                merged.add((a, b))
            elif verdict == "unsure":
                asked.add((a, b))
    return merged, asked - merged


# imagededup imports torchvision for its CNN, which this comparison does not use. Beside a CPU build of torch, torchvision's compiled
# operators do not load, and it fails where it describes two of them; once those are declared it imports.
_IMAGEDEDUP = """
import json, sys
import torch
declared = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    declared.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from imagededup.methods import PHash
found = PHash(verbose=False).find_duplicates(image_dir=sys.argv[1], max_distance_threshold=10, num_enc_workers=0, num_dist_workers=0)
print("\\n" + json.dumps([[a, b] for a, others in found.items() for b in others if a < b]))
"""
_CLEANVISION = """
import json, os, sys
os.environ["TQDM_DISABLE"] = "1"
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1], verbose=False)
lab.find_issues({"near_duplicates": {}, "exact_duplicates": {}}, n_jobs=1, verbose=False)
sets = [s for kind in ("near_duplicates", "exact_duplicates") for s in lab.info[kind]["sets"]]
names = [sorted(path.rsplit("/", 1)[-1] for path in group) for group in sets]
print("\\n" + json.dumps([[a, b] for group in names for i, a in enumerate(group) for b in group[i + 1:]]))
"""


def peer(program: str, files: Files) -> Found:
    """Run a peer over the folder and return the pairs that it names."""
    cost = run_apart([str(PEERS), "-W", "ignore", "-c", program, str(files.folder)])
    place = {name: index for index, name in enumerate(files.names)}
    pairs = json.loads(cost.output.strip().splitlines()[-1])
    return Found({(place[a], place[b]) for a, b in pairs}, set(), cost.cpu)


def recall(files: Files, found: set[tuple[int, int]], kind: str, *, half: int | None = None) -> float:
    """Return the share of the photos (or of every second one) whose copy of a kind is found beside the original."""
    starts = [index for index, name in enumerate(files.kind) if name == ORIGINAL]
    starts = starts if half is None else starts[half::2]
    offset = 1 + list(EDITS).index(kind)
    return sum((start, start + offset) in found for start in starts) / len(starts)


def false_pairs(files: Files, found: set[tuple[int, int]]) -> tuple[int, int]:
    """Return the unrelated pairs of files that were merged, and of how many pairs of photos they are."""
    wrong = [(a, b) for a, b in found if files.photo[a] != files.photo[b]]
    return len(wrong), len({tuple(sorted((int(files.photo[a]), int(files.photo[b])))) for a, b in wrong})


def upper(hits: int, trials: int) -> float:
    """Return the one-sided 95 % bound of Clopper and Pearson per million."""
    return 1e6 * float(beta.ppf(0.95, hits + 1, trials - hits))


def table(files: Files, found: dict[str, Found]) -> None:
    """Print recall by kind of edit, then false pairs and CPU seconds."""
    heads = ["edit", *found, "ours, asked"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    both = found["ours"].merged | found["ours"].asked
    for kind in EDITS:
        cells = [f"{recall(files, item.merged, kind):.3f}" for item in found.values()]
        print(
            f"| {kind} | {' | '.join(cells)} | {recall(files, both, kind) - recall(files, found['ours'].merged, kind):.3f} |"
        )
    cells = [f"{mean_recall(files, item.merged):.3f}" for item in found.values()]
    print(
        f"| **all but mirror** | {' | '.join(cells)} | {mean_recall(files, both) - mean_recall(files, found['ours'].merged):.3f} |"
    )
    halves = [
        f"{name} {mean_recall(files, item.merged, half=half):.3f}" for half in (0, 1) for name, item in found.items()
    ]
    print(f"all but mirror, even photos and odd photos: {'; '.join(halves)}")
    unrelated, photo_pairs = totals(files)
    for name, item in {**found, "ours, asked": Found(found["ours"].asked, set(), 0)}.items():
        pairs, of_photos = false_pairs(files, item.merged)
        print(
            f"{name}: {pairs} of {unrelated:,} unrelated pairs ({1e6 * pairs / unrelated:.3f} per million, at most "
            f"{upper(pairs, unrelated):.3f}), {of_photos} of {photo_pairs:,} pairs of photos (at most "
            f"{upper(of_photos, photo_pairs):.1f} per million); {item.cpu:.1f} CPU s"
        )


def mean_recall(files: Files, found: set[tuple[int, int]], *, half: int | None = None) -> float:
    """Return the mean recall over the kinds that plain hashes can find at all: all but the mirror image."""
    return float(np.mean([recall(files, found, kind, half=half) for kind in EDITS if kind != "mirror"]))


def totals(files: Files) -> tuple[int, int]:
    """Return the numbers of unrelated pairs of files, and of pairs of photos."""
    counted = np.bincount(files.photo)
    total, n = len(files.photo), len(counted)
    return int((total * (total - 1) - (counted * (counted - 1)).sum()) // 2), n * (n - 1) // 2


def main() -> None:
    """Plant, search, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} photos instead of all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = plant(photos(QUICK if arguments.quick else None), Path(folder))
        print(f"{files.photo.max() + 1} photos, {len(EDITS)} kinds of edits, {len(files.names)} files", file=sys.stderr)
        peers = {"imagededup": peer(_IMAGEDEDUP, files), "cleanvision": peer(_CLEANVISION, files)}
        mine, plain = ours(files)
        found = {"ours": mine, "pHash <= 10": plain, **peers}
    table(files, found)
    unrelated, _ = totals(files)
    wrong = upper(false_pairs(files, mine.merged)[0], unrelated)
    observed = 1e6 * false_pairs(files, plain.merged)[0] / unrelated
    name = "dedupe recall, 19 edits, against pHash <= 10"
    figures = [
        Figure(name, mean_recall(files, mine.merged), mean_recall(files, plain.merged), 1.0, "higher"),
        Figure("dedupe recall, mirror images", recall(files, mine.merged, "mirror"), None, 0.99, "higher"),
        Figure("unrelated pairs", unrelated, None, 1e7, "higher"),
    ]
    if observed:
        name = "dedupe false pairs per million, upper bound, against pHash <= 10 as observed"
        figures.append(Figure(name, wrong, observed, 1.0, "lower"))
    else:
        print("pHash <= 10 joins no unrelated pair at this size, so false pairs are compared in the full run only")
    for figure in figures:
        print(figure.line())


if __name__ == "__main__":
    main()
