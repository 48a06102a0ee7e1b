"""Exports, imports and backups: what is in the file, what is refused, and what others see of it meanwhile."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from charm_checkpoint import ConfigError, open_memory
from charm_checkpoint.errors import NewerFormat, StoreClosed, StoreCorrupt, StoreUnavailable
from charm_checkpoint.memory import Memory
from charm_checkpoint.saver.threads import is_staging
from charm_checkpoint.store import Store
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import config
from charm_checkpoint.testing.transfer_samples import THREADS, everything, fill, fill_chat, marks, put
from charm_checkpoint.transfer import aimport_archive, backup, import_archive, walking
from charm_checkpoint.transfer.archive import exporting, form, importing
from charm_checkpoint.transfer.archive.form import ArchiveReader, ArchiveWriter
from charm_checkpoint.transfer.report import MoveProgress

TRIES = 150 * int(os.environ.get("CHARM_TEST_SCALE", "1"))


@pytest.fixture
def source(ram: Callable[[], Memory]) -> Memory:
    """Return a store that holds something of everything."""
    memory = ram()
    fill(memory)
    return memory


def bring(path: Any, memory: Memory, mode: CallMode, **options: Any) -> Any:
    return mode.run(lambda: import_archive(path, memory, **options), lambda: aimport_archive(path, memory, **options))


# --------------------------------------------------------------------------------------------------- there and back


def test_all_is_in_the_file_and_comes_out_of_it(
    source: Memory, ram: Callable[[], Memory], mode: CallMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "all.charm"
    monkeypatch.setattr(walking, "PART", 4000)
    report = InMode(source, mode).export(file)
    assert report.complete and report.threads == len(THREADS) and report.size == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and os.listdir(tmp_path) == ["all.charm"]
    assert file.read_bytes().endswith(bytes.fromhex(report.digest))
    target = ram()
    looked = bring(file, target, mode, dry_run=True)
    assert list(target.threads()) == [] and looked.threads == len(THREADS)
    done = bring(file, target, mode)
    assert done.complete and done.verified
    assert (done.threads, done.checkpoints, done.writes, done.messages, done.chunks, done.items) == (
        report.threads, report.checkpoints, report.writes, report.messages, report.chunks, report.items,
    )  # fmt: skip
    assert everything(target) == everything(source)
    again = bring(file, target, mode)
    assert (again.threads, again.unchanged, again.items, again.bytes) == (0, len(THREADS), 0, 0)


def test_a_large_thread_is_unpacked_into_a_file(
    source: Memory, ram: Callable[[], Memory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.export(tmp_path / "x")
    monkeypatch.setattr(importing, "IN_MEMORY", 0)
    monkeypatch.setattr(walking, "PART", 4000)
    target = ram()
    assert import_archive(tmp_path / "x", target).complete
    assert everything(target) == everything(source)


def test_some_threads_and_what_is_there_otherwise(
    source: Memory, ram: Callable[[], Memory], mode: CallMode, tmp_path: Path
) -> None:
    file = tmp_path / "x"
    report = InMode(source, mode).export(file, threads=["branches", "both", "nobody's"])
    assert report.threads == 2 and report.items == 0
    assert [place.thread for place in report.damaged] == ["nobody's"] and not report.complete
    with pytest.raises(ConfigError, match="there already"):
        InMode(source, mode).export(file)
    InMode(source, mode).export(file, overwrite=True)
    target = ram()
    put(target, config("chat"), {"n": 1})
    report = bring(file, target, mode)
    assert [place.thread for place in report.refused] == ["chat"] and report.threads == len(THREADS) - 1
    assert bring(file, target, mode, skip_existing=True).skipped == ("chat",)
    target = ram()
    report = bring(file, target, mode, threads=["branches", "nobody's"])
    assert [info.thread_id for info in target.threads()] == ["branches"]
    assert [place.thread for place in report.damaged] == ["nobody's"]


def test_what_is_written_to_meanwhile_is_there_as_of_one_moment(
    ram: Callable[[], Memory], mode: CallMode, tmp_path: Path
) -> None:
    source, target = ram(), ram()
    fill_chat(source, 40)
    steps = iter(range(40, 42))
    pruned: list[int] = []

    def write(at: MoveProgress) -> None:
        if not at.checkpoints:
            return
        for step in steps:
            fill_chat(source, 1, begin=step)
            return
        if not pruned:
            pruned.append(1)
            source.get_langgraph_checkpointer().prune(["chat"])

    report = InMode(source, mode).export(tmp_path / "x", on_progress=write)
    assert report.complete and pruned
    import_archive(tmp_path / "x", target)
    assert marks(target, "chat") == marks(source, "chat") and report.checkpoints == 3


@pytest.mark.sqlite
def test_a_long_list_of_messages_is_moved_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "PART", 50_000)
    monkeypatch.setattr(walking, "AT_ONCE", 4)
    monkeypatch.setattr(importing, "IN_MEMORY", 0)
    number, peak = random.Random(7), 0
    for turn, count in enumerate((100, 2500)):  # the first is for what is kept of a first time
        folder = tmp_path / str(turn)
        folder.mkdir()
        messages = [{"role": "user", "content": number.randbytes(200).hex()} for _ in range(count)]
        with open_memory(folder / "a.db") as memory:
            memory.save_messages("long", messages)
            memory.append_messages("long", messages[:1])
        tracemalloc.start()
        with open_memory(folder / "a.db") as memory:
            assert memory.export(folder / "x").complete
            assert memory.copy_to(folder / "b.db").complete
        with open_memory(folder / "c.db") as memory:
            assert import_archive(folder / "x", memory).complete
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        for name in ("b.db", "c.db"):
            with open_memory(folder / name) as memory:
                assert memory.load_messages("long") == [*messages, messages[0]]
    assert peak < 800_000  # as text they are a million bytes, and several as objects


# --------------------------------------------------------------------------------------------------- refused


def test_a_file_with_any_byte_otherwise_is_refused_before_anything_is_written(
    source: Memory, ram: Callable[[], Memory], tmp_path: Path
) -> None:
    source.export(tmp_path / "x", threads=["branches", "both"])
    data, bad, number = (tmp_path / "x").read_bytes(), tmp_path / "bad", random.Random(5)
    target = ram()
    for turn in range(TRIES):
        changed = bytearray(data)
        if turn % 3 == 0:
            changed[number.randrange(len(data))] ^= 1 << number.randrange(8)
        elif turn % 3 == 1:
            del changed[number.randrange(len(data)) :]
        else:
            at, size = number.randrange(len(data)), number.randrange(1, 50)
            changed[at:at] = changed[number.randrange(len(data)) :][:size] or b"x"
        bad.write_bytes(changed)
        with pytest.raises(StoreCorrupt, match=r"byte|begins|is of the form"):
            import_archive(bad, target)
    assert list(target.threads()) == [] and everything(target)["items"] == {}


def records(path: Path) -> list[tuple[bytes, Any]]:
    with path.open("rb") as file:
        return [(record.kind, record.payload) for record in ArchiveReader(file).records()]


def write(path: Path, found: list[tuple[bytes, Any]]) -> None:
    """Write an archive by hand, whose checksums are right."""
    with path.open("w+b") as file:
        archive = ArchiveWriter(file)
        for kind, payload in found:
            archive.write(kind, payload)


@pytest.mark.parametrize("turn", range(6))
def test_a_forged_file_puts_nothing_where_it_does_not_belong(
    source: Memory, ram: Callable[[], Memory], tmp_path: Path, turn: int
) -> None:
    source.export(tmp_path / "x", threads=["branches"])
    found = records(tmp_path / "x")
    at = next(number for number, (kind, _) in enumerate(found) if kind == form.CHECKPOINT)
    kind, payload = found[at]
    row = [b"ia\0", b"k", b'\x01{"a":1}', 1, 1, None, None, b"", b""]
    forged: list[tuple[bytes, Any]] = [
        (kind, payload[:-1]),
        (kind, [*payload[:5], "text", *payload[6:]]),
        (b"?", payload),
        (form.ITEMS, [[b"c\0", *row[1:]]]),  # what a cache would return
        (form.ITEMS, [[*row[:2], b"\x01not JSON", *row[3:]]]),
        (form.THREAD, [3]),
    ]
    outside = forged[turn][0] == form.ITEMS
    found[at if not outside else -1 : at + 1 if not outside else -1] = [forged[turn]]
    write(tmp_path / "y", found)
    target = ram()
    with pytest.raises(StoreCorrupt):
        import_archive(tmp_path / "y", target)
    spaces = target.store.run(lambda: target.store.items.spaces(b"", 1), write=False)  # type: ignore[union-attr]
    assert list(spaces) == []
    assert [info.thread_id for info in target.threads()] == (["branches"] if outside else [])


def test_a_forged_file_does_not_come_to_more_memory_than_it_is_large(
    source: Memory, ram: Callable[[], Memory], tmp_path: Path
) -> None:
    write(tmp_path / "bomb", [(form.ITEMS, ormsgpack.Fragment(b"\xdd" + (10**6).to_bytes(4, "big") + b"\x90" * 10**6))])
    tracemalloc.start()
    with pytest.raises(StoreCorrupt, match="at byte 9 holds more"):
        import_archive(tmp_path / "bomb", ram())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7  # as empty lists they are 64 times as large


def test_a_newer_file_and_none_are_told(source: Memory, ram: Callable[[], Memory], tmp_path: Path) -> None:
    source.export(tmp_path / "x", threads=["branches"])
    data = bytearray((tmp_path / "x").read_bytes())
    data[len(form.MAGIC)] = form.VERSION + 1
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(NewerFormat):
        import_archive(tmp_path / "x", ram())
    for name in ("missing", "."):
        with pytest.raises(ConfigError, match="no file"):
            import_archive(tmp_path / name, ram())
    with pytest.raises(ConfigError, match="cannot be written"):
        source.export(tmp_path / "no folder" / "x")
    assert sorted(os.listdir(tmp_path)) == ["x"]


def test_an_export_that_fails_leaves_no_file(source: Memory, tmp_path: Path, mode: CallMode) -> None:
    (tmp_path / "x").write_text("before")

    def fail(at: MoveProgress) -> None:
        raise KeyError(at.thread)

    with pytest.raises(KeyError):
        InMode(source, mode).export(tmp_path / "x", overwrite=True, on_progress=fail)
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x").read_text() == "before"


@pytest.mark.skipif(sys.platform == "win32", reason="limits and pipes of POSIX")
def test_a_full_disk_is_told_and_leaves_no_half(source: Memory, tmp_path: Path, mode: CallMode) -> None:
    import resource

    size = InMode(source, mode).export(tmp_path / "whole").size
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, size // 3, size - 1):  # all of it is in a buffer first
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
        try:
            with pytest.raises(StoreUnavailable, match="File too large; nothing is left"):
                InMode(source, mode).export(tmp_path / "whole", overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert os.listdir(tmp_path) == ["whole"] and (tmp_path / "whole").stat().st_size == size
    with pytest.raises(StoreUnavailable, match="No space left"):
        InMode(source, mode).export("/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="limits and pipes of POSIX")
def test_through_a_pipe_and_a_link(source: Memory, ram: Callable[[], Memory], tmp_path: Path, mode: CallMode) -> None:
    os.mkfifo(tmp_path / "pipe")
    target = ram()
    with ThreadPoolExecutor() as pool:
        brought = pool.submit(import_archive, tmp_path / "pipe", target)
        report = InMode(source, mode).export(tmp_path / "pipe")
        assert brought.result().complete and report.complete
    assert everything(target) == everything(source)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    InMode(source, mode).export(tmp_path / "link", overwrite=True)
    assert bring(tmp_path / "file", target, mode).unchanged == len(THREADS)
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "pipe"] and (tmp_path / "link").is_symlink()
    with pytest.raises(StoreCorrupt, match="no archive"):
        bring("/dev/zero", ram(), mode)
    with pytest.raises(ConfigError, match="is a folder"):
        InMode(source, mode).export(tmp_path, overwrite=True)


@pytest.mark.files
def test_an_export_closes_the_stores_that_it_made(
    tmp_path: Path, mode: CallMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Store] = []

    def make(*given: Any, **options: Any) -> Store:
        made.append(Store(*given, **options))
        return made[-1]

    monkeypatch.setattr(exporting, "Store", make)
    with open_memory(f"file://{tmp_path}") as source:  # its messages are one text, and become a list in memory
        source.save_messages("42", [{"role": "user", "content": "hi"}])
        InMode(source, mode).export(tmp_path / "file")
    assert made
    for store in made:
        with pytest.raises(StoreClosed):
            store.run(lambda: store.backend.threads(None, 1), write=False)  # noqa: B023  # at once


def test_an_import_that_fails_leaves_no_half(
    source: Memory, ram: Callable[[], Memory], tmp_path: Path, mode: CallMode
) -> None:
    InMode(source, mode).export(tmp_path / "file")
    target, before = ram(), []

    def staged() -> list[Any]:
        page = target.store.run(lambda: target.store.backend.threads(None, 100), write=False)
        return [row.thread for row in page.items if is_staging(row.thread)]

    def fail(at: MoveProgress) -> None:
        if at.checkpoints > 3:
            before.extend(staged())
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        bring(tmp_path / "file", target, mode, on_progress=fail)
    assert (len(before), staged()) == (1, [])


def test_the_form_is_as_it_is_written_down(tmp_path: Path) -> None:
    """Write a file by the words of docs/moving.md alone."""
    begin = b"\x89charm\r\n\x01"
    body = begin
    for kind, payload in ((b"T", [b"t", None, None, None, False]), (b"Z", [0, 0]), (b"E", {"threads": 1})):
        data = ormsgpack.packb(payload)
        body += kind + len(data).to_bytes(8, "big") + data
        body += blake2b(body, digest_size=16).digest()
    (tmp_path / "x").write_bytes(body)
    assert [kind for kind, _ in records(tmp_path / "x")] == [b"T", b"Z", b"E"]
    write(tmp_path / "y", [(b"T", [b"t", None, None, None, False]), (b"Z", [0, 0]), (b"E", {"threads": 1})])
    assert (tmp_path / "y").read_bytes() == body


# --------------------------------------------------------------------------------------------------- backups


@pytest.mark.sqlite
def test_a_backup_of_a_sqlite_file_is_a_store_as_of_one_moment(
    tmp_path: Path, mode: CallMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES", 1)
    with open_memory(tmp_path / "agent.db") as memory:
        fill(memory)
        before = everything(memory)
        steps = iter(range(12, 15))

        def write(at: MoveProgress) -> None:
            for step in steps:
                fill_chat(memory, 1, begin=step)
                return

        report = InMode(memory, mode).backup(tmp_path / "backup.db", on_progress=write)
        assert report.kind == "sqlite" and next(steps, None) is None and everything(memory) != before
        with pytest.raises(ConfigError, match="there already"):
            InMode(memory, mode).backup(tmp_path / "backup.db")
        with pytest.raises(ConfigError, match="the store itself"):
            InMode(memory, mode).backup(tmp_path / "agent.db", overwrite=True)
    assert stat.S_IMODE((tmp_path / "backup.db").stat().st_mode) == 0o600
    with sqlite3.connect(tmp_path / "backup.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    with open_memory(tmp_path / "backup.db") as memory:
        assert everything(memory) == before
        fill_chat(memory, 1, begin=12)


@pytest.mark.memory
@pytest.mark.skipif(sys.platform == "win32", reason="names of files")
def test_a_backup_of_another_store_is_an_export(
    source: Memory, ram: Callable[[], Memory], mode: CallMode, tmp_path: Path
) -> None:
    report = InMode(source, mode).backup(tmp_path / "x")
    assert report.kind == "archive" and report.complete and report.as_dict()["export"]["threads"] == len(THREADS)
    target = ram()
    import_archive(tmp_path / "x", target)
    assert everything(target) == everything(source)
