"""No secret in what a traceback with locals prints: pytest -l, rich and Sentry show every frame."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from gateway import Answer, Gateway
from stores import have

from charm_checkpoint import LoginRefused, StorageManager, open_memory
from charm_checkpoint.config.masking import Secret
from charm_checkpoint.errors import CharmError, ConfigError, StoreError, StoreUnavailable
from charm_checkpoint.importers import import_official
from charm_checkpoint.memory import Memory
from charm_checkpoint.providers import PostgresMemory, RedisMemory
from charm_checkpoint.servers import PostgresServer, ValkeyServer, valkey
from charm_checkpoint.stores.postgres.connections import PoolSettings
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

WORD = "Hunter-22-xyz"
"""A password that is wrong, and long enough to be found in anything."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[ValkeyServer]:
    """Return a server that wants the password ``ri/gh@t``."""
    with have(lambda: valkey("--requirepass", "ri/gh@t")) as server:
        yield server


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


def failing(call: Callable[..., object], *args: Any, **kwargs: Any) -> CharmError:
    """Return the error that a call ends in, without this frame, which holds the arguments."""
    try:
        call(*args, **kwargs)
    except CharmError as error:
        assert error.__traceback__ is not None
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError("it did not fail")


def printed(error: BaseException) -> str:
    """Return all that a tool may print of an error: frames with locals, what they hold, and all the error came of."""
    parts: list[str] = []
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        left += [found.__cause__, found.__context__]
        parts += traceback.TracebackException.from_exception(found, capture_locals=True).format()
        parts.append(f"{found!r} {vars(found)!r}")
        for frame, _ in traceback.walk_tb(found.__traceback__):
            for value in frame.f_locals.values():
                if type(value).__module__.startswith("charm_checkpoint") and hasattr(value, "__dict__"):
                    parts.append(repr(vars(value)))
    return "\n".join(parts)


def assert_hidden(error: BaseException, *words: str) -> None:
    text = printed(error)
    for word in words:
        assert word not in text and quote(word, safe="") not in text


def opened(make: Callable[[], Memory], mode: CallMode, call: str) -> CharmError:
    """Return the error of a call on a store, which is closed then."""
    memory = make()
    try:
        return failing(getattr(InMode(memory, mode), call), "t")
    finally:
        InMode(memory, mode).close()


def refused(mode: CallMode, make: Callable[[], Memory]) -> CharmError:
    for call in ("usage", "load_messages"):
        error = opened(make, mode, call)
    return error


# ------------------------------------------------------------------------------------- tracebacks


