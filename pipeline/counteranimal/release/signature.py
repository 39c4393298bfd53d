"""The Ed25519 signature over SHA256SUMS.

Decides how a signature file is spelled and when it is good. Leaves making keys and signing to `freeze.sign`. The file names its
algorithm and carries the public key it was made with, in canonical JSON, so that one changed byte is always seen; trust comes
only from a key that the reader already holds (a *pinned* key), never from the one in the file. The signature is over the
plain bytes of SHA256SUMS, so that other tools can check it too.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.release import strict_json
from counteranimal.release.layout import SIGNATURE, SUMS

__all__ = ["ALGORITHM", "Signature", "check", "load_public_key", "parse"]

ALGORITHM = "ed25519"
_SPELLING = {
    "algorithm": re.compile(r".+"),
    "public_key": re.compile(r"[0-9a-f]{64}"),
    "signature": re.compile(r"[0-9a-f]{128}"),
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature file says: `public_key` is 32 raw bytes and `signature` 64, both in hexadecimal."""

    algorithm: str
    public_key: str
    signature: str

    def render(self) -> bytes:
        """Return the one spelling of the file."""
        content = {"algorithm": self.algorithm, "public_key": self.public_key, "signature": self.signature}
        return rfc8785.dumps(content) + b"\n"


def parse(data: bytes) -> Signature:
    """Read a signature file.

    Raises
    ------
    IntegrityError
        If it is not spelled as `Signature.render` writes it, or names no algorithm or another one than Ed25519.
    """
    content = strict_json.loads(data, name=SIGNATURE)
    if not isinstance(content, dict) or set(content) != set(_SPELLING):
        raise IntegrityError(f"{SIGNATURE} must name exactly {', '.join(_SPELLING)}; get the release again")
    for key, pattern in _SPELLING.items():
        if not isinstance(content[key], str) or not pattern.fullmatch(content[key]):
            raise IntegrityError(f"{SIGNATURE} at $.{key}: not what a signature holds there; get the release again")
    if content["algorithm"] != ALGORITHM:
        raise IntegrityError(f"{SIGNATURE} names the algorithm {content['algorithm']!r}; only {ALGORITHM} is accepted")
    found = Signature(**content)
    if found.render() != data:
        raise IntegrityError(f"{SIGNATURE} is not canonical; get the release again")
    return found


def load_public_key(path: Path) -> str:
    """Return the raw public key of a PEM file in hexadecimal (64 characters).

    Raises
    ------
    UsageError
        If the file cannot be read or holds no Ed25519 public key.
    """
    advice = "give the public key file that the publisher made with `counteranimal keygen`"
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise UsageError(f"public key {path} cannot be read ({error.strerror}); {advice}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no public key in PEM form; {advice}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 public key; {advice}")
    return key.public_bytes_raw().hex()


def check(
    signature: Signature, signed: bytes, *, pinned: Collection[str], names: tuple[str, str] = (SIGNATURE, SUMS)
) -> None:
    """Hold a signature against the bytes it covers and, where there are any, against the pinned public keys (hexadecimal).

    Parameters
    ----------
    names : tuple of str
        What to call the signature and the signed file in messages.

    Raises
    ------
    IntegrityError
        If it was made with another key, or for other bytes.
    """
    if pinned and signature.public_key not in pinned:
        raise IntegrityError(f"{names[0]} was made with another key than the pinned one; do not use this release")
    try:
        key = Ed25519PublicKey.from_public_bytes(binascii.unhexlify(signature.public_key))
        key.verify(binascii.unhexlify(signature.signature), signed)
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError(
            f"{names[0]} does not fit {names[1]}: one of the two was changed; get the release again"
        ) from error
