"""Annotators at work: a real headless Chromium in front of a real Label Studio, with drawn photos on the project's own photo server.

Shared by the browser tests and by the bench that times the screen and takes its pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import numpy as np
from playwright.sync_api import Browser, Page

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
CHECKED = "[...document.querySelectorAll('.lsf-choices input:checked')].map(box => box.name.split(' ')[0])"
WIDEST = "Math.max(0, ...[...document.images].map(image => image.naturalWidth))"


@dataclass
class Seat:
    """One annotator's browser: a profile of its own, logged in, at the page of their project."""

    page: Page

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

    def see(self, place: str) -> None:
        """Wait until the page shows the photo of this place, with its pixels loaded."""
        self.page.get_by_text(place).wait_for()
        self.page.wait_for_function(f"{WIDEST} >= 800")

    def see_ticked(self, *words: str) -> None:
        """Wait until exactly the boxes of these words are ticked."""
        self.page.wait_for_function(f"JSON.stringify({CHECKED}) === JSON.stringify({list(words)})")

    def checked(self) -> list[str]:
        """Return the words whose boxes are ticked."""
        found: list[str] = self.page.evaluate(CHECKED)
        return found


@dataclass
class Room:
    """Where annotators work: the server, the photos, the round, and a seat for each; notes every host asked and dialog opened."""

    workspace: Workspace
    studio: LabelStudioServer
    server: StudioServer
    photos: PhotoServer
    browser: Browser
    now: datetime
    recipe: Recipe = field(default_factory=a_recipe)
    hosts: set[str] = field(default_factory=set)
    dialogs: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    def store(self, number: int) -> list[str]:
        """Store drawn photos as kept ones."""
        return store(self.workspace, number)

    def link(self, photo_id: str) -> str:
        secret = load_secret(self.workspace.home)
        return signed_link(self.photos.url, photo_id, secret=secret, expires=FAR_AWAY)

    def open_round(self, round_id: str, *, planned: Callable[..., object] = plan) -> Round:
        """Plan and push a round for anna and ben."""
        rng = np.random.default_rng(3)
        planned(self.recipe, self.workspace, round_id=round_id, workers=["anna", "ben"], now=self.now, rng=rng)
        sent = push(self.recipe, self.workspace, self.studio, round_id=round_id, link=self.link, now=self.now)
        self.pages = sent["pages"]
        return load_round(self.workspace.journal, round_id)

    def invited(self, worker: str) -> tuple[str, str]:
        """Make an account by the invitation and return its e-mail and password."""
        account = f"{worker}-{uuid4().hex[:8]}@example.org", f"long-enough-{worker}"
        link = urlsplit(self.studio.invitation())
        with httpx.Client(base_url=self.server.url, trust_env=False) as visitor:
            form = visitor.get(f"{link.path}?{link.query}").text
            secret = form.partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
            sent = {"csrfmiddlewaretoken": secret, "email": account[0], "password": account[1]}
            answer = visitor.post(f"{link.path}?{link.query}", data=sent, headers={"Referer": self.server.url})
        assert answer.status_code == 302
        return account

    def seat(self, worker: str, *, guidelines: str = "How to label", account: tuple[str, str] | None = None) -> Seat:
        """Log in, open the worker's page and put the guidelines away."""
        page = self.browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        log_in(page, self.server.url, account or (self.server.account, self.server.password))
        return take_place(page, self.pages[worker], guidelines=guidelines)


def store(workspace: Workspace, number: int) -> list[str]:
    """Store drawn photos as kept ones."""
    names = sorted(workspace.blobs.put_many([Blob(draw_photo(seed)) for seed in range(number)]))
    return fill(workspace, number, named=names, backgrounds=("grass",))


def log_in(page: Page, url: str, account: tuple[str, str]) -> None:
    """Log in as a person does."""
    page.goto(f"{url}/user/login/")
    page.fill("input[name=email]", account[0])
    page.fill("input[name=password]", account[1])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)


def take_place(page: Page, address: str, *, guidelines: str = "How to label") -> Seat:
    """Open a worker's page and put the guidelines away."""
    page.goto(address)
    page.get_by_role("heading", name=guidelines).first.wait_for()
    page.keyboard.press("Escape")
    return Seat(page)
