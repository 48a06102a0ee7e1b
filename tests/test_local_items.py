"""Items of local files: kills, torn and damaged logs, several processes, several hosts, little room."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from children.item_jobs import BATCH, SPACE
from local_files import Hosts, PowerLoss, as_nobody, frames, litter, no_file_above, remove_tree
from workers import WorkerPool, scaled, worker_pool

from charm_checkpoint import open_memory
from charm_checkpoint.contract_items import (
    BatchReply,
    EntriesReply,
    ItemBatch,
    ItemChange,
    ItemKey,
    ItemQuery,
    ItemUsage,
)
from charm_checkpoint.errors import ReadOnlyStore, SchemaMismatch, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import run
from charm_checkpoint.stores.files import space_folder
from charm_checkpoint.stores.files.space import FORMATS, Space, name_of
from charm_checkpoint.stores.ram_items import RamItems

posix = pytest.mark.skipif(os.name != "posix", reason="forks")

NOW = 1_800_000_000_000_000


class Items:
    """The items of a folder, each call blocking, with a clock of their own."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.now = NOW

    def call(self, name: str, *args: Any) -> Any:
        return self.memory.store.run(partial(getattr(self.memory.store.items, name), *args), write=True)

    def change(
        self, *changes: ItemChange, reads: Sequence[ItemKey] = (), touches: Sequence[ItemKey] = ()
    ) -> BatchReply:
        self.now += 1
        return cast(BatchReply, self.call("change", ItemBatch(self.now, reads, touches, changes)))

    def put(self, key: bytes, value: bytes = b"value", space: bytes = SPACE, **fields: Any) -> None:
        assert self.change(ItemChange(space, key, value, **fields)).outcome == "stored"

    def delete(self, key: bytes, space: bytes = SPACE) -> None:
        self.change(ItemChange(space, key, None))

    def all(self, prefix: bytes = b"") -> dict[bytes, bytes]:
        rows = self.call("page", ItemQuery(prefix, self.now, 10_000))
        return {row.key: row.value for row in rows}


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[Items]:
    with open_memory(f"file://{folder}", **{"synchronous": "normal", **options}) as memory:
        yield Items(memory)


def folder_of(folder: Path, space: bytes = SPACE) -> Path:
    return folder / ".charm" / "items" / name_of(space)


def log_of(folder: Path, space: bytes = SPACE) -> Path:
    return folder_of(folder, space) / "log"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work"


def filled(folder: Path, count: int) -> list[dict[bytes, bytes]]:
    """Put batches into a space of a folder; return what was in it before each of them, and in the end."""
    states: list[dict[bytes, bytes]] = [{}]
    with opened(folder) as items:
        for number in range(count):
            batch = {b"%d" % key: b"%d" % number for key in range(number % 3, 9, number % 2 + 1)}
            items.change(*(ItemChange(SPACE, key, value) for key, value in batch.items()))
            states.append({**states[-1], **batch})
    return states


# ------------------------------------------------------------------------------ torn and damaged


@pytest.mark.parametrize("filler", [b"", b"\0"], ids=["cut", "zeros"])
def test_of_a_log_torn_anywhere_whole_batches_are_left(folder: Path, filler: bytes) -> None:
    states = filled(folder, 6)
    whole = log_of(folder).read_bytes()
    _, *ends = frames(log_of(folder))
    assert len(ends) == len(states) and ends[-1] == len(whole)
    for cut in random.sample(range(ends[0], ends[-1]), 25):
        log_of(folder).write_bytes(whole[:cut] + filler * (ends[-1] - cut))
        left = states[sum(end <= cut for end in ends) - 1]
        with opened(folder) as reader, opened(folder) as writer:
            writer.now = NOW + 1000
            assert reader.all() == left
            if left:
                writer.put(b"next")
                assert reader.all() == writer.all() == {**left, b"next": b"value"}


