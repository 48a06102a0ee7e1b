"""A network between a client and a server that can be slow, cut connections, swallow bytes, and count."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from charm_checkpoint.servers.base import HOST

if TYPE_CHECKING:
    from typing_extensions import Self

FAULTS = ("before request", "amid request", "after request", "before reply", "amid reply", "half-closed", "silent")
"""What can happen to a connection once the client next sends something.

Cut before it is passed on; amid it; right after it; when the reply is there, which nobody sees;
amid that; closed for writing by the server; never answered.
"""

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Pass: TypeAlias = Coroutine[Any, Any, None]
Late: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"


class Link:
    """One connection through the proxy. A trip is what the client sends until it is answered."""

    def __init__(self, proxy: Proxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._asking = False
        self.fault = ""

    async def run(self) -> None:
        """Carry bytes both ways until either side is done."""
        both = [
            self._carry(self._client, self._server, self._ask),
            self._carry(self._server, self._client, self._reply),
        ]
        tasks = [asyncio.create_task(way) for way in both]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.cut()

    def cut(self) -> None:
        """End both sides with a reset, as a dying machine or an impatient router does."""
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    async def _carry(self, source: Streams, target: Streams, pass_on: Callable[[bytes], Pass]) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.create_task(self._send(late, target[1], pass_on))
        try:
            while data := await source[0].read(1 << 16):
                late.put_nowait((time.monotonic() + self._proxy.delay, data))
            late.put_nowait((0.0, b""))
            await sending
        finally:
            sending.cancel()

    async def _send(self, late: Late, target: asyncio.StreamWriter, pass_on: Callable[[bytes], Pass]) -> None:
        while (entry := await late.get())[1]:
            await asyncio.sleep(entry[0] - time.monotonic())
            await pass_on(entry[1])
        await target.drain()

    async def _ask(self, data: bytes) -> None:
        if not self._asking:
            self._asking = True
            self._proxy.trips += 1
            self.fault = self.fault or self._proxy.take_fault()
        if self.fault == "silent":
            return
        if self.fault == "before request":
            return self.cut()
        if self.fault == "half-closed":
            self._client[1].write_eof()
        part = data[: len(data) // 2] if self.fault == "amid request" else data
        self._server[1].write(part)
        await self._server[1].drain()
        if self.fault == "after request":
            await asyncio.sleep(self._proxy.pause)
        if self.fault in ("amid request", "after request"):
            self.cut()

    async def _reply(self, data: bytes) -> None:
        self._asking = False
        if self.fault in ("silent", "half-closed"):
            return
        if self.fault == "before reply":
            return self.cut()
        self._client[1].write(data[: len(data) // 2] if self.fault == "amid reply" else data)
        await self._client[1].drain()
        if self.fault == "amid reply":
            self.cut()


class Proxy:
    """Listens on ``port`` of 127.0.0.1 and passes on to a server; runs in a thread until it is left.

    ``delay`` is what a byte takes each way, in seconds; ``pause`` how long the server has before
    a cut "after request". ``trips`` counts; ``silent`` tells whether new connections go unanswered.
    """

    def __init__(self, target: int, host: str = HOST) -> None:
        self._target, self._host = target, host
        self._links: set[Link] = set()
        self._faults: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.delay = 0.0
        self.pause = 0.0
        self.trips = 0
        self.silent = False
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, HOST, self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exception: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def through(self, url: str) -> str:
        """Return a URL of the server by way of this proxy."""
        return url.replace(f":{self._target}", f":{self.port}")

    def fail(self, *faults: str) -> None:
        """Let these faults befall the next trips of all connections, one each; "" is none."""
        assert set(faults) <= {*FAULTS, ""}
        self._faults += faults

    def take_fault(self) -> str:
        """Return the next fault that is due, if any."""
        return self._faults.pop(0) if self._faults else ""

    @property
    def due(self) -> int:
        """How many faults are still to come."""
        return len(self._faults)

    def cut(self) -> int:
        """Cut all connections that there are; return how many."""
        return int(self._do(self._cut()))

    def silence(self) -> int:
        """Let no more come of all connections that there are; return how many."""
        links = list(self._links)
        for link in links:
            link.fault = "silent"
        return len(links)

    @contextlib.contextmanager
    def counted(self) -> Iterator[Callable[[], int]]:
        """Count the trips made so far in a block."""
        before = self.trips
        yield lambda: self.trips - before

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection(self._host, self._target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, (reader, writer), server)
        link.fault = "silent" if self.silent else ""
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def _stop(self) -> None:
        self._server.close()
        until = time.monotonic() + 5
        # Again and again: a connection that was being accepted is a link a moment later.
        while (others := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < until:
            await self._cut()
            await asyncio.wait(others, timeout=0.05)
        await asyncio.sleep(0)  # what was cut is closed in the next round of the loop
