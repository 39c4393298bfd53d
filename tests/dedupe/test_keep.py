"""Clusters, the photo that is kept, and bursts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from counteranimal.dedupe.confirm import Link, exact_link
from counteranimal.dedupe.groups import consistent
from counteranimal.dedupe.keep import Member, cluster_rows, unsettled

START = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)


def member(name: str, area: int = 100, **fields: object) -> Member:
    """Return a photo."""
    return Member(name, str(fields.pop("class_id", "fox")), area, int(str(fields.pop("size", 10))), **fields)  # type: ignore[arg-type]


def seen(name: str, second: int, observer: str = "made:7", **fields: object) -> Member:
    """Return a photo of one observer, some seconds after the start."""
    moments = (START + timedelta(seconds=second),)
    return member(name, observers=frozenset({observer}), moments=moments, **fields)


def near(a: str, b: str, bits: int = 4) -> Link:
    """Return a confirmed link."""
    return Link(1, bits, bits, 0.05, a, b, "near", "rule")


def rows_of(members, links=(), seconds=60):
    """Return the rows of clusters; photos that no link explains are 20 and 30 bits apart."""
    return cluster_rows(members, list(links), burst_seconds=seconds, apart=lambda *_: (20, 30))


def decided(members, links=(), seconds=60):
    """Return photo id -> (cluster, kept, reason, partner)."""
    rows = rows_of(members, links, seconds)
    return {row["photo_id"]: (row["cluster"], row["kept"], row["reason"], row.get("partner")) for row in rows}


@pytest.mark.case("E05")
def test_a_chain_of_copies_is_one_cluster_whatever_its_ends_look_like():
    """A is B's copy and B is C's: one photo is kept, and each dropped one names the photo its link leads to."""
    found = decided([member("a", 300), member("b", 200), member("c", 100)], [near("a", "b"), near("b", "c")])
    assert found == {
        "a": ("a", True, "kept", None),
        "b": ("a", False, "near", "a"),
        "c": ("a", False, "near", "b"),
    }


def test_the_kept_photo_is_the_largest_then_the_heaviest_then_the_first():
    """Area decides, then bytes, then the photo id."""
    links = [near("a", "b"), near("b", "c")]
    assert decided([member("a"), member("b"), member("c", 101)], links)["c"][1]
    assert decided([member("a"), member("b", size=11), member("c")], links)["b"][1]
    assert decided([member("c"), member("b"), member("a")], links)["a"][1]


@pytest.mark.case("E04")
def test_the_order_of_arrival_changes_nothing():
    """Twenty shuffles of photos and links give the same rows."""
    members = [seen(name, index * 20, area=100 + index % 3) for index, name in enumerate("abcdefgh")]
    links = [near("a", "d", 3), near("d", "f", 5), near("b", "c", 2), near("a", "f", 9)]
    expected = rows_of(members, links, 30)
    for seed in range(20):
        shuffle = random.Random(seed).shuffle
        shuffle(members)
        shuffle(links)
        assert rows_of(members, links, 30) == expected


@pytest.mark.case("E05")
def test_a_chain_whose_ends_people_found_different_is_cut_at_its_weakest_link():
    """A and C are different by people's answer: the longer of the two links between them goes, in any order, and is asked about."""
    links = [near("a", "b", 3), near("b", "c", 9)]
    for given in (links, links[::-1]):
        hold, against = consistent("abc", given, [("a", "c")])
        assert (hold, against) == ([links[0]], [links[1]])
    assert consistent("abc", links, []) == (links, [])
    exact = exact_link("b", "c")
    assert consistent("abc", [links[0], exact], [("a", "c")]) == ([exact], [links[0]])


def test_a_cluster_of_two_classes_keeps_nothing():
    """Every photo of it is dropped as a class conflict with a partner and the rule; near copies are asked about, equal pixels not."""
    members = [member("a", 300), member("b", 200, class_id="hen"), member("c", 100)]
    links = [near("a", "b"), exact_link("b", "c")]
    rows = rows_of(members, links)
    assert [(row["cluster"], row["kept"], row["reason"], row["partner"]) for row in rows] == [
        ("a", False, "class_conflict", "b"), ("a", False, "class_conflict", "a"), ("a", False, "class_conflict", "b"),
    ]  # fmt: skip
    assert all(row["rule"].startswith("one photo under fox and hen; ") for row in rows)
    assert [(row["photo_a"], row["photo_b"]) for row in unsettled(rows, [], links)] == [("a", "b")]


def test_photos_of_one_observation_are_a_burst():
    """An observation keeps one photo of a class; another class in it is another animal."""
    same = frozenset({"made:9"})
    found = decided(
        [
            member("a", observations=same),
            member("b", 200, observations=same),
            member("c", class_id="hen", observations=same),
        ]
    )
    assert found == {
        "a": ("b", False, "burst", "b"),
        "b": ("b", True, "kept", None),
        "c": ("c", True, "unique", None),
    }


def test_photos_of_one_observer_without_a_pause_are_a_burst():
    """Gaps of up to a minute chain; a longer one, or another observer, ends the burst."""
    found = decided([seen("a", 0), seen("b", 50), seen("c", 100), seen("d", 161), seen("e", 20, observer="made:8")])
    assert [name for name in "abcde" if found[name][1]] == ["a", "d", "e"]
    assert found["c"][0] == "a"


def test_photos_without_observer_observation_or_time_are_no_burst():
    """Nothing known makes no burst, and neither does an observer without times."""
    unknown = [
        member("a"),
        member("b"),
        member("c", observers=frozenset({"made:7"})),
        member("d", observers=frozenset({"made:7"})),
    ]
    assert all(row[1] for row in decided(unknown).values())


def test_a_copy_of_a_photo_that_a_burst_drops_follows_it():
    """The copy's partner is its original, its cluster the burst's."""
    found = decided([seen("a", 0, area=300), seen("b", 10, area=200), member("c", 100)], [near("b", "c")])
    assert found["c"] == ("a", False, "near", "b")
    assert found["b"] == ("a", False, "burst", "a")
    assert found["a"][2] == "kept"


def test_only_the_closest_open_pair_of_two_clusters_is_asked():
    """People are not asked what other links settled, nor twice about the same two clusters."""
    links = [near("a", "b")]
    rows = rows_of([member("a", 300), member("b"), member("c")], links)
    asked = unsettled(rows, [near("a", "b", 9), near("a", "c", 8), near("b", "c", 6)], links)
    assert [(row["photo_a"], row["photo_b"]) for row in asked] == [("b", "c")]
