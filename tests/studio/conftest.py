"""The session's real server, and a seeded generator."""

from __future__ import annotations

import numpy as np
import pytest
from tests.studio_fixtures import studio, studio_server

__all__ = ["rng", "studio", "studio_server"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
