"""Fetch, sha256 and store from loopback, beside img2dataset without re-encoding: photos per CPU second.

Ours is the real run (`crawl.run.fetch_pending`: budgets, pace, journal, group commits), once durable and once with every sync
left out. Decoding is a stage of its own and stands apart; img2dataset is told not to decode either. Both read the same photos
of about 66 kB from the same server in a process of its own. *Bare* is aiohttp and sha256 in one loop of the same kind that keeps nothing: the floor of
what is written in Python on that library. Starting up is excluded: the cost of a photo is the difference
between two sizes, each in a fresh process and a fresh folder. Nothing is removed before the end: for a minute after files are
removed, ext4 looks past their inodes, and making files costs ten times as much.

Run as `.venv/bin/python bench/crawl_fetch.py [--quick]`; needs `make peers`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from measure import Figure, run_apart
from PIL import Image

HERE = Path(__file__).resolve()
PEER = HERE.parents[1] / ".venv-peers" / "bin" / "python"
SIDE = (500, 375)
NOW = datetime(2026, 11, 1, tzinfo=UTC)

IMG2DATASET = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], processes_count=1, thread_count=32, output_format="files",
             disable_all_reencoding=True, input_format="txt", number_sample_per_shard=10_000, compute_hash="sha256",
             disallowed_header_directives=[])
"""


def photo() -> bytes:
    """Return a JPEG of about 57 kB with a comment of 16 bytes right behind its start, to be made unique."""
    import io

    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (94, 125, 3), dtype=np.uint8)).resize(SIDE, Image.Resampling.BICUBIC)
    sink = io.BytesIO()
    coarse.save(sink, "JPEG", quality=78)
    data = sink.getvalue()
    return data[:2] + b"\xff\xfe\x00\x12" + bytes(16) + data[2:]


