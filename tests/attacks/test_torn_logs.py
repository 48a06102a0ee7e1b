"""A log of local files whose end was changed, so that it passes for what a crash leaves.

The attacker may write to the folder, or a disk loses a bit: the last record of a log is changed, or a part of it is cut
out. He wants it to be taken for a write that never came to its end: then the checkpoint before it comes back without a
word, an approval or a refusal is forgotten, and the next write removes what he did for good.

He gets `StoreCorrupt` on every read and write of that thread, and the file stays as it is, until somebody says that the
end is to be cut off, with `charm-checkpoint repair`. What a killed process or a power loss leaves, a record that is too
short or ends in zeros, was never acknowledged, and is passed over as before. Who cuts a log off exactly behind a
record, or lets it end in zeros, does what a crash does: see docs/security.md.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
from children.jobs import add_item, put
from local_files import contents_of, filled, frames, length, log_of, opened

from attacks.planted import Wrap
from charm_checkpoint import open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.testing.samples import config

NEWER = range(ord("M"), ord("Z") + 1)
"""What the last byte of a frame's mark may be in a later version, which is refused as such."""


def refused(folder: Path, in_mode: Wrap, match: str = "is damaged at byte") -> None:
    """Check that a thread is neither read nor written, and that its log stays as it is."""
    log = log_of(folder, "t")
    before = log.read_bytes()
    with open_memory(f"file://{folder}") as memory:
        saver = in_mode(memory.get_langgraph_checkpointer())
        for use in (
            lambda: saver.get_tuple(config("t")),
            lambda: saver.list(config("t")),
            lambda: put(saver, config("t"), {"items": []}),  # type: ignore[arg-type]
            lambda: saver.copy_thread("t", "v"),
            lambda: saver.prune(["t"]),
        ):
            with pytest.raises(StoreCorrupt, match=match) as caught:
                use()
            assert str(caught.value).startswith("Thread 't'")
    assert log.read_bytes() == before


def test_any_byte_of_the_last_record_that_is_changed_is_noticed(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    whole = log.read_bytes()
    start = frames(log)[-2]
    for at in range(start, len(whole)):
        for change in (1 << at % 8, 0xFF):
            damaged = bytearray(whole)
            damaged[at] ^= change
            log.write_bytes(damaged)
            try:
                tail = contents_of(log).tail
            except StoreCorrupt:
                assert at == start + 3 and damaged[at] in NEWER
            else:
                assert tail in ("damaged", "forked"), at - start


def test_a_changed_record_is_not_the_one_before_it(tmp_path: Path, in_mode: Wrap) -> None:
    log = filled(tmp_path, 3)
    whole = log.read_bytes()
    start = frames(log)[-2]
    for at in (start, start + 11, start + 15, start + 31, start + 60, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        log.write_bytes(damaged)
        refused(tmp_path, in_mode)


@pytest.mark.parametrize("size", [1, 9, 40])
def test_bytes_cut_out_of_the_last_record_are_missed(tmp_path: Path, size: int) -> None:
    log = filled(tmp_path, 3)
    whole = log.read_bytes()
    start = frames(log)[-2]
    for at in range(start + 32, len(whole) - size, 7):
        log.write_bytes(whole[:at] + whole[at + size :] + b"\xff" * size)
        assert contents_of(log).tail == "damaged"


def test_what_stands_behind_the_last_record_is_told(tmp_path: Path, in_mode: Wrap) -> None:
    log = filled(tmp_path, 2)
    whole = log.read_bytes()
    for more in (random.Random(1).randbytes(400) + b"\1", b"# a note of somebody's\n" * 9):
        log.write_bytes(whole + more)
        refused(tmp_path, in_mode)


def test_all_but_the_closing_byte_is_no_crash(tmp_path: Path, in_mode: Wrap) -> None:
    log = filled(tmp_path, 2)
    log.write_bytes(log.read_bytes()[:-1] + b"\0")
    refused(tmp_path, in_mode)


@pytest.mark.parametrize("left", [b"", b"\0"], ids=["short", "zeros"])
def test_what_a_crash_leaves_is_passed_over(tmp_path: Path, in_mode: Wrap, left: bytes) -> None:
    log = filled(tmp_path, 4)
    whole = log.read_bytes()
    *_, start, end = frames(log)
    for cut in (start + 1, start + 3, start + 31, start + 33, start + 70, end - 2):
        log.write_bytes(whole[:cut] + left * (end - cut))
        with opened(tmp_path) as saver:
            assert length(in_mode(saver)) == 3  # type: ignore[arg-type]
            assert add_item(saver, "t")[1] == 4
        assert contents_of(log).tail == "whole"


def test_values_that_end_in_zeros_are_no_crash(tmp_path: Path, in_mode: Wrap) -> None:
    with opened(tmp_path) as saver:
        at = put(saver, config("t"), {"items": []})
        saver.put_writes(at, [("raw", random.Random(0).randbytes(400) + bytes(90))], "task")
    log = log_of(tmp_path, "t")
    whole = bytearray(log.read_bytes())
    whole[frames(log)[-2] + 90] ^= 1
    log.write_bytes(whole)
    refused(tmp_path, in_mode)


def test_the_end_is_cut_off_when_somebody_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = filled(tmp_path, 4)
    whole = log.read_bytes()
    start = frames(log)[-2]
    damaged = bytearray(whole)
    damaged[start + 50] ^= 1
    log.write_bytes(damaged)
    command = ["repair", "--url", f"file://{tmp_path}", "t"]
    assert main(command) == 2  # nobody says yes
    assert log.read_bytes() == damaged
    assert main([*command, "--yes"]) == 0
    assert f"cut off {len(whole) - start:,} bytes" in capsys.readouterr().out
    with opened(tmp_path) as saver:
        assert length(saver) == 3
        assert add_item(saver, "t")[1] == 4
    assert main([*command, "--yes"]) == 0
    assert "nothing to cut off" in capsys.readouterr().out


def test_nothing_is_cut_off_of_what_is_not_the_threads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, other = filled(tmp_path, 2), filled(tmp_path, 3, "u")
    log.write_bytes(other.read_bytes())
    assert main(["repair", "--url", f"file://{tmp_path}", "t", "--yes"]) == 1
    assert "the log of thread 'u'" in capsys.readouterr().err
    assert log.read_bytes() == other.read_bytes()
    log.write_bytes(b"#" + other.read_bytes())
    assert main(["repair", "--url", f"file://{tmp_path}", "t", "--yes"]) == 1
    assert "no record of it is sound" in capsys.readouterr().err
    assert main(["repair", "--url", "memory://", "t", "--yes"]) == 2


def test_a_last_batch_of_items_that_is_changed_is_noticed(tmp_path: Path, in_mode: Wrap) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        for number in range(3):
            memory.get_langgraph_store().put(("a",), "key", {"number": number})
    [log] = tmp_path.glob(".charm/items/*/log")
    whole = log.read_bytes()
    start = frames(log)[-2]
    for at in (start + 2, start + 11, start + 20, start + 40, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        log.write_bytes(damaged)
        with open_memory(f"file://{tmp_path}") as memory:
            store = in_mode(memory.get_langgraph_store())
            for use in (partial(store.get, ("a",), "key"), partial(store.put, ("a",), "key", {})):
                with pytest.raises(StoreCorrupt, match="is damaged at byte"):
                    use()
        assert log.read_bytes() == damaged
