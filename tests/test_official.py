"""Threads of LangGraph's own savers, taken over."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import stores
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from official_savers import check_going_on, check_same, plain, run_graphs, sqlite_saver, thread

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import (
    ConfigError,
    SchemaMismatch,
    StoreUnavailable,
    ThreadExists,
)
from charm_checkpoint.importers import ImportReport, Progress, import_official
from charm_checkpoint.saver.threads import state_of
from charm_checkpoint.testing.graphs import Command, branching, chat, counting, paused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "official.sqlite"


@pytest.fixture
def memory() -> Iterator[Memory]:
    with open_memory("memory://") as memory:
        yield memory


# --------------------------------------------------------------------------- the same, field by field


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_a_sqlite_file_is_taken_over_whole(file: Path, scheme: str, tmp_path: Path) -> None:
    url = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path.as_posix()}/charm.db"
    with sqlite_saver(file) as official, open_memory(url) as memory:
        run_graphs(official)
        report = import_official(file, memory)
        check_same(official, memory.get_langgraph_checkpointer())
        assert (report.threads, report.failed, report.skipped) == (7, [], [])
        assert (report.checkpoints, report.writes) == count_rows(file)
        assert 0 < report.stored_bytes < report.source_bytes
        assert memory.usage().threads == 7
        check_going_on(memory.get_langgraph_checkpointer())


def count_rows(file: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(file)) as raw:
        return tuple(raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("checkpoints", "writes"))  # type: ignore[return-value]


def test_a_file_of_the_async_saver_is_taken_over(file: Path, memory: Memory) -> None:
    async def run() -> list[CheckpointTuple]:
        async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
            await chat(saver).ainvoke({"messages": [("user", "one")]}, thread("chat"))
            return [found async for found in saver.alist(None)]

    theirs = asyncio.run(run())
    import_official(f"sqlite:///{file.as_posix()}", memory)
    assert [plain(found) for found in memory.get_langgraph_checkpointer().list(None)] == list(map(plain, theirs))


def postgres_source() -> str:
    try:
        return stores.postgres_url()
    except stores.Missing as missing:
        if os.environ.get("CHARM_REQUIRE_STORES") == "1":
            raise
        pytest.skip(str(missing))


@contextmanager
def postgres_saver(url: str) -> Iterator[Any]:
    savers = pytest.importorskip("langgraph.checkpoint.postgres")
    with savers.PostgresSaver.from_conn_string(url) as saver:
        saver.setup()
        yield saver


def test_a_postgres_database_is_taken_over_whole(memory: Memory) -> None:
    url = postgres_source()
    with postgres_saver(url) as official:
        run_graphs(official)
        report = import_official(url, memory)
        check_same(official, memory.get_langgraph_checkpointer())
        assert (report.threads, report.failed) == (7, [])
        check_going_on(memory.get_langgraph_checkpointer())
        assert import_official(url, memory, threads=["counting", "stable"]).unchanged == 2


def test_a_postgres_database_of_no_encoding_is_taken_over(memory: Memory) -> None:
    postgres_source()
    url = stores.odd_database()
    with postgres_saver(f"{url}?client_encoding=utf8") as official:
        counting(official).invoke({"log": []}, thread("counting"))
    assert import_official(url, memory).checkpoints == 5
    assert {found.config["configurable"]["thread_id"] for found in memory.get_langgraph_checkpointer().list(None)} == {
        "counting"
    }


def test_postgres_tables_of_another_schema_are_found(memory: Memory) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgres_source()
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute('CREATE SCHEMA "Old one"')
    with pytest.raises(SchemaMismatch, match="no PostgresSaver's table checkpoints in the search path"):
        import_official(url, memory)
    with pytest.raises(SchemaMismatch, match="in the schema 'Old one'"):
        import_official(url, memory, schema="Old one")
    with postgres_saver(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D%22Old%5C%20one%22") as official:
        counting(official).invoke({"log": []}, thread("counting"))
    assert import_official(url, memory, schema="Old one").checkpoints == 5


def test_sends_of_old_postgres_checkpoints_are_found_among_their_parents_writes(memory: Memory) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgres_source()
    with postgres_saver(url) as official:
        branching(official).invoke({"log": []}, thread("branching"))
        with psycopg.connect(url, autocommit=True) as raw:
            raw.execute(
                "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint #- '{channel_versions,__pregel_tasks}', "
                "'{v}', '3')"
            )
            raw.execute("ALTER TABLE checkpoint_writes DROP COLUMN task_path")
        import_official(url, memory)
        with psycopg.connect(url, autocommit=True) as raw:
            raw.execute("ALTER TABLE checkpoint_writes ADD COLUMN task_path TEXT NOT NULL DEFAULT ''")
        theirs = [plain(found) for found in official.list(thread("branching"))]
    ours = [plain(found) for found in memory.get_langgraph_checkpointer().list(thread("branching"))]
    assert ours == theirs
    assert any(len(found["checkpoint"]["channel_values"].get("__pregel_tasks", ())) == 5 for found in ours)


def test_an_older_sqlite_file_without_task_paths_is_taken_over(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        paused(official).invoke({"log": []}, thread("paused"))
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("ALTER TABLE writes DROP COLUMN task_path")
    import_official(file, memory)
    assert paused(memory.get_langgraph_checkpointer()).invoke(Command(resume=1), thread("paused"))["log"] == []


# ----------------------------------------------------------------------------------- again, and after


def test_again_changes_nothing_and_later_what_came_since(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        run_graphs(official)
        import_official(file, memory)
        before = memory.usage()
        report = import_official(file, memory)
        assert report == ImportReport(unchanged=7)
        assert memory.usage() == before

        check_going_on(official)
        report = import_official(file, memory)
        assert (report.threads, report.unchanged, report.failed) == (4, 3, [])
        check_same(official, memory.get_langgraph_checkpointer())


def test_a_thread_that_went_on_is_refused_and_others_go_on(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        for name in ("ann", "bob", "cid"):
            counting(official).invoke({"log": []}, thread(name))
    counting(memory.get_langgraph_checkpointer()).invoke({"log": ["own"]}, thread("bob"))
    before = memory.usage("bob")
    report = import_official(file, memory)
    assert report.threads == 2
    assert [name for name, _ in report.failed] == ["bob"]
    with pytest.raises(ThreadExists, match="Thread 'bob' holds other checkpoints here than the source"):
        raise report.failed[0].error
    again = import_official(file, memory, skip_existing=True)
    assert (again.unchanged, again.skipped, again.failed) == (2, ["bob"], [])
    assert memory.usage("bob") == before


class Killed(BaseException):
    """The end of a process, as far as an import can tell."""


def test_what_is_cut_off_leaves_no_thread_and_is_done_again(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        run_graphs(official)

        def kill(progress: Progress) -> None:
            if progress.threads == 3 and progress.checkpoints == 2:
                raise Killed

        with pytest.raises(Killed):
            import_official(file, memory, on_progress=kill)
        assert memory.usage().threads == 3
        assert import_official(file, memory).unchanged == 3
        check_same(official, memory.get_langgraph_checkpointer())


def test_what_is_being_taken_over_is_nobodys_thread_yet(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        counting(official).invoke({"log": []}, thread("counting"))
    seen: list[Any] = []
    names: list[Any] = []
    backend = memory.store.backend

    def look(progress: Progress) -> None:
        if progress.checkpoints == 3:
            looked_at = memory.sweep({"keep_last": 1}).looked_at
            seen.append((memory.usage().threads, list(memory.threads()), looked_at))
            names.extend(row.thread for row in memory.store.run(lambda: backend.threads(None, 9), write=False).items)

    assert import_official(file, memory, on_progress=look).checkpoints == 5
    assert seen == [(1, [], 0)] and len(names) == 1
    assert memory.store.run(lambda: state_of(backend, names[0]), write=False) == (0, 0, 0)


def test_a_deleted_thread_can_be_taken_over_again(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        counting(official).invoke({"log": []}, thread("counting"))
    import_official(file, memory)
    memory.delete_thread("counting")
    assert import_official(file, memory).checkpoints == 5
    assert counting(memory.get_langgraph_checkpointer()).get_state(thread("counting")).values == {
        "log": ["one", "two", "three"]
    }


def test_dry_run_and_chosen_threads(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        run_graphs(official)
    dry = import_official(file, memory, dry_run=True)
    assert memory.usage().checkpoints == 0
    assert dry == import_official(file, memory)
    with open_memory("memory://") as other:
        report = import_official(file, other, threads=["chat", "nobody"])
        assert (report.threads, [name for name, _ in report.failed]) == (1, ["nobody"])
        assert other.usage().threads == 1


def test_the_source_is_left_as_it_was(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        counting(official).invoke({"log": []}, thread("counting"))
    before, content = sorted(file.parent.iterdir()), file.read_bytes()
    import_official(file, memory)
    assert sorted(file.parent.iterdir()) == before
    assert file.read_bytes() == content


def test_a_source_that_changes_meanwhile_is_noticed(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        counting(official).invoke({"log": []}, thread("counting"))

    def interfere(progress: Progress) -> None:
        with sqlite_saver(file) as saver:
            saver.delete_thread("counting")

    with pytest.raises(StoreUnavailable, match="was written to while it was read; stop the agents"):
        import_official(file, memory, on_progress=interfere)


# ------------------------------------------------------------------------------------- the command


STATE = """
import sys
from dataclasses import dataclass
from operator import add
from typing import Annotated
from typing_extensions import TypedDict
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph


