"""What is noticed of an attack on what is stored, and what is not: the table of docs/security.md, by trying.

The attacker may write to the store: the server's tables or keys, a file, a folder that is synced. He changes what is
there, moves it, takes it away, puts it into another order or back to what it was, or makes it anew by means of this
package.

What he changes or moves is noticed by whoever reads it (`StoreCorrupt`). What he takes away, reorders, puts back or
makes anew is not: that needs a key, or somebody who remembers. Each row of the table is an attack here, each column a
store, and the table must say what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from children.jobs import items
from children.jobs import put as put_values
from conftest import STORES, Row, or_skip
from pages import ROOT

from attacks import raw_stores
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import NewCheckpoint, NewWrites, Query
from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.testing.call_modes import CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.testing.samples import config

COLUMNS = {"sqlite": "SQLite", "postgres": "Postgres", "supabase": "Supabase", "valkey": "Redis", "files": "files"}


class World:
    """A thread of two checkpoints, with pending writes, messages and an item; each attack opens the store anew."""

    def __init__(self, url: str, memory: Memory, mode: CallMode, name: str) -> None:
        self.url, self.mode, self.thread = url, mode, name
        self.at = ItemKey(f"imemories\0{name}\0".encode(), b"key")
        saver, own = InMode(memory.get_langgraph_checkpointer(), mode), [f"{name} {text}" for text in items(301)]
        first = put_values(saver, config(name), {"items": own[:300], "step": 1})  # type: ignore[arg-type]
        second = put_values(saver, first, {"items": own, "step": 2})  # type: ignore[arg-type]
        saver.put_writes(second, [("small", ["waits"])], "task")
        InMode(memory, mode).save_messages(name, [{"role": "user", "content": f"pay Alice {name}"}])
        InMode(memory.get_langgraph_store(), mode).put(("memories", name), "key", {"text": name})

    def opened(self) -> AbstractContextManager[Memory]:
        return opened(self.url, self.mode)

    def change(self, find: Callable[[PlansInMode, ItemsInMode], bytes]) -> None:
        """Flip a bit of what is found, where the store has it."""
        with self.opened() as memory:
            held = bytes(find(PlansInMode(memory.store, self.mode), ItemsInMode(memory.store, self.mode)))
        middle = len(held) * 2 // 3
        changed = held[:middle] + bytes([held[middle] ^ 1]) + held[middle + 1 :]
        assert raw_stores.replace(self.url, held, changed) >= 1

    def rebuild(self, *, skip: int = 0, writes: bool = True, turned: bool = False, to: str = "") -> None:
        """Delete the thread and put its rows back byte for byte: without the last ones, in another order, elsewhere."""
        with self.opened() as memory:
            backend = PlansInMode(memory.store, self.mode)
            found = backend.page(Query(self.thread), None, 10).items
            chunks = [raw_stores.chunks_of(backend, self.thread, bytes(each.row.roots)) for each in found]
            deletes = backend.delete_thread(self.thread).deletes
            thread, seen = (to, None) if to else (self.thread, deletes)
            rows = list(zip(found, chunks, strict=True))[skip:]
            for each, reached in rows if turned else reversed(rows):
                row = each.row
                new = NewCheckpoint(
                    thread, row.ns, row.id, row.parent, bytes(row.body), bytes(row.roots), b"", None, reached, None,
                    seen, "allow",
                )  # fmt: skip
                assert backend.put(new).outcome == "stored"
                for body in each.writes if writes else ():
                    backend.put_writes(NewWrites(thread, row.ns, row.id, bytes(body), seen))

    def noticed(self, memory: Memory, thread: str = "") -> bool:
        """Tell whether somebody who reads everything is told."""
        thread = thread or self.thread
        saver, whole = InMode(memory.get_langgraph_checkpointer(), self.mode), InMode(memory, self.mode)
        store = InMode(memory.get_langgraph_store(), self.mode)
        reads: list[Callable[[], Any]] = [
            lambda: saver.list(config(thread)),
            lambda: whole.load_messages(thread),
            lambda: store.get(("memories", self.thread), "key"),
        ]
        return any(list(map(_refused, reads)))


@contextmanager
def opened(url: str, mode: CallMode) -> Iterator[Memory]:
    """Open a store, with nothing in mind of what it held."""
    memory = open_memory(url)
    yield memory
    InMode(memory, mode).close()


def _refused(read: Callable[[], Any]) -> bool:
    try:
        read()
    except StoreCorrupt:
        return True
    return False


# --------------------------------------------------------------------------------- the attacks


def a_value(world: World) -> None:
    def find(backend: PlansInMode, _: ItemsInMode) -> bytes:
        chunks = raw_stores.chunks_of(backend, world.thread, bytes(backend.find(world.thread, "", None).row.roots))
        return max((bytes(chunk.data) for chunk in chunks), key=len)

    world.change(find)


def a_record(world: World) -> None:
    world.change(lambda backend, _: backend.find(world.thread, "", None).row.body)


def a_write(world: World) -> None:
    world.change(lambda backend, _: backend.find(world.thread, "", None).writes[0])


def a_message(world: World) -> None:
    with world.opened() as memory:
        charms_own = memory.store.history is not None
    if charms_own:
        assert raw_stores.replace(world.url, f"pay Alice {world.thread}".encode(), f"pay Mally {world.thread}".encode())
    else:
        world.change(lambda backend, _: backend.messages(world.thread).body)


def an_item(world: World) -> None:
    world.change(lambda _, held: held.fetch([world.at])[world.at].value)


def an_approval(world: World) -> None:
    with world.opened() as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), world.mode)
        saver.put_writes(saver.get_tuple(config(world.thread)).config, [("__resume__", [True])], "task 2")


def anew(world: World) -> None:
    with world.opened() as memory:
        saver = InMode(memory.get_langgraph_checkpointer(), world.mode)
        put_values(saver, saver.get_tuple(config(world.thread)).config, {"items": ["forged"]})  # type: ignore[arg-type]


ATTACKS: dict[str, Callable[[World], Any]] = {
    "a bit of a large value is changed": a_value,
    "a bit of a checkpoint's record is changed": a_record,
    "a bit of a pending write is changed": a_write,
    "a bit of a message is changed": a_message,
    "a bit of an item is changed": an_item,
    "a thread's rows are moved to another thread": lambda world: world.rebuild(to="elsewhere"),
    "the latest checkpoint is taken away": lambda world: world.rebuild(skip=1),
    "a pending write is taken away": lambda world: world.rebuild(writes=False),
    "two checkpoints change places": lambda world: world.rebuild(turned=True),
    "the whole thread is taken away": lambda world: world.rebuild(skip=9),
    "a checkpoint is made anew, by means of this package": anew,
    "a pending write is made anew, such as an approval (`__resume__`)": an_approval,
}
"""The rows of the table, by what is done."""

TARGETS = {"a thread's rows are moved to another thread": "elsewhere"}
"""The threads that are read then."""


def documented() -> dict[tuple[str, str], bool]:
    """Return what the manual says is noticed, by attack and store."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n") if line.startswith("| ")
    ]
    [head] = [cells for cells in lines if cells[0] == "What is done"]
    rows = [cells for cells in lines if cells[0] in ATTACKS]
    assert head[1:] == list(COLUMNS.values()) and [cells[0] for cells in rows] == list(ATTACKS)
    assert {cell for cells in rows for cell in cells[1:]} == {"yes", "no"}
    return {
        (cells[0], column): said == "yes" for cells in rows for column, said in zip(COLUMNS, cells[1:], strict=True)
    }


@pytest.fixture(params=[row for row in STORES if row.name in COLUMNS], ids=lambda row: row.name)
def store(request: pytest.FixtureRequest) -> Row:
    row: Row = request.param
    return row


def test_the_table_of_the_manual(store: Row, mode: CallMode, tmp_path: Any) -> None:
    said, url = documented(), or_skip(lambda: store.make_url(tmp_path))
    with opened(url, mode) as memory:
        worlds = {attack: World(url, memory, mode, f"thread {number}") for number, attack in enumerate(ATTACKS)}
    with opened(url, mode) as memory:
        assert [attack for attack, world in worlds.items() if world.noticed(memory)] == []
    for attack, do in ATTACKS.items():
        do(worlds[attack])
    with opened(url, mode) as memory:
        for attack, world in worlds.items():
            assert world.noticed(memory, TARGETS.get(attack, "")) == said[attack, store.name], attack
