"""The gates: every reason not to freeze, all at once, and no way around them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from counteranimal import tables
from counteranimal.errors import PolicyError
from counteranimal.freeze.draft import assemble, draft
from counteranimal.freeze.entries import COPIES
from counteranimal.freeze.gates import FreezeRefused
from counteranimal.freeze.inputs import Inputs, gather, open_tasks
from counteranimal.freeze.write import write_release
from counteranimal.workspace import Workspace
from counteranimal.workspace.upstream import Standing
from tests.fakes.small_workspace import AGREEMENT, Small, terms

Rows = list[dict[str, Any]]


def _copies(inputs: Inputs) -> pa.Table:
    ids = inputs.tables["pool"].column("photo_id")
    return pa.table([ids, ids, pa.array([1] * len(ids))], COPIES)


def _refusal(inputs: Inputs, **changed: Any) -> tuple[str, ...]:
    with pytest.raises(FreezeRefused) as caught:
        assemble(inputs, terms(**changed), _copies(inputs))
    assert caught.value.exit_code == 3
    return caught.value.problems


def _changed(inputs: Inputs, name: str, change: Callable[[Rows], object]) -> Inputs:
    rows = inputs.tables[name].to_pylist()
    change(rows)
    return dataclasses.replace(inputs, tables={**inputs.tables, name: tables.conform(name, rows)})


@pytest.fixture
def inputs(small: Small) -> Inputs:
    """The tables of a workspace that passes every gate."""
    return gather(small.recipe, small.workspace)


def _pooled(inputs: Inputs, number: int = 0) -> str:
    photo_id: str = inputs.tables["pool"].column("photo_id").to_pylist()[number]
    return photo_id


@pytest.mark.case("D09")
def test_what_upstream_said_since_the_crawl_refuses(inputs: Inputs) -> None:
    """Gone for good and opted out each refuse; gone at one look, other bytes, no answer and photos of no release do not."""
    gone, opted_out, once, changed = (_pooled(inputs, number) for number in range(4))
    last = {gone: "gone", opted_out: "rejected", once: "gone", changed: "changed", "f" * 64: "gone"}
    stood = Standing(
        last=last,
        at=dict.fromkeys(last, datetime(2026, 11, 1, tzinfo=UTC)),
        reasons={opted_out: "E_OPTOUT", changed: "E_MISMATCH"},
        gone=frozenset({gone, "f" * 64}),
    )
    problems = _refusal(dataclasses.replace(inputs, upstream=stood))
    assert len(problems) == 2
    assert f"1 photo(s) are gone upstream, by two answers a day apart ({gone[:12]}); leave them out" in problems[0]
    assert f"({opted_out[:12]})" in problems[1]
    passing = dataclasses.replace(stood, reasons={}, gone=frozenset())
    caveats = assemble(dataclasses.replace(inputs, upstream=passing), terms(), _copies(inputs)).manifest["caveats"]
    assert any("of 40 photos 1 there with other bytes, 2 not found at the last look" in caveat for caveat in caveats)
    never = assemble(inputs, terms(), _copies(inputs)).manifest["caveats"]
    assert any(caveat.startswith("Upstream was not re-checked") for caveat in never)


def test_a_photo_that_a_list_leaves_out_refuses_until_the_rebuild(inputs: Inputs) -> None:
    """Splits that were chosen with it are no splits of a release without it."""
    [problem] = _refusal(dataclasses.replace(inputs, left_out=frozenset({_pooled(inputs)})))
    assert "left out by a list; run the rebuild again" in problem


@pytest.mark.case("H11")
def test_open_votes_refuse(inputs: Inputs) -> None:
    """Tasks without an answer are counted by round."""
    problems = _refusal(dataclasses.replace(inputs, open_tasks={"round-1": 7}))
    assert problems == ("round round-1 has 7 task(s) without an answer; finish and pull them, or close the round",)


@pytest.mark.case("H11")
@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        ({**AGREEMENT, "gate": "block", "background": {"alpha": 0.5}}, "alpha 0.50"),
        ({**AGREEMENT, "gate": "block", "background": {"alpha": None}}, "alpha not defined"),
        ({}, "no agreement figures"),
        ({"gate": "ignore"}, "no agreement figures"),
    ],
)
def test_low_or_unknown_agreement_refuses(inputs: Inputs, agreement: dict[str, Any], said: str) -> None:
    """A blocking gate refuses, and so does having no figures at all."""
    assert any(said in problem for problem in _refusal(inputs, agreement=agreement))


def test_a_warning_gate_passes(inputs: Inputs) -> None:
    """Agreement that only warns does not refuse."""
    assert assemble(inputs, terms(agreement={**AGREEMENT, "gate": "warn"}), _copies(inputs)).agreement["gate"] == "warn"


@pytest.mark.case("H11")
def test_unresolved_near_duplicates_refuse_until_somebody_looked(inputs: Inputs) -> None:
    """An unsure pair of published photos refuses; once settled, in either order, or with one of them unpublished, it does not."""
    first, second = _pooled(inputs, 0), _pooled(inputs, 1)
    unpublished = "f" * 64

    def add(rows: Rows) -> None:
        rows.append({"photo_a": first, "photo_b": second, "phash_distance": 9, "why": "crop"})
        rows.append({"photo_a": first, "photo_b": unpublished, "phash_distance": 9, "why": "crop"})

    doubtful = _changed(inputs, "unsure_pairs", add)
    (problem,) = _refusal(doubtful)
    assert problem.startswith("1 pair(s)")
    assert first[:12] in problem
    assert assemble(doubtful, terms(settled_pairs=[(second, first)]), _copies(inputs)).version == "1.0.0"


@pytest.mark.case("H11")
@pytest.mark.case("E06")
def test_close_photos_across_groups_need_a_human_decision(inputs: Inputs) -> None:
    """A pair close in features refuses only with one photo in common and the other in counter, until people find them different."""
    splits = inputs.tables["splits"].to_pylist()
    of_group = {group: [row["photo_id"] for row in splits if row["group"] == group] for group in ("common", "counter")}
    across = (of_group["common"][0], of_group["counter"][0])
    within = tuple(of_group["common"][:2])

    def close(pair: tuple[str, ...]) -> Inputs:
        rows = [{"photo_a": pair[0], "photo_b": pair[1], "cosine": 0.97}]
        return dataclasses.replace(
            inputs, tables={**inputs.tables, "similar_pairs": tables.conform("similar_pairs", rows)}
        )

    (problem,) = _refusal(close(across))
    assert "one in common and one in counter" in problem
    assert assemble(close(within), terms(), _copies(inputs)).version == "1.0.0"
    assert assemble(close(across), terms(settled_pairs=[across]), _copies(inputs)).version == "1.0.0"


@pytest.mark.case("H11")
def test_a_question_about_a_dropped_photo_is_one_about_the_kept_one(inputs: Inputs) -> None:
    """An unsure pair whose second photo was dropped for a published one refuses as well."""
    first, second, dropped = _pooled(inputs, 0), _pooled(inputs, 1), "e" * 64

    def drop(rows: Rows) -> None:
        rows.append({"photo_id": dropped, "cluster": second, "kept": False, "reason": "near", "partner": second})

    def ask(rows: Rows) -> None:
        rows.append({"photo_a": first, "photo_b": dropped, "phash_distance": 9, "why": "crop"})

    (problem,) = _refusal(_changed(_changed(inputs, "clusters", drop), "unsure_pairs", ask))
    assert problem.startswith("1 pair(s)")


@pytest.mark.case("H11")
@pytest.mark.case("D01")
@pytest.mark.parametrize("licence", [None, "CC-BY-ND-4.0", "all rights reserved"])
def test_unknown_licences_refuse(inputs: Inputs, licence: str | None) -> None:
    """A licence that is missing or not in the recipe's list refuses, with the photo."""

    def change(rows: Rows) -> None:
        rows[1]["licence"] = licence

    problems = _refusal(_changed(inputs, "candidates", change))
    assert any(
        f"under the licence {licence or 'unknown'}, which the recipe does not allow" in problem for problem in problems
    )


