"""Fixtures that every part of the suite shares: the photo collection beside the checkout, a workspace, a fixed moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counteranimal.workspace import Workspace
from tests.fakes.postgres import Postgres, programs
from tests.studio_fixtures import studio, studio_personal_token, studio_server

__all__ = ["studio", "studio_personal_token", "studio_server"]  # fixtures of the whole suite: one server a session

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long tests of `make soak`, and only those")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the long tests out of `make test`, and everything else out of `make soak`; the longest file comes first.

    A file is one process's; the demo's takes ten minutes, so that the other process would wait for it if it came last.
    """
    soaking = bool(config.getoption("--soak"))
    left = [item for item in items if (item.get_closest_marker("soak") is not None) != soaking]
    if left:
        config.hook.pytest_deselected(items=left)
        gone = set(left)
        items[:] = [item for item in items if item not in gone]
    items.sort(key=lambda item: item.path.name != "test_demo.py")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real photos and recorded answers that lie beside the checkout; absent on a user's machine."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared photo collection is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this session's own, reached by a socket file."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed; `make database` installs Debian's package")
    with Postgres(folder) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new journal, on each kind of database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "home")


@pytest.fixture
def now() -> datetime:
    """One fixed moment, so that nothing under test depends on the clock."""
    return datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
