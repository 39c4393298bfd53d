"""One line on how long a long run will take, and none on a short one."""

from __future__ import annotations

import pytest

from counteranimal.progress import Estimate


def said(capsys: pytest.CaptureFixture[str], total: int, seconds_a_batch: float, batch: int = 32) -> list[str]:
    """Return what is said while `total` photos are done in batches, the first of which takes long."""
    now = [0.0]
    estimate = Estimate("model", total, clock=lambda: now[0])
    now[0] = 1000.0
    for _ in range(total // batch):
        estimate.advance(batch)
        now[0] += seconds_a_batch
    return capsys.readouterr().err.splitlines()


def test_a_long_run_is_told_once_from_its_first_batches(capsys: pytest.CaptureFixture[str]) -> None:
    """The first batch carries start-up, so it is not measured; five seconds of the following ones are."""
    (line,) = said(capsys, 12_800, seconds_a_batch=2.0)
    assert line == "model: about 13 min more for 12,672 of 12,800 photos (16 a second, measured on 96)"


@pytest.mark.parametrize(("total", "seconds"), [(320, 2.0), (12_800, 0.01), (32, 100.0)])
def test_a_short_run_says_nothing(capsys: pytest.CaptureFixture[str], total: int, seconds: float) -> None:
    """Under a minute to go, or nothing left to go."""
    assert said(capsys, total, seconds_a_batch=seconds) == []
