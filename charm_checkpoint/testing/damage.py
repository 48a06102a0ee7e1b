"""One bad entry hides nothing else: what can be listed, counted, read and deleted beside it."""

from __future__ import annotations

import contextlib
import logging

import ormsgpack
import pytest

from charm_checkpoint.contract import NewMessages, NewWrites
from charm_checkpoint.errors import StoreCorrupt, TypeNotLoaded
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import CallMode, InMode, PlansInMode
from charm_checkpoint.testing.samples import Point, checkpoint, config, ids, new, unsealed
from charm_checkpoint.testing.saver_methods import put
from charm_checkpoint.values.packing import pack

JUNK = b"\x00\x11\x22\x33"
"""What no version has stored as the body of anything."""

BAD = ["bad", "bad below", "bad writes", "lost"]
"""Threads of which something cannot be read."""


class Damage(Suite):
    """Threads beside those that are damaged."""

    @pytest.fixture
    def store(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    @pytest.fixture
    def damaged(self, saver: InMode, backend: PlansInMode) -> None:
        """Store threads that are bad in a checkpoint's body, below, in writes, for a lost chunk, and a sound one."""
        put(saver, config("sound"), checkpoint({"log": ["kept"]}, id="s1"), run_id="run")
        put(saver, config("sound", id="s1"), checkpoint({"log": ["kept"]}, id="s2"))
        put(saver, config("bad writes"), checkpoint({"log": ["kept"]}, id="checkpoint"))
        backend.put_writes(NewWrites("bad writes", "", "checkpoint", JUNK, None))
        backend.put(new("first", thread="bad", body=JUNK, run="run"))
        backend.put(new("body", "first", thread="bad", body=JUNK))
        put(saver, config("bad below"), checkpoint({}, id="root"))
        backend.put(new("body", thread="bad below", ns="child:1", body=JUNK))
        large = put(saver, config("lost"), checkpoint({"log": ["x" * 90] * 900}, id="large"))
        found = backend.find("lost", "", large["configurable"]["checkpoint_id"])
        backend.put(
            new("lost", "large", thread="lost", body=unsealed(found.row.body), roots=b"?" * len(found.row.roots))
        )

    def test_all_threads_are_listed_and_counted(self, store: InMode, damaged: None) -> None:
        assert {item.thread_id: item.checkpoints for item in store.threads()} == {
            "sound": 2, "bad": 2, "bad below": 2, "bad writes": 1, "lost": 2,
        }  # fmt: skip
        assert store.usage().threads == 5
        assert store.usage("bad").checkpoints == 2

    def test_what_is_damaged_is_named(self, saver: InMode, damaged: None) -> None:
        for thread, ns, place in (
            ("bad", "", "Thread 'bad', checkpoint body: "),
            ("bad below", "child:1", "Thread 'bad below', namespace 'child:1', checkpoint body: "),
            ("bad writes", "", "Thread 'bad writes', checkpoint checkpoint: "),
            ("lost", "", "Thread 'lost', checkpoint lost: "),
        ):
            for read in (saver.get_tuple, saver.list):
                with pytest.raises(StoreCorrupt) as caught:
                    read(config(thread, ns))
                assert str(caught.value).startswith(place)
        with pytest.raises(StoreCorrupt, match=r"^Thread '(bad|lost).*', checkpoint "):
            saver.list(None)

    def test_what_is_sound_is_read_beside_it(self, saver: InMode, damaged: None) -> None:
        assert saver.get(config("sound"))["channel_values"] == {"log": ["kept"]}
        assert len(ids(saver.list(config("sound")))) == 2

    @pytest.mark.parametrize("thread", BAD)
    def test_what_is_damaged_can_be_deleted(self, store: InMode, saver: InMode, damaged: None, thread: str) -> None:
        store.delete_thread(thread)
        assert saver.get_tuple(config(thread)) is None
        assert {item.thread_id for item in store.threads()} == {"sound", *BAD} - {thread}
        put(saver, config(thread), checkpoint({"log": ["anew"]}))
        assert saver.get(config(thread))["channel_values"] == {"log": ["anew"]}

    @pytest.mark.parametrize("thread", BAD)
    def test_what_is_damaged_can_be_erased(self, store: InMode, saver: InMode, damaged: None, thread: str) -> None:
        report = store.erase(thread)
        assert report.threads + report.damaged == 1
        assert saver.get_tuple(config(thread)) is None
        assert {item.thread_id for item in store.threads()} == {"sound", *BAD} - {thread}
        put(saver, config(thread), checkpoint({"log": ["anew"]}))
        assert saver.get(config(thread))["channel_values"] == {"log": ["anew"]}

    def test_a_prune_goes_on(self, saver: InMode, store: InMode, damaged: None) -> None:
        saver.prune(["bad", "lost", "bad below", "sound"])
        found = {item.thread_id: item.checkpoints for item in store.threads()}
        # What cannot be read may be built on what was before it.
        assert found == {"sound": 1, "bad": 2, "bad below": 2, "bad writes": 1, "lost": 1}

    @pytest.mark.parametrize("cut", ["roots", "all roots", "parts", "place"])
    def test_a_record_of_another_shape_is_damage(self, saver: InMode, backend: PlansInMode, cut: str) -> None:
        for thread in ("a", "bad", "z"):
            for id in ("1", "2", "3"):
                put(saver, config(thread), checkpoint({name: ["x" * 90] * 900 for name in "pq"}, id=id))
        row = backend.find("bad", "", "2").row
        body, roots = unsealed(row.body), row.roots
        if cut == "roots":
            roots = roots[: len(roots) // 2]
        elif cut == "all roots":
            roots = b""
        else:
            header = ormsgpack.packb([1, "ts"] if cut == "parts" else [1, "ts", {}, {}, {}, {"source": "loop"}, 7])
            body = pack(len(header).to_bytes(4, "big") + header)
        backend.put(new("4", "3", thread="bad", body=body, roots=roots))
        for read in (saver.get_tuple, saver.list):
            with pytest.raises(StoreCorrupt, match=r"^Thread 'bad', checkpoint 4: "):
                read(config("bad"))
        with contextlib.suppress(StoreCorrupt):
            saver.prune(["a", "bad", "z"])
        assert len(ids(saver.list(config("a")))) == len(ids(saver.list(config("z")))) == 1

    def test_a_deletion_of_runs_goes_on(
        self, saver: InMode, store: InMode, damaged: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "charm_checkpoint"):
            saver.delete_for_runs(["run"])
        assert {item.thread_id: item.checkpoints for item in store.threads()}["sound"] == 1
        assert "Thread 'bad', checkpoint body" in caplog.text

    def test_messages_name_their_thread_and_can_be_deleted(
        self, memory: Memory, mode: CallMode, backend: PlansInMode
    ) -> None:
        if memory.store.history is not None:
            pytest.skip("this store keeps messages in another way")
        store = InMode(memory, mode)
        backend.put_messages(NewMessages("bad", JUNK, b"", (), None))
        for _ in range(2):
            with pytest.raises(StoreCorrupt, match="^Thread 'bad': "):
                store.load_messages("bad")
            store.append_messages("bad", [{"role": "user"}])  # behind the list, which is not looked at
        assert [item.thread_id for item in store.threads()] == ["bad"]
        store.delete_thread("bad")
        assert store.load_messages("bad") == [] == store.threads()

    def test_a_class_that_is_not_loaded_is_told_with_its_place(
        self, saver: InMode, raising: InMode, store: InMode
    ) -> None:
        bare = InMode(raising.raw.with_allowlist(()), saver.mode)
        put(saver, config("t", "ns"), checkpoint({"small": Point(1), "large": [Point("x" * 90)] * 90}, id="c"))
        put(saver, config("u"), checkpoint({"log": [Point(1)] * 90}, id="a"))
        saver.put_writes(put(saver, config("u", id="a"), checkpoint({}, id="b")), [("log", Point(2))], "task")
        for thread, ns, id, place in (
            ("t", "ns", None, r"\(Thread 't', namespace 'ns', checkpoint c\)$"),
            ("u", "", None, r"^pending_writes.*\(Thread 'u', checkpoint b\)$"),
            ("u", "", "a", r"^channel_values\.log\[0\]: .*\(Thread 'u', checkpoint a\)$"),
        ):
            for read in (bare.get_tuple, bare.list):
                with pytest.raises(TypeNotLoaded, match=place):
                    read(config(thread, ns, id))
        assert {item.thread_id for item in store.threads()} == {"t", "u"}
        bare.prune(["t", "u"])
        store.delete_thread("t")
        assert [item.thread_id for item in store.threads()] == ["u"]
