"""Plants pickles where Prefect would look for the result of a step that were cached, and proves that they go off there.

Run as a program with a recipe, a workspace and the canary's path. It runs a step as a task that does keep its results, under
Prefect's usual key (inputs and source), overwrites what that left in the result storage, and runs the task again: Prefect takes
the result from the storage and unpickles it, which makes the canary. A flow of ours with the same inputs must not.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from prefect import flow
from prefect.cache_policies import INPUTS, TASK_SOURCE
from prefect.settings import get_current_settings

from counteranimal.steps.run import Outcome, Run
from flows.step_task import Reference, as_task


def pickled(canary: Path) -> bytes:
    """A pickle of protocol 0 that makes the canary, a folder, when it is loaded: it calls `os.makedirs(canary, 511, True)`."""
    return f"cos\nmakedirs\n(V{canary}\nI511\nI01\ntR.".encode()


def nothing(run: Run, **options: object) -> Outcome:
    """A step that does nothing: the key depends on inputs and on the source of the task around it, not on the step."""
    return Outcome("nothing", {})


@flow(persist_result=False)
def cached(reference: Reference) -> None:
    """What a crawl would be, were its task cached."""
    task = as_task(nothing).with_options(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)  # type: ignore[attr-defined]
    task(reference, limit=None, retry=())


def main(recipe: str, home: str, canary: Path) -> None:
    """Leave plants, and the canary if they went off."""
    reference = Reference(Path(recipe), Path(home))
    storage = get_current_settings().results.local_storage_path
    before = set(storage.glob("*"))
    cached(reference)
    for kept in set(storage.glob("*")) - before:
        record = json.loads(kept.read_bytes())
        record["metadata"]["serializer"] = {"type": "pickle", "picklelib": "pickle"}
        record["result"] = base64.encodebytes(pickled(canary)).decode()
        kept.write_text(json.dumps(record))
    cached(reference)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
