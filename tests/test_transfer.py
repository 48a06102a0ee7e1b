"""Copies that are killed, disturbed, or of what is damaged; and a chain of them through every kind of store."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import or_skip
from stores import supabase_url, tenant_url, valkey_url

from charm_checkpoint import ConfigError, StoreError, open_memory
from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.threads import is_staging
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import config
from charm_checkpoint.testing.transfer_samples import THREADS, everything, fill, fill_chat, marks, put
from charm_checkpoint.transfer import following, import_archive, walking
from charm_checkpoint.transfer.copying import Wanted
from charm_checkpoint.transfer.hops import Hop, drive
from charm_checkpoint.transfer.moving import copy
from charm_checkpoint.transfer.reading import Reader
from charm_checkpoint.transfer.report import MoveProgress

KILLS = int(os.environ.get("CHARM_TEST_SCALE", "1"))
CHAINED = int(os.environ.get("CHARM_COPY_THREADS", "3"))
"""Threads that go through every kind of store."""

TELL = os.environ.get("CHARM_COPY_TELL", os.devnull)
"""The file that is told how long each way took."""


class Killed(GeneratorExit):
    """Stands for the end of the process: nothing is done any more."""


# ---------------------------------------------------------------------------------------------------------- killed


def cut(source: Memory, target: Memory, after: int, before: bool) -> bool:
    """Copy until so many hops are made, the last one too or not; tell whether that was all of it."""
    left = after

    def make(hop: Hop) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and before:
            raise Killed
        reply = hop.store.run(hop.make, write=hop.write, thread=hop.thread)
        if left < 0:
            raise Killed
        return reply

    try:
        drive(copy(source.store, target.store, "source", Wanted()), make)
    except Killed:
        return False
    return True


def staged(memory: Memory) -> list[str]:
    """Return the names under which threads are put together, of those that are there."""
    page = memory.store.run(lambda: memory.store.backend.threads(None, 1000), write=False)
    return [row.thread for row in page.items if row.thread is not None and is_staging(row.thread)]


def looks_whole_or_is_not_there(source: Memory, target: Memory) -> None:
    for thread in THREADS:
        assert marks(target, thread) in ([], marks(source, thread)), thread
        said = target.load_messages(thread)  # what was appended to a list comes behind it
        assert said == source.load_messages(thread)[: len(said)], thread


@pytest.mark.memory
def test_cut_after_each_hop_it_is_never_half_and_ends_the_same(ram: Callable[[], Memory]) -> None:
    source = ram()
    fill(source)
    expected = everything(source)
    at = 0
    target = ram()
    while not cut(source, target, at, before=bool(at % 2)):
        looks_whole_or_is_not_there(source, target)
        if at % 3 == 0:  # from time to time it is not gone on with
            target = ram()
        at += 1
    assert at > 50
    assert everything(target) == expected
    assert staged(target) == []


# ---------------------------------------------------------------------------------------------------------- a chain


def chain_source(memory: Memory, threads: int) -> list[str]:
    """Fill a store with something of everything, and with more threads; return their names."""
    fill(memory)
    names = [f"thread {number}" for number in range(threads)]
    for number, name in enumerate(names):
        fill_chat(memory, 1 + number % 4, name)
        memory.save_messages(name, [{"role": "user", "content": f"{name} " + "y" * (number % 900)}])
    return names


def way(source: str, target: str) -> str:
    return " to ".join(url.partition(":")[0] for url in (source, target))


def kill_half_way(source: str, target: str, after: int) -> None:
    """Copy in another process, and kill it once so many threads are done and it goes on with others."""
    program = [sys.executable, Path(__file__).parent / "children" / "copies.py", source, target]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.split()[-1] == str(after):
                break
        child.kill()
    assert child.returncode == -9


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.supabase
@pytest.mark.files
@pytest.mark.blocking
def test_through_every_kind_of_store_and_killed_on_each_way_it_stays_the_same(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    first, last = f"sqlite:///{tmp_path}/first.db", f"sqlite:///{tmp_path}/last.db"
    others = [or_skip(make) for make in (tenant_url, valkey_url, supabase_url)]
    stores, number = [first, *others, f"file://{tmp_path}/files", last], random.Random(CHAINED)
    with open_memory(first) as memory:
        names = chain_source(memory, CHAINED)
        expected = everything(memory), [marks(memory, name) for name in names]
        messages = [memory.load_messages(name) for name in names]
    total = len(THREADS) + CHAINED
    for source, target in zip(stores, stores[1:], strict=False):
        began, after = time.monotonic(), 0
        for _ in range(KILLS):
            after = number.randrange(1, total - 1)
            kill_half_way(source, target, after)
        killed = time.monotonic()
        with open_memory(source) as memory, open_memory(target) as copy:
            looks_whole_or_is_not_there(memory, copy)
            report = memory.copy_to(copy)
            assert report.complaints() == [] and staged(copy) == []
            assert report.threads + report.unchanged == total and report.unchanged >= after
        ended = time.monotonic()
        with open(TELL, "a") as told:
            told.write(f"{way(source, target)}: killed after {after}: {killed - began:.1f} s, {ended - killed:.1f} s\n")
    with open_memory(last) as memory:
        assert (everything(memory), [marks(memory, name) for name in names]) == expected
        assert [memory.load_messages(name) for name in names] == messages


# ---------------------------------------------------------------------------------------------------------- written to


@pytest.mark.memory
def test_a_thread_that_is_written_to_meanwhile_is_there_as_of_one_moment(
    ram: Callable[[], Memory], mode: CallMode
) -> None:
    source, target = ram(), ram()
    fill_chat(source, 40)
    steps = iter(range(40, 43))

    def write(at: MoveProgress) -> None:
        for step in steps:
            if at.checkpoints:
                fill_chat(source, 1, begin=step)
                return

    report = InMode(source, mode).copy_to(target, on_progress=write)
    assert report.complaints() == [] and next(steps, None) is None
    assert marks(target, "chat") == marks(source, "chat")
    assert report.checkpoints == len(marks(source, "chat"))


@pytest.mark.memory
def test_a_thread_that_is_pruned_meanwhile_is_begun_anew(ram: Callable[[], Memory], mode: CallMode) -> None:
    source, target = ram(), ram()
    fill_chat(source, 40)
    pruned = False

    def prune(at: MoveProgress) -> None:
        nonlocal pruned
        if at.checkpoints and not pruned:
            pruned = True
            source.get_langgraph_checkpointer().prune(["chat"])

    report = InMode(source, mode).copy_to(target, on_progress=prune)
    assert report.complaints() == [] and pruned
    assert marks(target, "chat") == marks(source, "chat") and len(marks(target, "chat")) == 3


@pytest.mark.memory
def test_one_that_never_rests_is_named_and_not_there(
    ram: Callable[[], Memory], mode: CallMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = ram(), ram()
    fill_chat(source, 12)
    put(source, config("quiet"), {"n": 1})
    given = Reader.state
    busy = iter(range(100, 10_000))

    def state(self: Reader, thread: str) -> Any:
        if thread == "chat":
            fill_chat(source, 1, begin=next(busy))
        return given(self, thread)

    monkeypatch.setattr(Reader, "state", state)
    monkeypatch.setattr(following, "ATTEMPTS", 3)
    report = InMode(source, mode).copy_to(target)
    monkeypatch.undo()
    assert [place.thread for place in report.moving] == ["chat"] and not report.complete
    assert [info.thread_id for info in target.threads()] == ["quiet"]


@pytest.mark.memory
def test_somebody_else_in_the_target_is_noticed(ram: Callable[[], Memory], mode: CallMode) -> None:
    source, target = ram(), ram()
    fill_chat(source, 40)

    def write(at: MoveProgress) -> None:
        if at.checkpoints:
            put(target, config("chat"), {"n": 1})

    report = InMode(source, mode).copy_to(target, on_progress=write)
    assert [place.thread for place in report.refused] == ["chat"]
    assert target.get_langgraph_checkpointer().get_tuple(config("chat")).checkpoint["channel_values"] == {"n": 1}  # type: ignore[union-attr]


@pytest.mark.memory
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt], ids=["error", "interrupted"])
def test_a_copy_that_fails_by_its_caller_leaves_no_half(
    ram: Callable[[], Memory], mode: CallMode, error: type[BaseException]
) -> None:
    source, target = ram(), ram()
    fill_chat(source, 12)
    before: list[str] = []

    def fail(at: MoveProgress) -> None:
        if at.checkpoints > 3:
            before.extend(staged(target))
            raise error

    with pytest.raises(error):
        if error is ValueError:
            InMode(source, mode).copy_to(target, on_progress=fail)
        else:  # an event loop ends with one
            source.copy_to(target, on_progress=fail)
    assert (len(before), staged(target), list(target.threads())) == (1, [], [])


@pytest.mark.memory
@pytest.mark.blocking
def test_a_copy_that_fails_by_its_source_leaves_no_half_and_by_its_target_asks_it_no_more(
    ram: Callable[[], Memory],
) -> None:
    source = ram()
    fill_chat(source, 12)
    for broken in ("source", "target"):
        target = ram()
        asked: list[Hop] = []

        def make(hop: Hop, target: Memory = target, broken: str = broken, asked: list[Hop] = asked) -> Any:
            if asked:
                asked.append(hop)
            elif staged(target) and (hop.store is target.store) == (broken == "target"):
                asked.append(hop)
                raise StoreUnavailable("It is gone.")
            return hop.store.run(hop.make, write=hop.write, thread=hop.thread)

        with pytest.raises(StoreUnavailable, match="It is gone"):
            drive(copy(source.store, target.store, "source", Wanted()), make)
        assert (len(asked), len(staged(target))) == ((2, 0) if broken == "source" else (1, 1)), broken


@pytest.mark.postgres
def test_from_two_event_loops_and_a_thread_at_once(ram: Callable[[], Memory]) -> None:
    with open_memory(or_skip(tenant_url)) as source, ThreadPoolExecutor() as pool:
        fill(source)
        targets = [ram() for _ in range(3)]
        works = [
            pool.submit(source.copy_to, targets[0]),
            *(pool.submit(asyncio.run, source.acopy_to(target)) for target in targets[1:]),
        ]
        assert [work.result().complaints() for work in works] == [[], [], []]
        expected = everything(source)
        for target in targets:
            assert everything(target) == expected


# ---------------------------------------------------------------------------------------------------------- damaged


def spoil_chunk(memory: Memory) -> None:
    """Have the chunk that the fewest checkpoints of the chat reach hold something else."""
    thread: Any = memory.store.backend._threads["chat"]  # type: ignore[attr-defined]
    row = thread.namespaces[""].rows[thread.namespaces[""].head]
    address = row.roots[:16]
    thread.chunks[address] = thread.chunks[address].__class__(address, b"", b"\x00junk")


def lose_chunk(memory: Memory) -> None:
    thread: Any = memory.store.backend._threads["chat"]  # type: ignore[attr-defined]
    row = thread.namespaces[""].rows[thread.namespaces[""].head]
    del thread.chunks[row.roots[:16]]


def spoil_record(memory: Memory) -> None:
    thread: Any = memory.store.backend._threads["chat"]  # type: ignore[attr-defined]
    space = thread.namespaces[""]
    id = list(space.rows)[-1]
    body = bytearray(space.rows[id].body)
    body[-1] ^= 1
    space.rows[id] = space.rows[id]._replace(body=bytes(body))


def move_record(memory: Memory) -> None:
    """Put another thread's record in its place."""
    thread: Any = memory.store.backend._threads["chat"]  # type: ignore[attr-defined]
    space = thread.namespaces[""]
    other: Any = memory.store.backend._threads["branches"].namespaces[""]  # type: ignore[attr-defined]
    id = list(space.rows)[-1]
    space.rows[id] = space.rows[id]._replace(body=other.rows[other.head].body)


