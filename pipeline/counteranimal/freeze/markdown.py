"""Text from outside as Markdown that shows it and does nothing else.

Decides only the escaping. Titles and authors come from upstream; a viewer must not run, link or format what they contain.
"""

from __future__ import annotations

import re

__all__ = ["escape", "percent", "points"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]()|~]|^[#+-])")


def escape(text: object) -> str:
    r"""Return text for a Markdown paragraph or table cell, on one line.

    Examples
    --------
    >>> print(escape("<b>A|B</b>"))
    &lt;b&gt;A\|B&lt;/b&gt;
    """
    line = " ".join(str(text).split())
    return _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage with one decimal, or a dash.

    Examples
    --------
    >>> percent(0.5), percent(None)
    ('50.0 %', '–')
    """
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def points(fraction: float | None) -> str:
    """Return a difference of fractions in percentage points with its sign, or a dash.

    Examples
    --------
    >>> points(-0.125)
    '-12.5'
    """
    return "–" if fraction is None else f"{100 * fraction:+.1f}"
