"""What a host's robots.txt allows, by RFC 9309.

Decides from an answer: 4xx allows everything, 5xx and no answer forbid everything, and the first 500 KiB of a file are read
by the longest-match rule. Governs photos and listed URLs; an API that the recipe configures follows its published policy.
Leaves fetching the file to `fetch`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from protego import Protego

from counteranimal.crawl.politeness import AGENT

__all__ = ["LARGEST", "LIFETIME", "Robots"]

LARGEST = 500 * 1024
"""Bytes of the file that are read."""

LIFETIME = 24 * 3600.0
"""Seconds an answer is kept at most."""

_LONGEST_DELAY = 300.0


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one host; `settled` is False when the host could not say, which forbids for now."""

    allows_all: bool = False
    settled: bool = True
    rules: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, status: int | None, body: bytes = b"") -> Robots:
        r"""Return the rules that an answer states; status None means there was no answer.

        Examples
        --------
        >>> Robots.of(404).allows("http://h/a.jpg"), Robots.of(503).allows("http://h/a.jpg")
        (True, False)
        >>> Robots.of(200, b"User-agent: *\nDisallow: /*.jpg$").allows("http://h/a.jpg")
        False
        """
        if status is None or status >= 500 or status == 429:
            return cls(settled=False)
        if status >= 400:
            return cls(allows_all=True)
        text = body[:LARGEST].decode("utf-8", errors="replace").replace("\x00", "")
        return cls(rules=Protego.parse(text))

    def allows(self, url: str) -> bool:
        """Say whether our crawler may ask for this URL."""
        return self.allows_all or (self.rules is not None and bool(self.rules.can_fetch(url, AGENT)))

    @property
    def delay(self) -> float:
        """Seconds between requests that the file asks for, at most 300; 0 where it asks for none."""
        asked = self.rules.crawl_delay(AGENT) if self.rules is not None else None
        return min(float(asked or 0.0), _LONGEST_DELAY)
