"""Connecting to Postgres: what passes is waited for, what lasts is told at once; sessions that are scarce."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from children.jobs import add_item, config, items
from stores import have, pgbouncer_server, postgres_server, postgres_url, tls_server

from charm_checkpoint import open_memory
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.servers import PgBouncerServer, PostgresServer, pgbouncer
from charm_checkpoint.servers.base import free_port
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.stores.postgres.errors import is_connecting, is_lost, may_pass
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


def told(url: str, mode: CallMode, **options: Any) -> str:
    """Return what the first call is told, which is told at once."""
    with open_memory(url, **options) as memory:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            InMode(memory, mode).load_messages("t")
        assert time.monotonic() - began < 1
        InMode(memory, mode).close()
    return str(caught.value)


# ---------------------------------------------------------------------------------------- words


HOST = 'connection failed: connection to server at "certificate.invalid" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    "said",
    [
        f"{HOST}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
        f"{HOST}SSL SYSCALL error: EOF detected",
        f"{HOST}SSL SYSCALL error: Connection reset by peer",
        f"{HOST}SSL error: unexpected eof while reading",
        f"{HOST}server closed the connection unexpectedly",
        f"{HOST}FATAL:  the database system is starting up",
        f'{HOST}FATAL:  too many connections for database "no such database"',
        f"{HOST}FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited",
        f"{HOST}FATAL:  server login has been failing, try again later (server_login_retry)",
        f"{HOST}session is read-only",
        'connection failed: connection to server on socket "/tmp/.s.PGSQL.1" failed: No such file or directory',
    ],
)
def test_what_passes_may_be_tried_again(said: str) -> None:
    error = psycopg.OperationalError(said, pgconn=psycopg.errors.FinishedPGconn())  # type: ignore[arg-type]
    assert is_connecting(error) and may_pass(error)


SEVERAL = (
    f"{HOST}Connection refused\nMultiple connection attempts failed. All failures were:\n"
    f"- host: 'a', port: '5', hostaddr: 'b': {HOST}FATAL:  password authentication failed for user \"a\"\n"
    f"- host: 'a', port: '5', hostaddr: 'c': {HOST}Connection refused"
)


@pytest.mark.parametrize(
    "said",
    [
        f"{HOST}SSL error: certificate verify failed",
        f"{HOST}SSL error: tlsv1 alert unknown ca",
        f'{HOST}server certificate for "a" does not match host name "starting up"',
        f"{HOST}server does not support SSL, but SSL was required",
        f'{HOST}FATAL:  database "is starting up" does not exist',
        f'{HOST}FATAL:  no pg_hba.conf entry for host "::1", user "a", database "b", no encryption',
        f"{HOST}FATAL:  unsupported startup parameter: options",
        f"{HOST}FATAL:  Tenant or user not found",
        f"{HOST}ERROR:  Endpoint ID is not specified. Either please upgrade the postgres client library",
        f"{HOST}FATAL:  SSL connection is required. Please specify SSL options and retry.",
        f"{HOST}ERROR:  node is running secure mode, SSL connection required",
        'connection is bad: invalid sslmode value: "sometimes"',
        SEVERAL,
    ],
)
def test_what_lasts_is_not_tried_again(said: str) -> None:
    error = psycopg.OperationalError(said, pgconn=psycopg.errors.FinishedPGconn())  # type: ignore[arg-type]
    assert is_connecting(error) and not may_pass(error)


def test_a_refusal_in_another_language_is_known_by_the_password_that_was_asked_for() -> None:
    for used, said in ((True, "Passwort-Authentifizierung fehlgeschlagen"), (False, "das Datenbanksystem startet")):
        finished = psycopg.errors.FinishedPGconn(used_password=used)  # type: ignore[call-arg]
        error = psycopg.OperationalError(f"{HOST}FATAL:  {said}", pgconn=finished)  # type: ignore[arg-type]
        assert may_pass(error) is not used


def test_a_lost_connection_is_lost_whatever_it_says() -> None:
    for said in ("SSL connection has been closed unexpectedly", "SSL error: certificate", "invalid"):
        error = psycopg.OperationalError(f"consuming input failed: {said}")
        assert is_lost(error) and not is_connecting(error)


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ("keepalives=x", "correct this setting in the URL"),
        ("tcp_user_timeout=x", "correct this setting in the URL"),
        ("target_session_attrs=x", "correct this setting in the URL"),
        ("sslmode=no-verify", "require (no-verify elsewhere)"),
        ("replication=true", "take replication= out of the URL"),
        ("options=--bogus", "take this setting out of the URL"),
        ("require_auth=none", "require_auth= in the URL does not allow"),
        ("host=/no-such-folder", "/no-such-folder/"),
        (f"host={__file__}", "check the folder that host= names"),
    ],
)
def test_a_setting_that_is_wrong_is_told_at_once_and_no_login_blamed(mode: CallMode, query: str, advice: str) -> None:
    said = told(f"{have(postgres_server).url}?{query}", mode)
    assert advice in said and "check user" not in said and "refused the login" not in said


def test_a_folder_that_was_there_may_come_back_with_its_server() -> None:
    with open_memory("postgresql:///db?host=/no-such-folder", timeout="1s") as memory:
        memory.store.driver._was_connected = True  # type: ignore[attr-defined]
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="No such file"):
            memory.usage()
        assert time.monotonic() - began > 0.3


# ------------------------------------------------------------------------------------------ TLS


def test_a_certificate_that_is_not_trusted_is_told_at_once(mode: CallMode, tmp_path: Path) -> None:
    server = have(tls_server)
    stranger = tmp_path / "other.crt"
    stranger.write_text(have(pgbouncer_server).certificate.read_text())  # type: ignore[union-attr]
    advice = "cannot be connected to: .*; check sslmode=, sslrootcert= and the certificates"
    for query, words in (
        (f"verify-ca&sslrootcert={stranger}", "certificate verify failed"),
        (f"verify-ca&sslrootcert={tmp_path}/none.crt", f"{tmp_path}/none.crt"),
        (f"verify-full&sslrootcert={server.certificate}&host=stranger&hostaddr=127.0.0.1", "stranger"),
    ):
        said = told(f"{server.new_database()}?sslmode={query}", mode)
        assert words in said and re.search(advice, said)
    with open_memory(f"{server.new_database()}?sslmode=verify-full&sslrootcert={server.certificate}") as memory:
        assert InMode(memory, mode).load_messages("t") == []
        InMode(memory, mode).close()


def test_a_pooler_that_wants_tls_says_so(mode: CallMode) -> None:
    said = told(f"{have(pgbouncer_server).url}?sslmode=disable", mode)
    assert "SSL required; check sslmode=" in said


# ---------------------------------------------------------------------------------------- names


def resolver(monkeypatch: pytest.MonkeyPatch, until: float) -> None:
    """Let names be looked up in vain for a time, and then lead here."""
    there = socket.getaddrinfo

    def look(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".invalid"):
            return there(host, *args, **kwargs)
        if time.monotonic() < until:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return there("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look)


def test_a_resolver_that_is_busy_is_waited_for(mode: CallMode, monkeypatch: pytest.MonkeyPatch) -> None:
    have(postgres_server)
    url = postgres_url().replace("127.0.0.1", "certificate.invalid")
    resolver(monkeypatch, time.monotonic() + 0.5)
    with open_memory(url) as memory:
        assert InMode(memory, mode).load_messages("t") == []
        resolver(monkeypatch, time.monotonic() + 0.5)
        memory.store.driver._pools.clear()  # type: ignore[attr-defined]
        assert InMode(memory, mode).load_messages("t") == []
        InMode(memory, mode).close()


def test_a_name_of_odd_words_is_no_lasting_failure(mode: CallMode, monkeypatch: pytest.MonkeyPatch) -> None:
    server, later = have(postgres_server), Proxy(have(postgres_server).port)
    later.port = free_port()
    resolver(monkeypatch, 0)
    url = postgres_url().replace(f"127.0.0.1:{server.port}", f"certificate.invalid:{later.port}")
    timer = threading.Timer(0.3, later.__enter__)
    timer.start()
    try:
        with open_memory(url) as memory:
            assert InMode(memory, mode).load_messages("t") == []
            InMode(memory, mode).close()
    finally:
        timer.join()
        later.__exit__()


def test_a_name_that_is_not_there_is_told_at_once(mode: CallMode) -> None:
    said = told("postgresql://nowhere.invalid/db", mode)
    assert "nowhere.invalid" in said and said.endswith("; check the name of the host")


# -------------------------------------------------------------------------------------- poolers


@pytest.fixture(scope="module")
def sessions() -> Iterator[PgBouncerServer]:
    """Yield a pooler with two sessions for each database, which clients keep."""
    with have(lambda: pgbouncer(postgres_server(), pool_mode="session", pool_size=2)) as pooler:
        yield pooler


def test_what_a_pooler_does_not_take_is_told_at_once(mode: CallMode) -> None:
    said = told(f"{have(pgbouncer_server).new_database()}?options=-csearch_path%3Dx", mode)
    assert "unsupported startup parameter" in said
    assert "take this setting out of the URL" in said and "ignore_startup_parameters" in said


def test_a_setting_that_the_server_does_not_know_is_told_at_once(mode: CallMode) -> None:
    said = told(f"{have(postgres_server).url}?options=-cno_such_setting%3Dx", mode)
    assert "no_such_setting" in said and "take this setting out of the URL" in said


def test_a_pooler_without_transactions_is_told_at_once(mode: CallMode) -> None:
    with have(lambda: pgbouncer(postgres_server(), pool_mode="statement")) as pooler:
        url = postgres_url()
        said = told(pooler.through(url), mode)
        assert "statement pooling" in said and "pool_mode = transaction" in said
        with open_memory(url) as direct:
            direct.setup()
        with open_memory(pooler.through(url)) as memory:
            add_item(memory.get_langgraph_checkpointer(), "t")
            InMode(memory, mode).append_messages("t", [{"n": 1}])
            InMode(memory, mode).close()


def test_halves_do_not_starve_each_other(sessions: PgBouncerServer) -> None:
    async def work(saver: Any) -> None:
        began = time.monotonic()
        await asyncio.gather(*(saver.aget_tuple(config("t")) for _ in range(2)))
        assert time.monotonic() - began < 1

    with open_memory(sessions.new_database()) as memory:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        for _ in range(3):
            with ThreadPoolExecutor(2) as pool:
                began = time.monotonic()
                list(pool.map(lambda _: saver.get_tuple(config("t")), range(2)))
                assert time.monotonic() - began < 1
            asyncio.run(work(saver))


def test_more_calls_than_sessions_take_turns(sessions: PgBouncerServer, mode: CallMode) -> None:
    with open_memory(sessions.new_database()) as memory:
        memory.setup()
        saver = memory.get_langgraph_checkpointer()
        began = time.monotonic()
        if mode.name == "blocking":
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: add_item(saver, str(number)), range(8)))
        else:

            async def all_at_once() -> None:
                await asyncio.gather(*(memory.aappend_messages(str(number), [{"n": 1}]) for number in range(8)))

            asyncio.run(all_at_once())
        assert time.monotonic() - began < 5
        assert memory.usage().threads == 8


def test_a_slow_call_that_is_made_once_is_not_left_for_a_spare_connection() -> None:
    have(postgres_server)
    url = postgres_url()
    with open_memory(url) as memory, psycopg.connect(url) as blocker, ThreadPoolExecutor(2) as pool:
        saver = memory.get_langgraph_checkpointer()
        add_item(saver, "t")
        blocker.execute("LOCK TABLE charm_checkpoint.space IN ACCESS EXCLUSIVE MODE")
        other = pool.submit(saver.get_tuple, config("t"))
        time.sleep(0.2)
        copy = pool.submit(saver.copy_thread, "t", "copy")
        time.sleep(0.2)
        assert len(memory.store.driver._pools._own.get().blocking) == 0  # type: ignore[attr-defined]
        asyncio.run(memory.aload_messages("none"))
        memory.load_messages("none")
        time.sleep(1.5)
        blocker.rollback()
        assert other.result() is not None and copy.result() is None


def test_sessions_that_others_have_are_counted(sessions: PgBouncerServer, mode: CallMode) -> None:
    url = sessions.new_database()
    with open_memory(url) as memory:
        memory.setup()
    others = [psycopg.connect(url, autocommit=True) for _ in range(2)]
    for other in others:
        other.execute("SELECT 1")
    with open_memory(url, timeout="1s", auto_setup=False) as memory:
        with pytest.raises(StoreUnavailable, match=r"of this store's connections, 0 are at work and 0 idle"):
            InMode(memory, mode).load_messages("t")
        for other in others:
            other.close()
        assert InMode(memory, mode).load_messages("t") == []
        InMode(memory, mode).close()


def test_too_many_connections_are_waited_for_and_told(mode: CallMode) -> None:
    server: PostgresServer = have(postgres_server)
    url = postgres_url()
    with open_memory(url) as memory:
        memory.setup()
    name = url.rpartition("/")[2]
    server.execute(
        f"CREATE ROLE scarce LOGIN PASSWORD 'scarce' CONNECTION LIMIT 1; GRANT ALL ON DATABASE \"{name}\" TO scarce"
    )
    try:
        server.execute(
            "GRANT USAGE ON SCHEMA charm_checkpoint TO scarce; "
            "GRANT SELECT ON ALL TABLES IN SCHEMA charm_checkpoint TO scarce",
            name,
        )
        theirs = server.database_url(name, "scarce", "scarce")
        with open_memory(theirs, timeout="1s") as memory:
            assert memory.load_messages("t") == []
            assert asyncio.run(memory.aload_messages("t")) == []
            assert memory.load_messages("t") == []
        with psycopg.connect(theirs), open_memory(theirs, timeout="1s") as memory:
            with pytest.raises(StoreUnavailable, match="too many connections for role.*lower max_connections"):
                InMode(memory, mode).load_messages("t")
            InMode(memory, mode).close()
    finally:
        server.execute("DROP OWNED BY scarce", name)
        server.execute(f'REVOKE ALL ON DATABASE "{name}" FROM scarce; DROP ROLE scarce')


# -------------------------------------------------------------------------------------- silence


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(have(postgres_server).port) as proxy:
        yield proxy


def test_each_of_several_hosts_has_a_part_of_the_time(proxy: Proxy) -> None:
    server, url = have(postgres_server), postgres_url()
    proxy.silent = True
    both = url.replace(f"127.0.0.1:{server.port}", f"127.0.0.1:{proxy.port},127.0.0.1:{server.port}")
    with open_memory(both, timeout="4s") as memory:
        began = time.monotonic()
        assert memory.load_messages("t") == []
        assert time.monotonic() - began < 4


def test_connections_that_went_silent_cost_one_part_of_the_time(proxy: Proxy, mode: CallMode) -> None:
    async def fill(memory: Any) -> None:
        await asyncio.gather(*(memory.aload_messages(str(number)) for number in range(5)))

    with open_memory(proxy.through(postgres_url()), timeout="3s") as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), mode)
        add_item(saver, "t")
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(memory.load_messages, map(str, range(5))))
        mode.run(lambda: None, lambda: fill(memory))
        proxy.silence()
        began = time.monotonic()
        add_item(saver, "t")
        assert 0.8 < time.monotonic() - began < 2
        began = time.monotonic()
        for _ in range(5):
            add_item(saver, "t")
        assert time.monotonic() - began < 1
        assert saver.get_tuple(config("t")).checkpoint["channel_values"]["items"] == items(7)
        saver.copy_thread("t", "copy")
        proxy.silence()
        began = time.monotonic()
        saver.copy_thread("t", "other")  # which is not tried twice, but on a connection that works
        assert time.monotonic() - began < 2.5
        InMode(memory, mode).close()
