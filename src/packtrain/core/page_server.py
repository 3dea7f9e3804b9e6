"""One page served over HTTP by the standard library, with the requests that it makes: nothing from anywhere else.

A link has a random token in it. Requests whose Host is a name that the server was not given are refused: a page of
somebody else whose name was made to point here (DNS rebinding) sees nothing. Requests must come from the page's own
origin, so no other page can make them. The policy names style and script by their hashes, so a browser runs and shows
nothing else.
"""

import ipaddress
import json
import signal
import socket
import socketserver
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from packtrain.core.errors import UserError

_SILENCE_S = 30
"""After which a connection that sends nothing is closed."""


class PageServer(ThreadingHTTPServer):
    """Serves one page until it is shut down; `link` says where. UserError when the address cannot be used."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        exchange: "type[PageExchange]",
        *,
        token: str,
        page: str,
        policy: str,
        largest_request_bytes: int,
    ) -> None:
        self.host, self.token, self.policy, self.page = address[0], token, policy, page.encode()
        self.largest_request_bytes = largest_request_bytes
        self.address_family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            super().__init__(address, exchange)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(
                f"cannot serve at {self.host}, port {address[1]}: {reason}",
                "choose another --port (0 takes a free one) or --host",
            ) from error

    def server_bind(self) -> None:
        """Take the address; unlike the standard library's without asking a name server who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def link(self) -> str:
        """The address of the page."""
        name = self._name
        return f"http://{f'[{name}]' if ':' in name else name}:{self.server_port}/{self.token}/"

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the page."""
        return self.host == "localhost" or _is_loopback(self.host)

    @property
    def _name(self) -> str:
        """What others call this server: for all addresses of a machine (0.0.0.0) the machine's name."""
        return socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host

    def is_own(self, host: str) -> bool:
        """Whether a Host header, or the host of an Origin, names this server; the port may be a tunnel's."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self._name.lower()):
            return True
        return _is_address(name) and (_is_loopback(name) or not self.is_local)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news."""


class PageExchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    server: PageServer
    timeout = _SILENCE_S
    server_version, sys_version = "packtrain", ""
    astray = "This link leads nowhere. The command that serves the page printed the right one."
    """What a wrong link shows."""

    def answers(self) -> Mapping[str, Callable[[Mapping[str, Any]], None]]:
        """What the page may ask for, by name; each is given the JSON object that was sent, and sends its answer."""
        return {}

    def do_GET(self) -> None:
        """The page; a link without its last stroke leads there."""
        if self._checked("") != "":
            return
        if urlsplit(self.path).path.endswith("/"):
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        else:
            self._head(HTTPStatus.FOUND, {"Location": f"/{self.server.token}/", "Content-Length": "0"})

    def do_POST(self) -> None:
        """A request of the page."""
        content = self._content()  # a connection closed on unread bytes may lose the answer
        answers = self.answers()
        name = self._checked(*answers)
        if name is None:
            return
        try:
            answers[name](self._asked(content))
        except UserError as error:
            self.send_json({"error": error.message, "hint": error.hint}, HTTPStatus.BAD_REQUEST)

    def send_json(self, value: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with one JSON object."""
        self._send(status, json.dumps(value).encode("ascii"), "application/json")

    def begin_lines(self) -> Callable[[Mapping[str, Any]], None]:
        """Begin an answer of JSON objects, a line each: what sends one at once; it raises OSError when nobody reads."""
        self._head(HTTPStatus.OK, {"Content-Type": "application/x-ndjson"})

        def send(value: Mapping[str, Any]) -> None:
            self.wfile.write(json.dumps(value).encode("ascii") + b"\n")

        return send

    def _checked(self, *names: str) -> str | None:
        """What stands behind the token in the address, if it is one of `names`; else it is refused."""
        hosts = self.headers.get_all("Host") or []
        origin = self.headers.get("Origin")
        if len(hosts) != 1 or not self.server.is_own(hosts[0]):
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This address is not served here.")
        elif origin is not None and urlsplit(origin).netloc != hosts[0]:
            self._refuse(HTTPStatus.FORBIDDEN, "Another page may not ask this.")
        else:
            token, _, name = urlsplit(self.path).path.removeprefix("/").partition("/")
            if compare_digest(token.encode(), self.server.token.encode()) and name in names:
                return name
            self._refuse(HTTPStatus.NOT_FOUND, self.astray)
        return None

    def _content(self) -> bytes:
        """What was sent, up to just beyond the limit."""
        length = self.headers.get("Content-Length", "")
        wanted = int(length) if length.isascii() and length.isdecimal() and len(length) < 10 else 0
        return self.rfile.read(min(wanted, self.server.largest_request_bytes + 1))

    def _asked(self, content: bytes) -> Mapping[str, Any]:
        """The object that was sent; UserError when it is none."""
        if self.headers.get_content_type() != "application/json":
            raise UserError("not a request of this page", "reload the page")
        if len(content) > self.server.largest_request_bytes:
            raise UserError("that is too long", "shorten the text")
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UserError("not a request of this page", "reload the page") from error
        if not isinstance(value, dict):
            raise UserError("not a request of this page", "reload the page")
        return value

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, f"{reason}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        always = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": self.server.policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in {**headers, **always}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the token stands in the addresses."""


def serve_until_stopped(server: PageServer) -> None:
    """Serve until Ctrl-C or SIGTERM; called in the main thread."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def page_policy(style: str, script: str) -> str:
    """The Content-Security-Policy of a page of this one style and script, which talks to its own server alone."""
    return "; ".join(
        (
            "default-src 'none'",
            "connect-src 'self'",
            "img-src data:",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
