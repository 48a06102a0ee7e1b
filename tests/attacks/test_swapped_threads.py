"""One thread's content in another's place.

The attacker may write to the store, or restores a backup over the wrong name: he copies rows, keys or a log of the
thread `u` to the thread `t`, to another namespace, checkpoint or tenant. He wants the program, asked for `t`, to go on
with what is `u`'s: another user's conversation, another state to resume from, an approval that was given elsewhere.

He gets `StoreCorrupt`, which names the place that was asked for: what is stored says whose it is. `u` can be read as
before, and so can copies that the store itself makes. (Whoever can also make new seals can forge them: there is no key
in them, see docs/security.md.)
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from children.jobs import items
from children.jobs import put as put_values
from conftest import or_skip
from local_files import log_of
from stores import postgres_url, valkey_server, valkey_url

from attacks.planted import Wrap
from attacks.raw_stores import chunks_of
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.contract import Chunk, NewCheckpoint, NewMessages, NewWrites, Query
from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.stores.shared.names import CHECKPOINTS, identity
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.testing.samples import Point, config

MESSAGES = [{"role": "user", "content": "u's secret"}]
NS = ("memories", "u")


def put(saver: Any, at: Any, values: dict[str, Any]) -> Any:
    """Store a checkpoint with values, and return what names it."""
    return put_values(saver, at, values)


def values_of(saver: Any, thread: str) -> dict[str, Any]:
    """Return what a thread's head holds."""
    found: dict[str, Any] = saver.get_tuple(config(thread)).checkpoint["channel_values"]
    return found


def fill(saver: Any, thread: str = "u") -> None:
    """Store a thread of two checkpoints, with values in chunks, small ones, and pending writes."""
    first = put(saver, config(thread), {"items": items(300), "small": ["kept"]})
    second = put(saver, first, {"items": items(301), "small": ["kept", "too"]})
    saver.put_writes(second, [("small", ["waits"]), ("__resume__", True)], "task")


def put_rows(source: PlansInMode, target: PlansInMode, **changes: Any) -> None:
    """Write the rows of `u` to the place that ``changes`` tell, byte for byte, as whoever may write can."""
    for found in reversed(source.page(Query("u"), None, 100).items):
        row = found.row
        new = NewCheckpoint(
            "t", row.ns, row.id, row.parent, bytes(row.body), bytes(row.roots), b"", None,
            chunks_of(source, "u", bytes(row.roots)), None, None, "allow",
        )  # fmt: skip
        assert target.put(replace(new, **changes)).outcome == "stored"


def refused(saver: InMode, thread: str = "t", ns: str = "") -> None:
    """Check that a thread is refused by whatever reads it, and named."""
    for read in (saver.get_tuple, saver.list):
        with pytest.raises(StoreCorrupt, match=f"^Thread '{thread}'"):
            read(config(thread, ns))


