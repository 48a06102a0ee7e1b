"""A gateway in front of an HTTP server that answers in its place when it is told to, and keeps what was sent."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from typing_extensions import Self


class Answer(NamedTuple):
    """What a gateway says by itself. With ``lost`` the server gets the request all the same."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b"<html>a gateway's page</html>"
    lost: bool = False


class Gateway:
    """Listens on 127.0.0.1 and passes requests on to ``target``; ``answers`` are given first, one a request."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.answers: list[Answer] = []
        self.always: Answer | None = None
        self.requests: list[Mapping[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = gateway.answer(self.path, dict(self.headers), body)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Return the next answer that is due, or the server's."""
        self.requests.append(headers)
        due = self.answers.pop(0) if self.answers else self.always
        if due is not None and not due.lost:
            return due
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            kept = {"Content-Type": reply.headers["Content-Type"]}
            return due or Answer(reply.status, kept, reply.read())
        finally:
            connection.close()
