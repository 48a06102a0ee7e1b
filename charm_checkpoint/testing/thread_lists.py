"""Listing threads: what is shown of each, and that no value is read for it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from charm_checkpoint.contract import NewMessages, NewWrites, Query, ThreadRow, Usage
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import TEXTS, checkpoint, config, new, new_messages
from charm_checkpoint.testing.saver_methods import put

MINUTE = 60


def listed(backend: PlansInMode, size: int = 50) -> dict[str | None, ThreadRow]:
    """Return all threads by name, read a page at a time; each is there once."""
    found: list[ThreadRow] = []
    after = None
    while True:
        page = backend.threads(after, size)
        assert len(page.items) <= size
        found += page.items
        after = page.next
        if after is None:
            break
    assert len({row.thread for row in found}) == len(found)
    return {row.thread: row for row in found}


def empty(backend: PlansInMode, thread: str = "t") -> None:
    """Remove all checkpoints of a thread, which is not to delete it."""
    found = backend.page(Query(thread), None, 50).items
    backend.remove(thread, [(item.row.ns, item.row.id) for item in found], None)


class BackendThreadLists(Suite):
    """`Backend.threads`, as records."""

    def test_an_empty_store_has_none(self, backend: PlansInMode) -> None:
        assert listed(backend) == {}

    def test_what_is_shown_of_a_thread(self, backend: PlansInMode) -> None:
        began = int(time.time())
        backend.put(new("a", title=b"first", note=b"1"))
        backend.put(new("b", "a", title=b"second", note=b"2"))
        backend.put(new("c", ns="below"))
        backend.put_writes(NewWrites("t", "", "b", b"w", None, b"waits"))
        backend.put_writes(NewWrites("t", "", "b", b"w", None))
        [row] = listed(backend).values()
        assert began - MINUTE <= row.touched_at <= time.time() + MINUTE
        assert row == ThreadRow("t", row.touched_at, 3, False, "b", b"first", b"2", b"waits", size=row.size)

    def test_a_thread_of_writes_or_messages_only(self, backend: PlansInMode) -> None:
        backend.put_writes(NewWrites("early", "", "a", b"w", None, b"failed"))
        backend.put_messages(new_messages("hello", thread="said"))
        backend.put_messages(new_messages("hello", thread="both"))
        backend.put(new("a", thread="both"))
        backend.append_messages("begun", b"batch")
        found = {name: row._replace(touched_at=0, size=None) for name, row in listed(backend).items()}
        assert found == {
            "early": ThreadRow("early", writes_note=b"failed"),
            "said": ThreadRow("said", has_messages=True),
            "begun": ThreadRow("begun", has_messages=True),
            "both": ThreadRow("both", checkpoints=1, has_messages=True, head="a"),
        }
        assert backend.usage("begun") == Usage(threads=1, payload_bytes=len(b"batch"))
        assert backend.usage(None).threads == len(found)

    def test_what_is_gone_is_not_shown(self, backend: PlansInMode) -> None:
        backend.put(new("a", thread="deleted", title=b"t", note=b"n"))
        backend.put(new("a", thread="emptied", title=b"t", note=b"n"))
        backend.put_messages(new_messages("hello", thread="unsaid"))
        backend.append_messages("begun", b"batch")
        backend.delete_thread("deleted")
        backend.remove("emptied", [("", "a")], None)
        for thread in ("unsaid", "begun"):
            backend.put_messages(NewMessages(thread, None, b"", (), None))
        assert listed(backend) == {}
        for thread in ("deleted", "emptied"):
            backend.put(new("b", thread=thread))
        rows = listed(backend).values()
        assert [(row.head, row.title, row.note, row.writes_note) for row in rows] == [("b", None, None, None)] * 2

    def test_remove_keeps_the_notes_of_what_is_left(self, backend: PlansInMode) -> None:
        backend.put(new("a", title=b"t", note=b"1"))
        backend.put(new("b", "a", note=b"2"))
        backend.remove("t", [("", "a")], None)
        [row] = listed(backend).values()
        assert (row.checkpoints, row.head, row.title, row.note) == (1, "b", b"t", b"2")

    def test_a_copy_has_the_notes(self, backend: PlansInMode) -> None:
        backend.put(new("a", title=b"t", note=b"1"))
        backend.put_writes(NewWrites("t", "", "a", b"w", None, b"w"))
        backend.copy_thread("t", "copy")
        row = listed(backend)["copy"]
        assert row == ThreadRow("copy", row.touched_at, 1, False, "a", b"t", b"1", b"w", size=row.size)
        assert row.touched_at > 0

    def test_names_of_any_text_in_pages_of_any_size(self, backend: PlansInMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        for name in texts:
            backend.put(new("a", thread=name))
        assert set(listed(backend, 7)) == set(texts)
        assert set(listed(backend, len(texts))) == set(texts)

    def test_a_put_that_was_refused_notes_nothing(self, backend: PlansInMode) -> None:
        backend.put(new("a", title=b"t", note=b"1"))
        backend.put(new("b", "elsewhere", note=b"2", on_conflict="raise"))
        backend.put(new("b", "a", note=b"2", base_sweeps=7))
        [row] = listed(backend).values()
        assert (row.checkpoints, row.note) == (1, b"1")


class ThreadLists(Suite):
    """`Memory.threads`, over what graphs leave."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    def test_titles_and_counts(self, store: InMode, graphs: Any, saver: InMode) -> None:
        InMode(graphs.chat(saver.raw), saver.mode).invoke({"messages": [("user", "Where  is\nmy train?")]}, config("t"))
        InMode(graphs.chat(saver.raw), saver.mode).invoke({"messages": [("user", "And now?")]}, config("t"))
        store.save_messages("said", [{"role": "user", "content": "hi"}])
        found = {item.thread_id: item for item in store.threads()}
        assert set(found) == {"t", "said"}
        thread = found["t"]
        assert (thread.title, thread.status, thread.source) == ("Where is my train?", "done", "loop")
        head = saver.get_tuple(config("t"))
        assert thread.checkpoint_id == head.checkpoint["id"]
        assert (thread.step, thread.checkpoints) == (head.metadata["step"], len(saver.list(config("t"))))
        assert thread.updated_at is not None and thread.damage is None and not thread.has_messages
        assert found["said"].has_messages and found["said"].checkpoints == 0

    def test_a_thread_that_another_process_emptied_gets_a_new_title(
        self, store: InMode, graphs: Any, saver: InMode, second: Memory
    ) -> None:
        chat = InMode(graphs.chat(saver.raw), saver.mode)
        for said in ("one", "two", "three"):
            chat.invoke({"messages": [("user", said)]}, config("t"))
            assert [item.title for item in store.threads()] == [said]
            empty(PlansInMode(second.store, saver.mode))

    def test_a_thread_that_is_emptied_while_a_run_goes_on_gets_a_title_later(
        self, store: InMode, saver: InMode, second: Memory
    ) -> None:
        saver.get_tuple(config("t"))
        at = put(saver, config("t"), checkpoint({"messages": [("user", "one")]}))
        at = put(saver, at, checkpoint({"messages": [("user", "two")]}))
        empty(PlansInMode(second.store, saver.mode))
        for _ in range(2):
            at = put(saver, at, checkpoint({"messages": [("user", "three")]}))
        assert [item.title for item in store.threads()] == ["three"]

    def test_a_thread_waits_for_an_answer_until_it_is_given(self, store: InMode, asking: Any, saver: InMode) -> None:
        graph = InMode(asking.paused(saver.raw), saver.mode)
        graph.invoke({"log": ["begun"]}, config("t"))
        assert [item.status for item in store.threads()] == ["waits"]
        graph.invoke(asking.Command(resume="one"), config("t"))
        assert [item.status for item in store.threads()] == ["waits"]
        graph.invoke(asking.Command(resume="two"), config("t"))
        assert [item.status for item in store.threads()] == ["done"]

    @pytest.mark.parametrize("durability", ["sync", "exit"])
    def test_a_thread_that_waits_below(self, store: InMode, asking: Any, saver: InMode, durability: str) -> None:
        graph = InMode(asking.nested(saver.raw, pause=True), saver.mode)
        graph.invoke({"log": ["begun"]}, config("t"), durability=durability)
        assert [item.status for item in store.threads()] == ["waits"]

    @pytest.mark.parametrize("durability", ["sync", "async", "exit"])
    def test_a_thread_that_failed_until_it_went_on(
        self, store: InMode, graphs: Any, saver: InMode, durability: str
    ) -> None:
        failing = [True]

        def interfere(node: str) -> None:
            if failing[0]:
                raise ValueError("on purpose")

        graph = InMode(graphs.counting(saver.raw, interfere), saver.mode)
        with pytest.raises(ValueError, match="on purpose"):
            graph.invoke({"log": []}, config("t"), durability=durability)
        assert [item.status for item in store.threads()] == ["failed"]
        failing.clear()
        failing.append(False)
        graph.invoke(None, config("t"), durability=durability)
        assert [item.status for item in store.threads()] == ["done"]

    def test_a_thread_stopped_on_the_way(self, store: InMode, graphs: Any, saver: InMode) -> None:
        graph = InMode(graphs.counting(saver.raw), saver.mode)
        graph.invoke({"log": []}, config("t"), interrupt_after="*")
        assert [item.status for item in store.threads()] == ["unfinished"]

    def test_a_limit_is_a_whole_number(self, store: InMode, saver: InMode) -> None:
        told = "limit is a whole number, 0 or more, or None"
        wrong: list[Any] = ["5", 1.5, True, -1, [1]]
        for limit in wrong:
            with pytest.raises(ConfigError, match=told):
                store.threads(limit)
            with pytest.raises(ConfigError, match=told):
                saver.list(None, limit=limit)

    def test_a_listing_ends_at_its_limit(self, store: InMode, saver: InMode) -> None:
        for n in range(5):
            put(saver, config(f"t{n}"), checkpoint({}))
        assert [len(store.threads(limit)) for limit in (0, 1, 3, 9, None)] == [0, 1, 3, 5, 5]

    def test_many_threads_are_read_in_few_pages(
        self, store: InMode, backend: PlansInMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("charm_checkpoint.saver.threads.PAGE", 1)
        for n in range(9):
            backend.put(new("a", thread=f"t{n}"))
        asked: list[int] = []
        kind: Any = type(backend.backend)
        threads = kind.threads

        def counted(self: Any, after: Any, size: int) -> Any:
            asked.append(size)
            return threads(self, after, size)

        monkeypatch.setattr(kind, "threads", counted)
        assert len(store.threads()) == 9
        assert asked[0] == 1 and len(asked) <= 6
        del asked[:]
        assert len(store.threads(4)) == 4
        assert asked == [1, 3]

    def test_a_thread_that_moves_meanwhile_is_listed_once(
        self, store: InMode, saver: InMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("charm_checkpoint.saver.threads.PAGE", 2)
        at = {f"t{n}": put(saver, config(f"t{n}"), checkpoint({})) for n in range(6)}
        seen = []
        for item in store.raw.threads():
            seen.append(item.thread_id)
            if len(seen) == 2:
                for name in at:
                    put(saver, at[name], checkpoint({}))
        assert sorted(seen) == sorted(at)
