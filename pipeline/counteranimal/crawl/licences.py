"""What a licence statement means, as an SPDX identifier with its version, and how a photo under it is credited.

Decides how codes, URLs and words read; refuses to guess. A statement without a version, a retired combination or free text is
unknown, and unknown or missing means all rights reserved. Which licences may enter a release is the recipe's decision.

Ported Creative Commons licences (`/by-sa/3.0/de/`) read as the family and version they port; the raw statement is kept beside.
"""

from __future__ import annotations

import re

from counteranimal.recipe import KNOWN_LICENCES

__all__ = ["attribution", "spdx_of"]

PUBLIC_DOMAIN = "LicenseRef-Public-Domain"
_SPDX = {name.casefold(): name for name in KNOWN_LICENCES}
_URL = re.compile(
    r"(?:https?:)?(?://)?(?:www\.)?creativecommons\.org(?::\d{1,5})?/+"
    r"(?P<kind>licenses|publicdomain)/+(?P<code>[a-z-]+)(?:/+(?P<version>\d\.\d))?"
    r"(?:/+[a-z]{2,3}(?:[-_][a-z]{2,4})?)?(?:/+(?:deed|legalcode)(?:[.-][a-z_-]{2,10})?(?:\.txt)?)?/*(?:[?#].*)?"
)
_NAMED = re.compile(
    r"(?:cc|creative commons)[ -]+(?P<code>by(?:-(?:nc|nd|sa))*)(?:[ -]v?(?P<version>\d\.\d))?(?: (?:international|unported|generic))?"
)
_WORDS = (
    (re.compile(r"attribution"), "by"),
    (re.compile(r"non-?commercial"), "nc"),
    (re.compile(r"share-?alike"), "sa"),
    (re.compile(r"no-?deriv(?:ative)?s?(?: works)?"), "nd"),
)
_ZERO = re.compile(r"cc[ -]?(?:0|zero)(?:[ -]?(?:v?1\.0|universal|1\.0 universal))?")
_MARK = re.compile(r"(?:cc )?(?:pdm|public domain mark)(?:[ -]?1\.0)?|cc-pdm-1\.0")


def spdx_of(raw: str | None, *, default_version: str | None = None) -> str | None:
    """Return the SPDX identifier of a licence statement, or None where it is missing or cannot be told.

    Parameters
    ----------
    raw : str or None
        An SPDX identifier, a Creative Commons URL, or a code such as `cc-by-nc`.
    default_version : str, optional
        The version that a source says its unversioned codes have (iNaturalist: 4.0). Without it they are unknown.

    Examples
    --------
    >>> spdx_of("http://creativecommons.org/licenses/by-nc/3.0/de/deed.en")
    'CC-BY-NC-3.0'
    >>> spdx_of("cc-by-nc", default_version="4.0")
    'CC-BY-NC-4.0'
    >>> spdx_of("cc-by-nc") is spdx_of("All rights reserved") is None
    True
    """
    text = " ".join((raw or "").casefold().split())
    if text in _SPDX:
        return _SPDX[text]
    if _ZERO.fullmatch(text):
        return "CC0-1.0"
    if _MARK.fullmatch(text):
        return PUBLIC_DOMAIN
    url = _URL.fullmatch(text)
    if url is not None:
        return _of_url(url["kind"], url["code"], url["version"])
    named = _NAMED.fullmatch(_in_codes(text))
    return _creative_commons(named["code"], named["version"] or default_version) if named is not None else None


def _in_codes(text: str) -> str:
    for word, code in _WORDS:
        text = word.sub(code, text)
    return text


def _of_url(kind: str, code: str, version: str | None) -> str | None:
    if kind == "publicdomain":
        known = {("zero", "1.0"): "CC0-1.0", ("mark", "1.0"): PUBLIC_DOMAIN}
        return known.get((code, version or ""))
    return _creative_commons(code, version)


def _creative_commons(code: str, version: str | None) -> str | None:
    """Return the identifier of a Creative Commons code; the elements' order differs between versions, SPDX has one."""
    parts = set(code.split("-"))
    if "by" not in parts or {"sa", "nd"} <= parts or version is None:
        return None
    name = "-".join(["CC", *(part.upper() for part in ("by", "nc", "sa", "nd") if part in parts), version])
    return name if name in KNOWN_LICENCES else None


def attribution(spdx: str, author: str | None) -> str:
    """Return the sentence that credits a photo; its wording follows iNaturalist's open data for Creative Commons.

    Examples
    --------
    >>> attribution("CC-BY-NC-4.0", "Ada")
    '© Ada, some rights reserved (CC BY-NC 4.0)'
    >>> attribution("CC0-1.0", "Ada"), attribution("CC0-1.0", None)
    ('Ada, no rights reserved (CC0)', 'Unknown author, no rights reserved (CC0)')
    """
    name = " ".join((author or "").split())
    if spdx == "CC0-1.0":
        return f"{name or 'Unknown author'}, no rights reserved (CC0)"
    if spdx == PUBLIC_DOMAIN:
        return f"{name or 'Unknown author'}, public domain"
    if spdx.startswith("CC-BY"):
        family, version = spdx.removeprefix("CC-").rsplit("-", 1)
        return f"© {name}, some rights reserved (CC {family} {version})"
    return f"© {name}, licensed under {spdx}" if name else f"Unknown author, licensed under {spdx}"
