"""A page over a store, as a browser gets it, without one: its requests in this process."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.testclient import TestClient

from charm_checkpoint import Memory
from charm_checkpoint.ui.access import KEY_HEADER, Access
from charm_checkpoint.ui.application import application
from charm_checkpoint.ui.page import Page

PORT = 8765
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"


class Client:
    """A browser that may have opened the page; ``headers`` of a request replace those that a browser sends."""

    def __init__(self, http: TestClient, access: Access) -> None:
        self.http = http
        self.access = access
        self.key = ""

    def enter(self, **headers: str | None) -> httpx.Response:
        """Open the page by its link."""
        typed = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        reply = self.request("GET", self.access.link, typed | headers)
        found = re.search(r'name="key" content="([\w-]+)"', reply.text)
        self.key = found[1] if found else self.key
        return reply

    def get(self, path: str, parameters: dict[str, str] | None = None, **headers: str | None) -> httpx.Response:
        """Ask as the page does."""
        asked = urlencode(parameters or {}, errors="surrogatepass")
        usual = {"sec-fetch-site": "same-origin", KEY_HEADER: self.key}
        return self.request("GET", f"{ORIGIN}{path}{'?' if asked else ''}{asked}", usual | _named(headers))

    def post(self, path: str, content: Any, **headers: str | None) -> httpx.Response:
        """Change something as the page does."""
        usual = {"sec-fetch-site": "same-origin", "origin": ORIGIN, KEY_HEADER: self.key}
        return self.request("POST", f"{ORIGIN}{path}", usual | _named(headers), content)

    def request(self, method: str, url: str, headers: dict[str, str | None], content: Any = None) -> httpx.Response:
        """Send a request, of a header that is None nothing."""
        given = {name: value for name, value in headers.items() if value is not None}
        if content is not None and not isinstance(content, bytes):
            content = json.dumps(content).encode()
            given.setdefault("content-type", "application/json")
        return self.http.request(method, url, headers=given, content=content, follow_redirects=False)


def _named(headers: dict[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextlib.contextmanager
def page(memory: Memory, write: bool = False, graph: Any = None, entered: bool = True) -> Iterator[Client]:
    """Serve a store, which is closed at the end, and open its page."""
    access = Access(PORT)
    app = application(Page(memory, write, graph), access)
    with TestClient(app, base_url=ORIGIN, client=("127.0.0.1", 1), raise_server_exceptions=False) as http:
        client = Client(http, access)
        if entered:
            assert client.enter().status_code == 200
        yield client