class TestTracebacks:
    @pytest.mark.filterwarnings("ignore:.*instead of the option (async_)?connect:DeprecationWarning")
    def test_postgres(self, postgres: PostgresServer, mode: CallMode) -> None:
        plain = postgres.url.replace(f":{postgres.password}@", "@")
        for make in (
            lambda: open_memory(postgres.url.replace(postgres.password, WORD)),
            lambda: open_memory(f"{plain}?password={WORD}"),
            lambda: open_memory(plain, password=WORD),
            lambda: open_memory(plain, password=lambda: WORD),
            lambda: open_memory("postgres", {"url": postgres.url.replace(postgres.password, WORD)}),
            lambda: open_memory(plain, connect=connect, async_connect=aconnect),
            lambda: open_memory(postgres.url.replace(postgres.password, WORD), sslmode="some"),
            lambda: open_memory(postgres.url.replace(postgres.password, WORD), connect_timeout="x"),
        ):

            def connect() -> Any:
                return psycopg.connect(postgres.url.replace(postgres.password, WORD))

            async def aconnect() -> Any:
                return await psycopg.AsyncConnection.connect(postgres.url.replace(postgres.password, WORD))

            error = refused(mode, make)
            assert isinstance(error, CharmError)
            assert_hidden(error, WORD)

    def test_postgres_that_is_not_there(self, mode: CallMode) -> None:
        error = refused(mode, lambda: open_memory(f"postgresql://me:{WORD}@127.0.0.1:9/db", timeout="200ms"))
        assert isinstance(error, StoreUnavailable)
        assert_hidden(error, WORD)

    def test_a_call_that_is_given_up_while_it_connects(self) -> None:
        async def given_up(url: str) -> BaseException:
            memory = open_memory(url)
            del url
            try:
                await asyncio.wait_for(memory.ausage(), 0.2)
            except asyncio.TimeoutError as error:
                return error
            finally:
                await memory.aclose()
            raise AssertionError("it did not time out")

        with Silent() as port:
            for url in (f"postgresql://me:{WORD}@127.0.0.1:{port}/db", f"redis://:{WORD}@127.0.0.1:{port}"):
                assert_hidden(asyncio.run(given_up(url)), WORD)

    def test_redis(self, guarded: ValkeyServer, mode: CallMode) -> None:
        for user in (f":{WORD}@", f"me:{WORD}@", f"{WORD}@"):
            error = refused(mode, lambda user=user: open_memory(guarded.url.replace("://", f"://{user}")))  # type: ignore[misc]
            assert type(error) is LoginRefused
            assert_hidden(error, WORD)
        error = refused(mode, lambda: open_memory(f"redis://:{WORD}@127.0.0.1:9", timeout="200ms"))
        assert_hidden(error, WORD)
        for form in ("redis+cluster://:{}@127.0.0.1:9", "redis+sentinel://:{}@127.0.0.1:9/m?sentinel_password={}"):
            error = refused(mode, lambda form=form: open_memory(form.format(WORD, WORD), timeout="200ms"))  # type: ignore[misc]
            assert_hidden(error, WORD)

    def test_supabase(self, mode: CallMode) -> None:
        key, token = f"sb_secret_{WORD}", f"eyJhbGciOi.eyJzdWIiOiJhIn0.{WORD}"
        with Gateway(9) as gateway:
            for answer in (
                Answer(401, {"Content-Type": "application/json"}, b'{"message":"Invalid API key"}'),
                Answer(400, {"Content-Type": "application/json"}, b'{"code":"XX000","message":"no"}'),
                Answer(307, {"Location": "http://127.0.0.1:9"}),
            ):
                gateway.always = answer
                for options in ({"key": key}, {"key": key, "token": token}, {"key": key, "token": lambda: token}):
                    error = refused(mode, lambda url=gateway.url, options=options: open_memory(url, **options))  # type: ignore[misc]
                    assert_hidden(error, WORD)
        error = refused(mode, lambda: open_memory("http://127.0.0.1:9", key=key, token=token, timeout="200ms"))
        assert_hidden(error, WORD)
        error = refused(mode, lambda: open_memory("http://127.0.0.1:9", key=key, token=lambda: f"{WORD} x", tenant=""))
        assert isinstance(error, ConfigError)
        assert_hidden(error, WORD)

    def test_an_import_of_a_postgres_saver(self, postgres: PostgresServer) -> None:
        with open_memory("memory://") as memory:
            error = failing(import_official, postgres.url.replace(postgres.password, WORD), memory)
        assert_hidden(error, WORD)

    @pytest.mark.parametrize(
        ("url", "options"),
        [
            (f"postgresql://u:{WORD}@h/db", {"nonsense": 1}),
            (f"postgresql://u:{WORD}@h/db", {"max_connections": 0}),
            (f"postgresql://u:{WORD}@h:many/db", {}),
            (f"redis://:{WORD}@h1,h2", {}),
            (f"redis://{WORD}@h/x", {}),
            (f"redis+sentinel://h1?sentinel_password={WORD}", {}),
            ("https://h", {"key": f"{WORD} x"}),
            ("https://h", {"key": "k", "token": f"{WORD}.x"}),
            ("https://h", {"key": WORD, "timeout": "soon"}),
            (f"https://{WORD}@h", {"key": "k"}),
            (f"nonsense://u:{WORD}@h", {}),
            (f"u:{WORD}@h", {}),
            (f"DATABASE_URL=postgresql://u:{WORD}@h", {}),
        ],
    )
    def test_a_wrong_configuration(self, url: str, options: dict[str, Any]) -> None:
        assert_hidden(failing(open_memory, url, **options), WORD)
        assert_hidden(failing(open_memory, url, dict(options)), WORD)
        assert_hidden(failing(Memory, {"url": url, **options}), WORD)
        for provider in (PostgresMemory, RedisMemory):
            assert_hidden(failing(provider, {"url": url, **options}), WORD)
        if "://" in url:
            name = url.partition("://")[0].partition("+")[0]
            name = {"postgresql": "postgres", "https": "supabase", "redis": "redis"}.get(name, "redis")
            assert_hidden(failing(StorageManager.get_provider, name, {"url": url, **options}), WORD)

    def test_what_the_user_is_dealing_with_keeps_its_frames(self, guarded: ValkeyServer) -> None:
        with open_memory(guarded.url) as memory:
            try:
                raise KeyError("mine")
            except KeyError as mine:
                with pytest.raises(LoginRefused):
                    memory.usage()
                assert mine.__traceback__ is not None

    def test_an_error_of_the_users_own_function_keeps_its_frames(self, postgres: PostgresServer) -> None:
        def password() -> str:
            raise LookupError("no vault")

        with open_memory(postgres.url, password=password) as memory, pytest.raises(LookupError) as caught:
            memory.usage()
        assert caught.traceback[-1].name == "password"


