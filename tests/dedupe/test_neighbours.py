"""The pair search is exact."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counteranimal.dedupe import index, neighbours
from counteranimal.dedupe.bands import plan_for
from counteranimal.dedupe.index import Index
from counteranimal.dedupe.neighbours import Pairs, cross_pairs_within, pairs_within

few_bits = st.integers(0, 63).map(lambda bit: 1 << bit) | st.just(0)
hashes = st.lists(
    st.integers(0, 2**64 - 1) | st.builds(lambda a, b, c: a ^ b ^ c, few_bits, few_bits, few_bits), max_size=40
)


def near(a: list[int], b: list[int], radius: int) -> list[tuple[int, int, int]]:
    """Return all (i, j, distance) within the radius, by trying every pair."""
    return [
        (i, j, (first ^ second).bit_count())
        for i, first in enumerate(a)
        for j, second in enumerate(b)
        if (first ^ second).bit_count() <= radius
    ]


@given(hashes, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_all_pairs_within_a_radius_are_found_once(values, radius):
    """The result equals trying every pair, in order, each pair once."""
    found = pairs_within(np.array(values, dtype=np.uint64), radius)
    rows = [tuple(int(value) for value in row) for row in zip(*found, strict=True)]
    assert rows == [row for row in near(values, values, radius) if row[0] < row[1]]


@given(hashes, hashes, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_all_cross_pairs_within_a_radius_are_found(first, second, radius):
    """The result over two lists equals trying every pair."""
    found = cross_pairs_within(np.array(first, dtype=np.uint64), np.array(second, dtype=np.uint64), radius)
    assert [tuple(int(value) for value in row) for row in zip(*found, strict=True)] == near(first, second, radius)


def test_pairs_are_found_across_the_borders_of_blocks():
    """A pair whose halves lie in different blocks, or on a block's edge, is not lost."""
    values = np.random.default_rng(7).integers(0, 2**64, 17_000, dtype=np.uint64)
    planted = [(0, 16_999), (255, 256), (256, 16_384), (16_383, 16_385)]
    for a, b in planted:
        values[b] = values[a] ^ np.uint64(0b111)
    found = pairs_within(values, 3)
    assert set(planted) <= set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def planted(number: int, seed: int = 3) -> np.ndarray:
    """Return hashes of which a tenth are others with 0 to 15 bits changed, some of them equal, most of them in one corner."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**64, number, dtype=np.uint64)
    values[: number // 4] &= np.uint64(0xFF)
    copies = values[rng.integers(0, number, number // 10)]
    for bit in range(15):
        chosen = rng.integers(0, 16, len(copies)) > bit
        copies[chosen] ^= np.uint64(1) << rng.integers(0, 64, int(chosen.sum()), dtype=np.uint64)
    values[rng.permutation(number)[: len(copies)]] = copies
    return values


def by_trying(first: np.ndarray, second: np.ndarray, radius: int, *, once: bool) -> list[tuple[int, int, int]]:
    """Return all pairs within the radius, by comparing each with each."""
    distance = np.bitwise_count(first[:, None] ^ second[None, :])
    rows, columns = np.nonzero(distance <= radius)
    pairs = zip(rows.tolist(), columns.tolist(), distance[rows, columns].tolist(), strict=True)
    return [pair for pair in pairs if not once or pair[0] < pair[1]]


def as_list(pairs: Pairs) -> list[tuple[int, int, int]]:
    """Return pairs as tuples."""
    return list(zip(*(array.tolist() for array in pairs), strict=True))


@pytest.mark.parametrize("radius", range(15))
def test_every_plan_forgives_enough(radius: int):
    """Whatever the size, the bands cover 64 bits once, and two hashes apart on every band differ in more bits than the radius."""
    for size in (1_000, 50_000, 1_000_000, 100_000_000):
        bands = plan_for(size, None, radius).bands
        assert sum(band.bits for band in bands) == 2**64 - 1
        assert sum(band.width for band in bands) == 64
        assert sum(band.flips + 1 for band in bands) > radius


@pytest.fixture(params=["numba", "numpy"])
def by_bands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Search by bands however few the hashes, with the compiled loops or with numpy."""
    monkeypatch.setattr(neighbours, "_FEW", 0)
    monkeypatch.setattr(neighbours, "_ROOM", 64)
    monkeypatch.setattr(neighbours, "_CANDIDATES", 1000)
    monkeypatch.setattr(neighbours, "_has_numba", lambda: request.param == "numba")
    return str(request.param)