def test_damage_in_the_midst_is_told_and_erased(folder: Path) -> None:
    filled(folder, 4)
    whole = log_of(folder).read_bytes()
    for at in range(0, frames(log_of(folder))[-2], 41):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        log_of(folder).write_bytes(damaged)
        with opened(folder) as items:
            for use in (partial(items.change, reads=[ItemKey(SPACE, b"1")]), partial(items.put, b"1")):
                with pytest.raises(StoreCorrupt, match="is damaged at byte"):
                    use()
        assert log_of(folder).read_bytes() == damaged
    with opened(folder) as items:
        items.put(b"1", space=b"other")
        assert items.all(b"o") == {b"1": b"value"}
        items.call("erase", SPACE)
        items.put(b"1")
        assert items.all(SPACE) == {b"1": b"value"}


def test_a_log_of_a_newer_version_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charm_checkpoint.stores.files.space.FORMAT", 99)
    monkeypatch.setitem(FORMATS, 99, FORMATS[1])
    filled(folder, 1)
    monkeypatch.undo()
    with opened(folder) as items:
        for use in (partial(items.change, reads=[ItemKey(SPACE, b"1")]), partial(items.put, b"1")):
            with pytest.raises(SchemaMismatch, match="format 99.*upgrade"):
                use()


def test_what_was_acknowledged_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host").mkdir()
    power = PowerLoss(monkeypatch)
    with opened(tmp_path / "host" / "work", synchronous="full") as items:
        steps: list[Callable[[], Any]] = [
            lambda: items.put(b"1"),
            lambda: items.put(b"2", ttl=10_000),
            lambda: items.change(touches=[ItemKey(SPACE, b"2")]),
            lambda: items.change(*(ItemChange(b"i%d" % n, b"k", b"v") for n in range(3))),
            lambda: items.delete(b"1"),
            lambda: items.delete(b"2"),
            lambda: items.put(b"1"),
            lambda: items.call("erase", b"i1"),
        ]
        for number, step in enumerate(steps):
            step()
            left = power.left(tmp_path / "host", tmp_path / f"left {number}") / "work"
            query = ItemQuery(b"", items.now, 100)
            with opened(left) as again:
                assert again.call("page", query) == items.call("page", query)


# --------------------------------------------------------------------------------- several processes


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    with worker_pool(tmp_path_factory.mktemp("workers"), "item_jobs") as pool:
        yield pool


@posix
def test_killed_processes_leave_whole_batches_and_all_that_was_acknowledged(folder: Path, pool: WorkerPool) -> None:
    url = f"file://{folder}?synchronous=normal"
    for number in range(scaled(4)):
        workers = {number * 2 + at: pool.start("change_until_killed", url, number * 2 + at) for at in range(2)}
        for worker in workers.values():
            while len(worker.acks) < 5:
                time.sleep(0.01)
        time.sleep(random.random() * 0.1)
        for worker in workers.values():
            os.kill(worker.pid, signal.SIGKILL)
        for worker in workers.values():
            assert worker.wait() == -signal.SIGKILL
        with opened(folder) as items:
            items.now = time.time_ns() // 1000
            found = items.all(SPACE)
            for name, worker in workers.items():
                [value] = {found[b"%d|%d" % (name, at)] for at in range(BATCH)}  # a batch is there whole
                assert int(value.split(b"|")[0]) - int(worker.acks[-1]) in (0, 1)


