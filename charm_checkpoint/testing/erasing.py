"""`Memory.erase` and `compact`: everything of a thread, of a namespace of items, of a tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from charm_checkpoint.contract import Usage
from charm_checkpoint.contract_items import ItemBatch, ItemChange
from charm_checkpoint.errors import ConfigError, ThreadDeleted
from charm_checkpoint.items.namespaces import EMBEDDINGS, INDEXES, path_of
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Open, Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, ItemsInMode
from charm_checkpoint.testing.samples import checkpoint, config
from charm_checkpoint.testing.saver_methods import chain, put

HELLO = [{"role": "user", "content": "hello"}]


class Erasing(Suite):
    """Everything of it goes, is counted, and does not come back."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    def test_everything_of_a_thread_goes(self, store: InMode, saver: InMode) -> None:
        where = chain(saver, 3)[-1]
        saver.put_writes(where, [("n", 1)], "task")
        store.append_messages("t", HELLO * 2)
        chain(saver, 1, "u")
        late = saver.elsewhere()
        late.get_tuple(config())
        usage = store.usage("t")
        told = store.erase("t", dry_run=True)
        assert store.usage("t") == usage
        report = store.erase("t", remember="10d")
        counts = (report.threads, report.checkpoints, report.writes, report.chunks, report.bytes)
        assert counts == (1, 3, 1, usage.chunks, usage.payload_bytes)
        assert (told.threads, told.checkpoints, told.bytes, told.messages) == (1, 3, report.bytes, report.messages)
        assert report.messages == 2 and told.dry_run and not report.dry_run
        expected = datetime.now(timezone.utc) + timedelta(days=10)
        assert abs(report.remembered_until - expected) < timedelta(minutes=5)
        assert (store.usage("t"), store.load_messages("t"), saver.get_tuple(config())) == (Usage(), [], None)
        assert [item.thread_id for item in store.threads()] == ["u"]
        for refused in (
            partial(put, late, where),
            partial(put, late, config()),
            partial(late.put_writes, where, [("a", 1)], "task"),
        ):
            with pytest.raises(ThreadDeleted, match="'t'"):
                refused()
        chain(saver, 2)
        assert len(saver.list(config())) == 2

    def test_what_is_not_there_is_no_error(self, store: InMode) -> None:
        report = store.erase("nobody")
        assert (report.threads, report.checkpoints, report.bytes) == (0, 0, 0)

    def test_nothing_is_remembered_if_that_is_asked(self, store: InMode, saver: InMode) -> None:
        where = chain(saver, 2)[-1]
        late = saver.elsewhere()
        late.get_tuple(config())
        report = store.erase("t", remember=0)
        assert report.remembered_until is None and any("brings it back" in note for note in report.notes)
        put(late, where, checkpoint({"log": ["x" * 90] * 90}))
        assert saver.get(config())["channel_values"]["log"] == ["x" * 90] * 90

    def test_pinned_threads_can_be_erased(self, store: InMode, saver: InMode) -> None:
        chain(saver, 1)
        store.pin("t")
        assert store.erase("t").threads == 1
        chain(saver, 1)
        assert store.pins() == []

    def test_turns_that_were_kept_word_for_word_go_with_their_thread(
        self, store: InMode, memory: Memory, saver: InMode, mode: CallMode
    ) -> None:
        memories = InMode(memory.long_term("project", {"shared": None, "global": None}), mode)
        for title, category, session in (
            ("said", "conversation", "t"),
            ("said elsewhere", "conversation", "u"),
            ("learned", "core", "t"),
        ):
            memories.remember("fact", title, f"{title}: words", category=category, session=session)
        chain(saver, 1)
        assert store.erase("t", dry_run=True).items == 1
        assert store.erase("t").items == 1
        assert sorted(entry.title for entry in memories.list()) == ["learned", "said elsewhere"]

    def test_a_namespace_of_items(self, store: InMode, memory: Memory, mode: CallMode) -> None:
        items = InMode(memory.get_langgraph_store(), mode)
        for namespace, key in ((("u", "1"), "a"), (("u", "1", "notes"), "b"), (("u", "10"), "c"), (("v",), "d")):
            items.put(namespace, key, {"text": f"the secret of {key}"})
        assert len(items.search(("u",), query="secret")) == 3
        told = store.erase(namespace=("u", "1"), dry_run=True)
        assert (told.items, len(items.search(("u",)))) == (2, 3)
        report = store.erase(namespace=("u", "1"))
        assert (report.items, report.bytes) == (2, told.bytes) and report.bytes > 0
        assert {item.key for item in items.search(("u",), query="secret")} == {"c"}
        assert {item.key for item in items.search(())} == {"c", "d"}

    def test_what_was_made_of_items_goes_with_them(self, store: InMode, memory: Memory, items: ItemsInMode) -> None:
        def kept(prefix: bytes) -> set[str]:
            return {space.decode() for space in items.spaces(prefix, 0)}

        for path in (path_of(()), path_of(("u",)), path_of(("u", "1")), path_of(("u", "1", "notes")), path_of(("v",))):
            _put_item(items, INDEXES + b"w" + path)
        _put_item(items, path_of(("vectors", "0"), EMBEDDINGS))
        _put_item(items, path_of(("models",), EMBEDDINGS))
        store.erase(namespace=("u", "1"))
        assert kept(INDEXES) == {(INDEXES + b"w" + path_of(("v",))).decode()}
        assert kept(EMBEDDINGS) == {path_of(("models",), EMBEDDINGS).decode()}

    def test_all_of_a_tenant(self, store: InMode, saver: InMode, memory: Memory, mode: CallMode) -> None:
        for n in range(5):
            chain(saver, 2, f"t{n}")
        store.append_messages("said", HELLO)
        kept = InMode(memory.get_langgraph_store(), mode)
        kept.put(("u",), "a", {"text": "a"})
        before = store.usage()
        told = store.erase(tenant=True, dry_run=True)
        assert store.usage() == before
        report = store.erase(tenant=True)
        assert (report.threads, report.checkpoints, report.messages, report.items) == (6, 10, 1, 1)
        assert (told.threads, told.items, told.bytes) == (6, 1, report.bytes)
        assert report.bytes == before.payload_bytes
        assert (store.usage(), store.threads(), kept.search(())) == (Usage(), [], [])

    def test_an_erased_thread_takes_its_turns_along_and_what_was_learned_forgets_it(
        self, store: InMode, memory: Memory, mode: CallMode
    ) -> None:
        memories = InMode(memory.long_term("p", scopes={"global": False}), mode)
        memories.remember("fact", "ann-7", "The night train to Rome.", session="t", category="conversation")
        memories.remember("fact", "other", "The night train to Oslo.", session="u", category="conversation")
        memories.remember("lesson", "trains", "Night trains to Rome are booked early.", session="t")
        memories.recall("night train to Rome", min_score=0.1)
        assert memories.read("ann-7").uses and memories.read("trains").uses
        items = InMode(memory.get_langgraph_store(), mode)
        assert store.erase("t", dry_run=True).items == 1 and memories.read("ann-7").session == "t"
        assert store.erase("t").items == 1
        left = items.search(("memories",), limit=100)
        assert not [item for item in left if item.key == "ann-7" or "t" in item.value.values()]
        assert memories.read("other").session == "u"
        found = memories.read("trains")
        assert (found.session, found.body) == (None, "Night trains to Rome are booked early.") and found.uses

    def test_a_slip_erases_nothing(self, store: InMode, saver: InMode, memory: Memory, mode: CallMode) -> None:
        chain(saver, 1)
        InMode(memory.get_langgraph_store(), mode).put(("u",), "a", {"text": "a"})
        before = store.usage()
        for tenant in ("acme", "no", 1, None):
            with pytest.raises(ConfigError, match="tenant=True erases the tenant of the URL"):
                store.erase(tenant=tenant)
        for namespace in ("u", ("a.b",), (5,), ()):
            with pytest.raises(ConfigError, match="namespace"):
                store.erase(namespace=namespace)
        assert store.usage() == before

    def test_exactly_one_thing_is_erased(self, store: InMode) -> None:
        for given in ({}, {"thread": "t", "tenant": True}, {"tenant": True, "namespace": ("u",)}):
            with pytest.raises(ConfigError, match="say what to erase"):
                store.erase(**given)
        with pytest.raises(ConfigError, match="first label"):
            store.erase(namespace=())
        with pytest.raises(ConfigError, match="a duration"):
            store.erase("t", remember="for ever")

    @pytest.mark.parametrize("long", ["1e18", "365001d", "400000000000000000000w", 1e300])
    def test_a_time_that_no_store_can_hold_is_refused_before_anything_is_done(
        self, store: InMode, saver: InMode, long: Any
    ) -> None:
        chain(saver, 1)
        store.append_messages("t", HELLO)
        for given in ({"thread": "t"}, {"tenant": True}, {"namespace": ("t",)}):
            with pytest.raises(ConfigError, match="365000d at most"):
                store.erase(**given, remember=long)
        for name in ("remember", "keep_for", "ttl"):
            with pytest.raises(ConfigError, match=f"{name}.*365000d at most"):
                store.sweep({"keep_last": 1, name: long})
        assert len(saver.list(config())) == 1 and len(store.load_messages("t")) == len(HELLO)

    def test_the_longest_time_is_kept(self, store: InMode, saver: InMode) -> None:
        for thread in ("t", "idle"):
            chain(saver, 1, thread)
        report = store.erase("t", remember="365000d")
        assert report.remembered_until.year > 3000
        longest = {"keep_last": 1, "keep_for": "365000d", "ttl": "365000d", "remember": "365000d"}
        swept = store.sweep(longest)
        assert (swept.forgotten, swept.done.checkpoints) == (0, 0)
        chain(saver, 1)
        assert len(saver.list(config())) == 1

    def test_nothing_of_a_thread_is_in_the_bytes(
        self, opened: Open, mode: CallMode, raw_bytes: Callable[[], bytes]
    ) -> None:
        memory = opened()
        store, saver = InMode(memory, mode), InMode(memory.get_langgraph_checkpointer(), mode)
        thread, said = f"thread-{uuid4().hex}", uuid4().hex
        put(saver, config(thread), checkpoint({"n": said}))
        store.append_messages(thread, [{"role": "user", "content": said}])
        InMode(memory.get_langgraph_store(), mode).put(("gone",), "key", {"text": said})
        chain(saver, 1, "kept")
        assert thread.encode() in raw_bytes() or thread.encode().hex().encode() in raw_bytes()
        store.erase(thread)
        store.erase(namespace=("gone",))
        store.close()
        left = raw_bytes()
        for text in (thread, said):
            assert text.encode() not in left and text.encode().hex().encode() not in left

    def test_compacting_tells_what_is_taken(self, store: InMode, saver: InMode) -> None:
        told: list[object] = []
        chain(saver, 5)
        report = store.compact(told.append)
        assert report.kind in ("disk", "memory") and told[-1] == report
        assert not report.free
        assert len(saver.list(config())) == 5


def _put_item(items: ItemsInMode, space: bytes) -> None:
    items.change(ItemBatch(1, changes=[ItemChange(space, b"head", b"value")]))
