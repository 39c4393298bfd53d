"""How long an annotator waits from submitting an answer until the next photo is painted, measured inside the browser.

Decides the session: thirty drawn photos of 1200 pixels on our photo server, answered by keyboard in a headless Chromium before a real
Label Studio; `--quick` ten. It is wall time, as the person feels it, on whatever else the machine does. `--pictures FOLDER` also saves
the screen as the docs show it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

from counteranimal.annotate.server import StudioServer, down, running, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.serving.photos import PhotoServer, load_secret
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.fakes.labelling_room import CHROMIUM, SWITCHES, Room, Seat

NOW = datetime(2026, 11, 1, tzinfo=UTC)
# From the key that submits to the second frame after a photo with another address is decoded.
WATCH = """() => {
  const large = () => [...document.images].find(image => image.naturalWidth >= 800);
  const before = large().src;
  window.painted = new Promise(done => document.addEventListener('keydown', function started(event) {
    if (event.key !== 'Enter') return;
    document.removeEventListener('keydown', started, true);
    const start = performance.now();
    const look = () => {
      const next = large();
      if (next && next.src !== before && next.complete)
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
      else requestAnimationFrame(look);
    };
    look();
  }, true));
}"""


def _session(room: Room, number: int, pictures: Path | None) -> list[float]:
    """Return the milliseconds of every change of photo."""
    room.store(number)
    named = tuple(item.model_copy(update={"look_for": "whole animal in sight"}) for item in room.recipe.classes)
    room.recipe = room.recipe.model_copy(update={"classes": named})
    planned = room.open_round("screen")
    seat = room.seat("anna")
    waits: list[float] = []
    for place, item in enumerate(planned.assignments["anna"], start=1):
        seat.see(f"Photo {place} of {number}")
        if item.shown:  # the proposal is grass; its key would take it away
            seat.see_ticked("grass")
        else:
            seat.press("1")
        seat.press("q")
        if place == 2 and pictures:
            _take(seat, pictures)
        if place < number:
            seat.page.evaluate(WATCH)
            seat.press("Control+Enter")
            waits.append(float(seat.page.evaluate("window.painted")))
    return waits


def _take(seat: Seat, folder: Path) -> None:
    """Save the screen, with the guidelines over it, and with the reasons of a rejection."""
    seat.page.screenshot(path=folder / "labelling.png")
    seat.press("r")
    seat.page.locator(".ca-rules").wait_for()
    seat.page.screenshot(path=folder / "labelling-guidelines.png")
    seat.press("r", "e")
    seat.page.get_by_text("Why not?").wait_for()
    seat.page.screenshot(path=folder / "labelling-reject.png")
    seat.press("q")


def _measure(server: StudioServer, home: Path, number: int, pictures: Path | None) -> list[float]:
    workspace = Workspace(home)
    with (
        PhotoServer(workspace, port=0, secret=load_secret(workspace.home)) as photos,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES) as browser,
    ):
        studio = LabelStudioServer(server.url, server.token)
        return _session(Room(workspace, studio, server, photos, browser, NOW), number, pictures)


def main() -> None:
    """Run a session and print the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="10 photos instead of 30")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the screen")
    given = parser.parse_args()
    venv = Path(__file__).resolve().parents[1] / ".venv-label-studio"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        server = up(Settings(home=place, label_studio_venv=venv), place / "server")
        try:
            waits = _measure(server, place / "home", 10 if given.quick else 30, given.pictures)
        finally:
            if running(server.data_dir):
                down(server.data_dir)
    middle = statistics.median(waits)
    print(f"submit to next photo painted, {len(waits)} changes: median {middle:.0f} ms, slowest {max(waits):.0f} ms")
    print(
        f'{{"name": "submit_to_paint_ms", "ours": {middle:.0f}, "peer": null, "ratio": null, "goal": "reported", "met": null}}'
    )


if __name__ == "__main__":
    main()