@pytest.mark.case("D04")
def test_a_licence_that_asks_for_a_name_needs_one(inputs: Inputs) -> None:
    """A photo under CC BY without author refuses, and white space is no author."""

    def change(rows: Rows) -> None:
        row = next(row for row in rows if row["licence"] == "CC-BY-4.0")
        row["author"], row["attribution"] = " \n", None

    assert any(
        "asks for a name and no author" in problem for problem in _refusal(_changed(inputs, "candidates", change))
    )


@pytest.mark.parametrize("column", ["source", "native_id", "url", "kind"])
def test_missing_provenance_refuses(inputs: Inputs, column: str) -> None:
    """A photo whose origin is not known in full refuses, with the column."""

    def change(rows: Rows) -> None:
        rows[1][column] = None

    assert any(f"no known {column}" in problem for problem in _refusal(_changed(inputs, "candidates", change)))


def test_a_path_of_this_machine_is_no_url(inputs: Inputs) -> None:
    """An address that only this machine understands refuses."""

    def change(rows: Rows) -> None:
        rows[1]["url"] = "file:/home/somebody/photos/1.jpg"

    assert any("url that others can read" in problem for problem in _refusal(_changed(inputs, "candidates", change)))


@pytest.mark.case("C11")
def test_a_recognisable_person_refuses(inputs: Inputs) -> None:
    """A verdict that names a recognisable person never reaches a release; hands and bodies do."""
    photo_id = _pooled(inputs)

    def change(rows: Rows) -> None:
        next(row for row in rows if row["photo_id"] == photo_id)["codes"] = ["person_recognisable"]

    assert any("recognisable person" in problem for problem in _refusal(_changed(inputs, "verdicts", change)))


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("clusters", "kept", False, "a duplicate or rejected"),
        ("photos", "status", "rejected", "a duplicate or rejected"),
        ("verdicts", "status", "rejected", "without an accepted verdict"),
        ("verdicts", "background", "sky ", "on another background than its verdict"),
    ],
)
def test_a_stale_pool_refuses(inputs: Inputs, table: str, column: str, value: object, said: str) -> None:
    """A pool that no longer follows from the tables before it refuses."""
    photo_id = _pooled(inputs)

    def change(rows: Rows) -> None:
        next(row for row in rows if row["photo_id"] == photo_id)[column] = value

    assert any(said in problem for problem in _refusal(_changed(inputs, table, change)))


