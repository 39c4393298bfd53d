"""Fixtures that every part of the suite shares: the photo collection beside the checkout, a workspace, a fixed moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from counteranimal.workspace import Workspace
from tests.studio_fixtures import studio, studio_server

__all__ = ["studio", "studio_server"]  # fixtures of the whole suite: one server a session

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real photos and recorded answers that lie beside the checkout; absent on a user's machine."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared photo collection is not at {folder}")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path / "home")


@pytest.fixture
def now() -> datetime:
    """One fixed moment, so that nothing under test depends on the clock."""
    return datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
