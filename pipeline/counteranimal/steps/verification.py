"""The step behind `verify`: a release held against its bytes, and against what this machine saw of its publisher before.

Decides when a path asks for the newest release: a folder of releases, or a link named `latest`. Leaves the checks to
`release.verify` and the memory to `release.seen`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection
from pathlib import Path

from counteranimal.errors import IntegrityError
from counteranimal.release.layout import versions_in
from counteranimal.release.seen import Seen, default_place
from counteranimal.release.unpack import unpack
from counteranimal.release.verify import VerifyReport, verify

__all__ = ["check_release"]


def check_release(
    path: Path, *, keys: Collection[Path] = (), photos: Path | None = None, root_digest: str | None = None
) -> tuple[Path, VerifyReport]:
    """Verify the release at a path and return its folder with the report.

    An archive is unpacked for the time of the check. With a pinned key the release is remembered, and one that contradicts what
    was seen before is a problem.
    """
    if path.is_file():
        with tempfile.TemporaryDirectory() as place:
            return path, _checked(unpack(path, Path(place) / "release"), keys, photos, root_digest)[1]
    return _checked(path, keys, photos, root_digest)


def _checked(
    path: Path, keys: Collection[Path], photos: Path | None, root_digest: str | None
) -> tuple[Path, VerifyReport]:
    versions = versions_in(path)
    folder = versions[-1] if versions else path
    report = verify(folder, public_key=keys, photos=photos, root_digest=root_digest)
    if report.signature != "good" or not report.ok or report.signed_by is None:
        return folder, report
    told = (report.signed_by, report.name, report.version, report.digest)
    newest = bool(versions) or path.name == "latest"
    if newest and report.successor:
        problem = (
            f"{report.version} is given out as the newest, but its publisher lists {report.successor}; get that one"
        )
        return folder, dataclasses.replace(report, problems=(problem,))
    try:
        seen = Seen(default_place())
        seen.judge(*told, newest=newest)
    except IntegrityError as error:
        return folder, dataclasses.replace(report, problems=(str(error),))
    try:
        seen.remember(*told)
    except OSError as error:
        note = f"this release could not be remembered ({error.strerror}), so that an older one will not be noticed"
        return folder, dataclasses.replace(report, notes=(*report.notes, note))
    return folder, report
