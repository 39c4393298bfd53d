"""A real headless Chromium in front of a real Label Studio, with drawn photos on the project's own photo server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from counteranimal.annotate.plan import plan
from counteranimal.annotate.push import push
from counteranimal.annotate.rounds import Round, load_round
from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.recipe import Recipe
from counteranimal.serving.photos import PhotoServer, load_secret, signed_link
from counteranimal.workspace import Blob, Workspace
from tests.fakes.drawn_photos import draw_photo
from tests.fakes.photo_pool import a_recipe, fill

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAR_AWAY = 4_000_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; Playwright's event loop runs in this thread until it is closed, so no other module may follow inside it."""
    if not CHROMIUM.exists():
        pytest.skip("no Chromium here; `apt-get install --no-install-recommends chromium chromium-driver` brings one")
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES)
        yield found
        found.close()


@dataclass
class Desk:
    """An annotator's desk: a browser page, and everything behind it."""

    workspace: Workspace
    studio: LabelStudioServer
    server: StudioServer
    photos: PhotoServer
    page: Page
    now: datetime
    recipe: Recipe = field(default_factory=a_recipe)
    hosts: set[str] = field(default_factory=set)
    dialogs: list[str] = field(default_factory=list)

    def store(self, number: int) -> list[str]:
        """Store drawn photos as kept ones."""
        names = sorted(self.workspace.blobs.put_many([Blob(draw_photo(seed)) for seed in range(number)]))
        return fill(self.workspace, number, named=names, backgrounds=("grass",))

    def link(self, photo_id: str) -> str:
        secret = load_secret(self.workspace.home)
        return signed_link(self.photos.url, photo_id, secret=secret, expires=FAR_AWAY)

    def open_round(
        self, round_id: str, *, planned: Callable[..., object] = plan, guidelines: str = "How to label"
    ) -> Round:
        """Plan and push a round for anna and ben, log in, open anna's page and put the guidelines away."""
        rng = np.random.default_rng(3)
        planned(self.recipe, self.workspace, round_id=round_id, workers=["anna", "ben"], now=self.now, rng=rng)
        sent = push(self.recipe, self.workspace, self.studio, round_id=round_id, link=self.link, now=self.now)
        self.page.goto(f"{self.server.url}/user/login/")
        self.page.fill("input[name=email]", self.server.account)
        self.page.fill("input[name=password]", self.server.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "login" not in url)
        self.page.goto(sent["pages"]["anna"])
        self.page.get_by_text(guidelines).wait_for()
        self.page.keyboard.press("Escape")
        return load_round(self.workspace.journal, round_id)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def submit(self) -> None:
        """Press Ctrl+Enter and wait until the server has taken the answer."""
        with self.page.expect_response(
            lambda answer: "/annotations" in answer.url and answer.request.method == "POST"
        ) as sent:
            self.press("Control+Enter")
        assert sent.value.status == 201


@pytest.fixture
def desk(
    workspace: Workspace, studio: LabelStudioServer, studio_server: StudioServer, browser: Browser, now: datetime
) -> Iterator[Desk]:
    """A desk in a fresh browser profile that notes every host asked and every dialog opened."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    with PhotoServer(workspace, port=0, secret=load_secret(workspace.home)) as photos:
        found = Desk(workspace, studio, studio_server, photos, page, now)
        page.on("request", lambda request: found.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("dialog", lambda dialog: (found.dialogs.append(dialog.message), dialog.dismiss()))
        yield found
        page.context.close()
