"""What a licence asks of whoever publishes a photo under it: whether to name the author, and where its text stands.

Decides over SPDX identifiers only. Leaves reading a source's words as an identifier to the crawl, and which licences may enter
a release to the recipe.
"""

from __future__ import annotations

import re

__all__ = ["UNKNOWN", "asks_for_attribution", "licence_url"]

# Dedications, waivers and licences that ask for no name; every other one that a recipe may name asks to keep the author's.
UNKNOWN = "LicenseRef-unknown"
"""Nothing is known, neither licence nor author; no recipe allows it, only the imported original carries it."""
_NAMELESS = frozenset(
    {UNKNOWN, "CC0-1.0", "LicenseRef-Public-Domain", "PDDL-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"}
)
_CREATIVE_COMMONS = re.compile(r"CC-(BY[A-Z-]*)-([0-9.]+)")


def asks_for_attribution(licence: str) -> bool:
    """Say whether the licence asks to name the author.

    Examples
    --------
    >>> asks_for_attribution("CC-BY-4.0"), asks_for_attribution("CC0-1.0")
    (True, False)
    """
    return licence not in _NAMELESS


def licence_url(licence: str) -> str:
    """Return the address of the licence's text, or an empty text where there is no document.

    Examples
    --------
    >>> licence_url("CC-BY-SA-4.0")
    'https://creativecommons.org/licenses/by-sa/4.0/'
    """
    if licence.startswith("LicenseRef-"):
        return ""
    if licence == "CC0-1.0":
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    match = _CREATIVE_COMMONS.fullmatch(licence)
    if match:
        return f"https://creativecommons.org/licenses/{match[1].lower()}/{match[2]}/"
    return f"https://spdx.org/licenses/{licence}.html"