@pytest.mark.memory
@pytest.mark.parametrize("spoil", [spoil_chunk, lose_chunk, spoil_record, move_record])
def test_what_is_damaged_is_named_and_the_rest_is_there(
    ram: Callable[[], Memory], mode: CallMode, spoil: Callable[[Memory], None]
) -> None:
    source, target = ram(), ram()
    fill(source)
    whole = marks(source, "chat")
    spoil(source)
    looked = InMode(source, mode).copy_to(target, dry_run=True)
    report = InMode(source, mode).copy_to(target)
    [place] = report.damaged
    assert looked.damaged == report.damaged and not report.complete
    named = (place.thread, place.checkpoint_ns, place.checkpoint_id)
    root = [mark for mark in whole if not mark.ns]
    assert named == ("chat", "", root[-1].id)
    assert marks(target, "chat") == [mark for mark in whole if mark.key != root[-1].key]
    assert report.threads == looked.threads == len(THREADS)
    for thread in set(THREADS) - {"chat"}:
        assert marks(target, thread) == marks(source, thread)
    again = InMode(source, mode).copy_to(target)
    assert (again.threads, again.unchanged, again.damaged) == (0, len(THREADS), report.damaged)
    put(source, config("chat", id=root[-1].id), {"n": 1})  # behind what is damaged it goes on
    more = InMode(source, mode).copy_to(target)
    assert (more.threads, more.checkpoints, more.damaged, more.refused) == (1, 1, report.damaged, ())