def serve() -> None:
    """Serve unique photos until standard input closes; prints the port first."""
    from aiohttp import web

    data = photo()

    async def answer(request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2].partition(".")[0]
        if name == "robots":
            return web.Response(status=404)
        return web.Response(body=data[:6] + name.encode().rjust(16) + data[22:], content_type="image/jpeg")

    async def run() -> None:
        application = web.Application()
        application.router.add_get("/{tail:.*}", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()

    asyncio.run(run())


def fetch(home: Path, port: int, count: int, mode: str) -> None:
    """Fetch so many photos into a new workspace; `mode` is durable, unsynced or decoded (durable, with full decoding)."""
    from counteranimal.crawl import run, session
    from counteranimal.images import ImageInfo
    from counteranimal.recipe import Recipe, RecipeClass, SourceSpec
    from counteranimal.settings import Settings
    from counteranimal.workspace import Workspace, durable, journal

    if mode != "decoded":

        async def unseen(_data: bytes, _pool: object) -> ImageInfo:
            return ImageInfo("image/jpeg", *SIDE)

        session.looked_at = unseen
    if mode == "unsynced":
        os.fsync = os.fdatasync = durable._sync_all = lambda _descriptor: None  # noqa: SLF001
        journal._durable_sqlite = lambda connection, _record: connection.execute("PRAGMA synchronous=OFF")  # noqa: SLF001
    spec = SourceSpec(
        name="site", kind="inaturalist", loopback=(f"127.0.0.1:{port}",), interval_seconds=0.0, in_flight=64,
        requests_per_minute=10_000_000, requests_per_day=10_000_000, bytes_per_hour=10**12, bytes_per_day=10**13,
    )  # fmt: skip
    recipe = Recipe(name="bench", classes=(RecipeClass(id="dog", name="dog", imagenet=(207,)),), sources=(spec,))
    workspace = Workspace(home)
    counts = run.fetch_pending(recipe, workspace, settings=Settings(home=home, workers=1), now=NOW)
    if counts["stored"] != count:
        raise SystemExit(f"only {counts} of {count} photos were stored")


def fetch_bare(port: int, count: int) -> None:
    """Fetch and digest so many photos with aiohttp alone: no robots, budget, journal or file."""
    import hashlib

    import aiohttp

    from counteranimal.crawl.session import event_loop

    async def run() -> None:
        numbers = iter(range(count))
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

            async def work() -> None:
                for number in numbers:
                    async with client.get(f"http://127.0.0.1:{port}/{number}.jpg") as answer:
                        hashlib.sha256(await answer.read())

            await asyncio.gather(*(work() for _ in range(24)))

    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(run())


def offer(home: Path, port: int, count: int) -> None:
    """Journal so many candidates in a new workspace: discovery is not what is measured."""
    from counteranimal.workspace import Workspace

    Workspace(home).journal.append("candidates", (candidate(number, port) for number in range(count)))


def candidate(number: int, port: int) -> dict[str, object]:
    """Return the row of one candidate."""
    return {
        "candidate_id": f"site:{number}", "source": "site", "native_id": str(number), "class_id": "dog", "author": "Ada",
        "observer_id": str(number), "url": f"http://127.0.0.1:{port}/{number}.jpg", "licence_raw": "cc-by", "licence": "CC-BY-4.0",
        "attribution": "© Ada", "kind": "photo", "seen_at": NOW, "status": "ok",
    }  # fmt: skip


def marginal(cost: Callable[[int], float], small: int, large: int, repeats: int) -> float:
    """Return photos per CPU second, from the difference of two sizes; the median of a few differences, since starts vary."""
    return (large - small) / statistics.median(cost(large) - cost(small) for _ in range(repeats))


def main(*, quick: bool) -> None:
    """Measure both and print the figures."""
    small, large, repeats = (200, 1_200, 1) if quick else (500, 8_500, 3)
    print(f"photos of {len(photo()):,} bytes; {small} and {large} of them" + (" (quick)" if quick else ""))
    server = subprocess.Popen(
        [sys.executable, str(HERE), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder = Path(tempfile.mkdtemp(prefix="crawl-fetch-"))
    try:
        port = int(server.stdout.readline())

        def ours(mode: str, count: int) -> float:
            home = Path(tempfile.mkdtemp(dir=folder))
            told = [str(home), str(port), str(count)]
            run_apart([sys.executable, str(HERE), "offer", *told])
            return run_apart([sys.executable, str(HERE), "fetch", *told, mode]).cpu

        def peer(count: int) -> float:
            home = Path(tempfile.mkdtemp(dir=folder))
            listed = home / "urls.txt"
            listed.write_text("".join(f"http://127.0.0.1:{port}/{number}.jpg\n" for number in range(count)))
            (home / "peer.py").write_text(IMG2DATASET)
            command = [str(PEER), "-W", "ignore", str(home / "peer.py"), str(listed), str(home / "photos")]
            cost = run_apart(command).cpu
            stored = sum(1 for _ in (home / "photos").rglob("*.jpg"))
            if stored != count:
                raise SystemExit(f"the peer stored {stored} of {count} photos")
            return cost

        theirs = marginal(peer, small, large, repeats)
        figures = [
            Figure(
                f"crawl: photos per CPU second, {mode}",
                marginal(lambda n, m=mode: ours(m, n), small, large, repeats),
                theirs,
                goal,
                "higher",
            )
            for mode, goal in (("durable", 3.0), ("unsynced", 5.0))
        ]
        decoded = marginal(lambda n: ours("decoded", n), small, large, 1)
        told = [sys.executable, str(HERE), "bare", str(port)]
        bare = marginal(lambda n: run_apart([*told, str(n)]).cpu, small, large, 1)
        print(f"bare aiohttp and sha256, nothing kept: {bare:.0f} photos per CPU second")
        print(f"with full decoding in worker processes, durable: {decoded:.0f} photos per CPU second")
        for figure in figures:
            print(figure.line(), flush=True)
    finally:
        server.communicate()
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["fetch"]:
        fetch(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    elif sys.argv[1:2] == ["bare"]:
        fetch_bare(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["offer"]:
        offer(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="1,000 photos once instead of 8,000 three times")
        main(quick=parser.parse_args().quick)
