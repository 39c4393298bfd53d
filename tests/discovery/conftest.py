"""Small pools with known answers: each test writes down cells of photos and how many of them the selector gets right."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from counteranimal import tables
from counteranimal.recipe import SplitRule

VOCABULARY = ("grass", "snow", "water", "rock")


@dataclass
class World:
    """A pool under construction; `cell` adds photos, `pool` and `predictions` are its tables."""

    model: str = "stand-in"
    rows: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    _ids: Iterable[int] = field(default_factory=itertools.count)

    def cell(
        self,
        class_id: str,
        background: str,
        fold: str,
        right: int,
        n: int,
        *,
        chance: float = 1.0,
        unit: str | None = None,
    ) -> World:
        """Add `n` photos of a class on a background in a fold, the first `right` of them recognised."""
        for i in range(n):
            photo_id = f"{next(iter(self._ids)):064x}"
            self.rows.append(
                {
                    "photo_id": photo_id,
                    "class_id": class_id,
                    "background": background,
                    "fold_unit": unit or photo_id,
                    "fold": fold,
                    "inclusion_probability": chance,
                }
            )
            self.answers.append(
                {
                    "photo_id": photo_id,
                    "model": self.model,
                    "protocol": "1v1000",
                    "predicted": 0,
                    "rank": 1 if i < right else 9,
                    "margin": 0.0,
                    "tied": False,
                    "correct": i < right,
                }
            )
        return self

    def both(self, class_id: str, background: str, select: Sequence[int], report: Sequence[int]) -> World:
        """Add (right, n) to each fold."""
        self.cell(class_id, background, "select", *select)
        return self.cell(class_id, background, "report", *report)

    @property
    def pool(self) -> pa.Table:
        return tables.conform("pool", self.rows)

    @property
    def predictions(self) -> pa.Table:
        return tables.conform("predictions", self.answers)


@pytest.fixture
def world() -> World:
    """An empty world."""
    return World()


@pytest.fixture
def rule() -> SplitRule:
    """The rule with roles, at least four photos a fold."""
    return SplitRule(name="s", n_min=4)


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    """The way to make several worlds in one test."""
    return World
