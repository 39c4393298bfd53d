"""All pairs of 64-bit hashes within a radius, beside faiss' exact IndexBinaryFlat: CPU seconds, memory, the same pairs.

The hashes are random, a tenth of them copies of others with 0 to 14 bits changed. Each search runs in a process of its own; what
loading the libraries and compiling costs is left out. faiss compares every pair, so its cost for a million is that of 20,000
queries against the million, times fifty; its pairs are compared with ours for those queries. The growing index is measured as
`dedupe` uses it: hashes as they stand and mirrored, radius 14, first all of them, then 1,000 more from the files of the run before.

Run as `.venv/bin/python bench/dedupe_neighbours.py [--quick]`; needs `make peers`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import Figure, cpu_seconds, run_apart

HERE = Path(__file__).resolve()
PEER = HERE.parents[1] / ".venv-peers" / "bin" / "python"
RADIUS, QUERIES, MORE = 10, 20_000, 1_000

FAISS = """
import json, sys, time
import faiss, numpy as np
faiss.omp_set_num_threads(1)
hashes, queries, radius = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
codes = hashes.view(np.uint8).reshape(-1, 8)
index = faiss.IndexBinaryFlat(64)
index.add(codes)
began = time.process_time()
limits, distances, found = index.range_search(codes[:queries], radius + 1)
spent = time.process_time() - began
first = np.repeat(np.arange(queries), np.diff(limits.astype(np.int64)))
once = first < found
np.save(sys.argv[4], np.stack([first[once], found[once]]))
print(json.dumps({"seconds": spent}))
"""


def hashes_of(number: int) -> np.ndarray:
    """Return so many hashes, (number,) uint64; every tenth is another one with 0 to 14 bits changed."""
    rng = np.random.default_rng(number)
    values = rng.integers(0, 2**64, number, dtype=np.uint64)
    copies = values[rng.integers(0, number, number // 10)]
    changes = rng.integers(0, 15, len(copies))
    for bit in range(14):
        chosen = changes > bit
        copies[chosen] ^= np.uint64(1) << rng.integers(0, 64, int(chosen.sum()), dtype=np.uint64)
    values[rng.permutation(number)[: len(copies)]] = copies
    return values


def warmed() -> Any:
    """Return the search with its loops compiled."""
    from counteranimal.dedupe import neighbours

    few = hashes_of(20_000)
    neighbours.pairs_within(few, RADIUS)
    neighbours.cross_pairs_within(few, few, RADIUS)
    return neighbours


def search(file: Path, found: Path) -> None:
    """Search a file of hashes, write the pairs and print the cost."""
    from counteranimal.dedupe.bands import plan_for

    hashes = np.load(file)
    neighbours = warmed()
    seconds, pairs = cpu_seconds(lambda: neighbours.pairs_within(hashes, RADIUS))
    np.save(found, np.stack([pairs.first, pairs.second]))
    plan = plan_for(len(hashes), None, RADIUS)
    bands = ", ".join(f"{band.width}/{band.flips}" for band in plan.bands)
    print(json.dumps({"seconds": seconds, "pairs": len(pairs.first), "model": plan.seconds, "bands": bands}))


def plain(file: Path) -> None:
    """Search a file of hashes as a machine without numba does, and print the cost."""
    from counteranimal.dedupe import neighbours

    hashes = np.load(file)
    neighbours._has_numba = lambda: False  # noqa: SLF001
    seconds, pairs = cpu_seconds(lambda: neighbours.pairs_within(hashes, RADIUS))
    print(json.dumps({"seconds": seconds, "pairs": len(pairs.first)}))


def grow(file: Path, folder: Path) -> None:
    """Propose the pairs of all photos but the last thousand, then of those, and print both costs."""
    from counteranimal.dedupe.proposals import Fingerprints, proposed
    from counteranimal.recipe import DedupeRules

    hashes = np.load(file)
    warmed()
    ids = [f"{number:016x}{0:048x}" for number in range(len(hashes))]
    prints = Fingerprints(
        ids, ids, hashes, hashes, hashes[::-1].copy(), hashes[::-1].copy(), np.full(len(hashes), 7, np.float32)
    )
    order = np.random.default_rng(1).permutation(len(hashes))
    last, before = np.sort(order[:MORE]), np.sort(order[MORE:])
    part = Fingerprints([ids[n] for n in before], [], *(array[before] for array in prints[2:]))
    first, _ = cpu_seconds(lambda: proposed(part, np.ones(len(before), bool), DedupeRules(), folder))
    new = np.zeros(len(hashes), bool)
    new[last] = True
    then, _ = cpu_seconds(lambda: proposed(prints, new, DedupeRules(), folder))
    print(json.dumps({"first": first, "then": then}))


def measured(role: str, *told: object) -> tuple[dict[str, Any], float]:
    """Run a role of this script in a process of its own and return what it printed and its peak memory in MiB."""
    cost = run_apart([sys.executable, str(HERE), role, *map(str, told)])
    return json.loads(cost.output.splitlines()[-1]), cost.peak_mb


def compare(folder: Path, number: int, goal: float) -> list[Figure]:
    """Search so many hashes beside faiss, and return the figures."""
    file, ours, theirs = folder / f"{number}.npy", folder / "ours.npy", folder / "theirs.npy"
    np.save(file, hashes_of(number))
    cost, peak = measured("search", file, ours)
    queries = min(number, QUERIES)
    told = [str(PEER), "-c", FAISS, str(file), str(queries), str(RADIUS), str(theirs)]
    peer = (
        json.loads(subprocess.run(told, capture_output=True, text=True, check=True).stdout)["seconds"]
        * number
        / queries
    )
    without = [measured("plain", file)[0]] if number == 10**5 else []
    pairs = np.load(ours)
    mine = set(map(tuple, pairs[:, pairs[0] < queries].T.tolist()))
    right = set(map(tuple, np.load(theirs).T.tolist()))
    extrapolated = "" if queries == number else f" (from {queries:,} queries)"
    print(
        f"| {number:,} | {cost['bands']} | {cost['pairs']:,} | {cost['seconds']:.3f} | {cost['model']:.3f} | "
        f"{peer:.1f}{extrapolated} | {peak:.0f} |"
    )
    return [
        Figure(f"dedupe pairs within 10 bits of {number:,}: CPU s beside faiss", cost["seconds"], peer, goal, "lower"),
        *(
            Figure(f"the same {number:,} without numba: CPU s beside faiss", each["seconds"], peer, 0.45, "lower")
            for each in without
        ),
        Figure(f"recall of {number:,} beside faiss", len(mine & right) / len(right), None, 1.0, "higher"),
        *(
            [Figure("false pairs of a million", float(len(mine - right)), None, 0.0, "lower")]
            if number == 10**6
            else []
        ),
        *([Figure("peak MiB of a million", peak, None, 300.0, "lower")] if number == 10**6 else []),
    ]


def main(*, quick: bool) -> None:
    """Measure and print the table and the figures."""
    sizes = [(100_000, 0.06), (300_000, 0.02)] if quick else [(100_000, 0.06), (300_000, 0.02), (1_000_000, 0.01)]
    many = 300_000 if quick else 1_000_000
    print("bands are width/flips" + (" (quick: 300,000 instead of 1,000,000 and 10,000,000)" if quick else ""))
    print("| hashes | bands | pairs | CPU s | cost model | faiss CPU s | peak MiB |\n|---|---|---|---|---|---|---|")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="dedupe-neighbours-") as name:
        folder = Path(name)
        for number, goal in sizes:
            figures += compare(folder, number, goal)
        if not quick:
            np.save(folder / "large.npy", hashes_of(10_000_000))
            cost, peak = measured("search", folder / "large.npy", folder / "ours.npy")
            print(
                f"| 10,000,000 | {cost['bands']} | {cost['pairs']:,} | {cost['seconds']:.1f} | {cost['model']:.1f} | "
                f"not run | {peak:.0f} |"
            )
            figures.append(Figure("peak MiB of ten million", peak, None, 8_000.0, "lower"))
        grown, _ = measured("grow", folder / f"{many}.npy", folder / "index")
        print(f"{many - MORE:,} first: {grown['first']:.2f} CPU s; then {MORE:,} more: {grown['then']:.3f} CPU s")
        figures.append(
            Figure(f"{MORE:,} more, beside the first {many:,}", grown["then"], grown["first"], 0.01, "lower")
        )
    for figure in figures:
        print(figure.line())


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        search(Path(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1:2] == ["plain"]:
        plain(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["grow"]:
        grow(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="at most 300,000 hashes")
        main(quick=parser.parse_args().quick)
