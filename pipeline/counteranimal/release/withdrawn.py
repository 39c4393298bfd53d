"""WITHDRAWN.json: which versions a publisher has released, and which of their photos were withdrawn since.

Decides how that list is spelled and when it is believed. A release is never written again, so what happened to its photos later
stands beside it, in the folder of all releases, signed like a release. Leaves making the list to `freeze.withdrawn`.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counteranimal.errors import IntegrityError
from counteranimal.release import signature, strict_json, sums
from counteranimal.release.layout import WITHDRAWN, WITHDRAWN_SIGNATURE, parse_version

__all__ = ["WithdrawnList", "read_withdrawn", "render"]

_LARGEST = 512 * 1024 * 1024
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$")]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


class WithdrawnList(BaseModel):
    """Version -> root digest of every release, and photo id -> day of its withdrawal."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["counteranimal-withdrawn/1"] = "counteranimal-withdrawn/1"
    name: str
    releases: dict[Version, Digest]
    withdrawn: dict[Digest, Day]

    def after(self, version: str) -> str:
        """Return the highest version above the given one, empty where there is none."""
        later = [other for other in self.releases if parse_version(other) > parse_version(version)]
        return max(later, key=parse_version, default="")


def render(listed: WithdrawnList) -> bytes:
    """Return the one spelling of the list."""
    return rfc8785.dumps(listed.model_dump(mode="json"))


def read_withdrawn(releases: Path, pinned: Collection[str] = ()) -> WithdrawnList | None:
    """Read the list in a folder of releases; None where there is none.

    Parameters
    ----------
    pinned : collection of str
        Public keys (hexadecimal) of which one must have signed the list; without any, a good signature of any key will do.

    Raises
    ------
    IntegrityError
        If it is unsigned, signed by another key, changed, or not spelled as `render` writes it.
    """
    file, signed = releases / WITHDRAWN, releases / WITHDRAWN_SIGNATURE
    if not file.exists() and not file.is_symlink():
        return None
    for path in (file, signed):
        _, length = sums.digest_of_file(path)  # refuses links and devices
        if length > _LARGEST:
            raise IntegrityError(f"{path.name} is {length} bytes long, which no such list is; get it again")
    data = file.read_bytes()
    signature.check(signature.parse(signed.read_bytes()), data, pinned=pinned, names=(WITHDRAWN_SIGNATURE, WITHDRAWN))
    try:
        listed = WithdrawnList.model_validate(strict_json.loads(data, name=WITHDRAWN))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(("$", *(str(part) for part in first["loc"])))
        raise IntegrityError(f"{WITHDRAWN} at {place}: {first['msg']}; get it again") from error
    if render(listed) != data:
        raise IntegrityError(f"{WITHDRAWN} is not canonical JSON (RFC 8785); get it again")
    return listed
