"""The benchmarks run, name every contender and count what is stored."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from stores import have, postgres_server, valkey_server, valkey_url

from benchmarks import (
    chat,
    cli,
    files,
    growth,
    history,
    imports,
    large,
    latency,
    messages,
    network,
    operations,
    postgres_servers,
    redis_servers,
    report,
    runner,
    servers,
    store,
    tasks,
    text,
)
from benchmarks.contender import Contender, Workload, cannot_import
from benchmarks.contenders import BASELINE, CONTENDERS
from benchmarks.runner import Job, Outcome
from charm_checkpoint.errors import MissingServer
from charm_checkpoint.servers import PostgresServer

TURNS = 3
BY_NAME = {row.name: row for row in CONTENDERS}

SERVERS = {postgres_servers.VARIABLE: lambda: postgres_server().url, redis_servers.VARIABLE: valkey_url}


def entered(workload: Workload) -> pytest.MarkDecorator:
    """Run the test with each contender of a workload; one that is not installed is skipped with the reason."""
    rows = [row for row in CONTENDERS if workload in row.workloads]
    skips = [pytest.mark.skipif(bool(reason := row.cannot_import()), reason=str(reason)) for row in rows]
    params = [pytest.param(row, marks=skip, id=row.name) for row, skip in zip(rows, skips, strict=True)]
    return pytest.mark.parametrize("contender", params)


@pytest.fixture
def home(contender: Contender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder for a contender whose server is there; what its runs leave on that goes."""
    for variable in contender.variables:
        monkeypatch.setenv(variable, have(SERVERS[variable]))
    yield tmp_path
    contender.clear(tmp_path)


def test_one_command_prints_tables_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = "SqliteSaver" if BY_NAME["charm sqlite"].missing() else "charm sqlite"
    if BY_NAME[stored].missing():
        pytest.skip(f"{stored} cannot be imported")
    record = tmp_path / "out.json"
    command = ["--only", "chat", "--contenders", f"{BASELINE},{stored}", "--turns", str(TURNS), "--rounds", "1"]

    assert cli.main([*command, "--folder", str(tmp_path), "--json", str(record)]) == 0

    printed = capsys.readouterr().out
    first_cells = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")]
    assert first_cells[0] == "contender" and first_cells[2:] == [BASELINE, stored]
    assert f"{TURNS} turns, {2 * TURNS} messages" in printed
    outcomes = {one["contender"]: one for one in json.loads(record.read_text())["outcomes"]}
    assert list(outcomes) == [BASELINE, stored]
    assert outcomes[stored]["medians"]["bytes"] > 2 * TURNS * chat.MESSAGE_BYTES // 4
    assert outcomes[BASELINE]["medians"]["bytes"] is None
    assert all(one["medians"]["seconds"] > 0 and one["failed"] is None for one in outcomes.values())
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@entered("chat")
def test_chat(contender: Contender, home: Path) -> None:
    figures = chat.measure(contender, home, turns=TURNS)
    assert_run(contender, figures, 2 * TURNS * chat.MESSAGE_BYTES)


@entered("files")
def test_files(contender: Contender, home: Path) -> None:
    figures = files.measure(contender, home, files=4, steps=3)
    assert_run(contender, figures, 7 * files.FILE_BYTES)


def assert_run(contender: Contender, figures: dict[str, float | None], text_bytes: int) -> None:
    assert figures["text_bytes"] == text_bytes
    assert (figures["seconds"] or 0) > 0
    if contender.stored is None:
        assert figures["bytes"] is None
    elif contender.stored is not redis_servers.stored:  # that of so little is lost in what a server does besides
        assert (figures["bytes"] or 0) > 0


@entered("operations")
def test_operations(contender: Contender, home: Path) -> None:
    figures = operations.measure(contender, home, repeats=2)
    assert set(figures) == set(operations.OPERATIONS)
    measured = {label for label, value in figures.items() if value and value > 0}
    in_memory = contender.stored is None
    assert measured == set(operations.OPERATIONS) - (set(operations.REOPENED) if in_memory else set())


