"""Shards are worked in order, here or in other processes, and a dead worker is one sentence."""

from __future__ import annotations

import math
import operator
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counteranimal.errors import EnvironmentFailure
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.progress import track
from tests.processes import left_over, marked


@given(st.lists(st.integers()), st.integers(1, 7))
def test_shards_hold_every_item_once_in_order(items: list[int], size: int) -> None:
    """Cutting loses nothing, and only the last shard may be smaller."""
    shards = shards_of(items, size)
    assert [item for shard in shards for item in shard] == items
    assert all(len(shard) == size for shard in shards[:-1])


def test_one_worker_or_one_shard_stays_in_this_process() -> None:
    """No process is started where none is needed: an unpicklable function works."""
    assert list(map_shards(lambda number: number + 1, [1, 2], pool=Pool(1), title="adding")) == [2, 3]
    assert list(map_shards(lambda number: number + 1, [1], pool=Pool(8), title="adding")) == [2]


def test_several_workers_give_the_same_answers_in_the_same_order() -> None:
    """The result does not depend on how many processes there are."""
    numbers = list(range(6))
    assert list(map_shards(math.factorial, numbers, pool=Pool(2), title="multiplying")) == [
        math.factorial(n) for n in numbers
    ]


def test_an_error_in_a_worker_comes_out_as_itself() -> None:
    """The caller sees what went wrong, not that it went wrong elsewhere."""
    with pytest.raises(TypeError):
        list(map_shards(operator.neg, [1, "x", 2], pool=Pool(2), title="negating"))


@pytest.mark.case("C06")
def test_a_dead_worker_is_one_sentence_with_the_next_step() -> None:
    """A killed process is the machine's failure (exit 4), not a bug."""
    with pytest.raises(
        EnvironmentFailure, match=r"two worker processes died over one shard while leaving .*fewer workers"
    ):
        list(map_shards(os._exit, [1, 1], pool=Pool(2), title="leaving"))


@pytest.mark.case("C06")
def test_workers_of_a_killed_run_end_by_themselves(tmp_path: Path) -> None:
    """After a SIGKILL of the process that started them, no worker stays behind."""
    program = (
        "import time; from counteranimal.pool import Pool, map_shards; "
        "list(map_shards(time.sleep, [300, 300], pool=Pool(2), title='sleeping'))"
    )
    run = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 60
    while len([line for line in marked(tmp_path) if "spawn_main" in line]) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(marked(tmp_path)) >= 3
    run.kill()
    run.wait()
    assert left_over(tmp_path, patience=60) == []


def test_progress_is_silent_where_nobody_watches(capfd: pytest.CaptureFixture[str]) -> None:
    """Captured output is no terminal, so nothing is drawn."""
    assert list(track(iter([1, 2]), "counting")) == [1, 2]
    assert capfd.readouterr() == ("", "")
