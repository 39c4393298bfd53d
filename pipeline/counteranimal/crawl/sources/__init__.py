"""Where candidates come from: one small protocol, and plug-ins behind entry points.

Decides how a source is found and opened. A source reads an upstream and states what it offers, page by page, with a cursor
that says where to go on; it decides nothing about classes it was not given, licences or fetching.
"""

from counteranimal.crawl.sources.protocol import (
    LocalSource,
    Opening,
    Page,
    Restating,
    Source,
    open_source,
    read_options,
)

__all__ = ["LocalSource", "Opening", "Page", "Restating", "Source", "open_source", "read_options"]