def test_a_withdrawn_photo_refuses(inputs: Inputs) -> None:
    """A photo that a takedown removed is never published again."""
    withdrawn = dataclasses.replace(inputs, withdrawn=frozenset({_pooled(inputs)}))
    assert any("withdrawn" in problem for problem in _refusal(withdrawn))


def test_a_fold_that_does_not_follow_from_the_unit_refuses(inputs: Inputs) -> None:
    """The fold of every photo is computed again from its unit as it is in the workspace, people's too."""

    def change(rows: Rows) -> None:
        rows[0]["fold"] = "report" if rows[0]["fold"] == "select" else "select"

    assert any("in the wrong fold" in problem for problem in _refusal(_changed(inputs, "pool", change)))


def test_a_selector_without_predictions_or_identity_refuses(inputs: Inputs) -> None:
    """A split nobody can attribute to a model with known weights refuses."""
    problems = _refusal(_changed(inputs, "predictions", lambda rows: rows.pop()), selectors={})
    assert any("no identity of its selecting model" in problem for problem in problems)
    assert any("1 photo(s) have no prediction by stand-in" in problem for problem in problems)


@pytest.mark.parametrize(
    ("field", "value"), [("version", "1.0"), ("version", "../1"), ("date", "tomorrow"), ("predecessor", "x")]
)
def test_bad_terms_refuse(inputs: Inputs, field: str, value: str) -> None:
    """A version or date that is none refuses with the rest."""
    assert any(value in problem for problem in _refusal(inputs, **{field: value}))


@pytest.mark.case("H11")
def test_all_problems_come_at_once(inputs: Inputs) -> None:
    """One refusal lists everything, and its one-line message holds each sentence."""
    wrong = dataclasses.replace(
        _changed(inputs, "candidates", lambda rows: [row.update(licence=None) for row in rows]), open_tasks={"r": 1}
    )
    with pytest.raises(PolicyError) as caught:
        assemble(wrong, terms(agreement={}), _copies(inputs))
    assert len(caught.value.problems) >= 3  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)
    assert "refused for" in str(caught.value)


def test_an_empty_workspace_says_which_stages_to_run(small: Small, tmp_path: Path) -> None:
    """Missing tables are named, not met as a traceback."""
    with pytest.raises(FreezeRefused, match=r"table candidates is missing.*table groups is missing.*no verified photo"):
        draft(small.recipe, Workspace(tmp_path / "empty"), terms())


def test_a_lost_or_changed_blob_refuses(small: Small, tmp_path: Path) -> None:
    """A photo whose bytes are gone from the store, or other than its id says, is named."""
    from tests.fakes.small_workspace import build

    damaged = build(tmp_path / "damaged")
    first, second = damaged.workspace.table("pool").column("photo_id").to_pylist()[:2]
    damaged.workspace.blobs.path(first).unlink()
    damaged.workspace.blobs.path(second).chmod(0o644)
    damaged.workspace.blobs.path(second).write_bytes(b"other")
    with pytest.raises(FreezeRefused) as caught:
        draft(damaged.recipe, damaged.workspace, damaged.terms)
    assert [photo_id in problem for photo_id, problem in zip((first, second), caught.value.problems, strict=True)] == [
        True,
        True,
    ]


def test_open_tasks_are_counted_from_the_journal(tmp_path: Path) -> None:
    """Planned and pushed tasks without answer count; answered, skipped ones and closed rounds do not; a draft is no answer."""
    journal = Workspace(tmp_path).journal
    at = datetime(2026, 11, 1, tzinfo=UTC)
    plan = {
        "assignments": {
            "ann": [["p1", False, False], ["p2", False, False], ["p3", True, False]],
            "ben": [["p1", False, False]],
        }
    }
    journal.append(
        "rounds", [{"round": name, "at": at, "event": "planned", "content": plan} for name in ("one", "two")]
    )
    journal.append("rounds", [{"round": "two", "at": at, "event": "closed", "content": {}}])
    journal.append("tasks", [{"round": "one", "worker": "cas", "photo_id": "p9"}])
    votes = [("ann", "p1", "counted"), ("ann", "p2", "draft"), ("ann", "p3", "skipped")]
    journal.append(
        "votes",
        [
            {"annotation_id": f"a{n}", "round": "one", "worker": w, "photo_id": p, "status": s}
            for n, (w, p, s) in enumerate(votes)
        ],
    )
    assert open_tasks(journal) == {"one": 3}


@pytest.mark.case("H11")
def test_nothing_forces_a_freeze() -> None:
    """Neither drafting nor writing takes a parameter that would turn a gate off."""
    names = {name for function in (draft, assemble, write_release) for name in inspect.signature(function).parameters}
    assert names == {
        "recipe",
        "workspace",
        "terms",
        "pool",
        "inputs",
        "copies",
        "lost",
        "draft",
        "releases",
        "private_key",
    }