@pytest.mark.memory
def test_damaged_writes_messages_and_items_are_named(ram: Callable[[], Memory], mode: CallMode) -> None:
    source, target = ram(), ram()
    fill(source)
    backend: Any = source.store.backend
    space = backend._threads["chat"].namespaces[""]
    bodies = space.writes[space.head]
    bodies[0] = bodies[0][:-1] + bytes([bodies[0][-1] ^ 1])
    messages = backend._messages["only a list"]
    messages.row = messages.row.__class__(messages.row.state, messages.row.body[:-1] + b"?", messages.row.roots)
    report = InMode(source, mode).copy_to(target)
    places = {(place.thread, place.checkpoint_id) for place in report.damaged}
    assert places == {("chat", space.head), ("only a list", None)}
    assert len(marks(target, "chat")) == len(marks(source, "chat"))
    assert marks(target, "chat") == marks(source, "chat")


# ---------------------------------------------------------------------------------------------------------- large, odd


@pytest.mark.sqlite
def test_a_state_of_many_parts_comes_over_in_parts(
    ram: Callable[[], Memory], mode: CallMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ram()
    number = random.Random(3)
    put(
        source, config("large"), {"list": [number.randbytes(3000) for _ in range(900)], "blob": number.randbytes(10**6)}
    )
    source.save_messages("large", [{"content": number.randbytes(900).hex()} for _ in range(900)])
    monkeypatch.setattr(walking, "PART", 100_000)
    most = 0
    with open_memory(tmp_path / "target.db") as target:
        real = target.store.backend.put

        def put_part(new: Any) -> Any:
            nonlocal most
            most = max(most, sum(len(chunk.data) for chunk in new.chunks))
            return real(new)

        monkeypatch.setattr(target.store.backend, "put", put_part)
        report = InMode(source, mode).copy_to(target)
        assert report.complaints() == []
        assert 0 < most < 100_000 + walking.AT_ONCE * (1 << 18) and report.bytes > 3_000_000
        assert marks(target, "large") == marks(source, "large")
        assert target.load_messages("large") == source.load_messages("large")
        assert InMode(target, mode).copy_to(ram()).complaints() == []


@pytest.mark.memory
def test_records_of_versions_without_seals_get_theirs(ram: Callable[[], Memory]) -> None:
    from charm_checkpoint.testing.samples import unsealed

    source, target = ram(), ram()
    fill_chat(source, 3)
    thread: Any = source.store.backend._threads["chat"]  # type: ignore[attr-defined]
    for space in thread.namespaces.values():
        space.rows = {id: row._replace(body=unsealed(row.body)) for id, row in space.rows.items()}
        space.writes = {id: [unsealed(body) for body in bodies] for id, bodies in space.writes.items()}
    assert source.copy_to(target).complaints() == []
    page = target.store.run(lambda: target.store.backend.find("chat", "", None), write=False)
    assert page.row is not None and page.row.body[:1] == b"\x03" == page.writes[0][:1]
    assert marks(target, "chat") == marks(source, "chat")


@pytest.mark.sqlite
def test_between_tenants_each_gets_its_own_seal(tmp_path: Path, mode: CallMode) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Memory({"url": url}, tenant="a\0") as one, Memory({"url": url}, tenant="b") as other:
        fill(one)
        assert InMode(one, mode).copy_to(other).complaints() == []
        assert everything(other) == everything(one)


@pytest.mark.memory
def test_a_thread_takes_few_round_trips(ram: Callable[[], Memory]) -> None:
    source, target, made = ram(), ram(), Counter[bool]()
    for number in range(20):
        fill_chat(source, 2, f"thread {number}")
        source.save_messages(f"thread {number}", [{"role": "user", "content": "hi"}])

    def make(hop: Hop) -> Any:
        made[hop.store is target.store] += 1
        return hop.store.run(hop.make, write=hop.write, thread=hop.thread)

    drive(copy(source.store, target.store, "source", Wanted()), make)
    assert made[False] / 20 < 3.5 and made[True] / 20 < 9.5, made
    made.clear()
    drive(copy(source.store, target.store, "source", Wanted()), make)  # is there already
    assert made[False] / 20 < 2.5 and made[True] / 20 < 2.5, made


@pytest.mark.memory
def test_who_names_threads_has_no_others_looked_at(
    ram: Callable[[], Memory], mode: CallMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, third = ram(), ram(), ram()
    fill(source)

    def threads(*args: Any) -> Any:
        raise AssertionError("the store was listed")

    for memory in (source, target, third):
        monkeypatch.setattr(memory.store.backend, "threads", threads)
    report = InMode(source, mode).copy_to(target, threads=["chat", "nobody's", "only a list", "chat"])
    assert (report.threads, [place.thread for place in report.damaged]) == (2, ["nobody's"])
    assert InMode(source, mode).export(tmp_path / "x", threads=["chat", "both"]).threads == 2
    assert import_archive(tmp_path / "x", third, threads=["both"]).threads == 1
    assert marks(target, "chat") == marks(source, "chat") and marks(third, "chat") == []
    assert third.load_messages("both") == source.load_messages("both")


@pytest.mark.memory
def test_what_is_no_target_is_refused(ram: Callable[[], Memory], tmp_path: Path) -> None:
    source = ram()
    with pytest.raises(ConfigError, match="itself"):
        source.copy_to(source)
    with pytest.raises(ConfigError, match="keeps nothing"):
        source.copy_to("none://")
    with pytest.raises(ConfigError, match="URL"):
        source.copy_to(3)  # type: ignore[arg-type]
    with pytest.raises((ConfigError, StoreError)):
        source.copy_to("nonsense://x")
    assert source.copy_to(tmp_path / "new.db", dry_run=True).complete
    assert source.copy_to(f"file://{tmp_path}/new", dry_run=True).complete
    assert os.listdir(tmp_path) == []


@pytest.mark.memory
def test_no_traceback_shows_the_password_of_a_target(ram: Callable[[], Memory], mode: CallMode) -> None:
    source = ram()
    with pytest.raises(ConfigError) as caught:
        InMode(source, mode).copy_to("postgresql://me:hunter2@localhost/db?nonsense=1")
    frames = [entry for entry in caught.traceback if "methods.py" in str(entry.path)]
    assert "hunter2" not in repr([str(caught.value), *(entry.locals for entry in frames)])


def test_a_store_under_another_name_is_itself(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
    for url, *others in (
        (f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/link.db", f"sqlite:///{tmp_path}/folder/../a.db"),
        (f"file://{tmp_path}/folder", f"file://{tmp_path}/folder/../folder/"),
    ):
        with open_memory(url) as memory:
            memory.setup()
            for other in (url, *others):
                with pytest.raises(ConfigError, match="itself"):
                    memory.copy_to(other)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_names_no_file_is_refused(path: str) -> None:
    with open_memory("memory://") as memory:
        for write in (memory.export, memory.backup):
            with pytest.raises(ConfigError, match="no name of a file"):
                write(path)
