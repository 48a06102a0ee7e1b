"""The checkpointer and the long-term memory of LangGraph's server, which langgraph.json names.

::

    {
      "checkpointer": {"path": "charm_checkpoint.langgraph_server.checkpointer"},
      "store": {"path": "charm_checkpoint.langgraph_server.store"}
    }
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.memory import Memory, open_memory
from charm_checkpoint.runtime import forks
from charm_checkpoint.saver.checkpointer import CharmSaver

URL = "CHARM_CHECKPOINT_URL"
"""Environment variable: the store's URL, its options in the query."""
SETTINGS = "LANGGRAPH_CHECKPOINTER"
"""Environment variable in which the server has ``checkpointer`` of langgraph.json, as JSON."""
STORE_SETTINGS = "LANGGRAPH_STORE"
"""Environment variable in which the server has ``store`` of langgraph.json, as JSON."""
KEY = "charm_checkpoint"
"""Key there of our own: the config of `open_memory`."""
OF_STORE = ("index", "ttl", "on_embed_error")
"""Entries of it, under ``store``, that are for `charm_checkpoint.Memory.get_langgraph_store`."""


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


@asynccontextmanager
async def store() -> AsyncIterator[CharmStore]:
    """Yield the long-term memory of the store that the environment, or langgraph.json, names.

    It is that of the checkpointer, or another one that ``store.charm_checkpoint.url`` names. ``index`` and ``ttl``,
    in LangGraph's form, stand in ``store.charm_checkpoint`` too: those beside ``path`` are not for stores like this.

    Raises what `checkpointer` raises.
    """
    own = _settings(os.environ, "store", STORE_SETTINGS)
    settings = {name: own.pop(name) for name in OF_STORE if name in own}
    if own.get("url") is None and own:
        raise ConfigError(
            f"langgraph.json: store.{KEY} has {', '.join(own)} and no url. Its store is that of the checkpointer, "
            f"whose options stand in checkpointer.{KEY}; options here are those of a url here."
        )
    shared = _shared if own.get("url") is None else _store_apart
    memory = await asyncio.to_thread(shared.enter)
    try:
        await memory.store.arun(memory.store.backend.is_current, write=False)
        yield memory.get_langgraph_store(**settings)
    finally:
        if shared.leave():
            await memory.aclose()


def _open_store_apart() -> Memory:
    own = _settings(os.environ, "store", STORE_SETTINGS)
    return Memory({name: value for name, value in own.items() if name not in OF_STORE})


@unseen
def open_configured(environment: Mapping[str, str] = os.environ) -> Memory:
    """Open the store that the environment of LangGraph's server names; nothing is connected yet.

    Raises `ConfigError` if it names none.
    """
    config = _settings(environment, "checkpointer", SETTINGS)
    if config.get("url") is not None:
        return Memory(config)
    if not environment.get(URL):
        raise ConfigError(
            f"No store is named: set {URL}, for example to sqlite:///agent.db or postgresql://user:password@host/db, "
            f'or write {{"checkpointer": {{"path": …, "{KEY}": {{"url": …}}}}}} into langgraph.json.'
        )
    config.pop("url", None)
    try:
        return open_memory(environment[URL], config)
    except ConfigError as error:
        if isinstance(error, MissingExtra):
            raise
        raise ConfigError(f"{error} (the URL is that of {URL})") from error


@unseen
def _settings(environment: Mapping[str, str], section: str, variable: str) -> dict[str, Any]:
    try:
        given = json.loads(environment.get(variable) or "{}")
    except ValueError:  # whose own text may quote a secret
        given = None
    if not isinstance(given, dict):
        raise ConfigError(
            f"{variable}, which the server makes of {section} in langgraph.json, is not a JSON object like "
            f'{{"path": …, "{KEY}": {{"url": …}}}}; mend it, or unset it.'
        )
    own = given.get(KEY, {})
    if not isinstance(own, dict):
        raise ConfigError(f'langgraph.json: {section}.{KEY} must be an object, as in {{"url": …}}.')
    return own


class _Shared:
    """One store for all who are inside: the server enters once for each thread that has an event loop."""

    def __init__(self, opened: Callable[[], Memory]) -> None:
        self._opened = opened
        self._inside = 0
        self._memory: Memory | None = None

    def enter(self) -> Memory:
        with forks.lock(__name__):
            if self._memory is None:
                self._memory = self._opened()
            self._inside += 1
            return self._memory

    def leave(self) -> bool:
        """Tell whether this was the last: the store is to be closed then."""
        with forks.lock(__name__):
            self._inside -= 1
            if self._inside:
                return False
            self._memory = None
            return True


_shared, _store_apart = _Shared(open_configured), _Shared(_open_store_apart)
