"""What Prefect takes of a rebuild's CPU, and what a rebuild with nothing changed costs beside the first; no peer.

Decides the material: photos of 500 x 375 pixels drawn from noise at two scales, stored and journalled as a crawl leaves them, and two
recorded votes on each. They are really read, held against their digests, decoded, hashed, searched and measured, and every table is really
made, by the shipped flow against a real Prefect server on loopback. Given are only the features: 20,000 photos seen by a model in two
views are hours of CPU. Parts of features lie where `score` looks for them, those of a few photos dealt out to all; what the model's passes
cost is measured on some photos and added. So there are two firsts, one with features given, as where a GPU made them, and one with the passes.

Costs are CPU seconds of the flow's process and its server. Start-up is left out: interpreter, imports, the server's start, a first flow, the
model's first load. Prefect's is what the server spends, and all that the flow does outside its steps, the artifacts' tables included;
what its threads and the server spend while a model works is added by the second, as an idle flow shows it.

`--quick`: the costs of a run, a task, an idle second, a load of the model and a photo, measured with 20 and 460 photos, and from these
the costs of 20,000.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds

Costs = dict[str, float]
# The names that Prefect reads once, when it is imported.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
PHOTOS = 20_000
WHOLE, QUICK = (20, PHOTOS), (20, 460)
NOW = datetime(2026, 11, 2, tzinfo=UTC)
MODEL = "stand-in"
CLASSES = 45
BACKGROUNDS = ("grass", "tree", "ground", "sand", "snow", "road", "water", "sky")
SIZE = (500, 375)
LOADING = ("score", "propose", "splits")  # steps that load the model, once each
BATCH = 500
SEEN = 8  # photos whose passes are measured and whose features are dealt out to all
TASKS, RUNS, IDLE = 10, 2, 3.0


def recipe() -> str:
    """Return the recipe's text: 45 classes, the stand-in for backgrounds and as selector."""
    classes = "".join(
        f'[[classes]]\nid = "class-{n:02}"\nname = "class-{n:02}"\nimagenet = [{n}]\n' for n in range(CLASSES)
    )
    return (
        f'name = "share"\nbackgrounds = {json.dumps(BACKGROUNDS)}\n{classes}[[sources]]\nname = "s"\nkind = "folder"\n'
        f'[score]\nmodel = "{MODEL}"\n[[splits]]\nname = "first"\nselector = "{MODEL}"\n'
    )


