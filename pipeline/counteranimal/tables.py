"""The tables that stages meet in: one schema, key and order each.

Decides names, types and keys. Leaves where tables are kept to `workspace`, and what the rows mean to the stage that writes
them. A rejected row is a row: tables that turn things away carry `status` and `reason`.

Examples
--------
>>> table = conform("clusters", [{"photo_id": "ab", "cluster": "ab", "kept": True, "reason": "unique"}])
>>> table.num_rows, table.schema.names[:3]
(1, ['photo_id', 'cluster', 'kept'])
"""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal.errors import EnvironmentFailure, IntegrityError

__all__ = ["KEYS", "SCHEMAS", "conform", "empty", "parquet_bytes", "read", "schema_of", "sort", "write"]

# Rows that a reader must hold at once of a table of any length.
_ROW_GROUP = 1 << 16
_text = pa.string()
_when = pa.timestamp("us", tz="UTC")
_texts = pa.list_(pa.string())
_numbers = pa.list_(pa.float32())


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields])


SCHEMAS: dict[str, pa.Schema] = {
    # What a source offered; sha256 and size (bytes) where it states them; status ok or rejected (E_CLASS, E_LICENSE, E_ATTRIBUTION) before any byte is fetched.
    "candidates": _schema(
        ("candidate_id", _text), ("source", _text), ("native_id", _text), ("class_id", _text), ("taxon", _text),
        ("observation_id", _text), ("observer_id", _text), ("author", _text), ("url", _text), ("page_url", _text),
        ("licence_raw", _text), ("licence", _text), ("attribution", _text), ("observed_at", _text), ("kind", _text),
        ("note", _text), ("sha256", _text), ("size", pa.int64()), ("seen_at", _when), ("status", _text), ("reason", _text),
    ),
    # Every attempt to fetch; status stored, rejected, deferred or failed.
    "fetches": _schema(
        ("candidate_id", _text), ("attempt", pa.int32()), ("at", _when), ("status", _text), ("reason", _text),
        ("http_status", pa.int32()), ("bytes", pa.int64()), ("photo_id", _text), ("retry_at", _when),
    ),
    # What decodes; status ok, suspect (the bytes look damaged: kept and counted, used for nothing) or rejected (class_conflict).
    "photos": _schema(
        ("photo_id", _text), ("candidate_ids", _texts), ("class_id", _text), ("mime", _text), ("bytes", pa.int64()),
        ("width", pa.int32()), ("height", pa.int32()), ("fold_unit", _text), ("stored_at", _when), ("status", _text),
        ("reason", _text),
    ),
    "fingerprints": _schema(
        ("photo_id", _text), ("phash", pa.uint64()), ("dhash", pa.uint64()), ("phash_mirrored", pa.uint64()),
        ("dhash_mirrored", pa.uint64()), ("entropy", pa.float32()), ("recipe", _text),
    ),
    # Of the photos that may be equal to another one; all others have no digest, since that takes a full decode.
    "pixel_digests": _schema(("photo_id", _text), ("pixel_digest", _text)),
    # One row a photo. reason: unique, kept, exact, judged, near, mirror, burst, class_conflict, reference_overlap. Distances are
    # to `partner`, a photo id; in a reference_overlap it is the name of a hash list, a colon and a path in it, and for a copy of the
    # photo that lies near it the distances are to that photo, which the rule names. pixel_difference only where pixels were looked at.
    "clusters": _schema(
        ("photo_id", _text), ("cluster", _text), ("kept", pa.bool_()), ("reason", _text), ("partner", _text),
        ("phash_distance", pa.int32()), ("dhash_distance", pa.int32()), ("pixel_difference", pa.float32()),
        ("rule", _text),
    ),
    # What the photos were held against, one row a hash list; overlaps counts photos dropped, unsure those that were only told.
    "references": _schema(
        ("name", _text), ("sha256", _text), ("recipe", _text), ("hashes", pa.int64()), ("unreadable", pa.int64()),
        ("overlaps", pa.int64()), ("unsure", pa.int64()),
    ),
    # The closest entry of each hash list to a photo. verdict: overlap (the photo is dropped), unsure (nothing follows).
    "reference_overlaps": _schema(
        ("photo_id", _text), ("reference", _text), ("path", _text), ("phash_distance", pa.int32()),
        ("dhash_distance", pa.int32()), ("mirrored", pa.bool_()), ("verdict", _text), ("rule", _text),
    ),
    # A file of its own, made by `fingerprint`; path is relative to the folder. status ok or rejected with its reason.
    "hash_list": _schema(
        ("path", _text), ("sha256", _text), ("phash", pa.uint64()), ("dhash", pa.uint64()), ("phash_mirrored", pa.uint64()),
        ("dhash_mirrored", pa.uint64()), ("entropy", pa.float32()), ("status", _text), ("reason", _text),
    ),
    # What a second look found: pairs that are one photo (verdict same) or may be (unsure). One row more a photo, without a pair,
    # says that it has been searched. kind: near, mirror. photo_id is the photo whose search found the pair.
    "looked_pairs": _schema(
        ("photo_id", _text), ("photo_a", _text), ("photo_b", _text), ("kind", _text), ("phash_distance", pa.int32()),
        ("dhash_distance", pa.int32()), ("pixel_difference", pa.float64()), ("verdict", _text), ("rule", _text),
    ),
    # Pairs the rule could not settle: people look at both.
    "unsure_pairs": _schema(
        ("photo_a", _text), ("photo_b", _text), ("phash_distance", pa.int32()), ("dhash_distance", pa.int32()),
        ("pixel_difference", pa.float32()), ("why", _text),
    ),
    # Kept photos that lie close in a model's features: copies that hashes miss, such as crops. Only people merge them.
    "similar_pairs": _schema(
        ("photo_a", _text), ("photo_b", _text), ("cosine", pa.float32()), ("model", _text), ("view", _text),
    ),
    # What people said of a pair. answer: same or different; method: unanimous, majority, adjudicated.
    "settled_pairs": _schema(
        ("photo_a", _text), ("photo_b", _text), ("answer", _text), ("method", _text), ("n_votes", pa.int32()),
        ("round", _text),
    ),
    # probabilities in the order of `vocabulary` (names joined by a comma); background "not_sure" where none is likely enough.
    # Measures and `proposals` (what may be wrong with the photo) order people's work and are never verdicts.
    "scores": _schema(
        ("photo_id", _text), ("model", _text), ("view", _text), ("vocabulary", _text), ("background", _text),
        ("confidence", pa.float32()), ("probabilities", _numbers), ("sharpness", pa.float32()),
        ("sharpest", pa.float32()), ("brightness", pa.float32()), ("contrast", pa.float32()), ("clipped", pa.float32()),
        ("animal_area", pa.float32()), ("animal_offset", pa.float32()), ("second_animal", pa.float32()), ("worn", pa.float32()),
        ("printed", pa.float32()), ("proposals", _texts), ("status", _text), ("reason", _text),
    ),
    "embeddings": _schema(
        ("photo_id", _text), ("model", _text), ("view", _text), ("embedding", _numbers),
    ),
    # What the machine would split: for planning, never published.
    "preview": _schema(
        ("photo_id", _text), ("class_id", _text), ("background", _text), ("correct", pa.bool_()), ("group", _text),
    ),
    # One row an answer. status: counted, skipped, draft, second, edited, gold, set_aside. answers as given; shown: the
    # proposal was on the screen.
    "votes": _schema(
        ("annotation_id", _text), ("round", _text), ("photo_id", _text), ("worker", _text), ("background", _text),
        ("usable", pa.bool_()), ("codes", _texts), ("seconds", pa.float64()), ("shown", pa.bool_()), ("gold", pa.bool_()),
        ("answered_at", _when), ("status", _text), ("reason", _text),
    ),
    # method: unanimous, majority, adjudicated; status ok or rejected (unusable, no_majority, too_few_votes, ...).
    "verdicts": _schema(
        ("photo_id", _text), ("background", _text), ("usable", pa.bool_()), ("codes", _texts), ("n_votes", pa.int32()),
        ("method", _text), ("inclusion_probability", pa.float64()), ("status", _text), ("reason", _text),
    ),
    # What discovery and the groups stand on: one row a verified photo.
    "pool": _schema(
        ("photo_id", _text), ("class_id", _text), ("background", _text), ("fold_unit", _text), ("fold", _text),
        ("inclusion_probability", pa.float64()),
    ),
    # rank of the best right index among the candidates (1 = right), margin = best right logit - best wrong one.
    "predictions": _schema(
        ("photo_id", _text), ("model", _text), ("protocol", _text), ("predicted", pa.int32()), ("rank", pa.int32()),
        ("margin", pa.float32()), ("tied", pa.bool_()), ("correct", pa.bool_()),
    ),
    # The chosen pair of each class (class_id "*" when one pair serves the whole pool); status pair or no_pair.
    "pairs": _schema(
        ("split", _text), ("class_id", _text), ("status", _text), ("reason", _text), ("common", _text), ("counter", _text),
        ("n_common_select", pa.int32()), ("n_counter_select", pa.int32()), ("n_common_report", pa.int32()),
        ("n_counter_report", pa.int32()), ("drop_select", pa.float64()), ("drop_report", pa.float64()),
        ("drop_report_low", pa.float64()), ("drop_report_high", pa.float64()), ("p_value", pa.float64()),
        ("confirmed", pa.bool_()), ("unstable", pa.bool_()),
    ),
    # group: common, counter or other.
    "splits": _schema(
        ("split", _text), ("photo_id", _text), ("class_id", _text), ("background", _text), ("group", _text),
        ("fold", _text),
    ),
    "groups": _schema(
        ("split", _text), ("class_id", _text), ("background", _text), ("group", _text), ("fold", _text), ("model", _text),
        ("n", pa.int32()), ("n_effective", pa.float64()), ("correct", pa.int32()), ("accuracy", pa.float64()),
        ("low", pa.float64()), ("high", pa.float64()),
    ),
    # What a release publishes: one row a verified photo, everything a reader needs to fetch, credit and weigh it.
    "entries": _schema(
        ("photo_id", _text), ("class_id", _text), ("imagenet_indices", pa.list_(pa.int32())), ("background", _text),
        ("codes", _texts), ("source", _text), ("native_id", _text), ("url", _text), ("page_url", _text), ("kind", _text),
        ("licence", _text), ("author", _text), ("attribution", _text), ("retrieved_at", _when), ("mime", _text),
        ("bytes", pa.int64()), ("width", pa.int32()), ("height", pa.int32()), ("published_sha256", _text),
        ("published_bytes", pa.int64()), ("fold_unit", _text), ("fold", _text), ("n_votes", pa.int32()), ("method", _text),
        ("inclusion_probability", pa.float64()), ("selector_model", _text), ("selector_sha256", _text),
    ),
    # figure: accuracy_common, accuracy_counter, drop (class_id set), macro_* and micro_* (class_id "*"). fold: report, select, all, and
    # report_without_overlap or all_without_overlap, where photos that hash lists hold are left out.
    "results": _schema(
        ("split", _text), ("fold", _text), ("model", _text), ("protocol", _text), ("class_id", _text), ("figure", _text),
        ("value", pa.float64()), ("n", pa.int32()), ("n_effective", pa.float64()), ("low", pa.float64()),
        ("high", pa.float64()),
    ),
}  # fmt: skip