@posix
def test_compare_and_set_by_two_processes_loses_nothing(folder: Path, pool: WorkerPool) -> None:
    workers = [pool.start("count_up", f"file://{folder}?synchronous=normal", scaled(40)) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    with opened(folder) as items:
        assert items.all() == {b"count": b"%d" % (2 * scaled(40))}


def test_two_handles_and_the_reference_at_random(folder: Path) -> None:
    """Each sees at once what the other did, also where logs of the same size take each other's place."""
    dice, ram = random.Random(), RamItems()
    keys = [ItemKey(space, key) for space in (b"i", b"ia\0", b"\xff") for key in (b"", b"\0", b"k")]
    with opened(folder) as one, opened(folder) as two:
        for step in range(scaled(400)):
            items = dice.choice((one, two))
            now = NOW + step * 10 - dice.randrange(30)
            some = dice.sample(keys, dice.randrange(1, 6))
            changes = [
                ItemChange(*key, dice.choice((None, b"1", dice.randbytes(200))), ttl=dice.choice((None, 50)))
                for key in some
            ]
            batch = ItemBatch(now, keys, dice.sample(keys, 2), changes if dice.random() < 0.7 else [])
            reply, expected = items.call("change", batch), run(ram.change(batch), lambda call: call())
            assert (list(reply.rows), list(reply.updated)) == (list(expected.rows), list(expected.updated))
            query = ItemQuery(dice.choice((b"", b"i")), now, 4, skip=dice.randrange(2))
            assert items.call("page", query) == run(ram.page(query), lambda call: call())
            if dice.random() < 0.05:
                assert items.call("expire", now, 100) == run(ram.expire(now, 100), lambda call: call())


# ------------------------------------------------------------------------------------- compaction


def test_a_log_is_written_anew_while_others_read(folder: Path) -> None:
    ended, errors = threading.Event(), []

    def read() -> None:
        with opened(folder) as items:
            while not ended.is_set():
                rows = items.change(reads=[ItemKey(SPACE, b"%d" % n) for n in range(20)]).rows
                values = {row and row.value for row in rows}
                reply: EntriesReply = items.call("entries", b"")
                entries = {entry.entry for space in reply.spaces for entry in space.entries}
                if len(values) != 1 or len(entries) > 1:
                    errors.append((values, entries))

    threads = [threading.Thread(target=read) for _ in range(2)]
    with opened(folder) as items:
        for thread in threads:
            thread.start()
        try:
            sizes = [0]
            for number in range(scaled(60)):
                value = b"%d" % number * 300
                items.change(*(ItemChange(SPACE, b"%d" % n, value, entry=value[:50]) for n in range(20)))
                sizes.append(log_of(folder).stat().st_size)
                assert sizes[-1] < 20 * 2 * len(value) + 2 * space_folder.SLACK
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert errors == []
        assert sum(after < before for before, after in pairwise(sizes)) > 2
        assert set(items.all().values()) == {value}


def test_a_put_is_one_write_behind_the_rest(folder: Path) -> None:
    filled(folder, 3)
    inode, before = log_of(folder).stat().st_ino, log_of(folder).read_bytes()
    with opened(folder) as items:
        items.now = NOW + 1000
        items.put(b"k", ttl=1000)
        items.change(touches=[ItemKey(SPACE, b"k")])
        items.change(reads=[ItemKey(SPACE, b"1")], touches=[ItemKey(SPACE, b"1"), ItemKey(SPACE, b"none")])
    assert log_of(folder).stat().st_ino == inode
    assert log_of(folder).read_bytes().startswith(before)
    assert len(frames(log_of(folder))) == 4 + 1 + 2


# ------------------------------------------------------------------------------------------ traces


def test_reading_and_refused_writes_leave_no_trace(folder: Path) -> None:
    with opened(folder) as items:
        assert items.change(reads=[ItemKey(SPACE, b"k")], touches=[ItemKey(SPACE, b"k")]).rows == [None]
        assert items.change(ItemChange(SPACE, b"k", None)).updated == [0]
        assert items.call("entries", b"").spaces == []
        assert items.call("usage") == ItemUsage()
        assert (items.call("erase", b""), items.call("expire", NOW, 10)) == (0, 0)
        assert not folder.exists()


def test_what_was_removed_is_gone_from_the_files(folder: Path) -> None:
    secret = b"correct horse battery staple"
    with opened(folder) as items:
        for space in (b"isecret name\0", b"isecret name\0sub\0", b"ipublic\0"):
            items.put(b"secret key", secret, space, entry=secret, vectors=secret)
            items.put(b"other", b"value", space)
        items.delete(b"secret key", b"ipublic\0")
        (folder_of(folder, b"isecret name\0") / "new").write_bytes(secret)
        (folder_of(folder, b"gone") / "new").parent.mkdir()
        (folder_of(folder, b"gone") / "new").write_bytes(secret)
        assert items.call("erase", b"isecret name\0") == 4
        assert [path for path in folder.rglob("*") if path.is_dir()][-1] == folder_of(folder, b"ipublic\0")
        assert b"secret" not in log_of(folder, b"ipublic\0").read_bytes()
        assert litter(folder) == set()
        items.delete(b"other", b"ipublic\0")
        assert not list((folder / ".charm" / "items").iterdir())


def test_an_erased_space_is_made_anew(folder: Path) -> None:
    with opened(folder) as items, opened(folder) as other:
        for number in range(5):
            other.now = items.now
            other.put(b"%d" % number)
            assert list(items.all()) == [b"%d" % number]
            items.now = other.now
            items.call("erase", b"")


# ------------------------------------------------------------------------------- what disks refuse


@posix
@pytest.mark.parametrize("room", [0, 40, 3000])
def test_a_full_disk_is_an_error_and_nothing_half_written(folder: Path, room: int) -> None:
    filled(folder, 2)
    before = log_of(folder).read_bytes()
    with opened(folder) as items:
        held = items.all()
        with no_file_above(len(before) + room):
            for space in (SPACE, b"new"):
                with pytest.raises(StoreUnavailable, match="nothing was written, free some room"):
                    items.put(b"k", os.urandom(5000), space)
            assert items.all() == held
        assert log_of(folder).read_bytes() == before
        items.put(b"k")
        assert items.all() == {**held, b"k": b"value"}


@posix
def test_a_folder_that_cannot_be_written_is_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with opened(folder) as items:
            items.put(b"k", ttl=10**9)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)

        def use() -> None:
            with opened(folder) as items:
                key = ItemKey(SPACE, b"k")
                [row] = items.change(reads=[key], touches=[key]).rows
                assert row is not None
                assert items.all() == {b"k": b"value"}
                assert items.call("usage").items == 1
                for write in (partial(items.put, b"k"), partial(items.delete, b"k"), partial(items.call, "erase", b"")):
                    with pytest.raises(ReadOnlyStore, match="cannot be written"):
                        write()

        as_nobody(use)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o700)


