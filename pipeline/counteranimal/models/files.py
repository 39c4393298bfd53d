"""Reads weight files safely: held against a pinned digest first, then as safetensors or through torch's weights-only reader.

Decides what counts as a readable weight file. There is no fallback: a file that the safe readers refuse is refused, since the
unsafe ones run whatever code a checkpoint carries.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.models.compat import require_safe_torch

__all__ = ["READABLE", "read_weights", "sha256_of_file", "weights_digest"]

READABLE = (".safetensors", ".pt", ".pth", ".bin")


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(path: Path, pinned: str | None = None) -> str:
    """Return a weight file's sha256 after holding its kind and digest against what is expected.

    Raises
    ------
    EnvironmentFailure
        If there is no such file; the sentence names the file and the expected digest.
    IntegrityError
        If its digest is not the pinned one, or its kind has no safe reader.
    """
    expected = f" (sha256 {pinned})" if pinned else ""
    if not path.is_file():
        raise EnvironmentFailure(f"weight file {path}{expected} is missing; put it there and run again")
    if path.suffix not in READABLE:
        raise IntegrityError(
            f"weight file {path.name} has no safe reader; convert it to safetensors (readable: {', '.join(READABLE)})"
        )
    digest = sha256_of_file(path)
    if pinned is not None and digest != pinned:
        raise IntegrityError(
            f"weight file {path} has sha256 {digest}, but {pinned} is pinned; delete it and install or download it again"
        )
    return digest


def read_weights(path: Path, pinned: str | None = None) -> tuple[dict[str, Any], str]:
    """Return (state dict of CPU tensors, sha256 of the file).

    Raises
    ------
    EnvironmentFailure
        If there is no such file.
    IntegrityError
        If the digest is not the pinned one, or the file holds anything but tensors.
    """
    digest = weights_digest(path, pinned)
    if path.suffix == ".safetensors":
        return _read_safetensors(path), digest
    import torch

    require_safe_torch()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refusal(path) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _refusal(path)
    return state, digest


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"weight file {path} is no whole safetensors file; delete it and get it again") from error


def _refusal(path: Path) -> IntegrityError:
    """Return the one refusal for a checkpoint that holds more, or less, than tensors."""
    return IntegrityError(
        f"weight file {path} was refused and nothing in it was run: it does not hold plain tensors; use a safetensors file"
    )