KEYS: dict[str, tuple[str, ...]] = {
    "candidates": ("candidate_id",),
    "fetches": ("candidate_id", "attempt"),
    "photos": ("photo_id",),
    "fingerprints": ("photo_id",),
    "pixel_digests": ("photo_id",),
    "clusters": ("photo_id",),
    "references": ("name",),
    "reference_overlaps": ("photo_id", "reference"),
    "hash_list": ("path",),
    "looked_pairs": ("photo_id", "photo_a", "photo_b", "kind"),
    "unsure_pairs": ("photo_a", "photo_b"),
    "similar_pairs": ("photo_a", "photo_b"),
    "settled_pairs": ("photo_a", "photo_b"),
    "scores": ("photo_id", "model", "view", "vocabulary"),
    "embeddings": ("photo_id", "model", "view"),
    "preview": ("photo_id",),
    "votes": ("annotation_id",),
    "verdicts": ("photo_id",),
    "pool": ("photo_id",),
    "predictions": ("photo_id", "model", "protocol"),
    "pairs": ("split", "class_id"),
    "splits": ("split", "photo_id"),
    "groups": ("split", "class_id", "background", "fold", "model"),
    "entries": ("photo_id",),
    "results": ("split", "fold", "model", "protocol", "class_id", "figure"),
}


