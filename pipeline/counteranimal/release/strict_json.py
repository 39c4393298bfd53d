"""JSON read without mercy: what Python's parser lets pass in silence is refused with its place.

Decides which texts are JSON that every parser reads alike (RFC 8259 within the limits of I-JSON, RFC 7493): no byte order
mark, no carriage return, nothing before or after the value, no key twice, no NaN or infinity, no half of a surrogate pair, no
integer that a double cannot hold. Leaves what the values mean to the reader.
"""

from __future__ import annotations

import json
import math
from typing import Any

from counteranimal.errors import IntegrityError

__all__ = ["loads"]


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs, so that a key given twice is still seen."""


class _NotANumber(str):
    """The text of NaN, Infinity or -Infinity."""

    __slots__ = ()


def loads(data: bytes, *, name: str) -> Any:
    """Return the value of strict JSON.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What to call the file in messages.

    Raises
    ------
    IntegrityError
        With the file and the place: a byte offset, a line and column, or the path of a value such as `$.files[2]`.

    Examples
    --------
    >>> loads(b'{"a":[1,2]}', name="x.json")
    {'a': [1, 2]}
    """
    text = _text(data, name)
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_NotANumber)
    try:
        value, end = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise _refusal(name, f"line {error.lineno} column {error.colno}", error.msg) from error
    except (RecursionError, ValueError) as error:
        raise _refusal(name, "its start", "values are nested or written beyond what a reader can hold") from error
    if text[end:].strip("\n"):
        raise _refusal(name, f"character {end}", "something follows the value")
    return _plain(value, "$", name)


def _text(data: bytes, name: str) -> str:
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        if data.startswith(mark):
            raise _refusal(name, "byte 0", "a byte order mark stands before the value")
    place = data.find(b"\r")
    if place >= 0:
        raise _refusal(name, f"byte {place}", "a carriage return; lines end with a line feed alone")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(name, f"byte {error.start}", "not UTF-8") from error


def _plain(value: Any, path: str, name: str) -> Any:
    """Return the value with objects as dictionaries, refusing whatever readers disagree about."""
    if isinstance(value, _Pairs):
        return _object(value, path, name)
    if isinstance(value, list):
        return [_plain(item, f"{path}[{index}]", name) for index, item in enumerate(value)]
    if isinstance(value, _NotANumber):
        raise _refusal(name, path, f"{value} is no JSON number")
    if isinstance(value, str):
        _refuse_surrogates(value, path, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _refusal(name, path, "a number too large for a double")
    elif isinstance(value, int) and not _is_exact(value):
        raise _refusal(name, path, "an integer too large for a double to hold exactly")
    return value


def _is_exact(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _object(pairs: _Pairs, path: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in pairs:
        _refuse_surrogates(key, path, name)
        if key in found:
            raise _refusal(name, f"{path}.{key}", "this key stands twice")
        found[key] = _plain(item, f"{path}.{key}", name)
    return found


def _refuse_surrogates(text: str, path: str, name: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _refusal(name, path, "half of a surrogate pair")


def _refusal(name: str, place: str, what: str) -> IntegrityError:
    return IntegrityError(f"{name} at {place}: {what}; get the file again from where the release is published")
