"""A browser for a module of tests, and a room in which annotators sit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from playwright.sync_api import Browser, sync_playwright

from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.serving.photos import PhotoServer, load_secret
from counteranimal.workspace import Workspace
from tests.fakes.labelling_room import CHROMIUM, SWITCHES, Room


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; Playwright's event loop runs in this thread until it is closed, so no other module may follow inside it."""
    if not CHROMIUM.exists():
        pytest.skip("no Chromium here; `apt-get install --no-install-recommends chromium chromium-driver` brings one")
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES)
        yield found
        found.close()


@pytest.fixture
def room(
    workspace: Workspace, studio: LabelStudioServer, studio_server: StudioServer, browser: Browser, now: datetime
) -> Iterator[Room]:
    """A room with nobody in it yet."""
    with PhotoServer(workspace, port=0, secret=load_secret(workspace.home)) as photos:
        found = Room(workspace, studio, studio_server, photos, browser, now)
        yield found
        for context in browser.contexts:
            context.close()
