"""Diagnostics say what another way of reporting would have claimed, and roles keep the published drop honest."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from counteranimal import tables
from counteranimal.discovery import diagnose
from counteranimal.recipe import SplitRule

VOCABULARY = ("grass", "snow", "water", "rock")


def test_folds_swapped_naive_and_unstable_by_hand(world, rule) -> None:
    """One stable class and one that the folds see differently."""
    world.both("ape", "grass", (9, 10), (8, 10)).both("ape", "snow", (1, 10), (2, 10))
    world.both("bat", "grass", (8, 10), (4, 10)).both("bat", "snow", (5, 10), (6, 10))
    world.both("cat", "grass", (8, 10), (4, 10))
    found = diagnose(world.pool, world.predictions, rule, VOCABULARY)
    assert found.n_eligible == 2
    assert found.role_drop == pytest.approx((0.6 - 0.2) / 2)
    assert found.swapped_drop == pytest.approx((0.8 - 0.3) / 2)
    assert found.naive_drop == pytest.approx((0.7 + 0.05) / 2)
    assert found.inflation == pytest.approx(0.375 - 0.2)
    assert found.unstable_share == 0.5


def test_no_eligible_class_gives_no_figures(world, rule) -> None:
    """Nothing eligible is None, not 0."""
    world.both("ape", "grass", (9, 10), (8, 10))
    found = diagnose(world.pool, world.predictions, rule, VOCABULARY).record()
    assert found["n_eligible"] == 0
    assert {found[key] for key in ("role_drop", "naive_drop", "swapped_drop", "inflation", "unstable_share")} == {None}


def test_roles_do_not_inflate_a_drop_that_is_not_there() -> None:
    """With no true effect the naive drop is several points, the role-based one near 0."""
    rng = np.random.default_rng(5)
    n = 45 * 4 * 2 * 40
    ids = pa.array([f"{i:064x}" for i in range(n)])
    pool = tables.conform(
        "pool",
        pa.table(
            {
                "photo_id": ids,
                "class_id": pa.array([f"class{i:02d}" for i in range(45)]).take(pa.array(np.arange(n) % 45)),
                "background": pa.array(VOCABULARY).take(pa.array(np.arange(n) // 45 % 4)),
                "fold_unit": ids,
                "fold": pa.array(["select", "report"]).take(pa.array(np.arange(n) // 180 % 2)),
                "inclusion_probability": np.ones(n),
            }
        ),
    )
    inflation, honest = [], []
    for _ in range(12):
        answers = {
            "photo_id": ids,
            "model": pa.array(["stand-in"] * n),
            "protocol": pa.array(["1v1000"] * n),
            "correct": pa.array(rng.random(n) < 0.6),
        }
        found = diagnose(
            pool, tables.conform("predictions", pa.table(answers)), SplitRule(name="s", n_min=20), VOCABULARY
        )
        assert found.n_eligible == 45
        inflation.append(found.inflation)
        honest.append(found.role_drop)
    # Monte-Carlo error of the mean over 12 rounds of 45 classes is about half a point.
    assert abs(float(np.mean(honest))) < 0.015
    assert float(np.mean(inflation)) > 0.05
