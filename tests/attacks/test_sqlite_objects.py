"""Triggers, views and altered tables in a SQLite file.

The attacker may write to the file, or gave it to us. He wants to keep what is deleted, to have what we store changed on
its way, or that a call never ends: triggers on our tables, views in their place, and rules of theirs (generated
columns, CHECK, indexes of expressions) run as we use the file.

He gets an error that names them, also where he adds them while the store is open: nothing that ran is committed. What
others have in the file beside our tables, with triggers of its own, is left alone. What computes without end for any
other reason is ended.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from children.jobs import add_item

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import ConfigError, SchemaMismatch, StoreUnavailable
from charm_checkpoint.hosts.zeroclaw.reading import read_zeroclaw
from charm_checkpoint.importers import import_official
from charm_checkpoint.stores.sqlite import objects

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

TRIGGERS = {
    "keeps messages": "CREATE TRIGGER t AFTER DELETE ON message_batch BEGIN INSERT INTO kept VALUES (old.body); END",
    "keeps chunks": "CREATE TRIGGER line BEFORE DELETE ON chunk BEGIN SELECT RAISE(IGNORE); END",
    "changes checkpoints": "CREATE TRIGGER wanted AFTER INSERT ON checkpoint BEGIN DELETE FROM chunk; END",
    "never ends": f"CREATE TRIGGER t AFTER UPDATE ON thread BEGIN INSERT INTO kept {ENDLESS}; END",
    "with odd names": 'CREATE TRIGGER "a\x1b[2J\nb" AFTER INSERT ON ITEM BEGIN SELECT 1; END',
}
ALTERED = {
    "a generated column": "ALTER TABLE thread ADD COLUMN more INTEGER AS (length(zeroblob(1000000000)))",
    "an index of an expression": "CREATE INDEX slow ON message_batch (length(hex(body)))",
    "a unique index": "CREATE UNIQUE INDEX once ON message_batch (thread)",
    "a partial index": "CREATE INDEX some ON message_batch (thread) WHERE length(hex(body)) > 1",
    "an index under our own index's name": "DROP INDEX item_end; CREATE INDEX ITEM_end ON item (space)",
}
REPLACED = {
    "a view": f"CREATE VIEW message_list AS SELECT 1 thread, 1 revision, x'' roots, ({ENDLESS}) body",
    "a table with a CHECK": "CREATE TABLE message_list (thread INTEGER PRIMARY KEY, revision INTEGER NOT NULL, "
    "roots BLOB NOT NULL, body BLOB, CHECK (randomblob(thread) IS NOT NULL)) STRICT",
    "a table with other defaults": "CREATE TABLE message_list (thread INTEGER PRIMARY KEY, revision INTEGER NOT NULL, "
    "roots BLOB NOT NULL, body BLOB DEFAULT (zeroblob(1000000000))) STRICT",
}
ATTACKS = {
    **TRIGGERS, **ALTERED,
    **{name: f"DROP TABLE message_list; {made}" for name, made in REPLACED.items()},
}  # fmt: skip

CALLS: dict[str, Callable[[Memory], object]] = {
    "usage": lambda memory: memory.usage(),
    "read": lambda memory: memory.load_messages("t"),
    "write": lambda memory: memory.append_messages("t", [{"n": 2}]),
    "delete": lambda memory: memory.delete_thread("t"),
    "async read": lambda memory: asyncio.run(memory.aload_messages("t")),
    "async delete": lambda memory: asyncio.run(memory.adelete_thread("t")),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a store with a thread, messages and an item, in which the attacker has a table for what he keeps."""
    path = tmp_path / "a.db"
    with open_memory(f"sqlite:///{path}") as memory:
        fill(memory)
    run(path, "CREATE TABLE kept (what BLOB)")
    return path


def fill(memory: Memory) -> None:
    add_item(memory.get_langgraph_checkpointer(), "t")
    memory.append_messages("t", [{"n": 1}])
    memory.get_langgraph_store().put(("a",), "k", {"n": 1})


