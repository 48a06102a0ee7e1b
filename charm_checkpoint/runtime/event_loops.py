"""Event loops that end too early: how to tell, and how to close a connection whose loop no longer runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any


def is_interpreter_ending(error: BaseException | None) -> bool:
    """Tell whether an error, or what caused it, says that the interpreter is ending: it starts no more threads then.

    An event loop looks up names of hosts in a thread.
    """
    while error is not None:
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _ENDING):
            return True
        error = error.__cause__ or error.__context__
    return False


_ENDING = ("cannot schedule new futures after", "can't create new thread at interpreter shutdown")


# ------------------------------------------------------------------------------- transports


def end_transport(transport: Any, loop: asyncio.AbstractEventLoop, *kept: Any) -> None:
    """Close a connection of asyncio's that is at rest, from any thread, whatever state its loop is in.

    What would complain if it went before the transport is closed is ``kept`` until then.
    """
    if not loop.is_running():
        _cut(transport, loop)
    elif _running() is loop:
        transport.abort()
    else:
        with suppress(RuntimeError):  # the loop was closed in this moment
            loop.call_soon_threadsafe(_abort, transport, kept)


def _abort(transport: Any, kept: tuple[Any, ...]) -> None:
    transport.abort()


def _cut(transport: Any, loop: Any) -> None:
    """Close the socket of a transport whose loop does not run, and perhaps never will, so that nothing warns of it."""
    protocol = getattr(transport, "_ssl_protocol", None)
    if protocol is not None:
        transport._closed = True
        transport = getattr(protocol, "_transport", None)
    socket = getattr(transport, "_sock", None)
    if socket is None:
        return
    for name in ("_remove_reader", "_remove_writer"):
        if not loop.is_closed() and hasattr(loop, name):
            getattr(loop, name)(socket.fileno())
    socket.close()
    with suppress(AttributeError):
        transport._closing, transport._sock = True, None


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