@entered("growth")
def test_growth_is_measured_along_the_way(contender: Contender, home: Path) -> None:
    sizes = growth.measure(contender, home, turns=TURNS)
    assert list(sizes) == ["1", "2", "3"]
    if contender.stored is not redis_servers.stored:
        assert 0 < (sizes["1"] or 0) <= (sizes["3"] or 0)


@entered("history")
def test_history(contender: Contender, home: Path) -> None:
    figures = history.measure(contender, home, turns=history.LIMIT)
    assert list(figures) == list(history.FIGURES)
    measured = {label for label, value in figures.items() if value and value > 0}
    in_memory = contender.stored is None
    assert measured == set(history.FIGURES[2 if in_memory else 0 :])


def test_a_history_that_lost_a_checkpoint_is_no_result() -> None:
    script = chat.conversation(history.LIMIT)
    whole = [script[: len(script) - step] for step in range(history.LIMIT)]
    history.check(whole, script)
    with pytest.raises(AssertionError, match="19 checkpoints came back, not 20"):
        history.check(whole[:-1], script)
    with pytest.raises(AssertionError, match="39 messages, not the 40"):
        history.check([*whole[1:], script], script)


@entered("messages")
def test_messages(contender: Contender, home: Path) -> None:
    figures = messages.measure(contender, home, repeats=2)
    assert list(figures) == list(messages.FIGURES)
    assert all(value and value > 0 for value in figures.values())


@entered("tasks")
def test_tasks(contender: Contender, home: Path) -> None:
    assert (tasks.measure(contender, home, tasks=4, rounds=2)[tasks.SPEED] or 0) > 0


LOADS = hasattr(sqlite3.Connection, "enable_load_extension")
"""Whether SqliteStore can be measured in this process; elsewhere its contender has another sqlite3 take the place."""
OWN = ("charm ", "InMemoryStore", *(("SqliteStore", "AsyncSqliteStore") if LOADS else ()))
STORES = [
    row for row in CONTENDERS if "store" in row.workloads and row.name.startswith(OWN) and not row.cannot_import()
]


@pytest.mark.parametrize("contender", STORES, ids=lambda row: row.name)
def test_store(contender: Contender, home: Path) -> None:
    figures = store.measure(contender, home, items=40, spaces=4, repeats=3)
    measured = {label for label, value in figures.items() if value and value > 0}
    assert measured == set(store.FIGURES) - ({store.COLD, store.BYTES} if contender.stored is None else set())
    assert sys.modules["sqlite3"] is sqlite3


@pytest.mark.parametrize("name", ["charm store sqlite", "charm store sqlite words"])
def test_large_tells_with_numpy_and_without_apart(name: str, tmp_path: Path) -> None:
    figures = large.measure(BY_NAME[name], tmp_path, items=12, spaces=2, repeats=3)
    assert list(figures) == list(large.FIGURES)
    assert all(value and value > 0 for value in figures.values())


def test_a_worker_does_without_modules(tmp_path: Path) -> None:
    task = {"contender": "charm store ram", "folder": str(tmp_path), "without": ["charm_checkpoint"]}
    with pytest.raises(runner.Failed, match="import of charm_checkpoint halted"):
        runner.work({**task, "workload": "store", "parameters": {"items": 4, "spaces": 1, "repeats": 1}})


@entered("latency")
def test_latency(contender: Contender, home: Path) -> None:
    figures = latency.measure(contender, home, turns=2, delay=10)
    trips, seconds = figures[latency.TRIPS] or 0, figures[latency.SECONDS] or 0
    assert 2 <= trips <= 30
    assert seconds >= 0.02


