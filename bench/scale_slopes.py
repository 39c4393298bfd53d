"""What every stage that works on metadata costs at 10,000, 100,000 and a million photos, where it bends, and the million in all; no peer.

Decides what a million photos look like: 45 classes, an observer for every twelve photos, one photo in fifty a burst of the one before,
random hashes, whose few pairs a narrow dHash radius leaves out (looking at them needs photos; the search is the same). The scores,
predictions, verdicts and the digests of published copies are given, since they need photos; everything else is the package's own work on
them, each stage in a process of its own, as the verbs run it. Every kept photo has a verdict and is published, which is more than people
will ever label: so splits and freeze are measured at their worst.

`--quick`: 2,000 and 10,000 photos.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from measure import Figure, cpu_seconds, own_peak_mb, run_apart

from counteranimal import tables
from counteranimal.annotate.plan import plan
from counteranimal.dedupe import run as dedupe_run
from counteranimal.dedupe.fingerprint import DEFAULT_RECIPE, recipe_name
from counteranimal.discovery import assign, choose_pairs, diagnose, group_figures, pool_table
from counteranimal.freeze.draft import assemble
from counteranimal.freeze.entries import COPIES
from counteranimal.freeze.inputs import Terms, gather
from counteranimal.freeze.sign import keygen
from counteranimal.freeze.write import write_release
from counteranimal.ids import photo_id_of
from counteranimal.settings import Settings
from counteranimal.steps.curation import snapshot
from counteranimal.steps.discovered import balance, variations
from counteranimal.steps.inspect import status
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace

NOW = datetime(2026, 11, 2, tzinfo=UTC)
SELECTOR = "made-up"
CLASSES = {f"class-{number:02}": number for number in range(45)}
BACKGROUNDS = ("grass", "tree", "ground", "sand", "snow", "road", "water", "sky")
BATCH = 10_000
SHARD = 128  # as `dedupe` and `score` write their parts


def recipe() -> str:
    """Return the recipe's text."""
    classes = "".join(
        f'[[classes]]\nid = "{name}"\nname = "{name}"\nimagenet = [{index}]\n' for name, index in CLASSES.items()
    )
    return (
        f'name = "scale"\nbackgrounds = {list(BACKGROUNDS)}\n{classes}[[sources]]\nname = "s"\nkind = "folder"\n'
        f'[dedupe]\ndhash_radius = 4\n[annotate]\nphotos_per_cell = 100\n[[splits]]\nname = "first"\nselector = "{SELECTOR}"\n'
    )


