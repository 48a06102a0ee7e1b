"""What stands before every request: whether it is for this page, from this page, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from charm_checkpoint.ui import peers
from charm_checkpoint.ui.access import KEY_HEADER, Access
from charm_checkpoint.ui.headers import HEADERS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("GET", "HEAD", "POST")
_ENTER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="key" content="{key}"><title>charm-checkpoint</title>
<script src="/static/enter.js"></script></head>
<body><noscript>This page needs JavaScript.</noscript><p id="told"></p></body></html>
"""
STOPPED = (
    "This page is opened by the link that charm-checkpoint ui prints in the terminal, and that link opens it once. "
    "Run the command again for another one."
)


class Refusal(Exception):
    """Why a request is not answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Guard:
    """An application behind its checks. What they refuse, it never sees."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; all answers have the headers."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": _with_ours(message.get("headers", ()))}
            await send(message)

        try:
            answer: ASGIApp = self._checked(Request(scope)) or self._app
        except Refusal as refusal:
            answer = PlainTextResponse(str(refusal), refusal.status)
        try:
            await answer(scope, receive, guarded)
        except asyncio.CancelledError:  # the command ends while a store is waited for: no failure, and nobody's news
            if not begun:
                await PlainTextResponse("The command has ended.", 503)(scope, receive, guarded)

    def _checked(self, request: Request) -> Response | None:
        """Return the answer to a request that opens the page, None for one that goes on; raises `Refusal`."""
        headers = request.headers
        self._check_target(request.method, headers)
        ticket = request.query_params.get("ticket")
        if ticket is not None and request.url.path == "/":
            return self._entered(request, ticket)
        self._check_origin(request, headers)
        if not self._access.has_cookie(headers.get("cookie", "")):
            raise Refusal(401, STOPPED)
        if request.url.path.startswith("/api/") and not self._access.has_key(headers.get(KEY_HEADER, "")):
            raise Refusal(401, STOPPED)
        return None

    def _check_target(self, method: str, headers: Headers) -> None:
        named = headers.getlist("host")
        if len(named) != 1 or named[0].lower() not in self._access.hosts:
            raise Refusal(
                403,
                f"This page is at http://{self._access.hosts[0]} and under no other name. "
                "Through a tunnel, forward the same port.",
            )
        if method not in _METHODS:
            raise Refusal(405, "Only GET and POST are understood here.")

    def _check_origin(self, request: Request, headers: Headers) -> None:
        """Refuse what another site, another port or a frame asks for."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin != f"http://{headers['host'].lower()}":
            raise Refusal(403, "Another site may not use this page.")
        typed = site == "none" and headers.get("sec-fetch-mode") == "navigate" and request.url.path == "/"
        if site is not None and site != "same-origin" and not typed:
            raise Refusal(403, "Another site may not use this page.")
        if request.method == "POST" and origin is None and site is None:
            raise Refusal(403, "A change has to come from the page.")

    def _entered(self, request: Request, ticket: str) -> Response:
        """Exchange the ticket for cookie and key. Its page is the one answer that another site may lead to."""
        headers = request.headers
        if request.method != "GET" or headers.get("sec-fetch-dest", "document") != "document":
            raise Refusal(403, "The link is to be opened in a window of its own.")
        if self._access.has_cookie(headers.get("cookie", "")):
            return RedirectResponse("/", 303)  # again, in the browser that has it open
        if not peers.is_mine(request.client, self._access.port):
            raise Refusal(403, "This page is another user's.")
        if not self._access.use(ticket):
            raise Refusal(401, STOPPED)
        page = HTMLResponse(_ENTER.format(key=self._access.key))
        page.headers["set-cookie"] = self._access.set_cookie()
        return page


def _with_ours(headers: Any) -> list[tuple[bytes, bytes]]:
    ours: Mapping[bytes, bytes] = dict(HEADERS)
    return [(name, value) for name, value in headers if name.lower() not in ours] + list(HEADERS)