def test_a_slow_network_delays_and_counts() -> None:
    with echoing() as port, network.SlowNetwork(f"redis://user:word@127.0.0.1:{port}/3", 0.02) as slow:
        found = re.fullmatch(r"redis://user:word@127\.0\.0\.1:(\d+)/3", slow.url)
        assert found and int(found[1]) != port
        with socket.create_connection(("127.0.0.1", int(found[1]))) as client:
            start = time.perf_counter()
            client.sendall(b"one, ")
            client.sendall(b"two")
            assert receive(client, 8) == b"one, two"
            assert time.perf_counter() - start >= 0.04
            assert slow.trips == 1
            client.sendall(b"three")
            assert receive(client, 5) == b"three"
            assert slow.trips == 2
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""


@contextmanager
def echoing() -> Iterator[int]:
    """Listen on a port and send one caller back what comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            caller, _ = server.accept()
            with caller:
                while data := caller.recv(100):
                    caller.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def receive(client: socket.socket, size: int) -> bytes:
    """Return the next ``size`` bytes."""
    data = b""
    while len(data) < size:
        data += client.recv(size - len(data))
    return data


def test_a_run_has_a_database_of_its_own_and_drops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = have(postgres_server)
    monkeypatch.setenv(postgres_servers.VARIABLE, server.url)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    urls = [postgres_servers.url(folder) for folder in folders]
    names = [url.rpartition("/")[2] for url in urls]
    listed = f"SELECT count(*) FROM pg_database WHERE datname IN ('{names[0]}', '{names[1]}')"
    assert urls[0] != urls[1] == postgres_servers.url(folders[1])
    assert server.execute(listed).strip() == "2"
    assert postgres_servers.stored(folders[0]) == 0
    postgres_servers.clear(tmp_path)
    assert server.execute(listed).strip() == "0"


def test_the_memory_of_redis_is_counted_and_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(redis_servers.VARIABLE, have(valkey_url))
    before = redis_servers.stored(tmp_path)
    with redis.Redis.from_url(os.environ[redis_servers.VARIABLE]) as client:
        client.set(f"{redis_servers.PREFIX}:big", b"x" * (4 * 10**6))
        client.set("another's", b"x")
        # What other tests left there may be freed meanwhile.
        assert redis_servers.stored(tmp_path) - before > 3 * 10**6
        redis_servers.clear(tmp_path)
        assert client.keys() == [b"another's"]
    assert redis_servers.stored(tmp_path) - before < 2 * 10**6


def test_a_server_that_is_not_named_is_started_for_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    have(valkey_server)
    variable = redis_servers.VARIABLE
    monkeypatch.setenv(variable, "redis://named.example")
    with servers.running([variable]) as missing:
        assert (missing, os.environ[variable]) == ({}, "redis://named.example")
    monkeypatch.delenv(variable)
    with servers.running([variable, variable]) as missing:
        assert missing == {}
        assert servers.versions([variable]) == {"Redis or Valkey": redis_servers.version()}
    assert variable not in os.environ


def test_a_server_that_is_not_to_be_had_is_the_reason_to_skip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> PostgresServer:
        raise MissingServer("no such wheel")

    monkeypatch.delenv(postgres_servers.VARIABLE, raising=False)
    monkeypatch.setitem(servers.STARTERS, postgres_servers.VARIABLE, refuse)
    assert cli.main(["--only", "tasks", "--contenders", "charm postgres async"]) == 0
    printed = capsys.readouterr().out
    assert "- charm postgres async: set $PG_URL to the URL of a server to use; none could be started: " in printed
    assert "no such wheel" in printed


def test_a_chat_that_lost_a_message_is_no_result() -> None:
    script = chat.conversation(2)
    chat.check(script, script)
    with pytest.raises(AssertionError, match="3 messages, not the 4"):
        chat.check(script[1:], script)


def test_text_is_of_the_size_asked_for_and_always_the_same() -> None:
    once = text.prose("seed", 520)
    assert len(once) == 520 and once == text.prose("seed", 520) and once != text.prose("other seed", 520)
    assert len(set(text.vocabulary())) == text.VOCABULARY
    script = chat.conversation(5)
    assert len({message.id for message in script}) == len({message.text for message in script}) == 10


def test_who_cannot_be_imported_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "langgraph.checkpoint.sqlite", None)
    command = ["--only", "chat", "--contenders", "SqliteSaver"]
    assert cli.main(command) == 0
    assert "- SqliteSaver: cannot import langgraph.checkpoint.sqlite.SqliteSaver:" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--require"])
    assert stopped.value.code == 2
    assert "SqliteSaver: cannot import" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--contenders", "SQLite"], "no contender 'SQLite'; there are: no saver, InMemorySaver"),
        (["--only", "chats"], "no workload 'chats'; there are: chat, files"),
        (["--turns", "100,0"], "'0' is not a whole number above 0"),
        (["--rounds", "few"], "'few' is not a whole number above 0"),
    ],
)
def test_a_wrong_command_line_says_what_would_be_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_ratios_are_against_the_baseline_of_the_same_run_and_failures_are_named() -> None:
    job = Job("chat", {"turns": TURNS})
    outcomes = [
        Outcome(job, BASELINE, [round_of(2.0, None), round_of(4.0, None), round_of(3.0, None)]),
        Outcome(job, "SqliteSaver", [round_of(6.0, 31_200.0)] * 3),
        Outcome(job, "charm sqlite", failed="StoreError: no room"),
    ]
    printed = report.tables(outcomes, BY_NAME)[0]
    rows = {
        cells[1]: cells[2:]
        for line in printed.splitlines()
        if (cells := [part.strip() for part in line.split("|")])[1:]
    }
    assert rows[BASELINE][:5] == ["3.00", "2.00 to 4.00", "1.00", "-", "-"]
    assert rows["SqliteSaver"][:5] == ["6.00", "6.00 to 6.00", "2.00", "0.03", "10"]
    assert "- charm sqlite failed: StoreError: no room" in printed


def round_of(seconds: float, stored: float | None) -> dict[str, float | None]:
    return {"seconds": seconds, "bytes": stored, "text_bytes": 3_120.0}


def test_operations_are_compared_with_the_rival_of_the_same_half() -> None:
    job = Job("operations", {"repeats": 2})
    names = ("SqliteSaver", "AsyncSqliteSaver", "charm sqlite", "charm sqlite async")
    outcomes = [Outcome(job, name, [{operations.GET: 100.0 * at}]) for at, name in enumerate(names, 1)]
    printed = report.tables(outcomes, BY_NAME)[0]
    rows: dict[str, Any] = {
        cells[1]: cells[5:7]
        for line in printed.splitlines()
        if len(cells := [part.strip() for part in line.split("|")]) > 6
    }
    assert rows["charm sqlite"] == ["3.00", "SqliteSaver"]
    assert rows["charm sqlite async"] == ["2.00", "AsyncSqliteSaver"]


def test_a_contender_has_one_half() -> None:
    with pytest.raises(ValueError, match="give one of open and aopen"):
        Contender("neither")


def test_a_missing_server_url_is_the_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_SERVER_URL", raising=False)
    row = Contender("some server", open=BY_NAME[BASELINE].open, variables=("SOME_SERVER_URL",))
    assert row.missing() == "set $SOME_SERVER_URL to the URL of a server to use"
    monkeypatch.setenv("SOME_SERVER_URL", "scheme://host")
    assert row.missing() is None


def test_an_import_is_timed_in_a_process_of_its_own() -> None:
    assert 0 < imports.milliseconds("json") < 10_000
    assert cannot_import("json") is None
    assert cannot_import("no_such_module") == "cannot import no_such_module: No module named 'no_such_module'"


def test_the_growth_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plot

    job = Job("growth", {"turns": 2})
    plot.draw([Outcome(job, "SqliteSaver", [{"1": 9_000.0, "2": 40_000.0}])], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1_000


def test_large_states_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import shapes

    assert len(shapes.SHAPES) == 10
    assert shapes.main(["--rounds", "1", "--only", "vectors"]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert "of SqliteSaver" in header
    assert row.startswith("| 300 vectors of 1,536 floats |")
