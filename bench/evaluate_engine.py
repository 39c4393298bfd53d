"""What an evaluation costs beside `clip_benchmark eval --no_amp`, and whether both count the same photos right.

Decides the comparison. Both run the same release (made from the shared photos, exported in the layout that clip_benchmark
reads), the same open_clip module from the same file with open_clip's default transform, the same 1,000 names and the same
template, on one thread, each in processes of their own whose whole CPU time counts, imports and loading included. The module
is the stand-in's network: the only image-text weights that a package index carries. It is not CLIP. `--quick` draws a tiny
network at random instead.

The breakdown runs in one process: a bare loop over the same photos (PIL and open_clip's transform, the module on batches as
large as ours, the module on the prompts) against a whole first evaluation of the loaded model.
"""

from __future__ import annotations

import argparse
import json
import operator
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Cost, Figure, cpu_seconds, own_peak_mb, run_apart

HERE = Path(__file__).resolve()
TEMPLATE = "A photo of {c}."
MODELS = 5
LARGE = 13_000
REAL, TINY = "stand-in-network", "tiny-network"


@dataclass(frozen=True)
class Place:
    """Where everything of one run lies."""

    home: Path
    network: str

    @property
    def config(self) -> Path:
        """open_clip's description of the architecture."""
        return self.home / f"{self.network}.json"

    @property
    def weights(self) -> Path:
        """The file that both sides load."""
        return self.home / f"{self.network}.safetensors"

    @property
    def exported(self) -> Path:
        """The release as clip_benchmark reads it."""
        return self.home / "exported"

    def opened(self) -> tuple[Any, Path]:
        """Return the release and the folder of its photos; made before."""
        from counteranimal.release.read import open_release

        return open_release(self.home / "workspace" / "releases" / "1.0.0"), self.home / "workspace" / "photos"

    @property
    def spec(self) -> str:
        """The model as ours names it."""
        return f"open_clip:{self.network}/{self.weights}"


def _settings(place: Place, name: str = "cache") -> Any:
    from counteranimal.settings import load_settings

    return load_settings(cache=place.home / name, device="cpu", workers=1, free_space_floor_mb=0)


def _labels() -> Any:
    from counteranimal.evaluate import Labels

    return Labels(names="openai", templates="paper", protocols=("1v1000",))


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _library(place: Place) -> Any:
    from counteranimal.models.compat import model_library

    library = model_library("open_clip")
    library.add_model_config(place.config)
    return library


def _make_network(place: Place) -> None:
    """Write the architecture and its weights."""
    import torch
    from safetensors.torch import save_file

    if place.network == REAL:
        from bench.shared_photos import settings, stand_in
        from counteranimal.models.standin import input_digest

        stand_in()  # builds it where this machine has not
        built = settings().cache_folder / "models" / f"stand-in-{input_digest()[:16]}"
        config = json.loads((built / "open_clip_config.json").read_text())["model_cfg"]
        config["text_cfg"] |= {"hf_model_name": str(built / "text"), "hf_tokenizer_name": str(built / "text")}
        place.config.write_text(json.dumps(config))
        place.weights.symlink_to(built / "open_clip_model.safetensors")
        return
    tower = {"layers": 2, "width": 64}
    config = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 224, "patch_size": 32, "head_width": 32, **tower},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "heads": 2, **tower},
    }
    place.config.write_text(json.dumps(config))
    torch.manual_seed(0)
    save_file(_library(place).create_model(place.network).state_dict(), place.weights)


# In processes of their own


def _texts_read() -> dict[str, int]:
    """Return a count that grows with every text that a text tower reads from now on."""
    from counteranimal.models.contrastive import ContrastiveModel

    read = {"texts": 0}
    plain = ContrastiveModel.text_features

    def counted(self: Any, texts: Any) -> Any:
        read["texts"] += len(texts)
        return plain(self, texts)

    ContrastiveModel.text_features = counted  # type: ignore[method-assign]
    return read


