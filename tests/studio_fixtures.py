"""One real Label Studio for a whole test session: its first start migrates a database, which takes half a minute or more.

Import `studio_server` and `studio` into a folder's conftest to use it. The server is ended by its own pid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from counteranimal.annotate.server import StudioServer, down, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.settings import Settings

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


@pytest.fixture
def studio(studio_server: StudioServer) -> Iterator[LabelStudioServer]:
    """A client of the session's server."""
    client = LabelStudioServer(studio_server.url, studio_server.token)
    yield client
    client.close()
