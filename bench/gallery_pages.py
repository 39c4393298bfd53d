"""What the gallery of a release costs to write, and how soon a browser paints its pages from disk; no peer.

The release has four classes, so that its pages are far longer than those of a benchmark with forty-five; every photo is drawn and
has pixels of its own, no more of them than a small copy has: larger ones cost CPU alone, since one is open at a time. Memory and CPU are those of `counteranimal gallery` in a process of its own, with one worker. Painting is
wall time in a fresh Chromium, best of three, which says little on a busy machine. `--quick`: 1,000 photos, else 13,000.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from freeze_entries import fill
from measure import Figure, own_peak_mb, run_apart
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from counteranimal.cli import app
from counteranimal.freeze.photos import export_photos
from counteranimal.release.read import open_release
from counteranimal.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.fakes.labelling_room import CHROMIUM, SWITCHES

WIDTH, HEIGHT = 320, 240
PAINTED = """() => new Promise((done) => {
  const first = () => performance.getEntriesByName('first-contentful-paint')[0];
  if (first()) return done(first().startTime);
  new PerformanceObserver(() => first() && done(first().startTime)).observe({ type: 'paint', buffered: true });
})"""


def drawn(number: int) -> bytes:
    """Return a photo as large as the gallery's small copies: soft shapes, other ones for every number."""
    rng = np.random.default_rng(number)
    shapes = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    sink = io.BytesIO()
    shapes.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR).save(sink, "JPEG", quality=85)
    return sink.getvalue()


def milliseconds(browser: Browser, page: Path) -> float:
    """Return when a page's first content was painted, counted from the navigation; best of three, each in a fresh profile."""
    found = []
    for _ in range(3):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        shown = context.new_page()
        shown.goto(page.as_uri(), wait_until="commit")
        found.append(float(shown.evaluate(PAINTED)))
        context.close()
    return min(found)


def main() -> None:
    """Print the costs, and a JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        release, photos, out = map(str, given.write)
        app(["gallery", release, "--photos", photos, "-o", out], standalone_mode=False)
        print(own_peak_mb())
        return
    number = 1_000 if given.quick else 13_000
    with tempfile.TemporaryDirectory() as place:
        home, out = Path(place) / "home", Path(place) / "gallery"
        fill(home, number, drawn)
        run_apart([sys.executable, str(Path(__file__).with_name("freeze_entries.py")), "--freeze", str(home)])
        release, photos = home / "releases" / "1.0.0", home / "photos"
        export_photos(open_release(release).entries, Workspace(home / "workspace"), photos)
        os.environ["COUNTERANIMAL_WORKERS"] = "1"
        spent = run_apart([sys.executable, __file__, "--write", str(release), str(photos), str(out)])
        if (made := len(list((out / "photos").glob("*.jpg")))) != number:
            sys.exit(f"{made} of {number} photos are in the gallery, so its cost says nothing")
        peak = float(spent.output.split()[-1])
        longest = max(out.glob("class-*.html"), key=lambda path: path.stat().st_size)
        print(f"gallery of {number:,} photos: {spent.cpu:.1f} CPU s, {peak:.0f} MB at most")
        print(f"longest page: {longest.stat().st_size / 1e6:.1f} MB")
        print(Figure(f"gallery {number:,} photos, peak MB", peak, None, 1000.0, "lower").line())
        if not CHROMIUM.exists():
            print(f"no {CHROMIUM} here, so painting is not measured")
            return
        with (
            sync_playwright() as driver,
            driver.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES) as browser,
        ):
            painted = {"first page": out / "index.html", "longest class page": longest}
            for name, page in painted.items():
                print(Figure(f"{name} painted, ms", milliseconds(browser, page), None, 2000.0, "lower").line())


if __name__ == "__main__":
    main()
