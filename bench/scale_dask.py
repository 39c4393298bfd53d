"""One Dask worker beside two, each with one thread, on the shards that `dedupe` hashes: CPU of the workers, who did how many, wall time.

Decides the work: photos of 2048 x 1536 pixels in a store, one picture under as many comments, so that each is read, held against its
digest, decoded and hashed. The workers are warm before they are measured: what importing the package costs is left out. The peer of two
workers is one worker in the same run; hashing in this process without a cluster is reported beside them.

`--quick`: 40 shards of 32 photos, once; else 40 shards of 64, three times.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Client, LocalCluster
from measure import Figure, cpu_seconds
from PIL import Image

from counteranimal.dedupe.fingerprint import stored_hashes
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.workspace import Blob, Blobs

SHARDS = 40
Shard = tuple[Path, Sequence[str]]


def store(root: Path, number: int) -> list[str]:
    """Store that many photos and return their ids."""
    rng = np.random.default_rng(1)
    fields = [
        Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).resize((2048, 1536))
        for side in (4, 16, 64, 256)
    ]
    picture = Image.fromarray(np.mean([np.asarray(field) for field in fields], axis=0).astype(np.uint8))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=90)
    plain, names = sink.getvalue(), []
    for start in range(0, number, 256):
        blobs = [Blob(commented(plain, each)) for each in range(start, min(start + 256, number))]
        Blobs(root).put_many(blobs)
        names += [blob.photo_id for blob in blobs]
    return names


def commented(plain: bytes, number: int) -> bytes:
    """Return the picture with a comment that makes its bytes its own."""
    text = f"photo {number:012}".encode()
    return plain[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + plain[2:]


def hashed(shard: Shard) -> tuple[int, list[dict[str, Any]]]:
    """Do what `dedupe` does with a shard; return this process's id and the rows."""
    root, names = shard
    blobs = Blobs(root)
    return os.getpid(), [asdict(hashes) for hashes in stored_hashes(blobs, names)]


def measured(client: Client, address: str, shards: Sequence[Shard]) -> tuple[float, float, Counter[int], list[Any]]:
    """Return CPU seconds of all workers, wall seconds, shards by worker, and the rows; every worker has done a shard before."""
    workers = list(client.run(os.getpid).values())
    client.run(hashed, (shards[0][0], shards[0][1][:4]))
    before, began = spent(workers), time.perf_counter()
    found = list(map_shards(hashed, shards, pool=Pool(1, address), title="hash", store=shards[0][0]))
    return (
        spent(workers) - before,
        time.perf_counter() - began,
        Counter(pid for pid, _ in found),
        [rows for _, rows in found],
    )


def spent(pids: Sequence[int]) -> float:
    """Return the CPU seconds that processes have spent."""
    return sum(times.user + times.system for times in (psutil.Process(pid).cpu_times() for pid in pids))


def both(shards: Sequence[Shard], folder: str) -> tuple[list[float], list[float], Counter[int], list[list[Any]]]:
    """Return CPU and wall seconds of one worker and of two, the two's shards by worker, and the rows of both."""
    options = {"threads_per_worker": 1, "dashboard_address": None, "local_directory": folder, "host": "127.0.0.1"}
    with LocalCluster(n_workers=1, **options) as cluster, Client(cluster, set_as_default=False) as client:
        one = measured(client, cluster.scheduler_address, shards)
        cluster.scale(2)
        client.wait_for_workers(2)
        two = measured(client, cluster.scheduler_address, shards)
    return [one[0], two[0]], [one[1], two[1]], two[2], [one[3], two[3]]


def main() -> None:
    """Print both sides, summed over the rounds, and a JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    size, rounds = (32, 1) if parser.parse_args().quick else (64, 3)
    cpu, wall, shares = np.zeros(2), np.zeros(2), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "blobs"
        shards: list[Shard] = [(root, list(part)) for part in shards_of(store(root, SHARDS * size), size)]
        here, rows = cpu_seconds(lambda: [hashed(shard)[1] for shard in shards])
        for _ in range(rounds):
            spent_now, took, done, made = both(shards, folder)
            assert made == [rows, rows], "the rows differ"  # noqa: S101
            cpu, wall = cpu + spent_now, wall + took
            shares += [number / len(shards) for number in done.values()] if len(done) == 2 else [0.0, 1.0]
            print(
                f"no cluster {here:.1f} CPU s, one worker {spent_now[0]:.1f}, two {spent_now[1]:.1f}; shards of the two {list(done.values())}"
            )
    print(f"wall time {wall[0]:.1f} s and {wall[1]:.1f} s: speed-up {wall[0] / wall[1]:.2f}")
    print(Figure("two Dask workers beside one, CPU s", float(cpu[1]), float(cpu[0]), 1.15, "lower").line())
    print(Figure("smallest share of the shards", min(shares), None, 0.4, "higher").line())
    print(Figure("largest share of the shards", max(shares), None, 0.6, "lower").line())


if __name__ == "__main__":
    main()
