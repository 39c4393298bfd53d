"""Weight files are held against their digest and never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.models.files import read_weights, sha256_of_file

PIN = "ab" * 32


class Payload:
    """An object whose unpickling would create a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.canary,)


def evil_checkpoint(folder: Path) -> tuple[Path, Path]:
    """Return a checkpoint with a payload, and the file that appears if it is run."""
    import torch

    canary, path = folder / "canary", folder / "evil.pt"
    torch.save({"state_dict": {"weight": torch.zeros(2), "extra": Payload(canary)}}, path)
    return path, canary


@pytest.mark.case("I01")
def test_a_checkpoint_with_a_payload_is_refused_and_not_run(tmp_path: Path) -> None:
    """The reader knows tensors only, and nothing is tried a second way."""
    path, canary = evil_checkpoint(tmp_path)
    with pytest.raises(IntegrityError, match=r"nothing in it was run.*safetensors"):
        read_weights(path)
    assert not canary.exists()


@pytest.mark.case("I01")
def test_a_pickle_named_safetensors_is_refused(tmp_path: Path) -> None:
    """The name decides the reader, so a renamed checkpoint is simply not whole."""
    path, canary = evil_checkpoint(tmp_path)
    renamed = path.rename(tmp_path / "model.safetensors")
    with pytest.raises(IntegrityError, match="no whole safetensors file"):
        read_weights(renamed)
    assert not canary.exists()


@pytest.mark.case("I02")
def test_a_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    """The sentence names the file and both digests."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"other")
    with pytest.raises(IntegrityError, match=rf"{path}.*{sha256_of_file(path)}.*{PIN}"):
        read_weights(path, PIN)


@pytest.mark.case("I02")
@pytest.mark.parametrize("name", ["model.pt2", "model.npz", "model.pkl"])
def test_a_kind_without_a_safe_reader_is_refused(tmp_path: Path, name: str) -> None:
    """Compiled archives and pickles of any other name are not opened."""
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(IntegrityError, match="no safe reader"):
        read_weights(tmp_path / name)


@pytest.mark.case("I03")
def test_a_missing_file_is_named_with_its_digest(tmp_path: Path) -> None:
    """Whoever has to find it knows what to look for."""
    with pytest.raises(EnvironmentFailure, match=rf"absent.pt.*{PIN}"):
        read_weights(tmp_path / "absent.pt", PIN)