def drawn(number: int) -> bytes:
    """Return the photo of a number: a pattern of its own, with detail that a JPEG has to code."""
    rng = np.random.default_rng(number)
    coarse, fine = (
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (rows, 4 * rows // 3, 3), dtype=np.uint8)).resize(SIZE), np.uint16
        )
        for rows in (6, 96)
    )
    sink = io.BytesIO()
    Image.fromarray(((2 * coarse + fine) // 3).astype(np.uint8)).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def candidates(numbers: range) -> Iterator[dict[str, Any]]:
    """Yield candidates as a crawl journals them, an observer for every twelve."""
    for n in numbers:
        yield {
            "candidate_id": f"s:{n}", "source": "s", "native_id": str(n), "class_id": f"class-{n % CLASSES:02}",
            "observation_id": str(n), "observer_id": str(n // 12), "author": f"Observer {n // 12}",
            "url": f"https://photos.example.org/{n}/medium.jpg", "page_url": f"https://example.org/observations/{n}",
            "licence_raw": "cc-by", "licence": "CC-BY-4.0", "attribution": f"(c) Observer {n // 12}", "kind": "photo",
            "seen_at": NOW, "status": "ok",
        }  # fmt: skip


def fill(home: Path, number: int) -> float:
    """Store and journal the photos, record two votes on each that is kept, and leave no table but the features that are given.

    Returns the CPU seconds of the passes of one photo.
    """
    from counteranimal.recipe import load_recipe
    from counteranimal.settings import Settings
    from counteranimal.steps.curation import dedupe
    from counteranimal.steps.rounds import pull_recorded
    from counteranimal.steps.run import Run
    from counteranimal.workspace import Blob, Workspace

    home.mkdir(parents=True)
    (home / "recipe.toml").write_text(recipe())
    workspace, photo_ids = Workspace(home / "workspace"), []
    for start in range(0, number, BATCH):
        numbers = range(start, min(number, start + BATCH))
        blobs = [Blob(drawn(n)) for n in numbers]
        names = workspace.blobs.put_many(blobs)
        photo_ids += names
        fetched = [
            {"candidate_id": f"s:{n}", "attempt": 1, "at": NOW, "status": "stored", "http_status": 200, "bytes": len(blob.data), "photo_id": name}
            for n, name, blob in zip(numbers, names, blobs, strict=True)
        ]  # fmt: skip
        stored = [
            {"photo_id": name, "candidate_id": f"s:{n}", "mime": "image/jpeg", "bytes": len(blob.data), "width": SIZE[0], "height": SIZE[1],
             "fold_unit": f"s:observer:{n // 12}", "stored_at": NOW, "store": workspace.blobs.identity()}
            for n, name, blob in zip(numbers, names, blobs, strict=True)
        ]  # fmt: skip
        workspace.journal.append_all({"candidates": list(candidates(numbers)), "fetches": fetched, "stored": stored})
    workspace.journal.close(sealed=True)
    settings = Settings(home=home / "workspace", workers=1)
    run = Run(load_recipe(home / "recipe.toml"), workspace, settings, NOW)
    dedupe(run)
    votes = home / "votes.csv"
    rng = np.random.default_rng(3)
    lines = [
        f"{name},{BACKGROUNDS[word]},none,{BACKGROUNDS[word]},none"
        for name, word in zip(photo_ids, rng.integers(0, len(BACKGROUNDS), number), strict=True)
    ]
    votes.write_text("\n".join(["sha256,background_1,flags_1,background_2,flags_2", *lines]) + "\n")
    pull_recorded(run, path=votes, mapping="shared", round_id="recorded")
    forget(home)
    return give_features(run, sorted(photo_ids))


@functools.cache
def readers() -> list[tuple[Any, str]]:
    """Return who looks at a photo in which view: the trunk's scene reader for the background, the trunk for the class."""
    from counteranimal.models import load_model
    from counteranimal.settings import Settings

    model: Any = load_model(MODEL, settings=Settings(workers=1))
    return [(model.scene_reader(), "whole"), (model.trunk(), "centre")]


def give_features(run: Any, photo_ids: list[str]) -> float:
    """Write features of both views in parts as the stage does, those of a few photos dealt out to all.

    Returns the CPU seconds that both views of one of the few cost, as the stage embeds them.
    """
    from counteranimal import tables
    from counteranimal.models.embeddings import PART, embed, embedding_key
    from counteranimal.pool import shards_of
    from counteranimal.workspace import Parts

    few, spent = photo_ids[:SEEN], 0.0
    for reader, view in readers():
        folder = run.workspace.home / "seen" / view
        work = functools.partial(embed, reader, read=run.workspace.blobs.read, settings=run.settings, view=view)
        work(few[:2], parts=Parts(folder / "warm", "embeddings"))
        seen = Parts(folder, "embeddings")
        spent += cpu_seconds(functools.partial(work, few, parts=seen))[0] / SEEN
        found, parts = seen.view(few), run.workspace.parts("embeddings", embedding_key(reader, view))
        for ids in shards_of(photo_ids, PART):
            dealt = found.take(pa.array(np.arange(len(ids)) % len(found)))
            parts.write(tables.conform("embeddings", dealt.set_column(0, "photo_id", pa.array(ids, pa.string()))))
    return spent


def keep_model() -> float:
    """Let every step use one model from now on, since loads of seconds would hide what hundreds of photos cost; return a load's CPU seconds."""
    from counteranimal.models import registry
    from counteranimal.settings import Settings

    cost, kept = cpu_seconds(functools.partial(registry._load, MODEL, Settings(workers=1)))  # noqa: SLF001
    registry._load = lambda *_: kept  # noqa: SLF001
    return cost


def own() -> float:
    """Return the CPU seconds of this process and of those it started that have ended; the server lives."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def servers() -> float:
    """Return the CPU seconds of the processes below this one, which are the server's."""
    found = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(times.user + times.system + times.children_user + times.children_system for times in found)


def rebuilt(home: Path) -> Costs:
    """Run the shipped flow and return its CPU seconds: of each step, of all steps, outside of them, of the server; and seconds of wall time."""
    import flows.rebuild_splits as shipped

    steps: dict[str, float] = {}

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = own()
            outcome = step(*args, **kwargs)
            steps[step.__name__] = own() - before
            return outcome

        return timed

    plain = shipped.REBUILD
    shipped.REBUILD = tuple(map(counted, plain))  # type: ignore[misc]
    try:
        before, at_server, began = own(), servers(), time.perf_counter()
        shipped.rebuild_splits(recipe=home / "recipe.toml", home=home / "workspace")
        total, wall = own() - before, time.perf_counter() - began
    finally:
        shipped.REBUILD = plain  # type: ignore[misc]
    inside = sum(steps.values())
    return {**steps, "steps": inside, "outside": total - inside, "server": servers() - at_server, "wall": wall}


def flows_cost() -> Costs:
    """Return the CPU seconds, server and all, of a run, of a task in it, and of a second in which a task only waits."""
    from prefect import flow

    from counteranimal.steps.run import Outcome
    from flows.step_task import Reference, as_task

    class Nowhere(Reference):
        def open(self) -> Any:
            return None

    idle = 0.0

    def nothing(_: Any, seconds: float = 0.0) -> Outcome:
        nonlocal idle
        before = own() + servers()
        time.sleep(seconds)
        idle = own() + servers() - before
        return Outcome("nothing")

    @flow(name="empty", persist_result=False)
    def empty(tasks: int, seconds: float) -> None:
        for _ in range(tasks):
            as_task(nothing)(Nowhere(Path()), seconds=seconds)

    def cost(tasks: int) -> float:
        before = own() + servers()
        for _ in range(RUNS):
            empty(tasks, 0.0)
        return (own() + servers() - before) / RUNS

    one, many = cost(1), cost(1 + TASKS)
    task = (many - one) / TASKS
    empty(1, IDLE)
    return {"run": one - task, "task": task, "second": idle / IDLE}


def prepared(home: Path, number: int) -> Path:
    """Return a workspace of so many photos as a crawl leaves it; a folder that was filled before is used again."""
    if not (home / "filled").exists():
        (home / "filled").write_text(str(fill(home, number)))
    forget(home)
    return home


def forget(home: Path) -> None:
    """Leave a workspace as a crawl does: with no table but the features that are given."""
    for path in (home / "workspace" / "tables").iterdir():
        if path.name != "embeddings":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def grown(few: Costs, first: Costs, again: Costs, sizes: tuple[int, int]) -> Costs:
    """Return a first rebuild of all photos: what one more of so many costs by the line through two sizes, and what is new by the photo.

    `few` is one more rebuild of few photos; `first` and `again` are of more.
    """
    more = unchanged(few, again, sizes)
    return {name: more[name] + (first[name] - again[name]) * PHOTOS / sizes[1] for name in few}


def unchanged(few: Costs, again: Costs, sizes: tuple[int, int]) -> Costs:
    """Return one more rebuild of all photos, on the line through two sizes."""
    photo = (PHOTOS - sizes[0]) / (sizes[1] - sizes[0])
    return {name: few[name] + (again[name] - few[name]) * photo for name in few}


def computed(costs: Costs, cost: Costs) -> Costs:
    """Return the costs with the loads that were spared, and Prefect's from those of a run, its tasks and the seconds that the steps take."""
    whole = costs | {name: costs[name] + cost["load"] for name in LOADING}
    steps = costs["steps"] + len(LOADING) * cost["load"]
    return whole | {"steps": steps, "outside": cost["run"] + 7 * cost["task"], "server": cost["second"] * steps}


def report(first: Costs, again: Costs, passes: float, cost: Costs) -> None:
    """Print the costs by step, then the figures."""
    names = [name for name in first if name not in {"steps", "wall"}]
    print(
        f"a run {cost['run']:.2f} CPU s, a task {cost['task']:.3f}, an idle second {cost['second']:.4f}; both views of a photo {passes:.3f}"
    )
    print(f"| {PHOTOS:,} photos, features given, CPU s | " + " | ".join(names) + " | together |")
    print("|---|" + "--:|" * (len(names) + 1))
    whole = {}
    for word, costs in (("first", first), ("nothing changed", again)):
        whole[word] = sum(costs[name] for name in names)
        print(f"| {word} | " + " | ".join(f"{costs[name]:.1f}" for name in names) + f" | {whole[word]:.1f} |")
    prefects = first["outside"] + first["server"]
    model = passes * PHOTOS
    waiting = cost["second"] * model
    with_passes = whole["first"] + model + waiting
    for name, ours, goal in (
        ("Prefect's share of a first rebuild, features given", prefects / whole["first"], 0.05),
        ("Prefect's share of a first rebuild, passes added", (prefects + waiting) / with_passes, 0.05),
        (
            "a rebuild with nothing changed beside the first, features given",
            whole["nothing changed"] / whole["first"],
            0.02,
        ),
        ("a rebuild with nothing changed beside the first, passes added", whole["nothing changed"] / with_passes, 0.02),
    ):
        print(Figure(f"{name}, {PHOTOS:,} photos", ours, None, goal, "lower").line())


def main() -> None:
    """Print what the steps and Prefect cost, and a JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--folder", type=Path, help="where the made-up workspaces are put and kept (default: a temporary folder)"
    )
    given = parser.parse_args()
    sizes = QUICK if given.quick else WHOLE
    with ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ |= {**QUIET, "COUNTERANIMAL_WORKERS": "1", "PREFECT_HOME": str(folder / "prefect")}
        from flows.temporary_server import temporary_server  # Prefect reads the environment when it is imported

        server = stack.enter_context(temporary_server(folder / "prefect"))
        import torch

        torch.set_num_threads(1)
        few_home, home = (prepared(folder / str(number), number) for number in sizes)  # while the server starts
        server.wait()
        from flows.smoke import smoke

        smoke()
        cost = flows_cost()
        if given.quick:
            cost["load"] = keep_model()
        rebuilt(few_home)  # with first loads
        few = rebuilt(few_home)
        first, again = rebuilt(home), rebuilt(home)
        passes = float((home / "filled").read_text())
    if given.quick:
        first = computed(grown(few, first, again, sizes), cost)
        again = computed(unchanged(few, again, sizes), cost)
    report(first, again, passes, cost)


if __name__ == "__main__":
    main()