def _evaluated(place: Place, model: Any, out: str) -> dict[str, Any]:
    """Evaluate and return what is predicted of each photo, by id, what it took, and how many texts were read."""
    import pyarrow.parquet as pq

    from counteranimal.evaluate import Evaluator

    release, photos = place.opened()
    read, evaluator = _texts_read(), Evaluator(_settings(place), labels=_labels())
    seconds, _ = cpu_seconds(lambda: evaluator.evaluate(release, [model], photos=photos, out=place.home / out))
    (file,) = (place.home / out).glob("predictions-*.parquet")
    table = pq.read_table(file)
    told = {name: table.column(name).to_pylist() for name in ("predicted", "correct")}
    return {**told, "photos": len(table), "ours": seconds, **read}


def _again(place: Place) -> None:
    """Evaluate with the crops, features and classifier of an earlier run, into another folder."""
    _one_thread()
    _library(place)
    print(json.dumps(_evaluated(place, place.spec, "second")))


def _apart(place: Place, *arguments: str) -> tuple[Cost, dict[str, Any]]:
    cost = run_apart([sys.executable, str(HERE), "--child", str(place.home), place.network, *arguments])
    return cost, json.loads(cost.output.strip().splitlines()[-1])


def _peer(place: Place) -> dict[str, Any]:
    """Return the peer's CPU seconds, those of its decoding alone, what it predicted, and how many photos it counts right."""
    out = place.home / "peer.json"
    options = {
        "--dataset": "wds/release",
        "--dataset_root": str(place.exported),
        "--split": "other",
        "--batch_size": "64",
        "--task": "zeroshot_classification",
        "--num_workers": "0",
        "--pretrained_model": f"{place.network},{place.weights}",
        "--output": str(out),
    }
    words = [word for option in options.items() for word in option]
    script, where = str(HERE.with_name("peer_clip_benchmark.py")), [str(place.exported), "other", str(place.weights)]
    cost = run_apart([sys.executable, script, str(place.config), *where, "eval", "--no_amp", "--quiet", *words])
    found: dict[str, Any] = json.loads(cost.output.strip().splitlines()[-1])
    return found | {"correct": round(json.loads(out.read_text())["metrics"]["acc1"] * found["photos"])}


def side_by_side(place: Place, peer: dict[str, Any]) -> list[Figure]:
    """Return a first run beside its bare pieces, accuracy side by side, and what a second run costs."""
    _, first = _apart(place, "first")
    second, again = _apart(place, "again")
    bare = {name: first[name] for name in ("decode", "image forward", "text forward")}
    told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in bare.items())
    print(f"first run, CPU s: {told}; sum {sum(bare.values()):.2f}, ours {first['ours']:.2f}")
    right, other = sum(first["correct"]), sum(map(operator.ne, first["predicted"], peer["predicted"]))
    print(
        f"{first['photos']} photos: ours {right} right, clip_benchmark {peer['correct']}; {other} predicted otherwise"
    )
    print(f"texts read: {first['texts']} by a first run, {again['texts']} by a second")
    print(f"whole process, CPU s: ours again {second.cpu:.1f}, clip_benchmark each time {peer['cpu']:.1f}")
    return [
        Figure("difference in photos counted right", abs(right - peer["correct"]), None, 0, "lower"),
        Figure("photos predicted otherwise", other, None, 0, "lower"),
        Figure("second run, CPU s of the whole process", second.cpu, peer["cpu"], 1 / 3, "lower"),
        Figure("second run, texts read", again["texts"], None, 0, "lower"),
        Figure("first run of one model, CPU s", first["ours"], sum(bare.values()), 1.15, "lower"),
    ]


# Decoding, once for all models of a preprocessing key


class _Blind:
    """A model that sees nothing: what is left is reading, decoding, cropping and keeping crops."""

    def __init__(self, number: int, frame: Any) -> None:
        from counteranimal.models import ModelIdentity

        self.identity = ModelIdentity(f"blind-{number}", "imagenet", "blind", f"{number:064x}")
        self.preprocessing = frame

    def preprocessing_for(self, view: str) -> Any:
        return self.preprocessing.view(view)

    def features(self, crops: Any) -> Any:
        import numpy as np

        return np.ones((len(crops), 1), np.float32)


