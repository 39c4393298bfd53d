"""Runs clip_benchmark in the peers' environment with an architecture from a file, and times its decoding alone.

    python bench/peer_clip_benchmark.py CONFIG.json FOLDER GROUP WEIGHTS eval ...

After `eval` and its options, clip_benchmark's own, it prints one JSON line: the CPU seconds of the process so far, imports and loading
included, what was predicted of each photo, in the order of the shards, and the CPU seconds of one pass of decoding and transforming
alone. Decides nothing of the evaluation. Two things are done before it starts: torchvision is made importable beside a CPU build of torch
(as `counteranimal.models.compat` does here), and open_clip learns the architecture. Imports nothing of this project, which is not
installed there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def _importable_torchvision() -> object:
    """Declare the operators that torchvision's compiled part would bring; the returned object keeps them."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    try:
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:  # a pair that fits has them
        return None
    return library


def _decoding(architecture: str, folder: str, group: str, weights: str) -> tuple[int, float]:
    """Return the photos and CPU seconds of one pass over the peer's own data set."""
    import open_clip
    from clip_benchmark.datasets.builder import build_wds_dataset

    _, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=weights)
    started = time.process_time()
    number = sum(1 for _ in build_wds_dataset("wds/release", transform, split=group, data_dir=folder))
    return number, time.process_time() - started


def main() -> None:
    """Teach open_clip the architecture, hand over, and time."""
    kept = _importable_torchvision()
    config, folder, group, weights, *options = sys.argv[1:]
    import open_clip
    import torch
    from clip_benchmark.cli import main as clip_benchmark
    from clip_benchmark.metrics import zeroshot_classification

    predicted: list[int] = []
    run = zeroshot_classification.run_classification

    def noted(*arguments: object, **named: object) -> object:
        logits, target = run(*arguments, **named)
        predicted.extend(logits.argmax(dim=1).tolist())
        return logits, target

    zeroshot_classification.run_classification = noted  # it publishes only sums
    torch.set_num_threads(1)
    open_clip.add_model_config(config)
    sys.argv = ["clip_benchmark", *options]
    clip_benchmark()
    whole = time.process_time()
    photos, decoding = _decoding(Path(config).stem, folder, group, weights)
    print(json.dumps({"cpu": whole, "photos": photos, "decoding": decoding, "predicted": predicted}))
    del kept


if __name__ == "__main__":
    main()