class TestSwappedThreads(Suite):
    """The attacks that need no more than records, on every store, blocking and async."""

    @pytest.fixture
    def filled(self, saver: InMode) -> InMode:
        """Return a checkpointer whose store has the thread `u`."""
        fill(saver)
        return saver

    def test_its_rows_under_another_name(self, filled: InMode, backend: PlansInMode) -> None:
        put_rows(backend, backend)
        refused(filled)
        with pytest.raises(StoreCorrupt, match="^Thread 't'"):
            filled.get_delta_channel_history(config=config("t"), channels=["log"])
        assert values_of(filled, "u")["small"] == ["kept", "too"]
        assert [len(found.pending_writes) for found in filled.list(config("u"))] == [2, 0]

    @pytest.mark.parametrize("place", [{"ns": "child"}, {"id": "other"}, {"parent": "other"}], ids=str)
    def test_its_rows_in_another_place_of_its_own(
        self, filled: InMode, backend: PlansInMode, place: dict[str, str]
    ) -> None:
        put_rows(backend, backend, thread="u", **place)
        refused(filled, "u", place.get("ns", ""))

    def test_the_value_of_another_channel(self, saver: InMode, backend: PlansInMode) -> None:
        put(saver, config("u"), {"approved": ["x" * 90] * 90, "asked": ["y" * 90] * 90})
        row = backend.find("u", "", None).row
        assert len(row.roots) == 32
        put_rows(backend, backend, thread="u", roots=bytes(row.roots[16:] + row.roots[:16]))
        refused(saver, "u")

    @pytest.mark.parametrize("place", [("t", ""), ("u", "child"), ("u", "")], ids=["thread", "namespace", "checkpoint"])
    def test_an_approval_that_was_given_elsewhere(
        self, filled: InMode, backend: PlansInMode, place: tuple[str, str]
    ) -> None:
        [given] = backend.find("u", "", None).writes
        at = put(filled, config(*place), {"small": ["another"]})["configurable"]
        backend.put_writes(NewWrites(*place, at["checkpoint_id"], bytes(given), None))
        refused(filled, *place)

    def test_its_messages(self, memory: Memory, mode: CallMode, backend: PlansInMode) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages as files of Charm's, which tell of no thread")
        store = InMode(memory, mode)
        store.save_messages("u", MESSAGES)
        store.append_messages("u", MESSAGES)
        found = backend.messages("u")
        backend.put_messages(NewMessages("t", bytes(found.body), b"", (), None))
        backend.append_messages("v", bytes(found.batches[0]))
        for thread in "tv":
            with pytest.raises(StoreCorrupt, match=f"^Thread '{thread}'"):
                store.load_messages(thread)
        assert store.load_messages("u") == MESSAGES * 2

    def test_its_large_message_list(self, memory: Memory, mode: CallMode, backend: PlansInMode) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages as files of Charm's, which tell of no thread")
        store = InMode(memory, mode)
        store.save_messages("u", MESSAGES * 900)
        found = backend.messages("u")
        assert found.roots
        lent: dict[bytes, Chunk] = {}
        wanted = [bytes(found.roots)]
        while wanted:
            lent |= backend.chunks("u", wanted, messages=True)
            refs = b"".join(bytes(lent[name].refs) for name in wanted)
            wanted = [refs[at : at + 16] for at in range(0, len(refs), 16)]
        backend.put_messages(NewMessages("t", bytes(found.body), bytes(found.roots), list(lent.values()), None))
        with pytest.raises(StoreCorrupt, match="^Thread 't'"):
            store.load_messages("t")

    @pytest.mark.parametrize(
        ("space", "key"), [(b"imemories\0t\0", b"secret"), (b"imemories\0u\0", b"other")], ids=["namespace", "key"]
    )
    def test_an_item_in_anothers_place(
        self, memory: Memory, mode: CallMode, items: ItemsInMode, space: bytes, key: bytes
    ) -> None:
        store = InMode(memory.get_langgraph_store(), mode)
        store.put(NS, "secret", {"text": "u's secret"})
        at = ItemKey(b"imemories\0u\0", b"secret")
        row = items.fetch([at])[at]
        items.change(batch(ItemChange(space, key, bytes(row.value))))
        labels = tuple(space[1:-1].decode().split("\0"))
        for read in (lambda: store.get(labels, key.decode()), lambda: store.search(labels)):
            with pytest.raises(StoreCorrupt, match=f"^Item '{key.decode()}' of"):
                read()
        found: Any = store.get(NS, "secret")
        assert found.value == {"text": "u's secret"}

    def test_what_another_tenant_has(self, opened: Any, mode: CallMode, url: str) -> None:
        if url.startswith(("file:", "memory:", "sqlite:///:memory:")):
            pytest.skip("this store has one tenant")
        ours, theirs = opened(tenant="ours"), opened(tenant="theirs")
        saver = InMode(theirs.get_langgraph_checkpointer(), mode)
        fill(saver)
        fill(saver, "t")
        source, target = PlansInMode(theirs.store, mode), PlansInMode(ours.store, mode)
        put_rows(source, target, thread="u")
        refused(InMode(ours.get_langgraph_checkpointer(), mode), "u")
        InMode(ours, mode).delete_thread("u")  # leave nothing: databases are shared
        for thread in "tu":
            InMode(theirs, mode).delete_thread(thread)

    def test_copies_that_the_store_makes_are_its_own(self, filled: InMode) -> None:
        filled.copy_thread("u", "t")
        filled.copy_thread("t", "v")
        for thread in "tv":
            assert [len(found.pending_writes) for found in filled.list(config(thread))] == [2, 0]
            assert values_of(filled, thread)["items"] == items(301)


def batch(change: ItemChange) -> ItemBatch:
    """Return a batch of one change."""
    return ItemBatch(1, changes=[change])


# -------------------------------------------------------------- by the means that each store offers


def test_a_log_copied_over_anothers(tmp_path: Path, in_mode: Wrap) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory.get_langgraph_checkpointer())
        put(memory.get_langgraph_checkpointer(), config("t"), {"small": ["t's"]})
    shutil.copy(log_of(tmp_path, "u"), log_of(tmp_path, "t"))
    with open_memory(f"file://{tmp_path}") as memory:
        saver = in_mode(memory.get_langgraph_checkpointer())
        for use in (
            lambda: saver.get_tuple(config("t")),
            lambda: saver.list(config("t")),
            lambda: put(saver, config("t"), {"small": ["more"]}),
            lambda: saver.copy_thread("t", "v"),
            lambda: saver.prune(["t"]),
        ):
            with pytest.raises(StoreCorrupt, match="the log of thread 'u'"):
                use()
        assert values_of(saver, "u")["small"] == ["kept", "too"]
        listed = {found.thread_id: found.damage for found in in_mode(memory).threads()}
        assert listed["u"] is None and "the log of thread 'u'" in listed[None]
        saver.delete_thread("t")
        put(saver, config("t"), {"small": ["anew"]})
        assert values_of(saver, "t") == {"small": ["anew"]}
        assert {found.thread_id: found.checkpoints for found in memory.threads()} == {"t": 1, "u": 2}


