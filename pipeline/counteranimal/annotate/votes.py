"""Which answers on record count as votes: the one place where rows of the journal become the `votes` table.

Decides, for the rows as `pull` and `recorded` wrote them and in their order: a corrected annotation counts in its last form, the
earlier ones stay as `edited`; of several annotations by one worker about one photo in one round the first counts, the others
are `second`; answers to gold items are `gold`; all votes of a worker who failed the gold items of a round are `set_aside`.
Pure: the same journal gives the same table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.annotate.rounds import Round
from counteranimal.recipe import AnnotateRules

__all__ = ["gold_scores", "judged_votes", "votes_table"]


def votes_table(rows: Iterable[Mapping[str, Any]], rounds: Mapping[str, Round], rules: AnnotateRules) -> pa.Table:
    """Return the `votes` table from the journal's rows, in the order in which they were appended."""
    return tables.conform("votes", judged_votes(rows, rounds, rules))


def judged_votes(
    rows: Iterable[Mapping[str, Any]], rounds: Mapping[str, Round], rules: AnnotateRules
) -> list[dict[str, Any]]:
    """Return the rows of the `votes` table, in the order in which they were appended to the journal."""
    names = tables.schema_of("votes").names
    listed = [{name: row[name] for name in names} for row in rows]
    _mark_edited(listed)
    _mark_second(listed)
    for row in listed:
        if row["status"] == "counted" and row["gold"]:
            row["status"] = "gold"
    failed = {
        who
        for who, (right, answered) in gold_scores(listed, rounds).items()
        if answered >= rules.gold and right < rules.gold_pass
    }
    for row in listed:
        if row["status"] == "counted" and rules.gold and (row["round"], row["worker"]) in failed:
            row["status"], row["reason"] = "set_aside", "gold"
    return listed


def gold_scores(
    rows: Iterable[Mapping[str, Any]], rounds: Mapping[str, Round]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return (round, worker) -> (right, answered) over gold items."""
    found: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        if row["status"] == "gold" and row["round"] in rounds:
            right, answered = found[row["round"], row["worker"]]
            truth = rounds[row["round"]].gold.get(row["photo_id"])
            found[row["round"], row["worker"]] = (right + (row["background"] == truth), answered + 1)
    return dict(found)


def _mark_edited(rows: list[dict[str, Any]]) -> None:
    """Of the forms of one annotation only the last may count."""
    last: dict[str, int] = {row["annotation_id"].split("+")[0]: index for index, row in enumerate(rows)}
    for index, row in enumerate(rows):
        if last[row["annotation_id"].split("+")[0]] != index and row["status"] == "counted":
            row["status"] = "edited"


def _mark_second(rows: list[dict[str, Any]]) -> None:
    """Of several annotations by one worker about one photo in one round, the one first seen counts."""
    order: dict[str, int] = {}
    for index, row in enumerate(rows):
        order.setdefault(row["annotation_id"].split("+")[0], index)
    answered: dict[tuple[str, str, str], str] = {}
    counted = [row for row in rows if row["status"] == "counted"]
    for row in sorted(counted, key=lambda row: order[row["annotation_id"].split("+")[0]]):
        name = row["annotation_id"].split("+")[0]
        if answered.setdefault((row["round"], row["worker"], row["photo_id"]), name) != name:
            row["status"] = "second"
