"""The difference of two releases: exact, photo by photo, and the version that it asks for."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from counteranimal import tables
from counteranimal.errors import UsageError
from counteranimal.freeze.succeed import require_next
from counteranimal.release.diff import Difference, compare, tables_of
from counteranimal.release.read import open_release
from tests.fakes.small_release import Released

Rows = dict[str, list[dict[str, Any]]]


def changed(released: Released, change: Any) -> tuple[dict[str, pa.Table], dict[str, pa.Table]]:
    """Return a release's tables, and the same after `change` has edited their rows."""
    old = tables_of(open_release(released.folder))
    rows: Rows = {name: table.to_pylist() for name, table in old.items()}
    change(rows)
    return old, {name: tables.conform(name, listed) for name, listed in rows.items()}


def drop(rows: Rows, number: int) -> str:
    gone = rows["entries"].pop(number)["photo_id"]
    for name in ("splits", "predictions"):
        rows[name] = [row for row in rows[name] if row["photo_id"] != gone]
    return str(gone)


@pytest.mark.case("H16")
def test_every_kind_of_change_is_counted_exactly(released: Released) -> None:
    """3 removed (1 of them withdrawn), 2 added, 4 relabelled, 5 regrouped, 1 refolded, 2 amended, 1 predicted otherwise, 1 pair."""
    told: dict[str, Any] = {}

    def change(rows: Rows) -> None:
        told["removed"] = [drop(rows, 30) for _ in range(3)]
        for number in range(2):
            rows["entries"].append({**rows["entries"][number], "photo_id": f"{number}" * 64})
        for number, (column, value) in enumerate(
            [("background", "sky"), ("class_id", "x"), ("codes", ["a"]), ("codes", ["b"])]
        ):
            rows["entries"][number][column] = value
        for row in rows["splits"][:5]:
            row["group"] = "elsewhere"
        rows["splits"][9]["fold"] = "other"
        rows["entries"][10]["licence"] = "CC-BY-2.0"
        rows["entries"][11]["page_url"] = None
        rows["predictions"][12]["correct"] = not rows["predictions"][12]["correct"]
        rows["pairs"][0] = {**rows["pairs"][0], "common": "sky"}

    old, new = changed(released, change)
    found = compare(old, new, withdrawn={told["removed"][1], "f" * 64})
    assert found.counts() == {
        "added": 2, "removed": 3, "withdrawn": 1, "relabelled": 4, "regrouped": 6, "repredicted": 1, "amended": 2, "pairs": 1,
    }  # fmt: skip
    assert found.removed == tuple(sorted(told["removed"]))
    assert found.withdrawn == (told["removed"][1],)
    assert found.pairs == ("Split first, lion: grass against water became sky against water.",)
    assert found.change == "MAJOR"
    assert found.record()["change"] == "MAJOR"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda _: None, "PATCH"),
        (lambda rows: rows["entries"].append({**rows["entries"][0], "photo_id": "0" * 64}), "MINOR"),
        (lambda rows: drop(rows, 0), "MAJOR"),
        (lambda rows: rows["entries"][0].update(author="Somebody"), "MAJOR"),
        (lambda rows: rows["entries"][0].update(inclusion_probability=0.25), "MAJOR"),
        (lambda rows: rows["splits"][0].update(group="other", fold="x"), "MAJOR"),
        (lambda rows: rows["pairs"][3].update(status="pair", common="sky", counter="grass"), "MAJOR"),
        (lambda rows: rows["pairs"][0].update(n_common_select=99), "PATCH"),
    ],
)
def test_the_kind_of_version_follows_from_the_change(released: Released, change: Any, kind: str) -> None:
    """PATCH for the same data, MINOR for additions alone, MAJOR for everything else."""
    found = compare(*changed(released, change))
    assert found.change == kind
    assert found.lines()


def test_a_release_equals_itself(released: Released) -> None:
    """Empty cells are equal, and lists are compared."""
    old, new = changed(released, lambda _: None)
    assert compare(old, new) == Difference(
        added=(), removed=(), withdrawn=(), relabelled=(), regrouped=(), repredicted=(), amended=(), pairs=()
    )


@pytest.mark.parametrize("version", ["1.0.0", "0.9.9", "1.0.0-rc"])
def test_a_version_goes_up(version: str) -> None:
    """What is not above the newest release is no next version."""
    with pytest.raises(UsageError):
        require_next(version, "1.0.0")
