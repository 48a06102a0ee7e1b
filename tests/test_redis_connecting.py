"""Connecting to Redis: what passes is waited for, what lasts is told at once; users, and passwords that change."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from stores import (
    beside,
    have,
    postgres_server,
    valkey_cluster_server,
    valkey_cluster_url,
    valkey_sentinel_server,
    valkey_server,
    valkey_url,
)

from charm_checkpoint import open_memory
from charm_checkpoint.errors import ConfigError, StoreUnavailable
from charm_checkpoint.servers import ValkeyServer, valkey
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode

redis = pytest.importorskip("redis")

AT_ONCE = 4.0
"""Seconds in which a mistake is told: one, and what a busy machine adds; what passes is tried for ten."""


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@contextmanager
def opened(mode: CallMode, url: str, **options: Any) -> Iterator[InMode]:
    with open_memory(url, **options) as memory:
        twin = InMode(memory, mode)
        yield twin
        twin.close()


def told(mode: CallMode, url: str, **options: Any) -> str:
    """Return what is told, at once, of a store that cannot be reached."""
    with opened(mode, url, **options) as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            memory.load_messages("t")
        assert time.monotonic() - began < AT_ONCE
    text = str(caught.value)
    assert "safe to try again" not in text and "is the server up" not in text and len(text) < 400
    return text


# ------------------------------------------------------------------------------- names and sockets

UNKNOWN = ("no-such-host.invalid", "a..b")


@pytest.mark.parametrize("host", UNKNOWN)
@pytest.mark.parametrize("url", ["redis://{}", "redis+cluster://{0}:1,{0}:2", "redis+sentinel://{0}:1,{0}:2/name"])
def test_a_host_that_is_not_known(mode: CallMode, url: str, host: str) -> None:
    assert f"the host {host!r} " in told(mode, url.format(host))


def test_one_of_several_hosts_may_be_wrong(mode: CallMode) -> None:
    have(valkey_cluster_server), have(valkey_sentinel_server)
    for url in (valkey_cluster_url(), f"{valkey_sentinel_server().url}&prefix=one-of-several"):
        with opened(mode, beside(url, "no-such-host.invalid")) as memory:
            assert memory.load_messages("t") == []
    with opened(mode, f"redis+cluster://127.0.0.1:{free_port()},no-such-host.invalid:1", timeout="400ms") as memory:
        with pytest.raises(StoreUnavailable, match="is the server up"):  # which may pass
            memory.load_messages("t")


class Resolver:
    """A resolver that fails, with a number, for some seconds, each time it is told to."""

    def __init__(self) -> None:
        self._ask = socket.getaddrinfo
        self._error, self._until = 0, 0.0

    def fail(self, error: int, seconds: float) -> None:
        self._error, self._until = error, time.monotonic() + seconds

    def __call__(self, *args: Any, **options: Any) -> Any:
        if time.monotonic() < self._until:
            raise socket.gaierror(self._error, "as the test wants it")
        return self._ask(*args, **options)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


def test_a_resolver_that_does_not_know_now_is_asked_again(mode: CallMode, resolver: Resolver) -> None:
    with opened(mode, have(valkey_url).replace("127.0.0.1", "localhost")) as memory:
        resolver.fail(socket.EAI_AGAIN, 0.5)
        assert memory.load_messages("t") == []


def test_a_name_that_was_known_may_be_known_again(mode: CallMode, resolver: Resolver) -> None:
    with opened(mode, have(valkey_url).replace("127.0.0.1", "localhost")) as memory:
        assert memory.load_messages("t") == []
        valkey_server().ask("CLIENT", "KILL", "TYPE", "normal")
        resolver.fail(socket.EAI_NONAME, 0.3)
        assert memory.load_messages("t") == []


def test_a_socket_that_is_not_there(mode: CallMode, tmp_path: Path) -> None:
    for path in (f"{tmp_path}/none", f"{tmp_path}/none/s"):
        assert f"the socket '{path}' cannot be opened: No such file" in told(mode, f"unix://{path}")


def test_what_is_no_socket(mode: CallMode, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("plain")
    for path in (tmp_path, tmp_path / "file"):
        assert "is no socket, but a file or folder" in told(mode, f"unix://{path}")


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_port_of_postgres(mode: CallMode, scheme: str) -> None:
    at = urlsplit(have(postgres_server).url)
    assert "is no Redis, but Postgres" in told(mode, f"{scheme}://127.0.0.1:{at.port}")


def test_a_database_that_there_is_not(mode: CallMode) -> None:
    assert "a lower number for db=" in told(mode, have(valkey_url), db=99_999_999)


def test_a_socket_that_was_there_may_be_there_again(mode: CallMode, tmp_path: Path) -> None:
    with (
        have(lambda: valkey("--unixsocket", f"{tmp_path}/s", password="", drop_root=False)) as server,
        opened(mode, f"unix://{tmp_path}/s") as memory,
    ):
        assert memory.load_messages("t") == []
        os.rename(f"{tmp_path}/s", f"{tmp_path}/away")
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        back = threading.Timer(0.3, os.rename, (f"{tmp_path}/away", f"{tmp_path}/s"))
        back.start()
        assert memory.load_messages("t") == []
        back.join()


def test_what_the_caller_is_handling_is_not_taken_for_the_cause(mode: CallMode) -> None:
    at = free_port()
    with opened(mode, f"redis://127.0.0.1:{at}", timeout="400ms") as memory, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", at))
        deaf.listen()
        closing = threading.Thread(target=lambda: [deaf.accept()[0].close() for _ in range(3)], daemon=True)
        closing.start()
        try:
            raise FileNotFoundError(2, "No such file", "/theirs")
        except FileNotFoundError:
            with pytest.raises(StoreUnavailable) as caught:
                memory.load_messages("t")
        assert "is the server up" in str(caught.value) and "theirs" not in str(caught.value)


def test_words_in_a_hosts_name_are_no_words_of_a_server(mode: CallMode, resolver: Resolver) -> None:
    for word in ("OOM", "NOAUTH", "READONLY", "MISCONF", "WRONGTYPE", "NOPERM"):
        resolver.fail(socket.EAI_AGAIN, 5)
        with opened(mode, f"redis://{word}:1", timeout="100ms") as memory:
            with pytest.raises(StoreUnavailable, match="is the server up"):
                memory.load_messages("t")


# ------------------------------------------------------------------------- servers of other kinds


def test_the_url_of_a_server_at_a_node_of_a_cluster(mode: CallMode) -> None:
    for node in have(valkey_cluster_server).nodes[:1]:
        # One of these threads is on another node.
        with opened(mode, node.url) as memory:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"node of a cluster: use redis\+cluster://"):
                for number in range(64):
                    memory.load_messages(f"{number}")
            assert time.monotonic() - began < AT_ONCE


def test_the_url_of_a_cluster_at_a_server(mode: CallMode) -> None:
    url = have(valkey_server).url.replace("redis://", "redis+cluster://")
    assert "not part of a cluster: use redis://" in told(mode, url)


def test_the_url_of_a_sentinel_at_a_server_and_the_reverse(mode: CallMode) -> None:
    server = have(valkey_server)
    url = server.url.replace("redis://", "redis+sentinel://")
    assert "no sentinel" in told(mode, f"{url}/name?sentinel_password={server.password}")
    sentinel = valkey_sentinel_server().url.replace("redis+sentinel://", "redis://").rpartition("/")[0]
    assert "use redis+sentinel://" in told(mode, sentinel)


def test_a_service_that_the_sentinels_do_not_know(mode: CallMode) -> None:
    url = have(valkey_sentinel_server).url.replace("/charm", "/other")
    assert "the sentinels know no service 'other'" in told(mode, url)


def test_an_error_of_sentinels_is_short(mode: CallMode) -> None:
    with opened(mode, f"redis+sentinel://127.0.0.1:{free_port()}/name", timeout="300ms") as memory:
        with pytest.raises(StoreUnavailable) as caught:
            memory.load_messages("t")
    assert len(str(caught.value)) < 200 and "<" not in str(caught.value)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail\r\n"])
def test_a_port_where_somebody_else_answers(mode: CallMode, said: bytes) -> None:
    def answer(asked: socket.socket) -> None:
        with asked:
            asked.recv(100)
            asked.sendall(said)

    with serving(answer) as port:
        assert "is this the port of a Redis server?" in told(mode, f"redis://127.0.0.1:{port}")


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections, and leave each to a function in a thread; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    asked = listening.accept()[0]
                except OSError:
                    return
                threading.Thread(target=answer, args=(asked,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_a_server_that_talks_to_this_host_only(mode: CallMode) -> None:
    def refuse(asked: socket.socket) -> None:
        with asked:
            asked.sendall(b"-DENIED Redis is running in protected mode because " + b"this and that " * 100 + b"\r\n")

    with serving(refuse) as port:
        assert "protected mode: give it a password" in told(mode, f"redis://127.0.0.1:{port}")


# -------------------------------------------------------------------- users, and passwords that change


@pytest.fixture(scope="module")
def guarded() -> Iterator[ValkeyServer]:
    with have(lambda: valkey("--user", "me", "on", ">first-1", "~*", "+@all")) as server:
        yield server


def passwords(server: ValkeyServer, *allowed: str) -> None:
    """Let a user log in with these only, anew."""
    server.ask("ACL", "SETUSER", "me", "resetpass", *(f">{password}" for password in allowed))
    server.ask("CLIENT", "KILL", "USER", "me")


def test_user_and_password_are_options(mode: CallMode, guarded: ValkeyServer) -> None:
    passwords(guarded, "s/e?c#r@t%41")
    with opened(mode, guarded.url, user="me", password="s/e?c#r@t%41") as memory:
        assert memory.load_messages("t") == []
        assert "me" in str(guarded.ask("CLIENT", "LIST"))
    with opened(mode, guarded.url.replace("://", "://nobody:wrong@"), user="me", password="s/e?c#r@t%41") as memory:
        assert memory.load_messages("t") == []
        assert "e?c" not in repr(memory.raw) + repr(memory.raw.store.driver._endpoint)
    said = told(mode, guarded.url, user="me", password="wrong-1")
    assert "check user and password" in said and "wrong-1" not in said


def test_a_function_is_asked_for_the_password_of_each_new_connection(mode: CallMode, guarded: ValkeyServer) -> None:
    tokens, asked = ["token-1", "token-2"], list[str]()
    passwords(guarded, *tokens)

    def token() -> str:
        assert mode.name == "blocking" or threading.current_thread() is not threading.main_thread()
        asked.append(tokens[-1])
        return tokens[-1]

    with opened(mode, guarded.url.replace("://", "://me@"), password=token) as memory:
        memory.load_messages("t")
        memory.load_messages("t")
        assert asked == ["token-2"]
        tokens.append("token-3")
        passwords(guarded, "token-3")
        assert memory.load_messages("t") == []
        assert asked[1:] == ["token-3"]
        passwords(guarded, "another-1")
        with pytest.raises(StoreUnavailable, match="check user and password") as caught:
            memory.load_messages("t")
        assert "token" not in str(caught.value)


def test_sentinels_have_such_passwords_too(mode: CallMode) -> None:
    url = have(valkey_sentinel_server).url
    with opened(mode, f"{url}?prefix=watched", sentinel_user="me", sentinel_password=lambda: "wrong-1") as memory:
        with pytest.raises(StoreUnavailable, match="sentinel refused the login.* sentinel_password"):
            memory.load_messages("t")


def test_a_function_that_returns_no_password_or_fails(mode: CallMode, guarded: ValkeyServer) -> None:
    def fails(error: Exception) -> Callable[[], str]:
        def token() -> str:
            raise error

        return token

    for given, error, words in (
        (lambda: None, ConfigError, "password: the function returned NoneType"),
        (fails(ConnectionError("theirs-1")), StoreUnavailable, "password= names failed: ConnectionError"),
        (fails(ZeroDivisionError("theirs")), ZeroDivisionError, "theirs"),
    ):
        with opened(mode, guarded.url, user="me", password=given) as memory:
            began = time.monotonic()
            with pytest.raises(error, match=words):
                memory.load_messages("t")
            assert time.monotonic() - began < AT_ONCE
    with pytest.raises(ConfigError, match="password"):
        open_memory(guarded.url, password=1)
