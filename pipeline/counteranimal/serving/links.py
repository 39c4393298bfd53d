"""Signed addresses of photos: who holds one may see that photo until it expires, and nothing else.

Decides what is signed and how a signature is checked. Leaves to `photos` what is answered. The signature is HMAC-SHA256 over
the photo id, a line feed and the expiry in seconds since 1970, under a secret that stays in the workspace.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from counteranimal.errors import EnvironmentFailure, IntegrityError

__all__ = ["SECRET_BYTES", "link_holds", "load_secret", "signed_link"]

SECRET_BYTES = 32
_FILE = "photo-server.secret"


def load_secret(home: Path) -> bytes:
    """Return the workspace's secret of 32 bytes, made on first use and readable by its owner only.

    Parameters
    ----------
    home : Path
        `Workspace.home`.

    Raises
    ------
    IntegrityError
        If the file holds something else.
    EnvironmentFailure
        If it cannot be read or written.
    """
    path = home / _FILE
    try:
        if not path.exists():
            _make_secret(path)
        path.chmod(0o600)
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise EnvironmentFailure(f"{path} cannot be used ({error.strerror}); mend its permissions") from error
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise IntegrityError(f"{path} is damaged; delete it, a new one is made and photo links are signed again")
    return secret


def _make_secret(path: Path) -> None:
    # Whole under its name or not at all, also when two processes make it at once: the first link wins.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)


def _signature(photo_id: str, expires: int, secret: bytes) -> str:
    return hmac.new(secret, f"{photo_id}\n{expires}".encode(), hashlib.sha256).hexdigest()


def signed_link(base_url: str, photo_id: str, *, secret: bytes, expires: int) -> str:
    """Return the address under which the photo server shows a photo until `expires` (seconds since 1970).

    Examples
    --------
    >>> signed_link("http://127.0.0.1:8182/", "ab", secret=b"k" * 32, expires=2000000000).partition("&")[0]
    'http://127.0.0.1:8182/photos/ab?expires=2000000000'
    """
    signature = _signature(photo_id, expires, secret)
    return f"{base_url.rstrip('/')}/photos/{photo_id}?expires={expires}&signature={signature}"


def link_holds(photo_id: str, expires: str, signature: str, *, secret: bytes, now: float) -> bool:
    """Say whether a link's parts belong together and its time has not come."""
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and signature.isascii()):
        return False
    # Compared in constant time, and before the clock, so that an answer's time tells nothing about the signature.
    genuine = hmac.compare_digest(_signature(photo_id, int(expires), secret), signature)
    return genuine and now < int(expires)
