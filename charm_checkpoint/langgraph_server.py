"""The checkpointer of LangGraph's server, which langgraph.json names.

::

    {"checkpointer": {"path": "charm_checkpoint.langgraph_server.checkpointer"}}
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.memory import Memory, open_memory
from charm_checkpoint.saver import CharmSaver

URL = "CHARM_CHECKPOINT_URL"
"""Environment variable: the store's URL, its options in the query."""
SETTINGS = "LANGGRAPH_CHECKPOINTER"
"""Environment variable in which the server has ``checkpointer`` of langgraph.json, as JSON."""
KEY = "charm_checkpoint"
"""Key there of our own: the config of `open_memory`."""


@asynccontextmanager
async def checkpointer() -> AsyncIterator[CharmSaver]:
    """Yield the saver of the store that the environment, or langgraph.json, names.

    The URL is ``checkpointer.charm_checkpoint.url`` of langgraph.json, where ``${NAME}`` is
    expanded, or else ``CHARM_CHECKPOINT_URL``; further options stand beside that ``url`` or in
    the URL's query. All who are inside at once, in whatever thread and event loop, have the
    same saver; the last to leave closes the store.

    Raises `ConfigError` if no store is named, and what the store raises if it cannot be reached.
    """
    memory = await asyncio.to_thread(_shared.enter)
    try:
        saver = memory.get_langgraph_checkpointer()
        if saver is None:
            raise ConfigError(f"{memory!r} keeps no checkpoints: name another store in {URL}.")
        # Says now, not in the first run, that the server is not there.
        await memory.store.arun(memory.store.backend.is_current, write=False)
        yield saver
    finally:
        if _shared.leave():
            await memory.aclose()


def open_configured(environment: Mapping[str, str] = os.environ) -> Memory:
    """Open the store that the environment of LangGraph's server names; nothing is connected yet.

    Raises `ConfigError` if it names none.
    """
    config = _settings(environment)
    url = config.pop("url", None)
    if url is not None:
        return Memory({**config, "url": url})
    if not environment.get(URL):
        raise ConfigError(
            f"No store is named: set {URL}, for example to sqlite:///agent.db or postgresql://user:password@host/db, "
            f'or write {{"checkpointer": {{"path": …, "{KEY}": {{"url": …}}}}}} into langgraph.json.'
        )
    return open_memory(environment[URL], config)


def _settings(environment: Mapping[str, str]) -> dict[str, Any]:
    given = json.loads(environment.get(SETTINGS) or "{}").get(KEY, {})
    if not isinstance(given, dict):
        raise ConfigError(f'langgraph.json: checkpointer.{KEY} must be an object, as in {{"url": …}}.')
    return given


class _Shared:
    """One store for all who are inside: the server enters once for each thread that has an event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._memory: Memory | None = None

    def enter(self) -> Memory:
        with self._lock:
            if self._memory is None:
                self._memory = open_configured()
            self._inside += 1
            return self._memory

    def leave(self) -> bool:
        """Tell whether this was the last: the store is to be closed then."""
        with self._lock:
            self._inside -= 1
            if self._inside:
                return False
            self._memory = None
            return True


_shared = _Shared()
