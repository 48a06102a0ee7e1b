"""The interface between pools.py and a kind of store: how its connections are made, tested and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol


class Maker(Protocol):
    """Makes and ends the connections of one kind of store. All but `aopen` and `atest` return at once or in time."""

    def open(self, left: float) -> Any:
        """Return a new connection, within so many seconds."""
        ...

    async def aopen(self, left: float) -> Any:
        """Return a new connection for the running event loop."""
        ...

    def close(self, connection: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        """Close a connection, which is of ``loop`` if that is given, from any thread and without waiting."""
        ...

    def lend(self, connection: Any, deadline: float) -> None:
        """Give a connection the deadline of its next call, by the monotonic clock."""
        ...

    def is_fit(self, connection: Any, *, done: bool) -> bool:
        """Tell whether a connection can be used again; ``done``: its last call came to its end."""
        ...

    def is_lost(self, connection: Any) -> bool:
        """Tell whether a connection was cut by something that may have cut others too."""
        ...

    def test(self, connection: Any) -> bool:
        """Tell whether a connection that was idle still works."""
        ...

    async def atest(self, connection: Any) -> bool:
        """Tell whether a connection that was idle still works."""
        ...


class Sharing(Protocol):
    """What a `Maker` also has whose connections can serve both blocking calls and event loops, one after the other."""

    def convert(self, connection: Any, loop: asyncio.AbstractEventLoop | None) -> Any:
        """Return an idle connection as one for the running event loop, or for blocking calls if ``loop`` is None."""
        ...

    def watch(self, connection: Any, has_spare: Callable[[], bool]) -> None:
        """Have a new connection give up if the server does not answer it, once ``has_spare`` says that another is idle.

        A pooler may let more clients in than it has sessions for: connections that are idle then keep new ones waiting.
        """
        ...
