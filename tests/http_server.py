"""A server on this machine, for tests of what speaks HTTP."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers requests; a test's own says how, in `do_POST` and `do_GET`. Nothing is logged."""

    def body(self) -> bytes:
        """What was sent."""
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send an answer; `headers` beside, or in place of, type and length."""
        own = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.send_response(status)
        for name, value in {**own, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def answer_json(self, value: Any, status: int = 200) -> None:
        """Send a value as JSON."""
        self.answer(json.dumps(value).encode(), status)

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    """The address, without a slash at its end, of a server that answers with `handler` until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