def run(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [str(row) for [name] in tables(connection) for row in connection.execute(f"SELECT * FROM {name}")]


def tables(connection: sqlite3.Connection) -> list[tuple[str]]:
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_stat1' ORDER BY name"
    return connection.execute(names).fetchall()


@pytest.fixture(params=ATTACKS)
def attack(request: pytest.FixtureRequest) -> str:
    """Return what the attacker runs in the file."""
    return ATTACKS[request.param]


def test_they_are_refused_when_the_file_is_opened(attack: str, file: Path) -> None:
    run(file, attack)
    before = dump(file)
    began = time.monotonic()
    for mode in ("rwc", "ro"):
        for call in CALLS.values():
            with open_memory(f"sqlite:///{file}?mode={mode}") as memory:
                with pytest.raises(SchemaMismatch, match="not made like that: the (trigger|view|table|index) '"):
                    call(memory)
    assert time.monotonic() - began < 20
    assert dump(file) == before


@pytest.mark.parametrize("call", CALLS)
def test_they_are_refused_when_they_come_later(call: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LONGEST", 0.1)
    for number, attack in enumerate(ATTACKS.values()):
        path = file.with_name(f"{number}.db")
        path.touch(mode=0o600)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
        with open_memory(f"sqlite:///{path}?timeout=0.1s") as memory:
            for _ in range(2):
                assert memory.load_messages("t") == [{"n": 1}]
                assert memory.usage().threads == 1
            memory.append_messages("u", [{"n": 1}])
            memory.delete_thread("u")
            run(path, attack)
            before = dump(path)
            with pytest.raises((SchemaMismatch, StoreUnavailable)):
                CALLS[call](memory)
            assert dump(path) == before
            with pytest.raises((SchemaMismatch, StoreUnavailable)):
                CALLS[call](memory)


def test_what_others_have_in_the_file_is_left_alone(file: Path) -> None:
    run(
        file,
        """
        CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
        CREATE TABLE theirs (id INTEGER PRIMARY KEY, thread INTEGER REFERENCES thread (key) ON DELETE RESTRICT);
        INSERT INTO theirs SELECT key, key FROM thread;
        CREATE INDEX theirs_thread ON theirs (abs(thread));
        CREATE TRIGGER theirs_changed AFTER INSERT ON theirs BEGIN INSERT INTO kept VALUES (new.id); END;
        CREATE VIEW overview AS SELECT * FROM thread;
        ANALYZE;
        """,
    )
    with open_memory(f"sqlite:///{file}") as memory:
        fill(memory)
        for call in CALLS.values():
            call(memory)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM overview").fetchone()[0] > 0


def test_an_index_of_an_administrator_is_left_alone(file: Path) -> None:
    run(
        file,
        """
        CREATE INDEX by_time ON thread (touched_at DESC);
        CREATE INDEX "theirs; --'" ON checkpoint (space, id COLLATE NOCASE, body);
        CREATE INDEX writes ON write (space, id, body);
        ANALYZE;
        """,
    )
    with open_memory(f"sqlite:///{file}") as memory:
        fill(memory)
        for call in CALLS.values():
            call(memory)
        run(file, "CREATE INDEX later ON message_batch (thread, body)")
        fill(memory)
    with open_memory(f"sqlite:///{file}?mode=ro") as memory:
        assert memory.load_messages("t") == [{"n": 1}]


def test_an_index_in_an_order_of_its_own_is_refused(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.create_collation("theirs", lambda one, other: 0)
        connection.execute("CREATE INDEX sorted ON thread (name COLLATE theirs)")
    with open_memory(f"sqlite:///{file}") as memory, pytest.raises(SchemaMismatch, match="the index 'sorted'"):
        memory.usage()


def test_a_file_that_is_altered_by_a_migration_of_ours_is_not(file: Path) -> None:
    with open_memory(f"sqlite:///{file}") as memory, open_memory(f"sqlite:///{file}") as other:
        assert memory.usage() == other.usage()
        run(file, "VACUUM; REINDEX; ANALYZE; CREATE TABLE more (id); DROP TABLE more")
        fill(memory)
        assert memory.usage() == other.usage()


@pytest.fixture
def endless(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a file that is not looked at, with a view that computes for ever."""
    monkeypatch.setattr(objects, "_check_objects", lambda connection, path: None)
    monkeypatch.setattr(objects, "LONGEST", 0.2)
    run(file, f"DROP TABLE message_list; {REPLACED['a view']}")
    yield file


def test_what_computes_without_end_is_ended(endless: Path) -> None:
    for call in (CALLS["read"], CALLS["async read"], CALLS["read"]):
        with open_memory(f"sqlite:///{endless}?timeout=0.1s") as memory:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="computed for too long; nothing was written"):
                call(memory)
            assert time.monotonic() - began < 60


def test_an_interrupt_while_sqlite_computes_is_one(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LONGEST", 60.0)
    with open_memory(f"sqlite:///{endless}") as memory:
        for _ in range(2):
            timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                CALLS["read"](memory)
            timer.join()
        assert memory.threads() is not None
        memory.get_langgraph_store().put(("a",), "k", {"n": 2})


def test_an_interrupt_while_it_is_guarded_is_one(file: Path) -> None:
    watch = objects.Watch()
    with closing(sqlite3.connect(file)) as connection:
        objects.guard(connection, watch, 30)
        for part in ("one", "other"):
            for at in range(8):
                counted = iter(range(at))

                def interrupted(value: object, counted: Iterator[int] = counted) -> bool:
                    if next(counted, None) is None:
                        raise KeyboardInterrupt
                    return False

                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(objects, "_CHANGES", Asked(interrupted))
                    with pytest.raises(sqlite3.DatabaseError):
                        connection.execute(f"SELECT key AS {part}{at}, touched_at FROM thread").fetchall()
                with pytest.raises(KeyboardInterrupt):
                    watch.tell()
                watch.tell()
                assert connection.execute(f"SELECT key AS {part}{at}, touched_at FROM thread").fetchall()


class Asked:
    """What asks a function whether it contains something."""

    def __init__(self, ask: Callable[[object], bool]) -> None:
        self._ask = ask

    def __contains__(self, value: object) -> bool:
        return self._ask(value)


def test_a_file_of_another_program_that_is_taken_over(tmp_path: Path) -> None:
    """The same in a file that is said to be a SqliteSaver's, or ZeroClaw's."""
    saver, brain = tmp_path / "saver.db", tmp_path / "brain.db"
    columns = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
    run(
        saver, f"CREATE TABLE writes (idx); CREATE VIEW checkpoints ({columns}) AS SELECT ({ENDLESS}), 2, 3, 4, 5, 6, 7"
    )
    run(brain, f"CREATE VIEW memories (key, updated_at) AS SELECT 'a', ({ENDLESS})")
    with open_memory("memory://") as memory, pytest.raises(SchemaMismatch, match="its tables are views"):
        import_official(saver, memory)
    with pytest.raises(ConfigError, match="its tables are views"):
        read_zeroclaw(brain)