def test_the_log_of_a_deleted_thread_over_anothers(tmp_path: Path, in_mode: Wrap) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        fill(memory.get_langgraph_checkpointer(), "t")
        fill(memory.get_langgraph_checkpointer(), "u")
        memory.delete_thread("u")
    shutil.copy(log_of(tmp_path, "u"), log_of(tmp_path, "t"))
    with open_memory(f"file://{tmp_path}") as memory:
        with pytest.raises(StoreCorrupt, match=r"^Thread 't': .* the log of a deleted thread"):
            in_mode(memory.get_langgraph_checkpointer()).get_tuple(config("t"))


def test_a_log_of_items_copied_over_anothers(tmp_path: Path, in_mode: Wrap) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        for user in "tu":
            memory.get_langgraph_store().put(("memories", user), "secret", {"text": f"{user}'s"})
    logs = {(b"memories\0u" in log.read_bytes()): log for log in tmp_path.glob(".charm/items/*/log")}
    shutil.copy(logs[True], logs[False])
    with open_memory(f"file://{tmp_path}") as memory:
        store = in_mode(memory.get_langgraph_store())
        for use in (lambda: store.get(("memories", "t"), "secret"), lambda: store.put(("memories", "t"), "a", {})):
            with pytest.raises(StoreCorrupt, match="is the log of the space"):
                use()
        found: Any = store.get(("memories", "u"), "secret")
        assert found.value == {"text": "u's"}


def test_rows_of_sqlite_that_are_given_to_another(tmp_path: Path, in_mode: Wrap) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        fill(saver)
        put(saver, config("t"), {"small": ["t's"]})
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        keys = dict(database.execute("SELECT name, key FROM thread"))
        database.execute("UPDATE space SET thread = -1 WHERE thread = ?", (keys[b"t"],))
        for table in ("space", "chunk"):
            database.execute(f"UPDATE {table} SET thread = ? WHERE thread = ?", (keys[b"t"], keys[b"u"]))
        database.commit()
    with open_memory(url) as memory:
        refused(in_mode(memory.get_langgraph_checkpointer()))


def test_what_is_refused_can_be_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with open_memory(url) as memory:
        at = put(memory.get_langgraph_checkpointer(), config("u"), {"small": ["kept"], "of a class": [Point(7)] * 200})
        memory.get_langgraph_checkpointer().put_writes(at, [("one", Point(8))], "task")
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        owner = identity(b"", CHECKPOINTS, "t")
        database.execute("UPDATE thread SET name = ?, identity = ?", (b"t", owner))
        database.commit()
    assert main(["show", "t", "--url", url]) == 0
    said = capsys.readouterr()
    assert "was written for another thread" in said.out + said.err and "kept" not in said.out
    assert main(["show", "t", "--url", url, "--raw"]) == 0
    said = capsys.readouterr()
    assert "small: [kept]" in said.out and "of a class:" in said.out and "- x: 7\n    y: null" in said.out
    assert "shown as it is stored" in said.err and "Point" not in said.out


def test_rows_of_postgres_that_are_given_to_another_tenant(in_mode: Wrap) -> None:
    url = or_skip(postgres_url)
    with open_memory(url, tenant="theirs") as memory:
        fill(memory.get_langgraph_checkpointer())
    with open_memory(url, tenant="ours") as memory:
        saver = in_mode(memory.get_langgraph_checkpointer())
        put(saver, config("u"), {"small": ["ours"]})
        with psycopg.connect(url) as connection:
            connection.execute(
                "UPDATE charm_checkpoint.space SET thread = o.key FROM charm_checkpoint.thread o, "
                "charm_checkpoint.thread t WHERE o.tenant = 'ours' AND t.tenant = 'theirs' AND space.thread = t.key "
                "AND NOT EXISTS (SELECT FROM charm_checkpoint.space s WHERE s.thread = o.key AND s.ns = space.ns)"
            )
            connection.execute(
                "UPDATE charm_checkpoint.checkpoint c SET space = o.key FROM charm_checkpoint.space o, "
                "charm_checkpoint.space s WHERE c.space = s.key AND o.key <> s.key"
            )
        refused(saver, "u")


def test_keys_of_redis_under_anothers_names(in_mode: Wrap) -> None:
    redis: Any = pytest.importorskip("redis")
    url = or_skip(valkey_url)
    assert or_skip(valkey_server)
    with open_memory(url) as memory:
        saver = memory.get_langgraph_checkpointer()
        fill(saver)
        put(saver, config("t"), {"small": ["t's"]})
    with redis.Redis.from_url(url) as client:
        tags = {client.hget(key, "t"): key[: -len(b"state")] for key in client.scan_iter("charm:*:state")}
        for part in (b"state", b"rows", b"order", b"writes", b"chunks"):
            client.delete(tags[b"t"] + part)
            if client.exists(tags[b"u"] + part):
                client.restore(tags[b"t"] + part, 0, client.dump(tags[b"u"] + part))
    with open_memory(url) as memory:
        refused(in_mode(memory.get_langgraph_checkpointer()))
