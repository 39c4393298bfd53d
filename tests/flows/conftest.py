"""A real Prefect server and process worker on loopback, started once and ended by pid."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.fakes.open_studio import open_studio
from tests.fakes.prefect_server import PrefectServer

__all__ = ["PrefectServer"]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server with a database of its own, the deployments of prefect.yaml, and one worker, whose environment holds secrets."""
    home = tmp_path_factory.mktemp("prefect")
    with open_studio() as studio, PrefectServer(
        home / "prefect",
        PREFECT_LOCAL_STORAGE_PATH=str(home / "results"),
        COUNTERANIMAL_LABEL_STUDIO_URL=studio,
        COUNTERANIMAL_LABEL_STUDIO_TOKEN=secrets.token_hex(20),
        COUNTERANIMAL_CONTACT="tester@example.org",
        AWS_SECRET_ACCESS_KEY=secrets.token_hex(20),
    ) as server:  # fmt: skip
        server.start()
        server.deploy()
        server.work()
        yield server
