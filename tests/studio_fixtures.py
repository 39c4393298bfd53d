"""One real Label Studio for a whole test session: its first start migrates a database, which takes half a minute or more.

`tests/conftest.py` takes both fixtures in, once, so that all folders share the server. Tests that use it carry
`xdist_group("label-studio")`, which keeps them in one process. The server is ended by its own pid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from counteranimal.annotate.server import StudioServer, down, up
from counteranimal.settings import Settings

if TYPE_CHECKING:
    from counteranimal.annotate.studio import LabelStudioServer

VENV = Path(__file__).resolve().parents[1] / ".venv-label-studio"


@pytest.fixture(scope="session")
def studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """A fresh server on loopback, with secrets of its own."""
    if not (VENV / "bin" / "label-studio").exists():
        pytest.skip(f"Label Studio is not installed at {VENV}; `make label-studio` does it")
    home = tmp_path_factory.mktemp("label-studio")
    server = up(Settings(home=home, label_studio_venv=VENV), home / "server")
    try:
        yield server
    finally:
        down(server.data_dir)


@pytest.fixture(scope="session")
def studio_personal_token(studio_server: StudioServer) -> str:
    """A personal access token of the session's server; an account has one at a time."""
    return personal_token(studio_server.url, studio_server.account, studio_server.password)


@pytest.fixture
def studio(studio_server: StudioServer) -> Iterator[LabelStudioServer]:
    """A client of the session's server."""
    from counteranimal.annotate.studio import LabelStudioServer  # takes a second that most tests do not need

    client = LabelStudioServer(studio_server.url, studio_server.token)
    yield client
    client.close()


def personal_token(url: str, email: str, password: str) -> str:
    """Return a new personal access token of an account, made as the server's settings page makes it."""
    with httpx.Client(base_url=url, trust_env=False) as browser:
        secret = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', browser.get("/user/login/").text)
        assert secret is not None
        form = {"csrfmiddlewaretoken": secret[1], "email": email, "password": password}
        assert browser.post("/user/login/", data=form, headers={"Referer": url}).status_code == 302
        made = browser.post("/api/token/", headers={"X-CSRFToken": browser.cookies["csrftoken"], "Referer": url})
        assert made.status_code == 201
        return str(made.json()["token"])
