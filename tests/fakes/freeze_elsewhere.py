"""One freeze in a process of its own: `python -m tests.fakes.freeze_elsewhere PLACE ORDER KEY` prints file name -> sha256 as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from counteranimal.freeze.draft import draft
from counteranimal.freeze.write import write_release
from counteranimal.pool import Pool
from counteranimal.release.sums import digest_of_file
from tests.fakes.small_workspace import build


def main(place: Path, order: int, key: Path) -> dict[str, str]:
    """Build the small workspace with its rows in some order and freeze it."""
    small = build(place / "home", order=order)
    folder = write_release(
        draft(small.recipe, small.workspace, small.terms, pool=Pool(1 + order % 3)), place / "releases", private_key=key
    )
    return {path.name: digest_of_file(path)[0] for path in sorted(folder.iterdir())}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
