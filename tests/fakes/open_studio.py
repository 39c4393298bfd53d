"""A labelling server that is set up wrongly: what a visitor sees of one with open sign-up, telemetry and local files."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "1" * 40
HELD = {
    "api/current-user/whoami": {"id": 1, "email": "curator@example.org"},
    "api/projects": {"count": 1, "results": [{"id": 7, "title": "r1", "description": "counteranimal key r1 anna"}]},
    "api/storages/s3": [{"id": 1, "bucket": "photos", "project": 7}],
    "api/ml": [{"id": 1, "url": "http://127.0.0.1:9090", "project": 7}],
}


class _Answers(BaseHTTPRequestHandler):
    """Answers as Label Studio 1.22 does where nobody changed its defaults."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/version":
            self._say(200, '{"release": "1.22.0"}', "application/json")
        elif path == "/user/login/":
            self._say(200, "<script>window.APP_SETTINGS.collect_analytics = true;</script>")
        elif path == "/user/signup/":
            self._say(200, '<form><input type="hidden" name="csrfmiddlewaretoken" value="abc"></form>')
        elif self.headers.get("Authorization") != f"Token {TOKEN}":
            self._say(401, '{"detail": "Invalid token."}', "application/json")
        elif path == "/data/local-files/" or re.search(r"[?&]page=([2-9]|1\d)", self.path):
            self._say(404, "no such file")
        else:
            self._say(200, json.dumps(HELD.get(path.strip("/"), [])), "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(200, "<form>This field is required</form>")

    def _say(self, status: int, body: str, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def open_studio() -> Iterator[str]:
    """Serve on loopback and yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
