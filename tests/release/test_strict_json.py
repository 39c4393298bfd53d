"""Strict JSON: what every reader reads alike is read, everything else is refused with its place."""

from __future__ import annotations

import contextlib

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from counteranimal.errors import IntegrityError
from counteranimal.release.strict_json import loads

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.case("H05")
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"a":1,"b":{"a":1,"a":2}}', r"\$\.b\.a: this key stands twice"),
        (b'{"a":[1,NaN]}', r"\$\.a\[1\]: NaN is no JSON number"),
        (b'{"a":-Infinity}', r"\$\.a: -Infinity"),
        (b'{"a":1e999}', r"\$\.a: a number too large"),
        (b'{"a":9007199254740993}', r"\$\.a: an integer too large"),
        (b'\xef\xbb\xbf{"a":1}', "byte 0: a byte order mark"),
        (b"\xff\xfe{\x00}\x00", "byte 0: a byte order mark"),
        (b'{"a":1}\r\n', "byte 7: a carriage return"),
        (b'{"a":1} x', "character 7: something follows"),
        (b'{"a":1}{"a":1}', "character 7: something follows"),
        (b' {"a":1}', "line 1 column 1"),
        (b'{"a":1', "line 1 column 7"),
        (b'{"a":"\xe9"}', "byte 6: not UTF-8"),
        (b'{"a":"\\ud800"}', r"\$\.a: half of a surrogate pair"),
        (b'{"\\ud800":1}', r"\$: half of a surrogate pair"),
        (b'{"a":"\t"}', "line 1 column 7"),
        (b"{'a':1}", "line 1 column 2"),
        (b"[" * 100_000, "its start: values are nested"),
        (b'{"a":' + b"9" * 5000 + b"}", "its start: values are nested or written beyond"),
        (b"", "line 1 column 1"),
    ],
)  # fmt: skip
def test_refuses_with_the_place(data: bytes, place: str) -> None:
    """What Python's parser lets pass in silence is refused, and the message says where."""
    with pytest.raises(IntegrityError, match=f"x.json at .*{place}"):
        loads(data, name="x.json")


@given(_VALUES)
def test_reads_what_is_canonical(value: object) -> None:
    """Every value that canonical JSON can hold comes back as it was."""
    assert loads(rfc8785.dumps(value), name="x.json") == value  # type: ignore[arg-type]


@given(st.binary(max_size=40))
def test_never_fails_otherwise(data: bytes) -> None:
    """Whatever the bytes, the outcome is a value or a refusal of the project's own kind."""
    with contextlib.suppress(IntegrityError):
        loads(data, name="x.json")
