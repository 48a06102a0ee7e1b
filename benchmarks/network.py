"""A slow network between a client and the server of a URL: all bytes arrive late, and round trips are counted."""

from __future__ import annotations

from urllib.parse import urlsplit

from charm_checkpoint.servers.base import HOST
from charm_checkpoint.servers.proxy import Proxy

PORTS = {"postgresql": 5432, "postgres": 5432}
REDIS_PORT = 6379


class SlowNetwork(Proxy):
    """A way to the server of a URL, through a thread of this process, until it is left.

    ``delay`` is what a byte takes each way, in seconds. ``trips`` counts round trips: what a
    client sends until something comes back is one, however many messages that are.
    """

    def __init__(self, url: str, delay: float) -> None:
        self._parts = urlsplit(url)
        super().__init__(self._parts.port or PORTS.get(self._parts.scheme, REDIS_PORT), self._parts.hostname or HOST)
        self.delay = delay

    @property
    def url(self) -> str:
        """The URL of the server by this way."""
        login, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{login}{at}{HOST}:{self.port}").geturl()