def decoding(place: Place, peer: dict[str, Any]) -> list[Figure]:
    """Return what `MODELS` models of one key take for pixels, beside the peer's decode of the same photos so many times."""
    from counteranimal.models.crops import CropSet
    from counteranimal.models.embeddings import Photos, embed_in_turn
    from counteranimal.models.preprocessing import Frame
    from counteranimal.release.photos import PhotoFolder

    size = json.loads(place.config.read_text())["vision_cfg"]["image_size"]
    release, folder = place.opened()
    by_id = {entry["photo_id"]: entry for entry in release.entries.to_pylist()}
    ids, files = sorted(by_id), PhotoFolder(folder)
    spent = []
    with tempfile.TemporaryDirectory() as cache:
        crops = CropSet(Path(cache) / "crops", ids)
        photos = Photos(ids, lambda photo_id: files.read(by_id[photo_id]), crops)
        for number in range(MODELS):
            model = _Blind(number, Frame(size, size))
            run = embed_in_turn([model], photos, store=Path(cache) / "features", settings=_settings(place))
            spent.append(cpu_seconds(lambda run=run: sum(len(found.photo_ids) for found in run))[0])
    each = [1e3 * seconds / len(ids) for seconds in spent]
    theirs = 1e3 * peer["decoding"] / peer["photos"]
    print(
        f"CPU ms a photo: decoded {each[0]:.2f}, kept {sum(each[1:]) / (MODELS - 1):.3f}; clip_benchmark {theirs:.2f}"
    )
    return [
        Figure(
            f"decode for {MODELS} models of one key, CPU ms a photo", sum(each), MODELS * theirs, 1.2 / MODELS, "lower"
        ),
        Figure("kept crop, CPU ms beside preprocessing again", sum(each[1:]) / (MODELS - 1), each[0], 1 / 10, "lower"),
    ]


# One model's first run, taken apart


def _first(place: Place) -> None:
    """Print the CPU seconds of the bare pieces and of a whole first evaluation of the loaded model.

    The pieces run before it and after it, and the lesser seconds of each count: whatever else the machine does meanwhile must
    not make ours look cheap.
    """
    from counteranimal.models import load_model

    _one_thread()
    library = _library(place)
    model: Any = load_model(place.spec, settings=_settings(place))
    module = model._runner.module  # noqa: SLF001 - the bare module is what is compared
    paths = sorted(place.opened()[1].iterdir())
    _bare(place, library, module, paths[:1])  # lays out memory
    before = _bare(place, library, module, paths)
    ours = _evaluated(place, model, "first")
    after = _bare(place, library, module, paths)
    print(json.dumps({name: min(before[name], after[name]) for name in before} | ours))


def _bare(place: Place, library: Any, module: Any, paths: list[Path]) -> dict[str, float]:
    """Return the CPU seconds of decoding and transforming, of the image tower, and of the text tower over all names."""
    from counteranimal.models.contrastive import TEXT_BATCH
    from counteranimal.models.runtime import CPU_BATCH
    from counteranimal.zeroshot.names import class_names

    tokenizer, batches = library.get_tokenizer(place.network), list[Any]()
    prompts = [TEMPLATE.replace("{c}", name) for name in class_names("openai")]
    texts = [prompts[at : at + TEXT_BATCH] for at in range(0, len(prompts) if len(paths) > 1 else 1, TEXT_BATCH)]

    def decode() -> None:
        batches.extend(_images(library, module, paths[at : at + CPU_BATCH]) for at in range(0, len(paths), CPU_BATCH))

    return {
        "decode": cpu_seconds(decode)[0],
        "image forward": cpu_seconds(lambda: _forward(module.encode_image, batches))[0],
        "text forward": cpu_seconds(lambda: _forward(lambda some: module.encode_text(tokenizer(some)), texts))[0],
    }


def _images(library: Any, module: Any, paths: list[Path]) -> Any:
    import torch
    from PIL import Image

    settings = library.transform.PreprocessCfg(**module.visual.preprocess_cfg)
    transform = library.transform.image_transform_v2(settings, is_train=False)
    return torch.stack([transform(Image.open(path, formats=("JPEG", "PNG", "WEBP")).convert("RGB")) for path in paths])


def _forward(function: Any, batches: list[Any]) -> None:
    import torch

    with torch.inference_mode():
        for batch in batches:
            function(batch)


# Thirteen thousand photos


