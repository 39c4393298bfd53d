"""The copy of a photo that may leave the house: the same pixels, and nothing that says where, when or by whom.

Decides that a published copy is the file rebuilt from its pixel-bearing pieces, never a new encoding: position, camera serial
numbers, names, previews and anything hidden behind the image go; the colour profile and the orientation stay, since both
decide what people see. Attribution lives in the manifest. Leaves the syntax of the formats to `images`.
"""

from __future__ import annotations

from counteranimal.images import read_container

__all__ = ["published_copy"]


def published_copy(data: bytes) -> bytes:
    """Return the metadata-free copy of a photo, pixel for pixel equal to it.

    The same bytes give the same copy on every machine, and a copy's copy is itself.

    Parameters
    ----------
    data : bytes
        The original JPEG, PNG or WebP file.

    Raises
    ------
    Rejected
        With the reason code of what is wrong with the file's syntax or size, mostly E_DECODE or E_TRUNCATED.
    """
    return read_container(data).published
