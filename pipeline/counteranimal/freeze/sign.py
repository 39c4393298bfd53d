"""Makes signing keys and signs SHA256SUMS with Ed25519.

Decides how keys are kept: PEM files without a passphrase, the private one readable by its owner alone and never inside a
workspace or release. Leaves checking signatures to `release.signature`. Ed25519 signatures are deterministic, so the same key
and release give the same file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from counteranimal.errors import EnvironmentFailure, PolicyError, UsageError
from counteranimal.release.signature import ALGORITHM, Signature

__all__ = ["PRIVATE_KEY", "PUBLIC_KEY", "keygen", "load_private_key", "sign"]

PRIVATE_KEY = "release-key.pem"
PUBLIC_KEY = "release-key.pub.pem"


def keygen(folder: Path) -> tuple[Path, Path]:
    """Make a key pair in a folder and return the paths of the private and the public key.

    Raises
    ------
    UsageError
        If either file exists: a key that has signed a release is never replaced under its own name.
    EnvironmentFailure
        If the folder cannot be written.
    """
    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    for path in (private, public):
        if os.path.lexists(path):
            raise UsageError(f"{path} exists and is not overwritten; choose another folder for a new key")
    key = Ed25519PrivateKey.generate()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _create(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        _create(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    except OSError as error:
        raise EnvironmentFailure(
            f"keys cannot be written to {folder} ({error.strerror}); choose another folder"
        ) from error
    return private, public


def _create(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises
    ------
    UsageError
        If the file cannot be read or holds no Ed25519 private key without passphrase.
    PolicyError
        If others than its owner may read it.
    """
    advice = "give the private key file that `counteranimal keygen` made"
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"private key {path} cannot be read ({error.strerror}); {advice}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise PolicyError(
            f"private key {path} can be read by others; make a new key, or run chmod 600 if nobody saw it"
        )
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no private key in PEM form without passphrase; {advice}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 private key; {advice}")
    return key


def sign(key: Ed25519PrivateKey, signed: bytes) -> Signature:
    """Sign the bytes of SHA256SUMS."""
    return Signature(ALGORITHM, key.public_key().public_bytes_raw().hex(), key.sign(signed).hex())
