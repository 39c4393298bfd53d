"""How a number reads: one rounding and one sign for each kind, on the page, in plots and on the terminal.

Decides only the spelling. A missing value is a dash everywhere, never a zero. A pointer (RFC 6901) names the number's place
in `report.json`, so that what is shown can be held against what was written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["DASH", "STYLES", "at", "credit_text", "number_text"]

DASH = "–"
_NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def _count(value: float) -> str:
    return f"{round(value):,}".replace(",", _NARROW_SPACE)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}{_NARROW_SPACE}%"


def _bare_percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _points(value: float) -> str:
    text = f"{100 * value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", _MINUS)


def _coefficient(value: float) -> str:
    return f"{value:.2f}".replace("-", _MINUS)


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _fine(value: float) -> str:
    return f"{value:.3f}"


STYLES: dict[str, Callable[[float], str]] = {
    "count": _count,
    "percent": _percent,
    "bare": _bare_percent,
    "points": _points,
    "coefficient": _coefficient,
    "p": _p_value,
    "fine": _fine,
}


def number_text(value: float | None, style: str) -> str:
    """Return a number as people read it; a dash where it is missing or not finite.

    Parameters
    ----------
    value : float or None
        Fractions for `percent`, `bare` (no sign) and `points` (percentage points), else the number itself.
    style : str
        A key of `STYLES`.

    Examples
    --------
    >>> number_text(0.6713, "points"), number_text(-0.004, "points"), number_text(None, "count")
    ('67.1', '−0.4', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return STYLES[style](value)


def credit_text(attribution: str, licence: str) -> str:
    """Return whose photo it is and under which licence, naming the licence once where the attribution already does.

    Examples
    --------
    >>> credit_text("by A, licensed under CC0-1.0", "CC0-1.0"), credit_text("by A", "CC0-1.0"), credit_text("", "CC0-1.0")
    ('by A, licensed under CC0-1.0', 'by A · CC0-1.0', 'author not recorded · CC0-1.0')
    """
    if licence and licence.casefold() in attribution.casefold():
        return attribution
    return f"{attribution or 'author not recorded'} · {licence or 'licence not recorded'}"


def at(document: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer without escapes; raises KeyError or IndexError where there is none.

    Examples
    --------
    >>> at({"models": [{"n": 3}]}, "/models/0/n")
    3
    """
    for part in pointer.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
