"""The four tables of iNaturalist's open data as a DuckDB in memory reads them.

Decides which columns a table must have and how a table or line that cannot be read is said. Leaves what is asked to
`open_data` and `taxa`.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from counteranimal.errors import EnvironmentFailure, MissingDependency, RecipeError, UpstreamError

__all__ = ["Dump"]

# Columns that are read, with their types; others may come and go. Neither latitude nor longitude is among them.
_COLUMNS: dict[str, dict[str, str]] = {
    "photos": {
        "photo_id": "BIGINT", "observation_uuid": "VARCHAR", "observer_id": "BIGINT", "extension": "VARCHAR",
        "license": "VARCHAR", "position": "INTEGER",
    },
    "observations": {
        "observation_uuid": "VARCHAR", "taxon_id": "BIGINT", "quality_grade": "VARCHAR", "observed_on": "VARCHAR",
    },
    "taxa": {"taxon_id": "BIGINT", "ancestry": "VARCHAR", "rank": "VARCHAR", "name": "VARCHAR", "active": "VARCHAR"},
    "observers": {"observer_id": "BIGINT", "login": "VARCHAR", "name": "VARCHAR"},
}  # fmt: skip
_LONGEST = 1_000_000


class Dump:
    """A folder of the tables, or of those named; `who` is the source, for the errors' sentences."""

    def __init__(self, folder: Path, who: str, names: Sequence[str] = tuple(_COLUMNS)) -> None:
        self._who = who
        self._paths = {name: self._find(folder, name) for name in names}

    def _find(self, folder: Path, name: str) -> Path:
        for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz"):
            if path.is_file():
                return path
        raise RecipeError(
            f"{self._who}: {folder} has neither {name}.csv nor {name}.csv.gz; name the folder that holds it"
        )

    def state(self) -> list[str]:
        """Return what tells one dump from another: names, sizes and moments of change."""
        return [
            f"{path.name} {status.st_size} {status.st_mtime_ns}"
            for path, status in ((path, path.stat()) for path in self._paths.values())
        ]

    @contextmanager
    def opened(self, *, memory_mb: int, threads: int) -> Iterator[Any]:
        """Yield a DuckDB connection for queries over `reading`; its errors become sentences.

        Raises
        ------
        UpstreamError
            If a line cannot be read.
        EnvironmentFailure
            If the memory does not suffice.
        """
        try:
            import duckdb
        except ImportError as error:
            raise MissingDependency("open-data tables are read with duckdb; install counteranimal[crawl]") from error
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        connection = duckdb.connect(":memory:", config=settings)
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise EnvironmentFailure(
                f"{self._who}: reading the tables takes more than {memory_mb} MB; raise the source's option memory_mb"
            ) from error
        except duckdb.Error as error:
            # The line itself would carry coordinates into a message.
            cause = " ".join(str(error).split("Original Line")[0].split("Possible")[0].split())[:300]
            raise UpstreamError(f"{self._who}: a table cannot be read ({cause}); download it again") from error
        finally:
            connection.close()

    def broken(self, connection: Any) -> list[tuple[str, int, str]]:
        """Return (table, line, what is wrong) of every line that has been passed over so far, in order."""
        query = """
            select distinct s.file_path, e.line, lower(e.error_type::varchar)
            from reject_errors e join reject_scans s using (scan_id, file_id) order by all
        """
        names = {str(path): name for name, path in self._paths.items()}
        found = connection.execute(query).fetchall()
        return [(names.get(path, path), int(line), wrong) for path, line, wrong in found]

    def reading(self, name: str) -> str:
        """Return the SQL that reads a table, for the `from` of a query.

        Everything is stated, and the file is sniffed all the same: only then the planner knows the tables' sizes, and the join of
        photos with the few observations that were chosen costs a third less. There is no view or macro of it: each would be sniffed when
        it is made, too, half a second for a large gzipped file.

        Raises
        ------
        RecipeError
            If a column is missing.
        """
        path, wanted = self._paths[name], _COLUMNS[name]
        header = _header(path)
        missing = [column for column in wanted if column not in header]
        if missing:
            raise RecipeError(
                f"{self._who}: table {path} has no column {missing[0]!r}; it has {', '.join(header) or 'no header'}"
            )
        columns = ", ".join(f"{_quoted(column)}: {_quoted(wanted.get(column, 'VARCHAR'))}" for column in header)
        options = "header = true, delim = '\\t', quote = '', escape = '', auto_detect = true, strict_mode = true, store_rejects = true"
        return f"(select {', '.join(wanted)} from read_csv({_quoted(str(path))}, {options}, columns = {{{columns}}}))"  # noqa: S608 - quoted


def _quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _header(path: Path) -> list[str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.readline(_LONGEST).decode("utf-8-sig").rstrip("\r\n").split("\t")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UpstreamError(f"table {path} cannot be read ({error}); download it again") from error
