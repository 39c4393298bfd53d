"""Identifiers are spelled one way, and a fold unit's fold never changes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counteranimal.errors import UsageError
from counteranimal.ids import candidate_id, digest_of, fold_of, fold_unit, is_photo_id, photo_id_of, pseudonym


def test_a_photo_id_is_the_sha256_of_the_original_bytes() -> None:
    """The id of the empty file is the well-known digest."""
    assert photo_id_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert is_photo_id(photo_id_of(b"x"))


@pytest.mark.case("B10")
@pytest.mark.parametrize(
    "text", ["", "../../x", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", "a" * 64 + "\n", "g" * 64]
)
def test_outside_text_is_no_photo_id(text: str) -> None:
    """Only 64 lower-case hexadecimal characters are one; a line feed behind them is not overlooked."""
    assert not is_photo_id(text)


@pytest.mark.parametrize("source", ["", "a:b"])
def test_a_source_name_that_would_confuse_ids_is_refused(source: str) -> None:
    """A colon in the name would let two candidates share one id."""
    with pytest.raises(UsageError, match="without a colon"):
        candidate_id(source, "1")


def test_the_fold_unit_is_the_observer_else_the_observation_else_the_photo() -> None:
    """Photos by one person always share a fold."""
    assert fold_unit("s", observer_id="7", observation_id="9", photo_id="p") == "s:observer:7"
    assert fold_unit("s", observer_id=None, observation_id="9", photo_id="p") == "s:observation:9"
    assert fold_unit("s", observer_id="", observation_id="", photo_id="p") == "p"


@given(st.text(), st.text())
def test_the_fold_is_the_last_bit_of_the_hash(seed: str, unit: str) -> None:
    """0 selects, 1 reports, for every seed and unit."""
    expected = int(hashlib.sha256(f"{seed}\n{unit}".encode()).hexdigest(), 16) % 2
    assert fold_of(seed, unit) == ("select", "report")[expected]


@pytest.mark.parametrize(("unit", "fold"), [("inaturalist:observer:7", "report"), ("inaturalist:observer:8", "select")])
def test_folds_of_known_units_never_change(unit: str, fold: str) -> None:
    """Published folds depend on these values; a change here breaks every release."""
    assert fold_of("counteranimal", unit) == fold


def test_about_half_of_the_units_report() -> None:
    """The hash is even enough for halves."""
    reporting = sum(fold_of("seed", str(number)) == "report" for number in range(10_000))
    assert 4_800 < reporting < 5_200


def test_pseudonyms_keep_name_spaces_apart() -> None:
    """An observer and an annotator with one login get different stand-ins, the same ones every time."""
    assert pseudonym("s", "observer", "jane") == pseudonym("s", "observer", "jane")
    assert (
        len({pseudonym("s", kind, "jane") for kind in ("observer", "worker")} | {pseudonym("t", "worker", "jane")}) == 3
    )
    assert "jane" not in pseudonym("s", "worker", "jane")


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_digests_of_different_lists_differ(first: list[str], second: list[str]) -> None:
    """Lengths are part of the digest, so no two lists run together."""
    assert (digest_of(*first) == digest_of(*second)) == (first == second)
