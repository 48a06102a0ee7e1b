"""The page's server: one port of this machine, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import uvicorn

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.ui.access import HOME, Access
from charm_checkpoint.ui.application import application
from charm_checkpoint.ui.page import Page

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory
    from charm_checkpoint.ui.guard import Guard

log = logging.getLogger("charm_checkpoint")

LARGEST_HEAD = 400_000
"""Bytes of a request's head: two ids of 10,000 characters, percent-encoded, are 240,000."""
PATIENCE = 1
"""Seconds that requests under way get when the server is told to end."""


def serve(
    memory: Memory,
    *,
    port: int = 0,
    write: bool = False,
    graph: Any = None,
    open_browser: bool = True,
    say: Callable[[str], object] = print,
    complain: Callable[[str], object] = log.error,
) -> None:
    """Show a store as a page until the process is interrupted; then the store is closed.

    ``port`` 0 takes one that is free. ``graph`` has runs go on when a question is answered. ``say`` gets each line
    that is told, ``complain`` what went wrong here that nobody foresaw, in several lines. Raises `ConfigError` for a
    port that cannot be had.
    """
    listening = listen(port)
    with listening:
        access = Access(listening.getsockname()[1])
        app = application(Page(memory, write, graph, complain), access)
        for line in lines(access, write, graph is not None, str(memory.location), os.environ):
            say(line)
        if open_browser and has_windows(os.environ):
            # A browser may take its time, and its link waits in the socket's queue meanwhile.
            threading.Thread(target=webbrowser.open, args=(access.link,), daemon=True).start()
        server(app).run([listening])


def server(app: Guard) -> uvicorn.Server:
    """Return the server of an application; it writes no log of its own and believes no proxy."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="critical",  # what fails in the page is told by the page, and Ctrl-C is no failure
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_graceful_shutdown=PATIENCE,
        )  # fmt: skip
    )


def listen(port: int) -> socket.socket:
    """Return a socket that listens at a port of this machine; raises `ConfigError` if it cannot be had."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOME, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(f"the port {port} cannot be had: {error}; leave it out to have a free one chosen") from error
    return listening


def lines(access: Access, write: bool, runs: bool, store: str, environ: Any) -> Iterator[str]:
    """Yield what is told when the server starts."""
    may = "threads can be forked, answered, pinned and deleted" if write else "read-only; --write allows changes"
    yield f"{store} ({may})"
    if write:
        yield "an answer has the graph go on here" if runs else "an answer is stored for the program to go on with"
    yield f"open once: {access.link}"
    if environ.get("SSH_CONNECTION"):
        host = environ["SSH_CONNECTION"].split()[2:3]
        yield f"from your own machine first: ssh -L {access.port}:{HOME}:{access.port} {host[0] if host else 'HOST'}"
    yield "Ctrl-C ends it"


def has_windows(environ: Any) -> bool:
    """Tell whether a browser would open in a window: one that opens in this terminal would take it."""
    if sys.platform in ("darwin", "win32"):
        return not environ.get("SSH_CONNECTION")
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
