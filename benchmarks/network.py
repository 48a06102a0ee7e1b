"""A slow network between a client and a server: all bytes arrive late, and round trips are counted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from typing_extensions import Self

HOST = "127.0.0.1"
BLOCK = 1 << 16
PORTS = {"postgresql": 5432, "postgres": 5432}
REDIS_PORT = 6379

Streams: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
Late: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"


class SlowNetwork:
    """A way to the server of a URL, through a thread of this process, until it is left.

    ``delay`` is what a byte takes each way, in seconds. ``trips`` counts round trips: what a
    client sends until something comes back is one, however many messages that are.
    """

    def __init__(self, url: str, delay: float) -> None:
        self._parts = urlsplit(url)
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0
        self.trips = 0

    @property
    def url(self) -> str:
        """The URL of the server by this way."""
        login, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{login}{at}{HOST}:{self._port}").geturl()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._accept, HOST))
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exception: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._parts.port or PORTS.get(self._parts.scheme, REDIS_PORT)
        server = await asyncio.open_connection(self._parts.hostname, port)
        asked = threading.Event()

        def ask() -> None:
            self.trips += not asked.is_set()
            asked.set()

        there = self._carry(reader, server[1], ask, lambda: None)
        back = self._carry(server[0], writer, lambda: None, asked.clear)
        try:
            await asyncio.gather(there, back)
        except ConnectionError:
            return  # either side may leave without a word
        finally:
            writer.transport.abort()
            server[1].transport.abort()

    async def _carry(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        come: Callable[[], None],
        go: Callable[[], None],
    ) -> None:
        late: Late = asyncio.Queue()
        sending = asyncio.create_task(self._send(late, target, go))
        try:
            while data := await source.read(BLOCK):
                come()
                late.put_nowait((time.monotonic() + self._delay, data))
            late.put_nowait((0.0, b""))
            await sending
        finally:
            sending.cancel()

    async def _send(self, late: Late, target: asyncio.StreamWriter, go: Callable[[], None]) -> None:
        while (entry := await late.get())[1]:
            await asyncio.sleep(entry[0] - time.monotonic())
            go()
            target.write(entry[1])
            await target.drain()
        target.close()  # what is written already is sent first

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets
