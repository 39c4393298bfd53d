"""A hostile file costs itself: crashes, hangs and greed stay in one decoder process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from counteranimal.errors import Reason, Rejected
from counteranimal.images import DecoderPool, ImageInfo

HOOKS = Path(__file__).parent / "hooks"


def outcome(pool: DecoderPool, data: bytes) -> ImageInfo | Reason:
    """Return what the pool says of the bytes."""
    try:
        return pool.inspect(data)
    except Rejected as rejected:
        return rejected.reason


@pytest.mark.case("C06")
def test_a_dying_decoder_costs_only_its_own_item(monkeypatch):
    """Of 40 items, the one that crashes, the one that hangs and the one that grows fail with their reasons; 37 succeed."""
    monkeypatch.syspath_prepend(str(HOOKS))
    from faulty_decoders import misbehave

    items = [b"x" * (number + 100) for number in range(37)]
    items[5:5], items[12:12], items[20:20] = [b"crash"], [b"hang"], [b"grow"]
    with DecoderPool(2, 2.0, memory_mb=512, function=misbehave) as pool, ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda data: outcome(pool, data), items))
    assert found[5] is Reason.DECODE_CRASH
    assert found[12] is Reason.DECODE_TIMEOUT
    assert found[20] is Reason.DECODE_MEMORY
    good = [(data, info) for data, info in zip(items, found, strict=True) if data.startswith(b"x")]
    assert len(good) == 37
    assert all(isinstance(info, ImageInfo) and info.width == len(data) for data, info in good)


@pytest.mark.case("C06")
@pytest.mark.case("C04")
def test_the_pool_answers_as_the_decoder_does(photo, encode):
    """Real bytes give type and size, bad ones their reason, within 512 MB of address space."""
    with DecoderPool(1, 30.0, memory_mb=512) as pool:
        assert outcome(pool, encode(photo(size=(2000, 1500)), "WEBP")) == ImageInfo("image/webp", 2000, 1500)
        assert outcome(pool, encode(photo(size=(13_000, 80)))) is Reason.BOMB
        assert outcome(pool, b"<html>") is Reason.TYPE
