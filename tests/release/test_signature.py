"""The signature file: one spelling, one algorithm, and trust only from a pinned key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release.layout import SIGNATURE
from counteranimal.release.signature import load_public_key, parse
from tests.fakes.small_release import Released


@pytest.fixture
def good(released: Released) -> dict[str, str]:
    """The content of a good signature file."""
    content: dict[str, str] = json.loads((released.folder / SIGNATURE).read_bytes())
    return content


@pytest.mark.case("H08")
@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "none"},
        {"algorithm": "ED25519"},
        {"algorithm": ""},
        {"algorithm": None},
        {"signature": ""},
        {"signature": "0" * 127},
        {"public_key": "F" * 64},
        {"comment": "extra"},
    ],
)
def test_refuses_other_content(good: dict[str, str], change: dict[str, object]) -> None:
    """Another algorithm, a cut value and an unknown key are refused."""
    with pytest.raises(IntegrityError, match=SIGNATURE):
        parse(json.dumps(good | change, separators=(",", ":"), sort_keys=True).encode() + b"\n")


@pytest.mark.case("H08")
def test_refuses_a_stripped_algorithm(good: dict[str, str]) -> None:
    """A signature that does not say how it was made is refused."""
    del good["algorithm"]
    with pytest.raises(IntegrityError, match="must name exactly algorithm"):
        parse(json.dumps(good, separators=(",", ":"), sort_keys=True).encode() + b"\n")


def test_refuses_another_spelling(good: dict[str, str]) -> None:
    """The same content with other white space is refused, so that no byte can change unseen."""
    with pytest.raises(IntegrityError, match="not canonical"):
        parse(json.dumps(good).encode() + b"\n")


@pytest.mark.parametrize("content", [b"", b"not a key", None])
def test_a_useless_public_key_is_a_usage_error(tmp_path: Path, released: Released, content: bytes | None) -> None:
    """A pinned key that is missing, no PEM, or a private key ends with advice."""
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    for wrong in (path, released.private_key):
        with pytest.raises(UsageError, match="counteranimal keygen"):
            load_public_key(wrong)
