"""A page that is served at a real port, and tabs of a browser to open it in."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from chromium import Browser, Tab, chromium
from stores import have

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.ui.access import Access
from charm_checkpoint.ui.application import application
from charm_checkpoint.ui.page import Page
from charm_checkpoint.ui.serving import listen, server

ALARM = "window.hit = 0; window.alert = window.confirm = window.prompt = () => { window.hit += 1; };"


class Served(NamedTuple):
    """A page that is served, and the store behind it, opened as another program opens it."""

    memory: Memory
    access: Access


@contextlib.contextmanager
def served(url: str, write: bool = False, graph: Any = None) -> Iterator[Served]:
    """Serve a store on a real port, in a thread."""
    with listen(0) as listening, open_memory(url) as memory:
        access = Access(listening.getsockname()[1])
        running = server(application(Page(open_memory(url), write, graph), access))
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        try:
            yield Served(memory, access)
        finally:
            running.should_exit = True
            thread.join()


@contextlib.contextmanager
def a_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser; without one, tests are skipped."""
    with contextlib.ExitStack() as stack:
        yield have(lambda: stack.enter_context(chromium(folder)))


@contextlib.contextmanager
def a_tab(browser: Browser) -> Iterator[Tab]:
    """Open a tab in which a script of somebody else's, should one ever run, is counted."""
    opened = browser.tab()
    opened.call("Page.addScriptToEvaluateOnNewDocument", source=ALARM)
    opened.resize(1300, 850)
    yield opened
    opened.close()


def open_page(tab: Tab, access: Access) -> None:
    tab.go(access.link)
    tab.has("read-only" if "read-only" in tab.text("#header") else "Threads", "#header")