def _large(place: Place, number: int) -> None:
    """Evaluate a release of `number` photos and print the peak beside the loaded model."""
    from counteranimal.evaluate import Evaluator
    from counteranimal.models import load_model

    _one_thread()
    _library(place)
    release, photos = _tiled(place, number)
    model = load_model(place.spec, settings=_settings(place, "cache-of-many"))
    model.features(_blank(model))
    loaded = _resident_mb()
    evaluator = Evaluator(_settings(place, "cache-of-many"), labels=_labels())
    out = place.home / "many"
    seconds, _ = cpu_seconds(lambda: evaluator.evaluate(release, [model], photos=photos, out=out))
    print(json.dumps({"loaded": loaded, "peak": own_peak_mb(), "cpu": seconds}))


def _blank(model: Any) -> Any:
    import numpy as np

    side = model.preprocessing.size
    return np.zeros((8, side, side, 3), np.uint8)


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("error: no VmRSS in /proc/self/status; this bench needs Linux")


def _tiled(place: Place, number: int) -> tuple[Any, Path]:
    """Return the small release with its photos repeated under digests of their own: a JPEG comment makes other bytes."""
    import hashlib

    import pyarrow as pa

    from counteranimal import tables

    release, folder = place.opened()
    many = place.home / "many-photos"
    many.mkdir()
    entries, splits = [], {row["photo_id"]: row for row in release.splits.to_pylist()}
    chosen, rows = release.entries.to_pylist(), []
    jpegs = [entry for entry in chosen if (folder / f"{entry['published_sha256']}.jpg").is_file()]
    for at in range(number):
        entry = jpegs[at % len(jpegs)]
        data = (folder / f"{entry['published_sha256']}.jpg").read_bytes()
        data = data[:2] + b"\xff\xfe\x00\x0a" + b"%08d" % at + data[2:]
        name = hashlib.sha256(data).hexdigest()
        (many / f"{name}.jpg").write_bytes(data)
        same = {"photo_id": name, "published_sha256": name, "bytes": len(data), "published_bytes": len(data)}
        entries.append(entry | same | {"fold_unit": name})
        rows.append(splits[entry["photo_id"]] | {"photo_id": name})
    tiled: dict[str, pa.Table] = {
        "entries": tables.conform("entries", entries),
        "splits": tables.conform("splits", rows),
    }
    return replace(release, digest=f"tiled-{number}", **tiled), many


def many_photos(place: Place, number: int) -> list[Figure]:
    """Return the peak beside the model on a large release."""
    _, found = _apart(place, "large", str(number))
    peak = found["peak"] - found["loaded"]
    print(
        f"{number} photos: {found['cpu']:.0f} CPU s, {found['peak']:.0f} MB at most, {found['loaded']:.0f} of them before the first photo"
    )
    return [Figure(f"{number} photos, peak MB beside the model", peak, None, 3_000, "lower")]


def _child(place: Place, verb: str, arguments: list[str]) -> None:
    if verb == "first":
        _first(place)
    elif verb == "again":
        _again(place)
    else:
        _large(place, int(arguments[0]))


def _prepare(place: Place, *, classes: int | None) -> None:
    from bench.evaluated_release import small_release
    from counteranimal.freeze.export import Choice
    from counteranimal.steps.publishing import export_layout

    _make_network(place)
    if place.network != TINY:
        _make_network(replace(place, network=TINY))
    release, photos = small_release(place.home / "workspace", classes=classes)
    export_layout(release, photos, place.exported, layout="webdataset", choice=Choice(fold="all"))
    # The layout carries the template that clip_benchmark's own data sets have; ours is the paper's.
    (place.exported / "zeroshot_classification_templates.txt").write_text(TEMPLATE + "\n")


def main() -> None:
    """Print what was measured, then a line a figure."""
    if sys.argv[1:2] == ["--child"]:
        _child(Place(Path(sys.argv[2]), sys.argv[3]), sys.argv[4], sys.argv[5:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tiny random network and 4 breeds; no large release")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process would compile torch anew, on both sides
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), TINY if given.quick else REAL)
        _prepare(place, classes=4 if given.quick else None)
        peer = _peer(place)
        figures = side_by_side(place, peer) + decoding(place, peer)
        if not given.quick:  # through a tiny network: what counts is the memory around it
            figures += many_photos(replace(place, network=TINY), LARGE)
    for figure in figures:
        print(figure.line())


if __name__ == "__main__":
    main()
