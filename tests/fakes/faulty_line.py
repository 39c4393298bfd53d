"""The way to a real server, on which things happen: a reverse proxy on loopback whose script may answer, change, cut or drop.

Decides nothing itself: a script is given every request and returns what the client gets. What it forwards, the real server answers.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "date", "server"}


@dataclass(frozen=True)
class Reply:
    """An answer; `missing` bytes are announced and never sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0

    def changed(self, change: Callable[[Any], None]) -> Reply:
        """Return the answer with its JSON changed in place."""
        content = json.loads(self.body)
        change(content)
        return replace(self, body=json.dumps(content).encode())


@dataclass(frozen=True)
class Request:
    """A request on its way; `forward` asks the real server, as often as it is called."""

    method: str
    path: str
    forward: Callable[[], Reply]


Script = Callable[[Request], Reply | None]
"""What becomes of a request; None: the line is cut without an answer."""


@dataclass
class Line:
    """Where the client is to connect, what happens there now, and what came by: method and path of each request."""

    url: str
    script: Script
    seen: list[tuple[str, str]] = field(default_factory=list)


def plain(request: Request) -> Reply:
    """Forward and say what the server said."""
    return request.forward()


@contextmanager
def faulty_line(port: int) -> Iterator[Line]:
    """Yield a line to the server on a loopback port; it does no harm until its script is changed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            line.seen.append((self.command, self.path))
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def forward() -> Reply:
                real = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
                real.request(self.command, self.path, sent or None, headers)
                came = real.getresponse()
                kept = {name: value for name, value in came.getheaders() if name.lower() not in HOP}
                reply = Reply(came.status, came.read(), kept)
                real.close()
                return reply

            reply = line.script(Request(self.command, self.path, forward))
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body) + reply.missing))
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = self.close_connection or bool(reply.missing)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the names that the standard library calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    line = Line(f"http://127.0.0.1:{server.server_port}", plain)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
