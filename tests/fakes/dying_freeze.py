"""Freezes that die: one process that renders a release once and then lets a child die at every step of writing it.

Run as `python -m tests.fakes.dying_freeze PLACE WRITER`; prints a JSON list with, for each step, its name and what a reader finds
afterwards: `none`, `whole`, or the first problem. The writer is `ours`, or `direct`, which writes files in place and exists to
show that the harness would catch such a writer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from counteranimal.freeze.draft import draft
from counteranimal.freeze.render import render
from counteranimal.freeze.sign import keygen, load_private_key
from counteranimal.freeze.write import publish
from counteranimal.release.verify import verify
from tests.fakes.small_workspace import build

VERSION = "1.0.0"
Reached = Callable[[str], object]


def direct(files: Mapping[str, bytes], releases: Path, version: str, *, reached: Reached) -> None:
    """Write a release the wrong way: file by file into its own place."""
    target = releases / version
    target.mkdir(parents=True)
    reached("folder")
    for name, data in files.items():
        (target / name).write_bytes(data)
        reached(f"written {name}")


WRITERS: dict[str, Callable[..., object]] = {"ours": publish, "direct": direct}


def steps_of(writer: Callable[..., object], files: Mapping[str, bytes], place: Path) -> list[str]:
    """Return the names of the steps of an undisturbed freeze."""
    steps: list[str] = []
    writer(files, place, VERSION, reached=steps.append)
    return steps


def die_at(number: int, writer: Callable[..., object], files: Mapping[str, bytes], place: Path) -> None:
    """Freeze in a child that is killed as it reaches the step of that number."""
    child = os.fork()
    if child == 0:
        seen = 0

        def reached(_: str) -> None:
            nonlocal seen
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

        try:
            writer(files, place, VERSION, reached=reached)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"the child of step {number} was not killed")


def found(place: Path, public_key: Path) -> str:
    """Return what a reader of the folder of releases finds."""
    visible = [path for path in place.iterdir() if not path.name.startswith(".")] if place.exists() else []
    if not visible:
        return "none"
    report = verify(visible[0], public_key=public_key)
    return "whole" if report.ok else report.problems[0]


def main(place: Path, writer: Callable[..., object]) -> None:
    """Die at every step, and after each death freeze again."""
    small = build(place / "home")
    private, public = keygen(place / "keys")
    files = render(draft(small.recipe, small.workspace, small.terms), load_private_key(private))
    outcomes = []
    for number, step in enumerate(steps_of(writer, files, place / "undisturbed")):
        releases = place / f"at-{number}"
        die_at(number, writer, files, releases)
        after = found(releases, public)
        if after == "none":
            writer(files, releases, VERSION, reached=lambda _: None)
        left = sorted(path.name for path in releases.iterdir())
        outcomes.append({"step": step, "after": after, "again": found(releases, public), "left": left})
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), WRITERS[sys.argv[2]])
