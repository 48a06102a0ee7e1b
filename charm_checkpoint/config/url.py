"""Where a store is: a parsed URL that shows no secret.

    sqlite:///relative.db         sqlite:////absolute/path.db      sqlite:///C:/path.db
    sqlite:///:memory:            sqlite://                        memory://
    postgresql://user:p%40ss@host:5432/db?sslmode=require          redis://:pass@[::1]:6379/0
    postgresql://user@h1:5432,h2:5433/db                           unix:///run/redis.sock?db=1

The text is split by hand: urllib's own errors quote the password, and ``#`` is an ordinary
character of a path or a password here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, unquote

from charm_checkpoint.config.masking import MASK, hides_user, is_secret, mask, plain_name
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.errors import ConfigError

Host: TypeAlias = tuple[str, int | None]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_REST = re.compile(r"([^/?]*)([^?]*)(?:\?(.*))?", re.DOTALL)
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::([0-9]*))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FILES = ("file", "unix")
_SQLITE_FILE = re.compile(r".+\.(?:db|sqlite|sqlite3)", re.IGNORECASE | re.DOTALL)
_PLAIN_FILE = re.compile((r"(?:[A-Za-z]:)?" if os.name == "nt" else "") + r"[^@:=?\ud800-\udc7f\udd00-\udfff]+")
_COMMAND = re.compile(
    r"\s*(?:psql|redis-cli|valkey-cli|rdcli|export|set|[A-Z][A-Z0-9_]*\s*=)(?:\s.*)?['\"\s=]?", re.DOTALL
)
_PLACEHOLDER = re.compile(
    r"[\[<{]+(?:your[-_ ]?)?(?:db[-_ ]?|database[-_ ]?)?(?:password|pass|secret)[\]>}]+|(?-i:YOUR[-_ ]?PASSWORD)",
    re.IGNORECASE,
)
_ORM = re.compile(
    r"(postgres|postgresql|sqlite)\+(?:psycopg\w*|asyncpg|pg8000|aiopg|py-?postgresql|pygresql|pysqlite|aiosqlite)"
)


def as_url(place: object) -> str:
    """Return a store's URL for what names a store: a URL, a path object, or the plain name of a SQLite file.

    Any other text is returned as it is. Raises `ConfigError` for what names none.
    """
    if isinstance(place, str):
        name = place.strip()
        if name == ":memory:":
            return "sqlite://"
        is_file = _SQLITE_FILE.fullmatch(name) and _PLAIN_FILE.fullmatch(name) and not _CONTROL.search(name)
        return _sqlite_url(name) if is_file else place
    if isinstance(place, os.PathLike):
        path = os.fsdecode(place)
        if os.path.isdir(path):
            raise ConfigError(
                f"{path} is a folder: a path names a SQLite file; for local files write file:///abs/folder"
            )
        return _sqlite_url(path)
    if place is None:
        raise ConfigError(
            "no store is named: this is None, where a URL (sqlite:///agent.db), a provider's name or a path belongs; "
            "is the variable that it comes from set?"
        )
    raise ConfigError(f"a store is named by a URL like sqlite:///agent.db, or a path, not by {_article(place)}")


def is_sqlite_name(name: str) -> bool:
    """Tell whether a file of this name is taken for SQLite's: it ends in .db, .sqlite or .sqlite3."""
    return _SQLITE_FILE.fullmatch(name) is not None


def _sqlite_url(path: str) -> str:
    if os.name == "nt":
        path = path.replace("\\", "/")
    return "sqlite:///" + quote(path.encode("utf-8", "surrogateescape"), safe="/: ~$&+,;=!()'[]")


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def scheme_of(url: str) -> str:
    """Return the scheme of a URL as `Location` has it, "" if it has none."""
    found = _URL.fullmatch(_unquoted(url))
    return _known_scheme(found[1].lower()) if found else ""


def _known_scheme(scheme: str) -> str:
    """Return a scheme without the driver that SQLAlchemy's URLs name: here there is but one."""
    orm = _ORM.fullmatch(scheme)
    return orm[1] if orm else scheme


