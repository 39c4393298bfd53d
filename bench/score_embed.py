"""What scoring costs beside the bare model: CPU a photo and view, and a new vocabulary over stored embeddings.

Decides the comparison. The peer decodes with PIL, crops with the model's own published transform and runs the bare module on
batches of the same size, on one thread as we do; ours also checks bytes, decodes safely, and writes and reads back Parquet parts. The
second figure reads 100,000 stored embeddings of width 512 and writes the backgrounds of a vocabulary; the text tower
runs before and is reported apart. EfficientNet-Lite2 stands for a model: a larger one hides more of our share.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds
from bench.shared_photos import Labelled, features, labelled, settings, stand_in
from counteranimal import tables
from counteranimal.models import load_model
from counteranimal.models.embeddings import embed
from counteranimal.models.runtime import CPU_BATCH
from counteranimal.recipe import backgrounds
from counteranimal.score.backgrounds import prompt_features, prompt_probabilities
from counteranimal.score.run import background_columns
from counteranimal.workspace import Parts

WIDTH, PART = 512, 2_000
ROUNDS = 3
VOCABULARY = tuple(name for name, item in backgrounds().items() if item.decides)


def _bare(photos: list[Labelled], model: object) -> None:
    """Decode, transform and run as a script of a dozen lines would."""
    import timm
    import torch
    from PIL import Image

    module = model._runner.module  # type: ignore[attr-defined]  # noqa: SLF001 - the bare module is what is compared
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(module), is_training=False)
    with torch.inference_mode():
        for start in range(0, len(photos), CPU_BATCH):
            images = [
                Image.open(photo.path, formats=("JPEG", "PNG", "WEBP")).convert("RGB")
                for photo in photos[start : start + CPU_BATCH]
            ]
            batch = torch.stack([transform(image) for image in images])
            module.forward_head(module.forward_features(batch), pre_logits=True)


def embedding(number: int) -> Figure:
    """Return our CPU seconds against the bare loop's, the least of three rounds in turn."""
    import torch

    torch.set_num_threads(1)
    photos, model = labelled()[:number], load_model("efficientnet-lite2", settings=settings())
    _bare(photos[:CPU_BATCH], model)
    ours, bare = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(cpu_seconds(lambda folder=folder: features(photos, model, "centre", Path(folder)))[0])
        bare.append(cpu_seconds(lambda: _bare(photos, model))[0])
    return Figure("embed_cpu_ms_per_photo_and_view", 1e3 * min(ours) / number, 1e3 * min(bare) / number, 1.15, "lower")


def _unasked(photo_id: str) -> bytes:
    raise SystemExit(f"error: {photo_id} is stored and was asked for again")


def vocabulary(number: int) -> Figure:
    """Return the CPU seconds from stored embeddings to a written table of backgrounds, by a new vocabulary."""
    rng, every = np.random.default_rng(1), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder) / "parts", "embeddings")
        for start in range(0, number, PART):
            stored = rng.standard_normal((PART, WIDTH)).astype(np.float32)
            ids = [f"{place * 2654435761 % 2**64:064x}" for place in range(start, start + PART)]
            ends = np.arange(0, stored.size + 1, WIDTH, dtype=np.int32)
            columns = {
                "model": pa.array(["bench"] * PART),
                "view": pa.array(["whole"] * PART),
                "photo_id": pa.array(ids),
            }
            columns["embedding"] = pa.ListArray.from_arrays(ends, stored.reshape(-1))
            parts.write(tables.conform("embeddings", pa.table(columns)))
            every += ids
        prompts = rng.standard_normal((len(VOCABULARY), WIDTH)).astype(np.float32)

        model = load_model("efficientnet-lite0", settings=settings())  # never asked: every photo is stored

        def score() -> None:
            found = embed(model, every, read=_unasked, parts=parts, settings=settings(), view="whole")
            rows = background_columns(found.photo_ids, prompt_probabilities(found.features, prompts), VOCABULARY)
            tables.write(Path(folder) / "scores.parquet", tables.conform("scores", rows))

        seconds, _ = cpu_seconds(score)
    return Figure(f"new_vocabulary_cpu_s_{number}", seconds, None, 2.0, "lower")


def main() -> None:
    """Print a line a figure, and what the text tower takes beside them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="24 photos and 20,000 embeddings; not extrapolated")
    given = parser.parse_args()
    photos, embeddings = (24, 20_000) if given.quick else (96, 100_000)
    model = stand_in()
    seconds, _ = cpu_seconds(lambda: prompt_features(model, VOCABULARY))
    number = sum(len(backgrounds()[word].prompts) for word in VOCABULARY)
    print(
        f"text tower of the stand-in, apart: {number} prompts of {len(VOCABULARY)} backgrounds in {seconds:.1f} CPU s"
    )
    print(vocabulary(embeddings).line())
    print(embedding(photos).line())


if __name__ == "__main__":
    main()
