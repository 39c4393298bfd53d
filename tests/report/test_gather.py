"""A context is collected from a workspace and the files of an evaluation, and what is not there yet is empty."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from counteranimal import tables
from counteranimal.errors import IntegrityError
from counteranimal.report.context import ReportContext
from counteranimal.report.gather import gather
from counteranimal.report.page import write_report
from counteranimal.workspace import Blob, Workspace


@pytest.fixture
def filled(workspace: Workspace, gallery: dict[str, Path], context: ReportContext, now: datetime) -> Workspace:
    """A workspace with two candidates, two photos, one of them merged, and a simulated round."""
    first, second = workspace.blobs.put_many([Blob(path.read_bytes()) for path in list(gallery.values())[:2]])
    ids = {"s:1": first, "s:2": second}
    workspace.write_table(
        "candidates",
        tables.conform(
            "candidates",
            [{"candidate_id": c, "status": "ok", "attribution": f"by {c}", "licence": "CC0-1.0"} for c in ids],
        ),
    )
    workspace.write_table(
        "fetches",
        tables.conform(
            "fetches", [{"candidate_id": c, "attempt": 1, "status": "stored", "photo_id": p} for c, p in ids.items()]
        ),
    )
    workspace.write_table(
        "photos",
        tables.conform("photos", [{"photo_id": p, "candidate_ids": [c], "status": "ok"} for c, p in ids.items()]),
    )
    workspace.write_table(
        "clusters",
        tables.conform(
            "clusters",
            [
                {"photo_id": first, "cluster": second, "kept": False, "reason": "near", "partner": second},
                {"photo_id": second, "cluster": second, "kept": True, "reason": "kept"},
            ],
        ),
    )
    workspace.journal.append("rounds", [{"round": "r", "at": now, "event": "simulated", "content": {}}])
    for name in ("entries", "splits", "pairs"):
        workspace.write_table(name, getattr(context, name))
    return workspace


def test_an_empty_workspace_gives_an_empty_context(workspace: Workspace, tmp_path: Path) -> None:
    """A report can be made before anything has happened."""
    assert write_report(tmp_path / "report", context=gather(workspace, title="Nothing yet")).is_file()


def test_counts_photos_and_credits_come_from_the_workspace(filled: Workspace) -> None:
    """The conservation count, the merged pair with its credit, and that the raters were simulated."""
    found = gather(filled, title="Demo", extra={"class_names": {"ostrich": "the ostrich"}})
    assert found.conservation.states == {"stored": 1, "duplicate": 1}
    [pair] = found.merged
    assert pair.dropped is not None
    assert (pair.reason, pair.dropped_credit) == ("near", "by s:1 · CC0-1.0")
    assert found.simulated_raters
    assert {photo.class_name for photo in found.examples} >= {"the ostrich"}


def test_an_evaluation_is_read_with_its_identities(filled: Workspace, context: ReportContext, tmp_path: Path) -> None:
    """Results, identity records and what was found in hash lists come from the folder that the evaluator wrote."""
    tables.write(tmp_path / "results.parquet", context.results)
    worst = {"class_id": "otter", "group": "counter", "value": 0.5}
    own = {
        "protocol": "1v1000",
        "splits": {"s": {"folds": {"report": {"worst_group": worst}, "all": {"worst_group": None}}}},
    }
    records = [{"counteranimal": {"identity": dict(record), **own}} for record in context.identities.values()]
    asked = {"names": "openai", "templates": "paper", "label_space": None, "device": "cpu", "dtype": ["float32"]}
    lines = [{"split": "s", "fold": "report", "protocol": "1v1000", "status": "not enough models"}]
    for overlap, expected in (("not checked", {}), (context.training_overlap, context.training_overlap)):
        document = {
            "results": records,
            "counteranimal": {"training_overlap": overlap, "effective_robustness": lines, **asked},
        }
        (tmp_path / "results.json").write_text(json.dumps(document), encoding="utf-8")
        found = gather(filled, title="Demo", evaluation=tmp_path)
        assert found.results.equals(context.results)
        assert (found.lines, found.asked) == (lines, asked)
        assert found.worst_groups == {("s", "report", "1v1000", spec): worst for spec in context.identities}
        assert (found.identities, found.training_overlap) == (context.identities, expected)


def test_a_broken_evaluation_names_the_file(filled: Workspace, context: ReportContext, tmp_path: Path) -> None:
    """Results without readable identities are refused, since nothing could be marked."""
    tables.write(tmp_path / "results.parquet", context.results)
    (tmp_path / "results.json").write_text("[]", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"results\.json holds no results"):
        gather(filled, title="Demo", evaluation=tmp_path)
