"""What a long journal costs: opening the queue, the snapshot's tables, the conservation count, `status`; no peer, CPU and memory.

Half of the candidates are stored, a tenth was turned away, the rest is pending. `--quick`: 20,000 candidates, else 200,000.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measure import Figure, cpu_seconds

from counteranimal.crawl.pending import pending
from counteranimal.crawl.snapshot import candidates_table, fetches_table, photos_table
from counteranimal.ids import photo_id_of
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, Taxon
from counteranimal.steps.curation import conservation
from counteranimal.steps.inspect import status
from counteranimal.workspace import Workspace

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RECIPE = Recipe(
    name="long",
    classes=(RecipeClass(id="dog", name="dog", imagenet=(207,), taxa=(Taxon(name="Canis", id=7),)),),
    sources=(SourceSpec(name="s", kind="inaturalist"),),
)


def fill(workspace: Workspace, rows: int) -> None:
    """Append candidates, attempts and stored photos in batches, as a crawl would."""
    text = {
        "source": "s",
        "class_id": "dog",
        "taxon": "Canis lupus",
        "licence": "CC-BY-4.0",
        "author": "ada",
        "kind": "photo",
    }
    for start in range(0, rows, 10_000):
        numbers = range(start, min(rows, start + 10_000))
        names = {n: f"s:{n}" for n in numbers}
        ids = {n: photo_id_of(str(n).encode()) for n in numbers if n % 10 < 5}
        workspace.journal.append_all(
            {
                "candidates": [
                    {**text, "candidate_id": names[n], "native_id": str(n), "url": f"https://photos.example/{n}/large.jpg",
                     "page_url": f"https://example/{n}", "observer_id": str(n % 997), "seen_at": NOW, "status": "ok"}
                    for n in numbers
                ],
                "fetches": [
                    {"candidate_id": names[n], "attempt": 1, "at": NOW, "status": "stored" if n in ids else "rejected",
                     "photo_id": ids.get(n), "reason": None if n in ids else "E_GONE"}
                    for n in numbers if n % 10 < 6
                ],
                "stored": [
                    {"photo_id": ids[n], "candidate_id": names[n], "mime": "image/jpeg", "bytes": 400_000, "width": 1024,
                     "height": 768, "fold_unit": f"s:observer:{n % 997}", "stored_at": NOW}
                    for n in ids
                ],
            }
        )  # fmt: skip


def main() -> None:
    """Print CPU seconds of each step, and the memory of all of them together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rows = 20_000 if parser.parse_args().quick else 200_000
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        fill(workspace, rows)
        print(f"{rows:,} candidates; the journal has {(Path(folder) / 'journal.sqlite').stat().st_size / 1e6:.0f} MB")
        works: dict[str, Callable[[], object]] = {
            "pending (queue of all)": lambda: len(list(pending(RECIPE, workspace.journal, now=NOW))),
            "snapshot candidates": lambda: workspace.write_table("candidates", candidates_table(workspace.journal)),
            "snapshot fetches": lambda: workspace.write_table("fetches", fetches_table(workspace.journal)),
            "snapshot photos": lambda: workspace.write_table("photos", photos_table(RECIPE, workspace.journal)),
            "conservation count": lambda: conservation(workspace).require_balance(),
            "status": lambda: status(workspace),
        }
        for name, work in works.items():
            seconds, _ = cpu_seconds(work)
            per_million = seconds * 1e6 / rows
            print(f"{name:24} {seconds:7.2f} s   {per_million:6.1f} s a million")
            print(Figure(f"journal: {name}, CPU s a million", per_million, None, 60.0, "lower").line())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(Figure("journal: peak MB of all steps", peak, None, 2000.0, "lower").line())


if __name__ == "__main__":
    main()
