"""The page as an application: which request is answered by what."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from charm_checkpoint.errors import NotThere
from charm_checkpoint.ui import assets, changing, item_reading, reading
from charm_checkpoint.ui.access import Access
from charm_checkpoint.ui.guard import Guard
from charm_checkpoint.ui.page import Page
from charm_checkpoint.ui.parameters import Parameters
from charm_checkpoint.ui.replies import TOLD, UNFORESEEN, Json

Answer = Callable[[Page, Parameters], Awaitable[Any]]

READS: dict[str, Answer] = {
    "blame": reading.blame,
    "conversation": reading.conversation,
    "diff": reading.diff,
    "history": reading.history,
    "item": item_reading.item,
    "items": item_reading.items,
    "namespaces": item_reading.namespaces,
    "pulse": reading.pulse,
    "size": reading.size,
    "state": reading.state,
    "thread": reading.thread,
    "threads": reading.threads,
    "value": reading.value,
}
CHANGES: dict[str, Answer] = {
    "answer": changing.answer,
    "delete": changing.delete,
    "fork": changing.fork,
    "pin": changing.pin,
}


def application(page: Page, access: Access) -> Guard:
    """Return the application of a page, behind its guard; it closes the page's store when it is shut down."""
    shown = assets.load()

    async def start(request: Request) -> Response:
        return _asset(shown["index.html"])

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in shown:
            raise NotThere("There is no such file.")
        return _asset(shown[name])

    async def session(request: Request) -> Response:
        return Json(_session(page))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        try:
            await page.close()
        except Exception:  # as below: the server would end without a word
            page.complain(f"the store could not be closed:\n{traceback.format_exc()}")

    app = Starlette(
        routes=[
            Route("/", start),
            Route("/static/{name}", asset),
            Route("/api/session", session),
            *(Route(f"/api/{name}", _read(page, answer), methods=["GET"]) for name, answer in READS.items()),
            *(Route(f"/api/{name}", _change(page, answer), methods=["POST"]) for name, answer in CHANGES.items()),
        ],
        exception_handlers=TOLD,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, access)


def _read(page: Page, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _answered(page, answer(page, Parameters.of_query(request)))

    return endpoint


def _change(page: Page, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _answered(page, answer(page, await Parameters.of_body(request)))

    return endpoint


async def _answered(page: Page, answer: Awaitable[Any]) -> Response:
    try:
        return Json(await answer)
    except tuple(TOLD):
        raise
    except Exception:  # nobody foresaw it, so that the server would write it to the terminal as it is
        page.complain(f"the page could not answer:\n{traceback.format_exc()}")
        return UNFORESEEN


def _asset(asset: assets.Asset) -> Response:
    return Response(asset.content, media_type=asset.media_type)


def _session(page: Page) -> dict[str, Any]:
    """Tell of the page itself: which store, and what may be done."""
    return {"store": str(page.memory.location), "writes": page.writes, "runs": page.graph is not None}