def _unquoted(text: str) -> str:
    """Return a URL without blanks and the quotes around it, which some readers of .env files leave there."""
    text = text.strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """A parsed URL; ``str`` and ``repr`` show ``***`` for its secrets.

    All parts are percent-decoded, ``raw`` is the URL as it was given. Of a ``scheme`` like
    ``postgresql+asyncpg`` the driver's name is left out. ``path`` of a ``sqlite`` URL is the
    file's (``:memory:`` for RAM); of others it keeps its leading slash. A path to a file is as
    this system's calls take it, see `os_path`. ``query`` holds the options after ``?``, as text.
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


@unseen
def parse_url(text: str) -> Location:
    """Parse a store's URL.

    Raises `ConfigError` that says what to write instead and quotes nothing that may be secret.
    """
    if not isinstance(text, str):
        raise ConfigError(f"a store's URL is text like sqlite:///agent.db, not {type(text).__name__}")
    raw = _unquoted(text)
    scheme, authority, path, query = _split(raw)
    scheme = _known_scheme(scheme)
    _refuse_stray_secret(scheme, authority, path, query)
    users, hosts = _split_user(authority)
    user, password = [*(_decode(part) or None for part in users), None, None][:2]
    if password is not None and _PLACEHOLDER.fullmatch(password):
        raise ConfigError(f"{scheme} URL: a placeholder stands where the password belongs; put your own in its place")
    options = _parse_query(scheme, query)
    if scheme == "sqlite":
        return Location(raw, scheme, None, None, (), os_path(_sqlite_path(authority, _decode(path))), options)
    place = os_path(_decode(path)) if scheme in _FILES else _decode(path)
    return Location(raw, scheme, user, password, _parse_hosts(scheme, hosts), place, options)


def os_path(path: str) -> str:
    """Return a path as `open` takes it: a character that the locale lacks is written as UTF-8 all the same."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return os.fsdecode(path.encode("utf-8", "surrogateescape"))
    return path


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
    if "://" in text and _COMMAND.match(text):
        return ConfigError(
            "give the URL alone, from its scheme on: without the command, the name or the quotes before it"
        )
    if text.startswith("jdbc:"):
        return ConfigError("a jdbc: URL is Java's; write postgresql://user:password@host:5432/db")
    if re.match(r"\$\{?\w+\}?$|\$\{\{", text):
        return ConfigError(
            "a variable stands where the URL belongs: ${NAME} is expanded in a config, as in charm.yaml or "
            'open_memory("postgres", {"url": "${NAME}"}); in a program pass os.environ["NAME"]'
        )
    if text.startswith("file:"):
        return _file_forms(text[len("file:") :].partition("?")[0])
    if host := re.fullmatch(r"([a-z]{20}\.supabase\.co)/?", text):
        return ConfigError(f"this is no URL yet: write https://{host[1]}")
    name = re.sub(r"^sqlite:/*", "", text)
    if _SQLITE_FILE.fullmatch(name) and "@" not in name and not _CONTROL.search(name):
        path = name.replace("\\", "/").replace("%", "%25").replace("?", "%3F")
        return ConfigError(f"{mask(text)!r} is not a URL; for that SQLite file write {mask('sqlite:///' + path)!r}")
    return ConfigError("a store's URL starts with a scheme and ://, as in sqlite:///agent.db or postgresql://host/db")


def _file_forms(path: str) -> ConfigError:
    """Say how SQLite's own ``file:agent.db`` is written here, and a folder."""
    shown = path if path and "@" not in path and not _CONTROL.search(path) else "agent.db"
    return ConfigError(
        f"file:{shown} is SQLite's own form: write {_sqlite_url(shown)} for a SQLite file, "
        "or file:///abs/folder or file://./folder for a folder of local files"
    )


def _mask_option(part: str) -> str:
    name, _, value = part.partition("=")
    return f"{name}={MASK if is_secret(_decode(name)) else mask(value)}"


def _decode(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _encode(part: str) -> str:
    return quote(_decode(part), safe="", errors="surrogateescape")
