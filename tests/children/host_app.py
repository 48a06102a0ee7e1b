"""An agent as a host imports it: stores are opened, graphs compiled, and even used, at the top of a module.

``HOST_URLS`` names the stores, as JSON. A path ``/NAME/THREAD`` takes a turn of a thread on one, and answers with the
process and all turns so far; ``/NAME/THREAD/async`` takes it async, ``…/stream`` tells every step.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import operator
import os
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypedDict

from langgraph.graph import START, StateGraph

from charm_checkpoint import CharmError, Memory, ThreadConflict, open_memory


class Log(TypedDict):
    turns: Annotated[list[str], operator.add]


def echo(state: Log) -> Any:
    return {"turns": [f"heard {state['turns'][-1]}"]}


builder = StateGraph(Log).add_node(echo).add_edge(START, "echo")


def open_all() -> dict[str, Memory]:
    """Open the stores; two runs that meet by mistake are an error."""
    return {name: open_memory(url, on_conflict="raise") for name, url in json.loads(os.environ["HOST_URLS"]).items()}


def compile_all(memories: dict[str, Memory]) -> dict[str, Any]:
    return {
        name: builder.compile(checkpointer=memory.get_langgraph_checkpointer()) for name, memory in memories.items()
    }


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def said(thread: str) -> Any:
    return {"turns": [f"{thread} says"]}


def take_turn(graph: Any, thread: str) -> list[str]:
    """Take a turn, blocking; return all turns of the thread."""
    turns: list[str] = graph.invoke(said(thread), config(thread))["turns"]
    return turns


async def atake_turn(graph: Any, thread: str) -> list[str]:
    turns: list[str] = (await graph.ainvoke(said(thread), config(thread)))["turns"]
    return turns


def take_turn_async(graph: Any, thread: str) -> list[str]:
    """Take a turn async, in a loop of its own: `asyncio.run` would put its handler of SIGINT in the host's place."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        turns = loop.run_until_complete(atake_turn(graph, thread))
        loop.run_until_complete(loop.shutdown_default_executor())
        return turns


memories = open_all() if "HOST_URLS" in os.environ else {}
graphs = compile_all(memories)
if os.environ.get("HOST_USES_IT"):
    for graph in graphs.values():
        take_turn(graph, f"import {os.getpid()}")
        take_turn_async(graph, f"import {os.getpid()}")


def answer(path: str) -> Any:
    """Take the turn that a path asks for."""
    _, name, thread, *rest = path.split("/")
    take = take_turn_async if rest == ["async"] else take_turn
    return {"pid": os.getpid(), "turns": take(graphs[name], thread)}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Serve a WSGI host."""
    try:
        status, body = "200 OK", answer(environ["PATH_INFO"])
    except CharmError as error:
        status, body = "500 Internal Server Error", {"error": f"{type(error).__name__}: {error}"}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(body).encode()]


def asgi() -> Any:
    """Return an application for an ASGI host, whose stores live as long as it does."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            opened = {name: await stack.enter_async_context(memory) for name, memory in open_all().items()}
            app.state.graphs = compile_all(opened)
            yield

    async def turn(request: Any) -> Any:
        graph, thread = request.app.state.graphs[request.path_params["name"]], request.path_params["thread"]
        try:
            return JSONResponse({"pid": os.getpid(), "turns": await atake_turn(graph, thread)})
        except ThreadConflict as error:
            return JSONResponse({"error": str(error)}, 409)

    async def stream(request: Any) -> Any:
        graph, thread = request.app.state.graphs[request.path_params["name"]], request.path_params["thread"]
        steps = graph.astream(said(thread), config(thread), stream_mode="values")

        async def lines() -> AsyncIterator[str]:
            # As servers do that send a sign of life meanwhile: each step is awaited in a task of its own.
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield json.dumps(await asyncio.wait_for(anext(steps), 15)) + "\n"

        return StreamingResponse(lines(), media_type="application/jsonl")

    routes = [Route("/{name}/{thread}", turn), Route("/{name}/{thread}/stream", stream)]
    return Starlette(routes=routes, lifespan=lifespan)
