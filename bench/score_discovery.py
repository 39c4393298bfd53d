"""Discovery on a million photos: choosing pairs, groups and diagnostics, in CPU seconds and peak memory.

Decides the size: 1,000,000 photos of 100 classes on 20 backgrounds, 300,000 observers; `--quick` a tenth of the photos. No peer
does this; the goals are 30 s and 2 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from counteranimal import tables
from counteranimal.discovery import assign, choose_pairs, diagnose, group_figures, pool_table
from counteranimal.recipe import SplitRule

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds, run_apart

BACKGROUNDS = tuple(f"background{i:02d}" for i in range(20))
CLASSES = 100


def _tables(number: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return verdicts, photos and predictions of made-up photos."""
    rng = np.random.default_rng(1)
    ids = pa.array([f"{i * 2654435761 % 2**64:064x}" for i in range(number)])
    background = rng.integers(0, len(BACKGROUNDS), number)
    class_of = rng.integers(0, CLASSES, number)
    truth = rng.uniform(0.4, 0.9, (CLASSES, len(BACKGROUNDS)))
    units = pa.array([f"sample:observer:{i}" for i in range(number * 3 // 10)])
    okay = pa.array(["ok"] * number)
    verdicts = {
        "photo_id": ids,
        "background": pa.array(BACKGROUNDS).take(pa.array(background)),
        "status": okay,
        "inclusion_probability": rng.uniform(0.2, 1.0, number),
    }
    photos = {
        "photo_id": ids,
        "class_id": pa.array([f"class{i:04d}" for i in range(CLASSES)]).take(pa.array(class_of)),
        "fold_unit": units.take(pa.array(rng.integers(0, len(units), number))),
        "status": okay,
    }
    predictions = {
        "photo_id": ids,
        "model": pa.array(["stand-in"] * number),
        "protocol": pa.array(["1v1000"] * number),
        "correct": pa.array(rng.random(number) < truth[class_of, background]),
    }
    named = {"verdicts": verdicts, "photos": photos, "predictions": predictions}
    made = [tables.conform(name, pa.table(columns)) for name, columns in named.items()]
    return made[0], made[1], made[2]


def _work(number: int) -> None:
    verdicts, photos, predictions = _tables(number)
    rule = SplitRule(name="bench", n_min=20)

    def discover() -> int:
        pool = pool_table(verdicts, photos, seed="bench")
        pairs = choose_pairs(pool, predictions, rule, BACKGROUNDS)
        diagnose(pool, predictions, rule, BACKGROUNDS)
        splits = assign(pool, pairs)
        return len(group_figures(splits, predictions, pool, [rule]))

    seconds, groups = cpu_seconds(discover)
    print(json.dumps({"cpu": seconds, "groups": groups}))


def main() -> None:
    """Run the work in a process of its own and print a line a figure; the peak includes making the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="100,000 photos instead of 1,000,000; not extrapolated")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        _work(given.work)
        return
    number = 100_000 if given.quick else 1_000_000
    cost = run_apart([sys.executable, __file__, "--work", str(number)])
    told = json.loads(cost.output.splitlines()[-1])
    print(f"{number:,} photos, {CLASSES} classes, {len(BACKGROUNDS)} backgrounds: {told['groups']} groups")
    print(Figure(f"discovery_cpu_s_{number}", told["cpu"], None, 30.0, "lower").line())
    print(Figure(f"discovery_peak_mb_{number}", cost.peak_mb, None, 2000.0, "lower").line())


if __name__ == "__main__":
    main()