@pytest.mark.parametrize("part", ["", ".charm", ".charm/items"])
def test_a_folder_that_is_removed_meanwhile_is_told_once(folder: Path, part: str) -> None:
    with opened(folder) as items:
        items.put(b"k")
        remove_tree(folder / part)
        with pytest.raises(StoreUnavailable, match="deleted or renamed while"):
            items.all()
        assert items.all() == {}
        items.put(b"k")
        assert items.all() == {b"k": b"value"}


def test_threads_and_items_know_nothing_of_each_other(folder: Path) -> None:
    with opened(folder) as items:
        items.memory.append_messages("t", [{"role": "user", "content": "hi"}])
        items.put(b"k")
        assert items.memory.usage().threads == 1
        assert [thread.thread_id for thread in items.memory.threads()] == ["t"]
        items.memory.delete_thread("t")
        assert items.all() == {b"k": b"value"}
        items.call("erase", b"")
    assert not list(folder.rglob("*.json"))


# ------------------------------------------------------------------------------------ several hosts


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def conflict(hosts: Hosts, name: str = "log.sync-conflict-20260102-030405-ABCDEFG") -> Path:
    """Leave host b's log beside host a's, as a syncing tool does."""
    stray = log_of(hosts.a).with_name(name)
    stray.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log_of(hosts.b), stray)
    return stray


@pytest.mark.parametrize("in_place", [True, False])
def test_hosts_that_take_turns_go_on_from_each_other(hosts: Hosts, in_place: bool) -> None:
    expected: dict[bytes, bytes] = {}
    with opened(hosts.a) as a, opened(hosts.b) as b:
        for turn in range(9):
            here, there = (a, b) if turn % 2 else (b, a)
            source, target = (hosts.a, hosts.b) if turn % 2 else (hosts.b, hosts.a)
            here.now = there.now + 10
            for number in range(turn % 3 + 1):
                key, value = b"%d" % number, b"%d" % turn
                here.put(key, value)
                expected[key] = value
            hosts.sync(source, target, in_place=in_place)
            assert here.all() == there.all() == expected