@dataclass
class Order:
    number: int


class State(TypedDict):
    orders: Annotated[list, add]


if __name__ == "__main__":
    import shop_state

    with SqliteSaver.from_conn_string(sys.argv[1]) as saver:
        builder = StateGraph(State).add_node("buy", lambda state: {"orders": [shop_state.Order(1)]})
        graph = builder.add_edge(START, "buy").compile(checkpointer=saver)
        graph.invoke({"orders": []}, {"configurable": {"thread_id": "shop"}})
"""


def test_a_class_that_is_not_loaded_is_named_with_the_way_out(file: Path, tmp_path: Path) -> None:
    (tmp_path / "shop_state.py").write_text(STATE)
    subprocess.run([sys.executable, "shop_state.py", str(file)], cwd=tmp_path, check=True, timeout=60)

    def command(*more: str) -> subprocess.CompletedProcess[str]:
        words = ["import-official", str(file), "--to", "sqlite:///charm.db", *more]
        code = "import sys; from charm_checkpoint.cli import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    refused = command()
    assert refused.returncode == 1
    assert "the thread 'shop' was left alone: checkpoint 1" in refused.stderr
    assert "pending_writes.orders[0]: shop_state:Order is not loaded in this process" in refused.stderr
    assert "add --import MODULE" in refused.stderr
    assert "0 threads taken over" in refused.stdout
    dry = command("--import", "shop_state", "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "1 threads would be taken over: 3 checkpoints" in dry.stdout
    done = command("--import", "shop_state")
    assert "1 threads taken over: 3 checkpoints" in done.stdout
    assert "1 threads were here already" in command("--import", "shop_state").stdout


def test_the_command_chooses_threads_and_its_exit_code(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path.as_posix()}/charm.db"
    with sqlite_saver(file) as official:
        for name in ("ann", "bob", "cid"):
            counting(official).invoke({"log": []}, thread(name))
    assert main(["import-official", str(file), "--to", url, "--thread", "ann", "--thread", "bob"]) == 0
    assert "2 threads taken over: 10 checkpoints" in capsys.readouterr().out
    with open_memory(url) as memory:
        counting(memory.get_langgraph_checkpointer()).invoke({"log": []}, thread("bob"))
    assert main(["import-official", str(file), "--to", url, "--thread", "bob"]) == 1
    assert "the thread 'bob' was left alone: Thread 'bob' holds other checkpoints" in capsys.readouterr().err
    assert main(["import-official", str(file), "--to", url, "--thread", "bob", "--skip-existing"]) == 0
    assert "1 threads hold something else here, and were skipped" in capsys.readouterr().out
    assert main(["import-official", str(file), "--to", url, "--thread", "cid"]) == 0
    assert main(["import-official", str(file), "--to", url, "--thread", "eve", "--thread", "cid"]) == 1
    assert "'eve' was left alone: the source has no checkpoints" in capsys.readouterr().err
    assert main(["import-official", str(file)]) == 2


# ----------------------------------------------------------------------------------- wrong sources


def test_wrong_sources_are_named(file: Path, tmp_path: Path, memory: Memory) -> None:
    other = tmp_path / "other.db"

    def refusal(source: Any, kind: type[Exception], **more: Any) -> str:
        with pytest.raises(kind) as caught:
            import_official(source, memory, **more)
        assert type(caught.value) is kind
        return str(caught.value)

    assert "there is no file" in refusal(other, ConfigError)
    assert "there is no file" in refusal(tmp_path, ConfigError)
    other.write_text("no database at all, but long enough to be taken for one" * 100)
    assert "is not a SQLite file" in refusal(other, ConfigError)
    other.write_bytes(b"")
    assert "holds no threads of a SqliteSaver" in refusal(other, SchemaMismatch)
    with closing(sqlite3.connect(other)) as raw:
        raw.execute("CREATE TABLE checkpoints (thread_id, thread_ts, parent_ts, checkpoint)")
    assert "has no checkpoint_id, checkpoint_ns" in refusal(other, SchemaMismatch)
    with open_memory(f"sqlite:///{tmp_path.as_posix()}/ours.db") as ours:
        ours.setup()
    assert "is a file of charm_checkpoint" in refusal(tmp_path / "ours.db", SchemaMismatch)
    assert "mysql://" in refusal("mysql://localhost/db", ConfigError)
    assert "a list of thread ids" in refusal(file, ConfigError, threads="ann")
    assert "a SQLite file has none" in refusal(file, ConfigError, schema="public")
    assert "cannot be read" in refusal("postgresql://user:hidden@127.0.0.1:1/db", StoreUnavailable)
    for down in ("postgresql", "redis"):
        assert "hidden" not in refusal(f"{down}://user:hidden@127.0.0.1:1/0", StoreUnavailable)


def test_a_file_without_threads_and_its_own_target(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        official.setup()
    assert import_official(file, memory) == ImportReport()
    with sqlite_saver(file) as official:
        counting(official).invoke({"log": []}, thread("counting"))
    content = file.read_bytes()
    with open_memory(f"sqlite:///{file.as_posix()}") as same, pytest.raises(SchemaMismatch):
        import_official(file, same)
    assert file.read_bytes() == content
