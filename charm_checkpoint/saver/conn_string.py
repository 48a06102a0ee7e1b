"""``CharmSaver.from_conn_string``: what the official savers take, made a store's URL and options.

SqliteSaver, AsyncSqliteSaver        a path, ":memory:"; and SQLite's own "file:agent.db?mode=ro"
PostgresSaver, AsyncPostgresSaver    a URL, or libpq's "host=… dbname=…"; pipeline, serde
RedisSaver, AsyncRedisSaver          a URL, or $REDIS_URL for None; ttl={"default_ttl": minutes, …}
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, unquote, urlencode

from charm_checkpoint.config.options import suggest
from charm_checkpoint.config.registry import resolve
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.opening import as_strict, opened
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.store import Store
from charm_checkpoint.values.serde import Serializer, checked

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S")

_LIBPQ = re.compile(r"\s*(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode|options)\s*=")
_NOT_TAKEN = {
    "redis_client": "give the server's URL instead, redis://…, rediss://…, redis+cluster://… or redis+sentinel://…",
    "connection_args": "put it into the URL or the options: rediss:// for TLS, user:password@ before the host, "
    "tls_ca=, max_connections=, timeout=",
    "checkpoint_prefix": "all keys of a store here have one prefix: give prefix=",
    "checkpoint_write_prefix": "all keys of a store here have one prefix: give prefix=",
}
"""What RedisSaver takes and no store here does, and what to give instead."""


class OpenSaver(Handle, Generic[S]):
    """A saver for the block of a ``with`` or an ``async with``, at whose end its store is closed."""

    def __init__(self, saver: S, store: Store) -> None:
        self._saver = saver
        self._store = store

    def __enter__(self) -> S:
        return self._saver

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    async def __aenter__(self) -> S:
        return self._saver

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._store.aclose()


class _Done:
    """What was done before it is awaited, if it is."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


class OfficialNames:
    """What the official savers offer beside the methods of every saver."""

    _store: Store

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str | os.PathLike[str] | None = None,
        *,
        redis_url: str | None = None,
        pipeline: bool = False,
        serde: Serializer | None = None,
        ttl: Mapping[str, Any] | str | float | None = None,
        **options: Any,
    ) -> OpenSaver[Self]:
        """Open a saver for the block of a ``with`` or an ``async with``, as the official savers do.

        ``conn_string`` is what they take, a path, ``:memory:``, a URL of Postgres or Redis, or any
        URL of `open_memory`; ``options`` are those of the store. ``pipeline`` changes nothing: a
        call is one statement as it is. ``redis_url`` is RedisSaver's name for it, and stands in
        $REDIS_URL if nothing is given; ``ttl`` may be its dict, in minutes.

        Raises `ConfigError` for what the official savers take and this one cannot do.
        """
        for name, instead in _NOT_TAKEN.items():
            if options.pop(name, None):
                raise ConfigError(f"from_conn_string: {name} is not taken here; {instead}")
        url = url_of(_given(conn_string, redis_url))
        if pipeline and not url.lower().startswith(("postgres:", "postgresql:")):
            raise ConfigError("from_conn_string: pipeline is for Postgres, where it changes nothing; leave it out")
        serde = checked(serde)  # before anything is opened
        store, _, settings = opened({}, {"url": url, **_lifetime(ttl), **options})
        make: Any = cls
        saver = make(store, serde=as_strict(serde, settings), on_conflict=settings["on_conflict"])
        return OpenSaver(saver if store.keeps_checkpoints else None, store)  # type: ignore[arg-type]

    def setup(self) -> Awaitable[None]:
        """Create or migrate the schema now instead of at first use; what it returns may be awaited, or not.

        It blocks, as it does in the official blocking savers; `asetup` does not.
        """
        self._store.setup()
        return _Done()

    async def asetup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        await self._store.asetup()


def _given(conn_string: Any, redis_url: str | None) -> Any:
    if conn_string is not None and redis_url is not None:
        raise ConfigError("from_conn_string: conn_string and redis_url are the same: leave one out")
    given = redis_url if conn_string is None else conn_string
    if given is None:
        given = os.environ.get("REDIS_URL")
    if given is None:
        raise ConfigError('from_conn_string needs a path or a URL, as in from_conn_string("agent.db"), or $REDIS_URL')
    return given


def url_of(conn_string: Any) -> str:
    """Return the URL of what an official saver would open; what is a URL already stays as it is."""
    try:
        text = os.fsdecode(conn_string)
    except TypeError:
        raise ConfigError(
            f"from_conn_string takes a path or a URL, not a {type(conn_string).__name__}: a connection or a client of "
            "yours is not taken, but open_memory(url, pool=…) takes a psycopg pool"
        ) from None
    if "://" in text:
        return text
    if text.startswith("file:"):
        return _of_sqlite_uri(text)
    return _of_libpq(text) if _LIBPQ.match(text) else _of_path(text)


def _of_path(path: str) -> str:
    if path in ("", ":memory:"):
        return "sqlite:///:memory:"
    return "sqlite:///" + quote(
        path.replace("\\", "/") if os.name == "nt" else path, safe="/:~", errors="surrogateescape"
    )


def _of_sqlite_uri(uri: str) -> str:
    """Read SQLite's own form of a file's name, https://sqlite.org/uri.html; it has one slash or none here."""
    path, _, query = uri.removeprefix("file:").partition("#")[0].partition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&") if part)
    options.pop("cache", None)  # connections of one store share what they need to
    if options.get("mode") == "memory":
        options.pop("mode")
        path = ":memory:"
    url = _of_path(unquote(path, errors="surrogateescape"))
    return f"{url}?{'&'.join('='.join(option) for option in options.items())}" if options else url


def _of_libpq(conninfo: str) -> str:
    """Read libpq's own form, ``host=… dbname=…``; user and password go where no error shows them."""
    resolve("postgresql")  # says what to install
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        given: dict[str, Any] = conninfo_to_dict(conninfo)
    except psycopg.Error:
        raise ConfigError("from_conn_string: this is no connection string of Postgres; write postgresql://…") from None
    user, password = (quote(str(given.pop(name, "")), safe="") for name in ("user", "password"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    host, path = str(given.get("host", "")), quote(str(given.pop("dbname", "")), safe="")
    place = ""
    if re.fullmatch(r"[\w.-]+", host):  # one host, by name, which errors may show
        place = f"{given.pop('host')}:{given.pop('port', 5432)}"
    return f"postgresql://{login}{place}/{path}?{urlencode(given, quote_via=quote)}"


def _lifetime(ttl: Any) -> dict[str, Any]:
    """Return options for the ``ttl`` of RedisSaver, minutes in a dict, or for one of ours."""
    if not isinstance(ttl, Mapping):
        return {} if ttl is None else {"ttl": ttl}
    known = {"default_ttl", "refresh_on_read"}
    for name in ttl:
        if name not in known:
            raise ConfigError(f"from_conn_string: ttl: unknown key {name!r}; {suggest(str(name), known)}")
    minutes, refresh = ttl.get("default_ttl"), ttl.get("refresh_on_read")
    if minutes in (None, -1):
        return {}
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)) or minutes <= 0:
        raise ConfigError("from_conn_string: ttl: default_ttl is a number of minutes, or -1 for ever")
    return {"ttl": minutes * 60, **({} if refresh is None else {"refresh_on_read": refresh})}