@pytest.mark.parametrize("use", ["read", "write"])
@pytest.mark.parametrize("name", ["log.sync-conflict-20260102-030405-ABCDEFG", "log (host b's conflicted copy)"])
def test_what_two_hosts_did_at_once_is_put_together(
    hosts: Hosts, name: str, use: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        for key in (b"kept", b"removed here", b"removed there", b"changed here", b"changed there", b"both"):
            a.put(key, b"old")
        a.put(b"both removed and changed", b"old")
        hosts.sync(hosts.a, hosts.b)
        seen = a.call("entries", b"")
        b.now = a.now
        for items, where in ((a, b"here"), (b, b"there")):
            items.put(b"new " + where)
            items.put(b"changed " + where, b"new")
            items.delete(b"removed " + where)
        a.put(b"both", b"of a")
        a.delete(b"both removed and changed")
        b.now += 1000
        b.put(b"both removed and changed", b"new")
        b.put(b"both", b"of b, later")
        stray = conflict(hosts, name)
        expected = {
            b"kept": b"old", b"new here": b"value", b"new there": b"value", b"changed here": b"new",
            b"changed there": b"new", b"both": b"of b, later", b"both removed and changed": b"new",
        }  # fmt: skip
        with caplog.at_level(logging.WARNING):
            if use == "write":
                expected[b"x"] = b"value"
                a.put(b"x")
            assert a.all() == expected
        assert not stray.exists()
        assert "2 were" not in caplog.text and "1 were changed by both" in caplog.text
        # Whoever follows the space learns of all that came from there.
        [space] = a.call("entries", b"", {SPACE: seen.spaces[0].stamp}, seen.mark).spaces
        assert {entry.key for entry in space.entries} >= set(expected) - {b"kept"}
        assert set(space.keys) == set(expected)
        # The other host takes the outcome over, also by its own copy of the conflict.
        shutil.copyfile(log_of(hosts.b), log_of(hosts.b).with_name(name))
        hosts.sync(hosts.a, hosts.b)
        b.now = a.now
        assert b.all() == expected
        assert [path.name for path in log_of(hosts.b).parent.iterdir()] == ["log"]


def test_versions_at_random_are_put_together_as_dots_tell(hosts: Hosts) -> None:
    """What both did apart is there in either order of putting together, and nothing that was removed comes back."""
    for _ in range(scaled(12)):
        dice = random.Random()
        remove_tree(hosts.a)
        remove_tree(hosts.b)
        with opened(hosts.a) as a, opened(hosts.b) as b:
            a.put(b"there always")
            for key in range(6):
                a.put(b"%d" % key, b"old")
            hosts.sync(hosts.a, hosts.b)
            base, b.now = a.all(), a.now
            done: list[dict[bytes, bytes | None]] = [{}, {}]
            for side, items in enumerate((a, b)):
                for _ in range(dice.randrange(8)):
                    key, value = b"%d" % dice.randrange(9), dice.choice((None, b"%d" % side))
                    items.delete(key) if value is None else items.put(key, value)
                    if value is not None or key in base or key in done[side]:
                        done[side][key] = value
            conflict(hosts)
            found = a.all()
            for key in {*base, *done[0], *done[1]}:
                sides = [side[key] for side in done if key in side] or [base.get(key)]
                assert found.get(key) in sides
                if None not in sides or len(sides) == 1:
                    assert key in found or sides == [None]
            hosts.sync(hosts.a, hosts.b)
            try:
                assert b.all() == found
            except StoreError:  # as b never saw its own version taken in
                raise AssertionError("the merged version lacks something") from None


def test_a_space_erased_here_and_changed_there_comes_back(hosts: Hosts) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        a.put(b"1")
        hosts.sync(hosts.a, hosts.b)
        a.call("erase", b"")
        b.now = a.now
        b.put(b"2")
        conflict(hosts)
        assert a.all() == {} or set(a.all()) == {b"1", b"2"}
        assert {row.key for row in a.change(reads=[ItemKey(SPACE, b"1"), ItemKey(SPACE, b"2")]).rows if row} == {
            b"1",
            b"2",
        }


@pytest.mark.parametrize("in_place", [True, False])
def test_a_version_that_lacks_what_this_host_wrote_is_told_once(hosts: Hosts, in_place: bool) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        a.put(b"1")
        hosts.sync(hosts.a, hosts.b)
        a.put(b"2")
        seen = a.call("entries", b"")
        b.put(b"3")
        hosts.sync(hosts.b, hosts.a, in_place=in_place)
        with pytest.raises(StoreError, match="replaced by a version that lacks items"):
            a.put(b"4")
        assert set(a.all()) == {b"1", b"3"}
        a.put(b"4")
        [space] = a.call("entries", b"", {SPACE: seen.spaces[0].stamp}, seen.mark).spaces
        assert {entry.key for entry in space.entries} == {b"1", b"3", b"4"}


def test_frames_of_two_hosts_behind_the_same_one_are_put_together(hosts: Hosts) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        a.put(b"1")
        hosts.sync(hosts.a, hosts.b)
        shared = log_of(hosts.a).stat().st_size
        a.put(b"2")
        b.now = a.now
        b.put(b"3")
        b.put(b"4")
    with log_of(hosts.a).open("ab") as log:
        log.write(log_of(hosts.b).read_bytes()[shared:])
    with opened(hosts.a) as a:
        assert set(a.all()) == {b"1", b"2", b"3", b"4"}
        a.now = NOW + 1000
        a.put(b"5")
    with opened(hosts.a) as a:
        assert len(a.all()) == 5


@posix
def test_other_versions_where_nothing_may_be_written(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as name:
        hosts = Hosts(Path(name))
        Path(name).chmod(0o755)
        with opened(hosts.a) as a, opened(hosts.b) as b:
            a.put(b"1")
            b.put(b"2")
        conflict(hosts)
        for path in [hosts.a, *hosts.a.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)

        def use() -> None:
            with opened(hosts.a) as a:
                assert a.all() == {b"1": b"value"}

        as_nobody(use)
        for path in [hosts.a, *hosts.a.rglob("*")]:
            path.chmod(0o700)


def test_a_copy_that_is_being_written_is_left_alone(hosts: Hosts) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        a.put(b"1")
        b.put(b"2")
        stray = conflict(hosts)
        whole = stray.read_bytes()
        stray.write_bytes(whole[:-1])
        assert a.all() == {b"1": b"value"}
        assert stray.exists()
        stray.write_bytes(whole)
        assert set(a.all()) == {b"1", b"2"}
        assert not stray.exists()


@pytest.mark.parametrize("kind", ["no log", "damaged", "another space's"])
def test_what_is_no_version_of_a_log_is_left_alone(hosts: Hosts, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with opened(hosts.a) as a, opened(hosts.b) as b:
        a.put(b"1")
        for number in range(3):
            b.put(b"%d" % number)
        b.put(b"2", space=b"other")
        stray = conflict(hosts, "log.txt")
        held = stray.read_bytes()
        other = log_of(hosts.b, b"other").read_bytes()
        left = {"no log": b"notes", "damaged": held[:9] + b"?" + held[10:], "another space's": other}[kind]
        stray.write_bytes(left)
        os.utime(stray, (1, 1))
        for _ in range(2):
            assert a.all() == {b"1": b"value"}
            a.put(b"1")
        assert stray.read_bytes() == left
        assert caplog.text.count("is left as it is") == 1


# --------------------------------------------------------------------------------------- its memory


def test_what_a_space_weighs_is_what_its_items_do(folder: Path) -> None:
    states: Mapping[bytes, bytes] = filled(folder, 9)[-1]
    with opened(folder) as items:
        items.now = NOW + 1000
        for key in list(states)[:4]:
            items.delete(key)
        space = items.call("usage") and items.memory.store.items._spaces.peek(SPACE, lambda space: space)  # type: ignore[union-attr]
        fresh = Space()
        for key, item in space.items.items():
            fresh._add(key, item)
        assert (space.live, space.weight) == (fresh.live, fresh.weight)


def test_one_object_for_many_spaces_keeps_what_it_reads_within_bounds(folder: Path) -> None:
    with opened(folder) as items:
        items.memory.store.budget.limit = 60_000
        for turn in range(3):
            for number in range(20):
                items.put(b"%d" % turn, space=b"i%d" % number)
                assert len(items.all(b"i%d" % number + b"\0")) == 0
        known = items.memory.store.items._spaces._known.thing  # type: ignore[union-attr]
        assert len(known._young) + len(known._old) < 20
        assert len(items.all()) == 3
        assert items.call("usage").items == 60
