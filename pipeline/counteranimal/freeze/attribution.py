"""ATTRIBUTION.md: whom to credit for which photo, by licence.

Decides the order (licence, then author, then photo) and that a name is printed only where the licence asks for it.
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.freeze.markdown import escape
from counteranimal.release.licences import licence_url

__all__ = ["attribution_list"]

_COLUMNS = ("photo_id", "kind", "attribution", "url", "page_url")
_AT_ONCE = 4096


def attribution_list(title: str, entries: pa.Table) -> bytes:
    """Return the list as Markdown in UTF-8; every published photo stands in it once."""
    text = io.StringIO()
    text.write(
        f"# Attribution for {escape(title)}\n\n"
        "Each photo is under its own licence, below. A photo is named by the first twelve characters of its id in "
        "`entries.parquet`. Published copies are the originals without their metadata; their pixels are unchanged.\n"
    )
    ordered = entries.select([*_COLUMNS, "licence"]).append_column("name", pc.fill_null(entries["author"], ""))
    ordered = ordered.sort_by([(column, "ascending") for column in ("licence", "name", "photo_id")])
    for licence in sorted(pc.unique(entries["licence"]).to_pylist()):
        rows = ordered.filter(pc.equal(ordered["licence"], licence)).select(_COLUMNS)
        url = licence_url(licence)
        text.write(f"\n## {licence} ({len(rows)})\n\n" + (f"<{url}>\n\n" if url else ""))
        for batch in rows.to_batches(max_chunksize=_AT_ONCE):
            text.writelines(map(_line, *(column.to_pylist() for column in batch.columns)))
    return text.getvalue().encode()


def _line(photo_id: str, kind: str, attribution: str, url: str, page_url: str | None) -> str:
    composite = ", composite" if kind == "composite" else ""
    return f"- `{photo_id[:12]}`{composite}: {escape(attribution)} – {escape(page_url or url)}\n"
