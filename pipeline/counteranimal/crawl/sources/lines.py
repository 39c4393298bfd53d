"""Reads a list of records line by line: CSV, JSON Lines or Parquet, however long, in the memory of one batch.

Decides what a line is and why it cannot be read. One line is one record, so that every problem has a line number; a line that
cannot be read is reported and the next one is read. Leaves what the columns mean to the source.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal.errors import RecipeError

__all__ = ["FORMATS", "Line", "lines_of"]

FORMATS = (".csv", ".jsonl", ".parquet")
_LONGEST = 65_536
_ROWS = 1000
_SIMPLE = (str, int, float)


@dataclass(frozen=True, slots=True)
class Line:
    """One line by its number (a row's, for Parquet): its values by column, or why it cannot be read."""

    number: int
    values: dict[str, str]
    problem: str = ""


def lines_of(path: Path, columns: Sequence[str]) -> Iterator[Line]:
    """Yield every line behind the header; blank ones are a problem, too.

    Parameters
    ----------
    path : Path
        A file whose suffix is one of `FORMATS`.
    columns : sequence of str
        Columns that are wanted; others are left out.

    Raises
    ------
    RecipeError
        If the file cannot be read at all, or its header or schema lacks a column; JSON Lines have none to ask.
    """
    readers = {".csv": _csv, ".jsonl": _json, ".parquet": _parquet}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise RecipeError(f"list {path} is of no known format; give it a name in {', '.join(FORMATS)}")
    try:
        yield from readers[suffix](path, columns)
    except (OSError, pa.ArrowException) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"list {path} cannot be read ({cause}); mend it or its path") from error


def _texts(file: BinaryIO) -> Iterator[tuple[int, str, str]]:
    """Yield number, text and problem of every line."""
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield number, "", f"longer than {_LONGEST} bytes"
            continue
        text, problem = "", ""
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            problem = "not UTF-8"
        if not problem and not text.strip():
            problem = "blank"
        yield number, text, problem or ("holds a NUL byte" if "\0" in text else "")


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Line]:
    with path.open("rb") as file:
        texts = _texts(file)
        header, problem = _fields(*next(texts, (1, "", "missing"))[1:])
        if problem:
            raise RecipeError(f"list {path}: line 1, the header, is {problem}; begin with column names")
        _require(path, columns, header)
        for number, text, wrong in texts:
            fields, problem = _fields(text, wrong)
            if not problem and len(fields) != len(header):
                problem = f"has {len(fields)} fields, the header {len(header)}"
            yield Line(number, {} if problem else dict(zip(header, fields, strict=True)), problem)


def _fields(text: str, problem: str) -> tuple[list[str], str]:
    """Return the fields of a line and what is wrong with it, if not known already."""
    if problem:
        return [], problem
    try:
        return next(csv.reader([text], strict=True)), ""
    except csv.Error as error:
        return [], f"no CSV ({error})"


def _json(path: Path, columns: Sequence[str]) -> Iterator[Line]:
    with path.open("rb") as file:
        for number, text, problem in _texts(file):
            if problem:
                yield Line(number, {}, problem)
                continue
            try:
                content = json.loads(text)
            except (ValueError, RecursionError):
                yield Line(number, {}, "no JSON")
                continue
            yield _line(number, content, columns) if isinstance(content, dict) else Line(number, {}, "no JSON object")


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Line]:
    with pq.ParquetFile(path, memory_map=False) as file:
        _require(path, columns, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns), use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield _line(number, row, columns)


def _line(number: int, row: dict[str, object], columns: Sequence[str]) -> Line:
    values = {}
    for name in columns:
        value = row.get(name)
        if value is not None and (not isinstance(value, _SIMPLE) or isinstance(value, bool)):
            return Line(number, {}, f"column {name} holds no text or number")
        values[name] = "" if value is None else str(value)
        if "\0" in values[name] or not _encodable(values[name]):
            return Line(number, {}, f"column {name} holds a NUL byte or half a character")
    return Line(number, values)


def _encodable(text: str) -> bool:
    """Say whether a text can be stored: JSON may hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require(path: Path, wanted: Sequence[str], present: Sequence[str]) -> None:
    for name in wanted:
        if name not in present:
            raise RecipeError(f"list {path} has no column {name!r}; it has {', '.join(sorted(present))}")
