"""Threads of local files as a whole: what is left of erased ones, pins, and logs that are written anew."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract import ThreadState
from charm_checkpoint.errors import NewerFormat, StoreCorrupt
from charm_checkpoint.stores.files import room
from charm_checkpoint.stores.files.threads import name_of
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, PlansInMode
from charm_checkpoint.testing.samples import chunk, new, new_messages

LATER = 4_000_000_000


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with open_memory(f"file://{tmp_path}/store") as opened:
        yield opened


@pytest.fixture(params=list(CALL_MODES))
def backend(memory: Memory, request: pytest.FixtureRequest) -> Iterator[PlansInMode]:
    mode: CallMode = CALL_MODES[request.param]()
    yield PlansInMode(memory.store, mode)
    mode.close()


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "store" / ".charm"


def folder_of(ours: Path, thread: str = "t", kind: int = CHECKPOINTS) -> Path:
    return ours / "checkpoints" / name_of(kind, thread)


# ------------------------------------------------------------------------------------ erasing


def test_nothing_is_left_but_what_is_kept_under_a_key(backend: PlansInMode, memory: Memory, ours: Path) -> None:
    backend.put(new("a", chunks=[chunk("1")]))
    backend.put_messages(new_messages("list"))
    memory.save_messages("t", [{"role": "user", "content": "hi"}])
    memory.save_messages("../t", [{"role": "user", "content": "in a file named by a hash"}])
    backend.pin("t", True)
    for thread in ("t", "../t"):
        assert backend.erase_thread(thread, LATER).threads == 1
    left = sorted(path for path in ours.rglob("*") if path.is_file())
    assert {path.parent.name for path in left} == {"erased"} and len(left) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in left} == {0o600}
    names = {name_of(kind, thread) for kind in (CHECKPOINTS, MESSAGES) for thread in ("t", "../t")}
    assert not names & {path.name for path in left} and os.listdir(ours / "checkpoints") == []
    assert backend.forget_erased(LATER) == 2
    assert [path.name for path in (ours / "erased").iterdir()] == ["key"]


def test_each_folder_has_a_key_of_its_own(tmp_path: Path) -> None:
    names = []
    for folder in ("a", "b"):
        with open_memory(f"file://{tmp_path}/{folder}") as memory:
            erase(memory, "t")
            names.append({path.name for path in (tmp_path / folder / ".charm" / "erased").iterdir()})
    assert names[0] & names[1] == {"key"}


def erase(memory: Memory, thread: str, until: int = LATER) -> Any:
    return memory.store.run(partial(memory.store.backend.erase_thread, thread, until), write=True)


def test_the_list_that_is_every_threads_stays(tmp_path: Path) -> None:
    single = tmp_path / "all.json"
    with open_memory(f"file://{tmp_path}/store", shared_messages_file=str(single)) as memory:
        memory.save_messages("t", [{"role": "user", "content": "hi"}])
        erase(memory, "t")
        assert memory.load_messages("t") == [{"role": "user", "content": "hi"}]


def test_writers_that_wait_meanwhile_are_told(backend: PlansInMode, memory: Memory, ours: Path) -> None:
    # Whoever waits for the lock of a folder that goes finds it gone, and decides anew.
    for turn in range(20):
        state = backend.put(new(f"a{turn}", on_conflict="allow")).state
        late = [partial(memory.store.backend.put, new(f"b{n}", seen_deletes=state.deletes)) for n in range(4)]
        with ThreadPoolExecutor(5) as pool:
            calls = [pool.submit(memory.store.run, call, write=True) for call in late[:2]]
            erased = pool.submit(erase, memory, "t")
            calls += [pool.submit(memory.store.run, call, write=True) for call in late[2:]]
            assert erased.result().damaged == 0
            assert {call.result().outcome for call in calls} <= {"stored", "deleted"}
        assert backend.find("t", "", None).row is None
        assert not folder_of(ours).exists()


def test_records_of_another_form_and_damaged_ones_are_told(backend: PlansInMode, ours: Path) -> None:
    backend.erase_thread("t", LATER)
    [record, other] = sorted(path for path in (ours / "erased").iterdir() if path.name != "key")
    for data, error in (
        (ormsgpack.packb([2, "new"]), NewerFormat),
        (b"\xc1", StoreCorrupt),
        (b"\x91\x01", StoreCorrupt),
    ):
        for path in (record, other):
            path.write_bytes(data)
        with pytest.raises(error):
            backend.find("t", "", None)
        assert backend.find("u", "", None).state == ThreadState()
    (ours / "erased" / "key").write_bytes(b"short")
    with pytest.raises(StoreCorrupt, match="key is damaged: put back a copy of it"):
        backend.put(new("a", thread="u"))
    (ours / "erased" / "key").unlink()
    assert backend.put(new("a", thread="u")).outcome == "stored"


def test_an_erased_thread_is_no_conflict_for_who_had_read_it(backend: PlansInMode, tmp_path: Path) -> None:
    backend.put(new("a"))
    backend.put_messages(new_messages("list"))
    with open_memory(f"file://{tmp_path}/store") as other:
        erase(other, "t")
        run = partial(other.store.run, write=True)
        assert run(partial(other.store.backend.put, new("x", seen_deletes=1))).outcome == "stored"
    assert (backend.find("t", "", None).row.id, backend.messages("t").body) == ("x", None)


def test_a_damaged_thread_is_erased(backend: PlansInMode, ours: Path) -> None:
    for id, parent in (("a", None), ("b", "a"), ("c", "b")):
        state = backend.put(new(id, parent, body=b"x" * 900)).state
    log = folder_of(ours) / "log"
    data = bytearray(log.read_bytes())
    data[-1200] ^= 255
    log.write_bytes(data)
    assert backend.erase_thread("t", LATER).damaged == 1
    after = backend.find("t", "", None)
    assert (after.row, after.state.deletes) == (None, state.deletes + 1)
    assert not log.exists()


# ------------------------------------------------------------------------------------ pinning


def test_a_pin_is_a_file_and_leaves_none_behind(backend: PlansInMode, ours: Path) -> None:
    backend.put(new("a"))
    before = (folder_of(ours) / "log").read_bytes()
    backend.pin("t", True)
    assert sorted(os.listdir(folder_of(ours))) == ["log", "pinned"]
    backend.pin("t", False)
    assert os.listdir(folder_of(ours)) == ["log"] and (folder_of(ours) / "log").read_bytes() == before


def test_messages_alone_can_be_pinned(backend: PlansInMode, memory: Memory, ours: Path) -> None:
    memory.save_messages("t", [{"role": "user", "content": "hi"}])
    assert backend.pin("t", True) is True
    [row] = backend.threads(None, 10).items
    assert (row.pinned, row.size, row.damage) == (True, 0, None) and backend.usage(None).threads == 1
    assert backend.erase_thread("t", LATER, idle_since=LATER).threads == 0
    backend.pin("t", False)
    assert not folder_of(ours).exists()
    assert backend.erase_thread("t", LATER, idle_since=LATER).threads == 1
    assert backend.threads(None, 10).items == []


def test_a_listing_and_a_threads_own_row_tell_the_same_time(backend: PlansInMode, ours: Path) -> None:
    backend.put(new("a"))
    backend.put_messages(new_messages("list"))
    for kind, second in ((CHECKPOINTS, 1_000_000_000), (MESSAGES, 1_000_000_007)):
        os.utime(folder_of(ours, kind=kind) / "log", (second, second))
    [row] = backend.threads(None, 10).items
    assert row == backend.thread_row("t") and row.touched_at == 1_000_000_007


# --------------------------------------------------------------------------------------- room


def test_logs_much_of_which_is_superseded_are_written_anew(
    backend: PlansInMode, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SLACK", 1000)
    for thread in ("much", "little"):
        for turn in range(9):
            id = "a" if thread == "much" else f"a{turn}"
            state = backend.put(new(id, thread=thread, body=b"%d" % turn * 1000, on_conflict="allow")).state
    for _ in range(3):
        backend.put_messages(new_messages("x" * 3000, thread="said"))
    logs = {thread: folder_of(ours, thread) / "log" for thread in ("much", "little")}
    logs["said"] = folder_of(ours, "said", MESSAGES) / "log"
    before = {thread: log.stat() for thread, log in logs.items()}
    space = backend.space()
    backend.compact(None)
    after = {thread: log.stat() for thread, log in logs.items()}
    assert after["little"] == before["little"]
    for thread, least in (("much", 1000), ("said", 3000)):
        assert least < after[thread].st_size < least + 500
        assert after[thread].st_mtime_ns == before[thread].st_mtime_ns
    saved = sum(before[thread].st_size - after[thread].st_size for thread in logs)
    assert backend.space().taken == space.taken - saved
    found = backend.find("much", "", None)
    assert (found.row.body, found.state) == (b"8" * 1000, state)
    assert backend.put(new("b", "a", thread="much")).outcome == "stored"
    assert backend.messages("said").body == b"x" * 3000


def test_a_little_is_looked_at_at_a_time(backend: PlansInMode, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLACK", 1000)
    for thread in "tuvw":
        for turn in range(4):
            backend.put(new("a", thread=thread, body=b"%d" % turn * 1000))

    def large() -> int:
        return sum((folder_of(ours, thread) / "log").stat().st_size > 2000 for thread in "tuvw")

    left = []
    for _ in range(5):
        backend.compact(1)
        left.append(large())
    assert left == [3, 2, 1, 0, 0]


def test_a_damaged_log_is_left_as_it_is(backend: PlansInMode, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SLACK", 1000)
    for thread in "tu":
        for turn in range(4):
            backend.put(new("a", thread=thread, body=b"%d" % turn * 1000))
    log = folder_of(ours) / "log"
    data = bytearray(log.read_bytes())
    data[200] ^= 255
    log.write_bytes(data)
    backend.compact(None)
    assert log.read_bytes() == data and (folder_of(ours, "u") / "log").stat().st_size < 2000
