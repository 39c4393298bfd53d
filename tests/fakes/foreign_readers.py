"""Reads releases and exports with other people's packages, in a process of their own that imports nothing of this project.

Run as `python foreign_readers.py READER=PATH ...`, it prints what each reader found as one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def mlcroissant(path: Path) -> dict[str, Any]:
    """Validate croissant.json of a release and read its records."""
    import mlcroissant as mlc

    described = mlc.Dataset(jsonld=str(path / "croissant.json"))
    issues = described.metadata.ctx.issues
    first = {name: sum(1 for _ in described.records(name)) for name in ("entries", "splits", "predictions")}
    row = next(iter(described.records("entries")))
    return {
        "errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "rows": first, "columns": sorted(row),
        "rai": described.metadata.data_collection is not None,
    }  # fmt: skip


def datasets(path: Path) -> dict[str, Any]:
    """Load an exported folder (image folder or Parquet) and count photos, classes and backgrounds of each split."""
    import datasets as hub

    with tempfile.TemporaryDirectory() as cache:
        loaded = hub.load_dataset(str(path), cache_dir=cache)
        return {
            name: {
                "rows": len(split), "size": list(split[0]["image"].size), "columns": sorted(split.column_names),
                "photos": sorted(split["photo_id"]), "backgrounds": sorted(set(split["background"])),
            }
            for name, split in loaded.items()
        }  # fmt: skip


def webdataset(path: Path) -> dict[str, Any]:
    """Read an exported shard and return keys, labels and records."""
    import webdataset as wds

    rows = list(wds.WebDataset(str(path), shardshuffle=False).decode("pil").to_tuple("__key__", "jpg", "cls", "json"))
    return {
        "keys": [row[0] for row in rows], "sizes": [list(row[1].size) for row in rows], "labels": [row[2] for row in rows],
        "photos": [row[3]["photo_id"] for row in rows],
    }  # fmt: skip


def clip_benchmark(path: Path) -> dict[str, Any]:
    """Run `clip_benchmark eval` on exported shards with a tiny random model and return its JSON."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # The wheel for CUDA beside a torch for the CPU: two operators that nothing here calls have to be declared.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import open_clip
    from clip_benchmark import cli

    with tempfile.TemporaryDirectory() as place:
        tower = {"width": 32, "layers": 1}
        config = {
            "embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "head_width": 16, **tower},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "heads": 2, **tower},
        }  # fmt: skip
        (Path(place) / "tiny-export.json").write_text(json.dumps(config))
        open_clip.add_model_config(Path(place) / "tiny-export.json")
        out = Path(place) / "out.json"
        sys.argv = [
            "clip_benchmark", "eval", "--dataset", "wds/bench", "--dataset_root", str(path), "--split", "common", "--task",
            "zeroshot_classification", "--model", "tiny-export", "--pretrained", "", "--output", str(out), "--num_workers", "0",
            "--batch_size", "16", "--no_amp",
        ]  # fmt: skip
        cli.main()
        return dict(json.loads(out.read_text()))


READERS = {
    "mlcroissant": mlcroissant, "datasets": datasets, "webdataset": webdataset, "clip_benchmark": clip_benchmark,
}  # fmt: skip


def read_by(**paths: Path) -> dict[str, Any]:
    """Return what each of the named readers finds at its path; all of them share one process, which reaches no network."""
    done = subprocess.run(
        [sys.executable, __file__, *(f"{name}={path}" for name, path in paths.items())],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    asked = dict(argument.split("=", 1) for argument in sys.argv[1:])
    print(json.dumps({name: READERS[name](Path(path)) for name, path in asked.items()}))
