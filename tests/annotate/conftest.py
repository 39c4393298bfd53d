"""Fixtures of the annotation tests: a pool of kept photos, a labelling server in memory, a seeded generator."""

from __future__ import annotations

import numpy as np
import pytest

from counteranimal.workspace import Workspace
from tests.fakes.label_studio import FakeStudio
from tests.fakes.photo_pool import fill


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def pool(workspace: Workspace) -> list[str]:
    """Twelve kept photos of two classes on two machine backgrounds."""
    return fill(workspace, 12)


@pytest.fixture
def studio() -> FakeStudio:
    return FakeStudio()
