"""ATTRIBUTION.md: whom to credit for which photo, by licence.

Decides the order (licence, then author, then photo) and that a name is printed only where the licence asks for it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow as pa

from counteranimal.freeze.markdown import escape
from counteranimal.release.licences import licence_url

__all__ = ["attribution_list"]


def attribution_list(title: str, entries: pa.Table) -> str:
    """Return the list as Markdown; every published photo stands in it once."""
    by_licence: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in entries.select(["photo_id", "kind", "licence", "author", "attribution", "url", "page_url"]).to_pylist():
        by_licence[row["licence"]].append(row)
    lines = [
        f"# Attribution for {escape(title)}",
        "",
        (
            "Each photo is under its own licence, below. A photo is named by the first twelve characters of its id in "
            "`entries.parquet`. Published copies are the originals without their metadata; their pixels are unchanged."
        ),
    ]
    for licence in sorted(by_licence):
        rows = sorted(by_licence[licence], key=lambda row: (row["author"] or "", row["photo_id"]))
        url = licence_url(licence)
        lines += ["", f"## {licence} ({len(rows)})", "", *([f"<{url}>", ""] if url else [])]
        lines += [_line(row) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    composite = ", composite" if row["kind"] == "composite" else ""
    return (
        f"- `{row['photo_id'][:12]}`{composite}: {escape(row['attribution'])} – {escape(row['page_url'] or row['url'])}"
    )
