"""Who may use the page: whoever opened its link once, in that browser, from that page.

Three secrets, all of this process. The *ticket* is in the link that the terminal shows, and good once. It is exchanged
for a *cookie*, which no script sees, and a *key*, which the page keeps for its own origin and sends in a header. A
cookie alone would not do: browsers send it to every port of this machine, so another program that listens here gets to
see it. A key alone would not do either: no navigation sends it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hmac import compare_digest

HOME = "127.0.0.1"
"""The one address that is listened at."""

KEY_HEADER = "x-charm-checkpoint-key"
"""What the page sends its key in. No other origin can: browsers ask first, and are not answered."""


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(slots=True)
class Access:
    """The secrets of one page on one port."""

    port: int
    ticket: str = field(default_factory=_secret, repr=False)
    cookie: str = field(default_factory=_secret, repr=False)
    key: str = field(default_factory=_secret, repr=False)
    is_used: bool = False

    @property
    def cookie_name(self) -> str:
        """Return the cookie's name: one a port, since ports share their cookies."""
        return f"charm-checkpoint-{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return what a request may name as its host. Any other name leads here by DNS rebinding, or a proxy."""
        port = "" if self.port == 80 else f":{self.port}"
        return f"{HOME}{port}", f"localhost{port}"

    @property
    def link(self) -> str:
        """Return the link that opens the page, once."""
        return f"http://{self.hosts[0]}/?ticket={self.ticket}"

    def use(self, ticket: str) -> bool:
        """Take a ticket; tell whether it was the right one, for the first time."""
        if self.is_used or not _same(ticket, self.ticket):
            return False
        self.is_used = True
        return True

    def has_cookie(self, header: str) -> bool:
        """Tell whether a ``Cookie`` header holds the cookie."""
        pairs = (part.strip().partition("=") for part in header.split(";"))
        return any(name == self.cookie_name and _same(value, self.cookie) for name, _, value in pairs)

    def has_key(self, header: str) -> bool:
        """Tell whether a header is the key."""
        return _same(header, self.key)

    def set_cookie(self) -> str:
        """Return the ``Set-Cookie`` header."""
        return f"{self.cookie_name}={self.cookie}; Path=/; HttpOnly; SameSite=Strict"


def _same(given: str, wanted: str) -> bool:
    return compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())
