"""Functions that misbehave in a decoder process as hostile files might; the bytes say how."""

from __future__ import annotations

import os
import signal
import time

from counteranimal.images import ImageInfo


def misbehave(data: bytes) -> ImageInfo:
    """Crash, hang, grow or answer, as the first word of the bytes asks."""
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"hang":
        time.sleep(60)
    if data == b"grow":
        return ImageInfo("image/png", len(bytearray(4_000_000_000)), 1)
    return ImageInfo("image/jpeg", len(data), 1)


def hash_or_crash(data: bytes) -> object:
    """Hash the photo, or crash where the bytes end with that word."""
    from counteranimal.dedupe.fingerprint import hashes_in

    if data.endswith(b"crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return hashes_in(data)
