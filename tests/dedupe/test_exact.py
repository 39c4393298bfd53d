"""Which photos are decoded in full to be compared pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest

from counteranimal.dedupe.exact import NEARLY_UNIFORM, digests, may_be_equal
from counteranimal.dedupe.fingerprint import pixel_digest
from counteranimal.errors import IntegrityError
from counteranimal.workspace import Blob


def test_only_near_photos_of_one_size_and_even_ones_of_one_size_may_be_equal():
    """A near pair of two sizes and a photo that nothing is near are left out; two photos of snow are not."""
    sizes = [(500, 375), (500, 375), (500, 333), (500, 375), (500, 375), (640, 480), (500, 375)]
    even = NEARLY_UNIFORM - 1
    entropies = np.array([7, 7, 7, even, even, even, 7], dtype=np.float32)
    assert may_be_equal([(0, 1), (1, 2)], sizes, entropies).tolist() == [0, 1, 3, 4]


def test_a_photo_is_digested_once(workspace, scene, encode, monkeypatch):
    """A second run reads what the first one stored, and returns earlier digests beside the ones asked for."""
    data = [encode(scene(seed), "PNG") for seed in range(2)]
    ids = workspace.blobs.put_many([Blob(item) for item in data])
    parts = workspace.parts("pixel_digests", "made")
    assert digests(ids[:1], workspace.blobs, parts) == {ids[0]: pixel_digest(data[0])}
    assert digests(ids[1:], workspace.blobs, parts) == dict(zip(ids, map(pixel_digest, data), strict=True))
    monkeypatch.setattr("counteranimal.dedupe.exact.pixel_digest", None)
    assert set(digests(ids, workspace.blobs, parts)) == set(ids)


def test_a_photo_that_does_not_decode_in_full_is_named(workspace):
    """Whoever decodes a stored photo says which one is broken."""
    [photo_id] = workspace.blobs.put_many([Blob(b"\xff\xd8\xff no photo")])
    with pytest.raises(IntegrityError, match=f"photo {photo_id} was accepted but does not decode"):
        digests([photo_id], workspace.blobs, workspace.parts("pixel_digests", "made"))
