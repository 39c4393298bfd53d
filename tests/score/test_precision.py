"""Scores do not depend on how the work is cut, and reduced precision says what it changes: a small open_clip model, the real step."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from counteranimal.score.propose import preview
from counteranimal.score.run import TOLERATED, score
from counteranimal.settings import load_settings
from counteranimal.steps.curation import score as score_step
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace
from tests.fakes.scoring import filled, noise, recipe

N = 24


@pytest.fixture(scope="module")
def spec(tiny_clip: Path) -> str:
    """A random image-text model, from its file."""
    return f"open_clip:tiny-test/{tiny_clip}/tiny.safetensors"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the thousand prompts are read once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def peace(spec: str, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All photos in one batch, in their order."""
    workspace = filled(tmp_path_factory.mktemp("peace"), [noise(seed) for seed in range(N)])
    settings = load_settings(cache=cache, device="cpu", batch_size=N, workers=1)
    assert score(recipe(spec), workspace, settings=settings)["dtype"] == "float32"
    preview(recipe(spec), workspace, settings=settings)
    return workspace


def probabilities(table: pa.Table) -> np.ndarray:
    return np.stack(table.column("probabilities").to_pylist())


@pytest.mark.case("E07")
@pytest.mark.parametrize("cut", [(1, 1), (7, 4), (64, 4)])
def test_batches_order_and_workers_change_no_proposal(
    peace: Workspace, spec: str, cache: Path, tmp_path: Path, cut: tuple[int, int]
) -> None:
    """Probabilities to 1e-5; backgrounds, measures and the preview are the same rows."""
    batch, workers = cut
    order = np.random.default_rng(batch).permutation(N)
    workspace = filled(tmp_path, [noise(int(seed)) for seed in order])
    settings = load_settings(cache=cache, device="cpu", batch_size=batch, workers=workers)
    score(recipe(spec), workspace, settings=settings)
    preview(recipe(spec), workspace, settings=settings)
    found, expected = workspace.table("scores"), peace.table("scores")
    np.testing.assert_allclose(probabilities(found), probabilities(expected), atol=1e-5)
    real = {"confidence", "probabilities"}
    same = [name for name in found.column_names if name not in real]
    assert found.select(same).equals(expected.select(same))
    assert len(set(found.column("background").to_pylist())) > 2
    assert workspace.table("preview").equals(peace.table("preview"))


@pytest.mark.case("E07")
def test_bfloat16_says_how_many_proposals_it_changes(spec: str, cache: Path, tmp_path: Path, now: datetime) -> None:
    """Of photos that hardly differ and two backgrounds, the digits decide that it drops: counted, warned of, and kept apart."""
    workspace = filled(tmp_path, [noise(0, changed=number) for number in range(N)])
    workspace.journal.append("candidates", [{"candidate_id": "made:0", "seen_at": now}])  # a journal that has begun
    settings = load_settings(cache=cache, device="cpu", free_space_floor_mb=0)
    words = []
    for dtype in ("float32", "bfloat16"):
        two = recipe(spec, backgrounds=("grass", "snow"), dtype=dtype)
        run = Run(recipe=two, workspace=workspace, settings=settings, now=now)
        outcome = score_step(run)
        words.append(workspace.table("scores").column("background").to_pylist())
        assert outcome.counts["dtype"] == dtype
        assert f'"dtype": "{dtype}"' in (workspace.home / "logs" / "steps.jsonl").read_text()
    changed = sum(ours != theirs for ours, theirs in zip(*words, strict=True))
    assert (outcome.counts["compared"], outcome.counts["changed"]) == (N, changed)
    assert changed > TOLERATED * N
    assert f"bfloat16 changes {changed} of {N} proposals" in outcome.note
    assert "set dtype to float32" in outcome.note
    assert len(list((workspace.home / "tables" / "embeddings").iterdir())) == 2


@pytest.mark.case("E07")
def test_bfloat16_that_changes_nothing_warns_of_nothing(spec: str, cache: Path, tmp_path: Path) -> None:
    """A photo alone is its own corpus, so nothing is said of it in either precision."""
    workspace = filled(tmp_path, [noise(0)])
    counts = score(recipe(spec, dtype="bfloat16"), workspace, settings=load_settings(cache=cache, device="cpu"))
    assert (counts["compared"], counts["changed"], counts["warning"]) == (1, 0, "")