@pytest.mark.parametrize("radius", [0, 3, 10, 14, 20])
def test_bands_find_what_trying_every_pair_finds(by_bands: str, radius: int):
    """Skewed lists, equal hashes and full arrays included: the same pairs, each once, in the same order."""
    values, others = planted(800), planted(500, seed=4)
    assert as_list(pairs_within(values, radius)) == by_trying(values, values, radius, once=True)
    assert as_list(cross_pairs_within(values, others, radius)) == by_trying(values, others, radius, once=False)


def test_pairs_that_are_not_wanted_are_left_out(by_bands: str):
    """What the caller refuses is missing from a search among one list, across two, and in an index with a tail; nothing else is."""
    values, others, second = planted(800), planted(500, seed=4), planted(1_300, seed=5)
    keys = np.sort(np.random.default_rng(2).integers(0, 2**64, 800, dtype=np.uint64))
    order = np.random.default_rng(3).permutation(800)
    listed, waiting = np.sort(order[:750]), order[750:]

    def wanted(pairs: Pairs) -> np.ndarray:
        return (second[pairs.first] ^ second[pairs.second]) % 3 == 0

    def right(first: np.ndarray, *, once: bool) -> list[tuple[int, int, int]]:
        pairs = by_trying(first, values, 14, once=once)
        return [pair for pair in pairs if (int(second[pair[0]]) ^ int(second[pair[1]])) % 3 == 0]

    assert as_list(pairs_within(values, 14, wanted)) == right(values, once=True)
    assert as_list(cross_pairs_within(others, values, 14, wanted)) == right(others, once=False)
    grown = Index.of(keys[listed], values[listed], 14).with_more(keys[waiting], values[waiting])
    assert len(grown.tail)
    assert as_list(grown.search(others, wanted)) == right(others, once=False)


def test_bands_of_a_large_list_find_what_faiss_would(by_bands: str):
    """The bands that are planned for a million are exact on a smaller list, too."""
    values = planted(3_000)
    bands = plan_for(1_000_000, None, 10).bands
    tables = ((band, neighbours.bucketed(values, band)) for band in bands)
    assert as_list(neighbours.searched(values, tables, 10)) == by_trying(values, values, 10, once=False)


def test_an_index_that_grows_finds_what_a_new_search_finds(tmp_path: Path):
    """Photos come in portions, the index is stored and loaded in between, and the tail is sorted in now and then."""
    keys, values = np.sort(planted(2_000, seed=8)), planted(2_000)
    keys = np.unique(keys)
    values = values[: len(keys)]
    order = np.random.default_rng(5).permutation(len(keys))
    probes = planted(300, seed=6)
    known = np.sort(order[:1_000])
    grown = Index.of(keys[known], values[known], 10)
    index.store(grown, tmp_path / "index", keys[known])
    lengths = []
    for start in range(1_000, len(keys), 90):
        more = order[start : start + 90]
        loaded = index.load(tmp_path / "index", keys[known], 10)
        assert loaded is not None
        grown = loaded.with_more(keys[more], values[more])
        known = np.sort(np.concatenate([known, more]))
        index.store(grown, tmp_path / "index", keys[known])
        lengths.append(len(grown.tail))
        assert as_list(grown.search(probes)) == by_trying(probes, values[known], 10, once=False)
    assert 0 in lengths
    assert max(lengths) >= 90


def test_keys_are_the_first_bits_of_ids_and_sort_as_they_do():
    """Sixteen hexadecimal letters are 64 bits."""
    ids = sorted(hashlib.sha256(str(number).encode()).hexdigest() for number in range(50))
    assert index.keys_of(ids).tolist() == [int(name[:16], 16) for name in ids]


def test_an_index_of_other_photos_is_not_used(tmp_path: Path):
    """One photo fewer, another radius, a torn file: none of them fits."""
    keys, values = np.sort(planted(200)), planted(200, seed=9)
    index.store(Index.of(keys, values, 10), tmp_path / "index", keys)
    assert index.load(tmp_path / "index", keys, 10) is not None
    assert index.load(tmp_path / "index", keys[1:], 10) is None
    assert index.load(tmp_path / "index", keys, 12) is None
    whole = (tmp_path / "index" / "0-starts").read_bytes()
    for torn in (b"torn", b"", whole[:-8]):
        (tmp_path / "index" / "0-starts").write_bytes(torn)
        assert index.load(tmp_path / "index", keys, 10) is None
    assert index.load(tmp_path / "nowhere", keys, 10) is None
