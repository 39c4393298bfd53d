"""How the attempt at one photo can end, apart from bytes and from `errors.Rejected`.

Decides nothing; gives the ends a name each, so that the fetcher raises what happened and the run records it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from counteranimal.errors import Reason

__all__ = ["Faulty", "Postponed", "Unreachable", "Visit"]


@dataclass(slots=True)
class Visit:
    """What is known of an attempt while it goes on; `received` counts body bytes as they crossed the network."""

    source: str
    http_status: int | None = None
    received: int = 0


class Postponed(Exception):  # noqa: N818 - an outcome of one item, not an error of the run
    """The photo is to be asked for again, not before `until`."""

    def __init__(self, reason: Reason, until: datetime, detail: str = "") -> None:
        super().__init__(detail or str(reason))
        self.reason = reason
        self.until = until


class Faulty(Exception):  # noqa: N818 - an outcome of one item, not an error of the run
    """The attempt failed in a way that may pass: the next run tries again."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or str(reason))
        self.reason = reason
        self.detail = detail


class Unreachable(Exception):  # noqa: N818 - an outcome of one item, not an error of the run
    """The host was given up for this run; the photo was not asked for and stays pending."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host