class Silent:
    """A server that takes connections and says nothing."""

    def __enter__(self) -> int:
        import socket

        self._socket = socket.create_server(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *exception: object) -> None:
        self._socket.close()


def test_what_holds_a_secret_does_not_show_it() -> None:
    settings = PoolSettings(Secret(f"host=h password={WORD}"), password=lambda: WORD)
    assert WORD not in f"{settings!r} {settings} {vars(settings)}"
    for url, options in (
        (f"postgresql://u:{WORD}@h/db", {"password": WORD}),
        (f"redis://{WORD}@h/0?", {}),
        (f"redis+sentinel://:{WORD}@h/m", {"sentinel_password": WORD}),
        ("https://h", {"key": WORD}),
    ):
        with open_memory(url, **options) as memory:
            driver: Any = memory.store.driver
            endpoint = getattr(driver, "_endpoint", None)
            held = [
                memory,
                memory.location,
                *(vars(endpoint).values() if endpoint else ()),
                memory.store,
                driver,
                *vars(driver).values(),
                *vars(memory.store).values(),
            ]
            assert WORD not in " ".join(f"{item} {item!r}" for item in held)


# ------------------------------------------------------------------------ variables in a user part

TRICKY = "ri/gh?t#@:%41 é&=+"


class TestVariablesInUrls:
    @pytest.mark.parametrize("value", [TRICKY, "%2F", "a:b", "$", "${X}", ""])
    def test_a_value_is_a_value_whatever_is_in_it(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, held in {"PW": value, "ME": value, "H": "h:1,g"}.items():
            monkeypatch.setenv(name, held)
        for url in (
            "postgresql://${ME}:${PW}@${H}/db?tenant=${PW}&schema=s",
            "postgresql://${ME}:${PW:-x}@${H}/db?tenant=${PW}",
        ):
            location = Memory({"url": url}).location
            assert (location.user or "", location.password or "") == (value, value or ("x" if ":-x" in url else ""))
            assert (location.hosts, location.path) == ((("h", 1), ("g", None)), "/db")
            assert location.query["tenant"] == value

    def test_in_quotes_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PW", TRICKY)
        assert Memory({"url": " 'redis://:${PW}@h' "}).location.password == TRICKY

    def test_raw_is_put_in_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PW", quote(TRICKY, safe=""))
        monkeypatch.setenv("BOTH", "me:p%40ss")
        assert Memory({"url": "redis://:${PW:raw}@h"}).location.password == TRICKY
        assert Memory({"url": "redis://:${PW:raw:-x}@h"}).location.password == TRICKY
        assert Memory({"url": "redis://:${NO:raw:-a%40b}@h"}).location.password == "a@b"
        location = Memory({"url": "redis://${BOTH:raw}@h"}).location
        assert (location.user, location.password) == ("me", "p@ss")

    def test_elsewhere_values_are_put_in_as_they_are(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("X", f"{tmp_path}/a%20b")
        assert Memory({"url": "sqlite:///${X}.db"}).location.path == f"{tmp_path}/a b.db"
        monkeypatch.setenv("X", "redis://:p%40ss@h/1?prefix=a")
        assert Memory({"url": "${X}"}).location.password == "p@ss"
        assert Memory({"url": "${X}&tenant=b"}).location.query == {"prefix": "a", "tenant": "b"}
        monkeypatch.setenv("X", TRICKY)
        assert Memory({"url": "https://h", "key": "k", "tenant": "${X}"}).store is not None

    def test_a_login_that_works(self, guarded: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PW", "ri/gh@t")
        with Memory({"url": guarded.url.replace("://", "://:${PW}@")}) as memory:
            assert memory.load_messages("t") == []

    @pytest.mark.parametrize(
        ("user", "said"),
        [
            (":${PW}", r"\$\{PW\} was taken for plain text and percent-encoded.*\$\{PW:raw\}"),
            ("${ME}:${PW}", r"\$\{ME\} and \$\{PW\} was taken for plain text"),
            (":${PW:raw}", r"\$\{PW:raw\} was put into the URL as it is.*\$\{PW\}"),
            (":a%41", "%XX in the URL's user part was decoded.*%25"),
            ("${PW}", "a password alone has a colon before it"),
            (":[word]", r"stands in \[ \]"),
        ],
    )
    def test_a_refused_login_says_what_was_assumed(
        self, user: str, said: str, guarded: ValkeyServer, mode: CallMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PW", "wr0ng-22")
        monkeypatch.setenv("ME", "me")
        url = guarded.url.replace("://", f"://{user}@")
        for call in ("usage", "load_messages"):
            error = opened(lambda: Memory({"url": url}), mode, call)
            assert type(error) is LoginRefused
            assert len(str(error).split(said[:9])) <= 2
            with pytest.raises(LoginRefused, match=said):
                raise error
            assert_hidden(error, "wr0ng-22")
        memory = Memory({"url": url})
        with pytest.raises(LoginRefused, match=said):
            InMode(memory, mode).setup()
        InMode(memory, mode).close()

    def test_postgres_says_so_too(
        self, postgres: PostgresServer, mode: CallMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PW", "wr0ng-22")
        url = postgres.url.replace(postgres.password, "${PW}")
        error = opened(lambda: Memory({"url": url}), mode, "usage")
        with pytest.raises(LoginRefused, match=r"\$\{PW\} was taken for plain text"):
            raise error
        plain = postgres.url.replace(f":{postgres.password}@", "@")
        error = opened(lambda: Memory({"url": f"{plain}?tenant=${{ME:-x}}&password=${{PW:raw}}"}), mode, "usage")
        with pytest.raises(LoginRefused, match=r"\$\{PW:raw\} was put into the URL as it is") as caught:
            raise error
        assert "ME" not in str(caught.value)
        monkeypatch.setenv("PW", postgres.password)
        with Memory({"url": url}) as memory:
            memory.usage()

    def test_a_variable_is_not_expanded_in_a_url_that_is_passed(self, guarded: ValkeyServer) -> None:
        with open_memory(guarded.url.replace("://", "://:${PW}@")) as memory:
            with pytest.raises(LoginRefused, match="expanded in a config only"):
                memory.usage()


class TestPasswords:
    def test_text_or_a_function(self, postgres: PostgresServer, mode: CallMode) -> None:
        plain = postgres.url.replace(f":{postgres.password}@", "@")
        for url, options in (
            (plain, {"password": postgres.password}),
            (plain, {"password": lambda: postgres.password}),
            (f"{plain}?password={postgres.password}", {}),
            (postgres.url.replace(postgres.password, WORD), {"password": postgres.password}),
        ):
            memory = open_memory(url, **options)
            assert InMode(memory, mode).load_messages("t") == []
            InMode(memory, mode).close()

    @pytest.mark.parametrize("value", [None, b"secret", 5])
    def test_a_function_that_returns_no_text(self, value: Any, postgres: PostgresServer, mode: CallMode) -> None:
        error = opened(lambda: open_memory(postgres.url, password=lambda: value), mode, "usage")
        with pytest.raises(ConfigError, match="password: the function returned .*not text"):
            raise error

    @pytest.mark.parametrize("url", ["postgresql://127.0.0.1:9/db", "redis://127.0.0.1:9"])
    def test_what_it_returned_is_not_shown(self, url: str, mode: CallMode) -> None:
        told = WORD.encode()
        error = opened(lambda: open_memory(url, password=lambda: told), mode, "usage")
        assert isinstance(error, ConfigError) and "password: the function returned bytes, not text" in str(error)
        assert_hidden(error, WORD)

    def test_a_password_that_is_neither(self) -> None:
        error = failing(open_memory, "postgresql://h/db", password=55667788)
        assert isinstance(error, ConfigError)
        assert_hidden(error, "55667788")


def test_nothing_is_logged(guarded: ValkeyServer, postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for url in (guarded.url.replace("://", f"://{WORD}@"), postgres.url.replace(postgres.password, WORD)):
            with open_memory(url) as memory, pytest.raises(StoreError):
                memory.usage()
    assert WORD not in caplog.text