def candidates(numbers: range) -> Iterator[dict[str, Any]]:
    """Yield candidates as a crawl writes them; every fiftieth is the next photo of the same observation."""
    for n in numbers:
        observation = n - 1 if n % 50 == 0 and n else n
        yield {
            "candidate_id": f"s:{n}", "source": "s", "native_id": str(n), "class_id": f"class-{observation % 45:02}",
            "taxon": "Canis lupus", "observation_id": str(observation), "observer_id": str(observation // 12),
            "author": f"Observer {observation // 12}", "url": f"https://photos.example.org/{n}/original.jpg",
            "page_url": f"https://example.org/observations/{observation}", "licence_raw": "cc-by", "licence": "CC-BY-4.0",
            "attribution": f"(c) Observer {observation // 12}, some rights reserved (CC BY)", "kind": "photo", "seen_at": NOW,
            "observed_at": (NOW - timedelta(hours=observation)).isoformat(), "status": "ok",
        }  # fmt: skip


def fill(home: Path, number: int) -> None:
    """Write the journal of a crawl that stored `number` photos, their fingerprints, and what else is given."""
    home.mkdir()
    (home / "recipe.toml").write_text(recipe())
    workspace = Workspace(home / "workspace")
    photo_ids = []
    for start in range(0, number, BATCH):
        numbers = range(start, min(number, start + BATCH))
        offered = list(candidates(numbers))
        names = [photo_id_of(str(n).encode()) for n in numbers]
        photo_ids += names
        stored = [
            {"photo_id": name, "candidate_id": row["candidate_id"], "mime": "image/jpeg", "bytes": 400_000, "width": 1024,
             "height": 768, "fold_unit": f"s:observer:{row['observer_id']}", "stored_at": NOW, "store": "one"}
            for name, row in zip(names, offered, strict=True)
        ]  # fmt: skip
        fetched = [
            {"candidate_id": row["candidate_id"], "attempt": 1, "at": NOW, "status": "stored", "http_status": 200,
             "bytes": 400_000, "photo_id": row["photo_id"]}
            for row in stored
        ]  # fmt: skip
        workspace.journal.append_all({"candidates": offered, "fetches": fetched, "stored": stored})
    give(workspace, sorted(photo_ids))


def give(workspace: Workspace, photo_ids: list[str]) -> None:
    """Write fingerprints in parts as their stage does, and the tables that would need photos: scores, verdicts, predictions."""
    rng, number = np.random.default_rng(7), len(photo_ids)
    hashes = rng.integers(0, 1 << 63, (4, number), dtype=np.uint64)
    ids = pa.array(photo_ids)
    prints = pa.table(
        [
            ids,
            *map(pa.array, hashes),
            pa.array(np.full(number, 7.5, np.float32)),
            _same(recipe_name(DEFAULT_RECIPE), number),
        ],
        tables.schema_of("fingerprints"),
    )
    parts = workspace.parts("fingerprints", recipe_name(DEFAULT_RECIPE))
    for start in range(0, number, SHARD):
        parts.write(prints.slice(start, SHARD))
    backgrounds = pa.array(BACKGROUNDS).take(pa.array(rng.integers(0, len(BACKGROUNDS), number)))
    probabilities = rng.random((number, len(BACKGROUNDS)), np.float32)
    scores = {
        "photo_id": ids, "model": _same("stand-in", number), "view": _same("whole", number), "vocabulary": _same(",".join(BACKGROUNDS), number),
        "background": backgrounds, "confidence": probabilities[:, 0], "status": _same("ok", number),
        "probabilities": pa.ListArray.from_arrays(np.arange(0, probabilities.size + 1, len(BACKGROUNDS), dtype=np.int32), probabilities.reshape(-1)),
        **{name: rng.random(number, np.float32) for name in ("sharpness", "sharpest", "brightness", "contrast", "clipped")},
        "proposals": pa.array([[]] * number, pa.list_(pa.string())),
    }  # fmt: skip
    workspace.write_table("scores", tables.conform("scores", pa.table(scores)))
    verdicts = {
        "photo_id": ids, "background": backgrounds, "usable": pa.array([True] * number), "codes": scores["proposals"],
        "n_votes": pa.array([2] * number, pa.int32()), "method": _same("unanimous", number),
        "inclusion_probability": rng.uniform(0.2, 1.0, number), "status": _same("ok", number),
    }  # fmt: skip
    workspace.write_table("verdicts", tables.conform("verdicts", pa.table(verdicts)))
    # Grass is easy and water is hard, so that every class has a pair.
    ease = {"grass": 0.9, "water": 0.5}
    chance = pa.array([ease.get(name, 0.7) for name in BACKGROUNDS]).take(
        pc.index_in(backgrounds, value_set=pa.array(BACKGROUNDS))
    )
    correct = rng.random(number) < chance.to_numpy()
    predictions = {
        "photo_id": ids, "model": _same(SELECTOR, number), "protocol": _same("1v1000", number), "predicted": pa.array([0] * number, pa.int32()),
        "rank": np.where(correct, 1, 5).astype(np.int32), "margin": np.where(correct, 1.0, -1.0).astype(np.float32),
        "tied": pa.array([False] * number), "correct": pa.array(correct),
    }  # fmt: skip
    workspace.write_table("predictions", tables.conform("predictions", pa.table(predictions)))


def _same(word: str, number: int) -> pa.Array:
    return pa.array([word] * number, pa.string())


def run_of(home: Path) -> Run:
    """Return the run over a filled home."""
    return Run.of(home / "recipe.toml", Settings(home=home / "workspace", workers=1))


def snapshots(run: Run) -> None:
    """Turn the journal into candidates, fetches and photos, and count them."""
    snapshot(run)


def fingerprints(run: Run) -> None:
    """Read the parts and write the view; nothing is missing."""
    dedupe_run.fingerprint(run.workspace, settings=run.settings)


def clusters(run: Run) -> None:
    """Search all pairs and make the clusters."""
    dedupe_run.cluster(run.recipe, run.workspace)


def again(run: Run) -> None:
    """Run both steps of deduplication again, with nothing new."""
    fingerprints(run)
    clusters(run)


def sampling(run: Run) -> None:
    """Plan a round on the whole frame."""
    people = ["ada", "ben", "cyd", "dee"]
    plan(run.recipe, run.workspace, round_id="round-1", workers=people, now=NOW, rng=np.random.default_rng(3))


def splits(run: Run) -> None:
    """Do what the step `splits` does, with the selector's answers given."""
    workspace, rule = run.workspace, run.recipe.splits[0]
    photos, verdicts = workspace.table("photos"), workspace.table("verdicts")
    pool = pool_table(verdicts, photos, seed=run.recipe.seed, clusters=workspace.table("clusters"))
    workspace.write_table("pool", pool)
    predictions = workspace.write_table("predictions", consistent(workspace.table("predictions"), pool))
    arguments = (pool, predictions, rule, run.recipe.vocabulary())
    pairs = workspace.write_table("pairs", choose_pairs(*arguments, list(CLASSES)))
    diagnose(*arguments)
    assigned = workspace.write_table("splits", assign(pool, pairs))
    workspace.write_table("groups", group_figures(assigned, predictions, pool, run.recipe.splits))
    balance(run)
    variations(run, predictions)


def consistent(predictions: pa.Table, pool: pa.Table) -> pa.Table:
    """Return the answers of the pool with labels that say what `correct` says: the class's own index, or that of no class."""
    chosen = predictions.take(pc.index_in(pool["photo_id"], value_set=predictions["photo_id"].combine_chunks()))
    right = pa.array(CLASSES.values(), pa.int32()).take(pc.index_in(pool["class_id"], value_set=pa.array(CLASSES)))
    label = pc.if_else(chosen["correct"], right, 999)
    return chosen.set_column(chosen.schema.get_field_index("predicted"), "predicted", label)


def freeze(run: Run) -> None:
    """Draft, render, write, verify and sign a release of the whole pool; the digests of its copies are given."""
    identity = {"spec": SELECTOR, "family": "made-up", "weights_sha256": "ab" * 32}
    figures = {"alpha": 0.9, "low": 0.8, "high": 1.0, "n_photos": 1, "n_votes": 2, "raw": 0.9}
    agreement = {"background": figures, "gate": "pass"}
    # The round that `sampling` planned is not the one whose votes are given.
    run.workspace.journal.append("rounds", [{"round": "round-1", "at": NOW, "event": "closed", "content": {}}])
    inputs = gather(run.recipe, run.workspace)
    ids = inputs.tables["pool"]["photo_id"]
    copies = pa.table([ids, ids, pa.array(np.full(len(ids), 390_000))], COPIES)
    terms = Terms(version="1.0.0", date="2026-11-02", agreement=agreement, selectors={"first": identity})
    private, _ = keygen(run.workspace.folder("keys"))
    write_release(assemble(inputs, terms, copies), run.workspace.folder("releases"), private_key=private)


def told(run: Run) -> None:
    """Answer `status`."""
    status(run.workspace)


STAGES: dict[str, Callable[[Run], None]] = {
    "snapshot": snapshots,
    "fingerprints": fingerprints,
    "clusters": clusters,
    "dedupe again": again,
    "sampling": sampling,
    "splits": splits,
    "freeze": freeze,
    "status": told,
}


def measured(home: Path, stage: str) -> None:
    """Run one stage on a filled home and print its cost; in a process of its own."""
    run, began = run_of(home), time.perf_counter()
    cpu, _ = cpu_seconds(lambda: STAGES[stage](run))
    print(json.dumps({"cpu": cpu, "seconds": time.perf_counter() - began, "peak_mb": own_peak_mb()}))


def costs(home: Path, number: int) -> dict[str, dict[str, float]]:
    """Return stage -> cpu, seconds and peak_mb at a number of photos."""
    found: dict[str, dict[str, float]] = {}
    run_apart([sys.executable, __file__, "--fill", str(number), "--home", str(home)])
    for stage in STAGES:
        found[stage] = json.loads(run_apart([sys.executable, __file__, "--stage", stage, "--home", str(home)]).output)
        print(
            f"{number:>9,} {stage:14}" + " ".join(f"{name} {value:9.1f}" for name, value in found[stage].items()),
            flush=True,
        )
    shutil.rmtree(home)
    return found


def main() -> None:
    """Print what each stage costs at each size, its slope between sizes, and a JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--folder", type=Path, help="where to put the made-up workspaces (default: a temporary folder)")
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        fill(given.home, given.fill)
    elif given.stage:
        measured(given.home, given.stage)
    else:
        sizes = given.sizes or ([2_000, 10_000] if given.quick else [10_000, 100_000, 1_000_000])
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            report({number: costs(Path(folder) / str(number), number) for number in sizes})


def report(found: dict[int, dict[str, dict[str, float]]]) -> None:
    """Print a table of CPU seconds with the slope of the last step, then the figures of the largest size.

    The slope is the exponent b of cost ~ photos^b between the two largest sizes: 1 is linear; what starting costs makes it smaller.
    """
    sizes = sorted(found)
    print("| stage | " + " | ".join(f"CPU s at {size:,}" for size in sizes) + " | slope | peak MB |")
    print("|---|" + "---|" * (len(sizes) + 2))
    for stage in STAGES:
        cells = [found[size][stage]["cpu"] for size in sizes]
        slope = np.log(cells[-1] / cells[-2]) / np.log(sizes[-1] / sizes[-2])
        shown = " | ".join(f"{cell:.1f}" for cell in cells)
        print(f"| {stage} | {shown} | {slope:.2f} | {found[sizes[-1]][stage]['peak_mb']:.0f} |")
    largest = found[sizes[-1]]
    minutes = sum(cost["seconds"] for cost in largest.values()) / 60
    cpu = sum(cost["cpu"] for cost in largest.values()) / 60
    peak = max(cost["peak_mb"] for cost in largest.values())
    print(Figure(f"metadata run of {sizes[-1]:,} photos, minutes of wall time", minutes, None, 30.0, "lower").line())
    print(Figure(f"metadata run of {sizes[-1]:,} photos, minutes of CPU", cpu, None, 30.0, "lower").line())
    print(Figure(f"metadata run of {sizes[-1]:,} photos, peak MB", peak, None, 8000.0, "lower").line())


if __name__ == "__main__":
    main()