def schema_of(name: str) -> pa.Schema:
    """Return a table's schema; raises KeyError for a name that is no table, which is a bug."""
    return SCHEMAS[name]


def empty(name: str) -> pa.Table:
    """Return the table without rows."""
    return SCHEMAS[name].empty_table()


def conform(name: str, rows: pa.Table | Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return `rows` as table `name`: every column present (missing ones null), typed, sorted by key, keys unique.

    Raises
    ------
    IntegrityError
        If a row has an unknown column, a value of the wrong type, or two rows share a key.
    """
    schema = SCHEMAS[name]
    if isinstance(rows, pa.Table):
        table = rows
    else:
        listed: Sequence[Mapping[str, Any]] = list(rows)
        unknown = sorted({key for row in listed for key in row} - set(schema.names))
        if unknown:
            raise IntegrityError(f"table {name} has no column {unknown[0]!r}; correct the stage that writes it")
        try:
            table = pa.Table.from_pylist([dict(row) for row in listed], schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise IntegrityError(f"table {name}: {error}; correct the stage that writes it") from error
    unknown = sorted(set(table.column_names) - set(schema.names))
    if unknown:
        raise IntegrityError(f"table {name} has no column {unknown[0]!r}; correct the stage that writes it")
    columns = [
        _cast(name, field, table.column(field.name))
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    ordered = sort(name, pa.table(columns, schema=schema))
    _refuse_repeated_keys(name, ordered)
    return ordered


def _cast(name: str, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise IntegrityError(f"table {name}, column {field.name}: {error}; correct the stage that writes it") from error


def sort(name: str, table: pa.Table) -> pa.Table:
    """Return the rows in key order, which is the one order a table is ever written in."""
    return table.sort_by([(key, "ascending") for key in KEYS[name]]) if len(table) > 1 else table


def _refuse_repeated_keys(name: str, table: pa.Table) -> None:
    keys = list(KEYS[name])
    counted = table.select(keys).group_by(keys).aggregate([([], "count_all")])
    if len(counted) < len(table):
        row = next(row for row in counted.to_pylist() if row["count_all"] > 1)
        raise IntegrityError(
            f"table {name} holds the key {tuple(row[key] for key in keys)} twice; remove one of the rows"
        )


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the table as Parquet, the same bytes for the same rows whatever the machine."""
    sink = io.BytesIO()
    options = {"compression": "zstd", "version": "2.6", "store_schema": True, "write_statistics": True}
    pq.write_table(table, sink, row_group_size=_ROW_GROUP, **options, **_encoding(table.schema))
    return sink.getvalue()


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are laid out: where a model's numbers are kept, those as split bytes, everything else by dictionary.

    Such numbers hardly repeat: a dictionary of them is built, found useless and given up in every part, and to read that takes
    twice as long as their bytes, sorted by significance, which also compress better.
    """
    numbers = [f"{field.name}.list.element" for field in schema if field.type == _numbers]
    others = [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema
        if field.type != _numbers
    ]
    return {"use_dictionary": others, "use_byte_stream_split": numbers} if numbers else {}


def write(path: Path, table: pa.Table) -> None:
    """Write a table through a temporary file and a rename, so that a reader sees the old one or the new one.

    Raises
    ------
    EnvironmentFailure
        If the disk is full or the folder cannot be written; the old table stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(parquet_bytes(table))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise EnvironmentFailure(f"disk full while writing table {path}; free some space and run again") from error
        raise EnvironmentFailure(
            f"table {path} cannot be written ({error.strerror}); mend the folder and run again"
        ) from error


def read(path: Path, name: str) -> pa.Table:
    """Read a table and hold it against its schema.

    Raises
    ------
    IntegrityError
        If the file is missing, is no Parquet or has other columns.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise IntegrityError(f"table {name} is missing at {path}; run the stage that writes it") from error
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(
            f"table {name} at {path} cannot be read ({error}); delete it and run its stage again"
        ) from error
    if table.schema.names != SCHEMAS[name].names:
        raise IntegrityError(f"table {name} at {path} has other columns than this version writes; run its stage again")
    try:
        return table.cast(SCHEMAS[name])
    except pa.ArrowException as error:
        raise IntegrityError(
            f"table {name} at {path} has other types than this version writes; run its stage again"
        ) from error
