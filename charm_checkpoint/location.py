"""Where a store is: a parsed URL that shows no secret.

    sqlite:///relative.db         sqlite:////absolute/path.db      sqlite:///C:/path.db
    sqlite:///:memory:            sqlite://                        memory://
    postgresql://user:p%40ss@host:5432/db?sslmode=require          redis://:pass@[::1]:6379/0
    postgresql://user@h1:5432,h2:5433/db                           unix:///run/redis.sock?db=1

The text is split by hand: urllib's own errors quote the password, and ``#`` is an ordinary
character of a path or a password here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, unquote

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.masking import MASK, hides_user, is_secret, mask, plain_name

Host: TypeAlias = tuple[str, int | None]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_REST = re.compile(r"([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL)
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::([0-9]*))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SQLITE_FILE = re.compile(r".+\.(?:db|sqlite|sqlite3)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """A parsed URL; ``str`` and ``repr`` show ``***`` for its secrets.

    All parts are percent-decoded, ``raw`` is the URL as it was given. ``path`` of a ``sqlite``
    URL is the file's (``:memory:`` for RAM); of others it keeps its leading slash. ``query``
    holds the options after ``?``, as text.
    """

    raw: str
    scheme: str
    user: str | None
    password: str | None
    hosts: tuple[Host, ...]
    path: str
    query: Mapping[str, str] = field(hash=False)

    @property
    def host(self) -> str | None:
        """Return the first host, a name, an address without brackets, or a socket's folder."""
        return self.hosts[0][0] if self.hosts else None

    @property
    def port(self) -> int | None:
        """Return the first host's port."""
        return self.hosts[0][1] if self.hosts else None

    @property
    def database(self) -> str:
        """Return the path without its leading slash."""
        return self.path.removeprefix("/")

    def driver_url(self, *, scheme: str | None = None, drop: Collection[str] = ()) -> str:
        """Return the URL for a driver, secrets included: user and password percent-encoded.

        ``scheme`` takes the place of the URL's own; query options named in ``drop`` are left out.
        """
        own, authority, path, query = _split(self.raw)
        users = ":".join(_encode(part) for part in _split_user(authority)[0])
        kept = [part for part in query.split("&") if part and _decode(part.partition("=")[0]) not in drop]
        return _join(scheme or own, users, authority, path, kept)

    def __str__(self) -> str:
        scheme, authority, path, query = _split(self.raw)
        users = _split_user(authority)[0]
        shown = f"{users[0]}:{MASK}" if len(users) == 2 else MASK if users and hides_user(scheme) else "".join(users)
        return _join(scheme, shown, authority, path, [_mask_option(part) for part in query.split("&") if part])

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"


def parse_url(text: str) -> Location:
    """Parse a store's URL.

    Raises `ConfigError` that says what to write instead and quotes nothing that may be secret.
    """
    if not isinstance(text, str):
        raise ConfigError(f"a store's URL is text like sqlite:///agent.db, not {type(text).__name__}")
    raw = text.strip()
    scheme, authority, path, query = _split(raw)
    _refuse_stray_secret(scheme, authority, path, query)
    users, hosts = _split_user(authority)
    user, password = [*(_decode(part) or None for part in users), None, None][:2]
    options = _parse_query(scheme, query)
    if scheme == "sqlite":
        return Location(raw, scheme, None, None, (), _sqlite_path(authority, _decode(path)), options)
    return Location(raw, scheme, user, password, _parse_hosts(scheme, hosts), _decode(path), options)


def _split(raw: str) -> tuple[str, str, str, str]:
    """Split into scheme, authority, path and query, each as written."""
    url = _URL.fullmatch(raw)
    if url is None:
        raise _not_a_url(raw)
    rest = _REST.fullmatch(url[2])
    assert rest is not None
    return url[1].lower(), rest[1], rest[2], rest[3] or ""


def _split_user(authority: str) -> tuple[list[str], str]:
    """Split into [], [user] or [user, password], and the hosts, each as written."""
    users, at, hosts = authority.rpartition("@")
    return (users.split(":", 1) if at else []), hosts


def _join(scheme: str, users: str, authority: str, path: str, query: list[str]) -> str:
    hosts = _split_user(authority)[1]
    return f"{scheme}://{users + '@' if users else ''}{hosts}{path}{'?' + '&'.join(query) if query else ''}"


def _refuse_stray_secret(scheme: str, authority: str, path: str, query: str) -> None:
    # A password with a raw / or ? in it ends the authority early; the rest would pass for path or option.
    if authority and ("@" in path or "@" in query):
        raise ConfigError(
            f"{scheme} URL: @ stands after the first / or ?. In a password write / as %2F, ? as %3F, "
            "@ as %40; elsewhere write @ as %40"
        )
    if _CONTROL.search(authority + path + query) or "\0" in _decode(path):
        raise ConfigError(f"{scheme} URL: it holds a line break or another control character")


def _parse_hosts(scheme: str, hosts: str) -> tuple[Host, ...]:
    return tuple(_parse_host(scheme, host) for host in hosts.split(",")) if hosts else ()


def _parse_host(scheme: str, text: str) -> Host:
    # The port may be part of a password whose @ was forgotten, so it is not quoted.
    host = _HOST.fullmatch(text)
    if host is None:
        raise ConfigError(
            f"{scheme} URL: cannot read host and port; write host:5432, an IPv6 address as [::1]:5432, "
            "and in a password : as %3A, / as %2F, ? as %3F, @ as %40"
        )
    port = int(host[3]) if host[3] else None
    if port is not None and port > 65535:
        raise ConfigError(f"{scheme} URL: a port is a number up to 65535")
    return _decode(host[1] or host[2] or ""), port


def _parse_query(scheme: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        name = _decode(name)
        if not equals:
            raise ConfigError(f"{scheme} URL: an option after ? has no value; write name=value")
        if name in options:
            raise ConfigError(f"{scheme} URL: option {plain_name(name)} is given twice")
        options[name] = _decode(value)
    return options


def _sqlite_path(authority: str, path: str) -> str:
    if authority:
        example = f"sqlite:///{authority}{path}" if "@" not in authority else "sqlite:///agent.db"
        raise ConfigError(f"a sqlite URL has no host: write three slashes before the path, as in {mask(example)}")
    return path.removeprefix("/") or ":memory:"


def _not_a_url(text: str) -> ConfigError:
    # Whatever this is may itself be a secret, so only a plain file name is quoted.
    name = re.sub(r"^sqlite:/*", "", text)
    if _SQLITE_FILE.fullmatch(name) and "@" not in name and not _CONTROL.search(name):
        path = name.replace("\\", "/").replace("%", "%25").replace("?", "%3F")
        return ConfigError(f"{mask(text)!r} is not a URL; for that SQLite file write {mask('sqlite:///' + path)!r}")
    return ConfigError("a store's URL starts with a scheme and ://, as in sqlite:///agent.db or postgresql://host/db")


def _mask_option(part: str) -> str:
    name, _, value = part.partition("=")
    return f"{name}={MASK if is_secret(_decode(name)) else mask(value)}"


def _decode(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _encode(part: str) -> str:
    return quote(_decode(part), safe="", errors="surrogateescape")
