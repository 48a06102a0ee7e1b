"""Names that forge a log, or steer the terminal that shows it.

The attacker chooses names and values: a thread id from a URL, a channel, the title of a memory, the name of a file in
a shared folder, a class in a row that he wrote. He puts in a newline and what looks like the next line of a log, an
escape sequence that clears a screen or sets its title, a mark that turns the direction of what follows.

He wants whoever reads the log, or the error in a terminal, to see something that did not happen. He gets his name shown
as what it is: on one line, with the escapes of those characters. Every error and every log record of the package goes
through one place that sees to it, so a new message cannot forget; the tests put such names into everything.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children.jobs import config, items, put
from langgraph.checkpoint.base import empty_checkpoint
from sqlite_files import query

from charm_checkpoint import Memory, StorageManager, open_memory
from charm_checkpoint.cli import main
from charm_checkpoint.errors import CharmError, DataError, ServerFailed, StoreCorrupt, ThreadConflict, TypeNotLoaded
from charm_checkpoint.testing.call_modes import CallMode, InMode

FORGED = "WARNING nobody: all threads were deleted"
HOSTILE = f"x\n{FORGED}\r\x1b[2J\x1b]0;title\x07\u202egnp\u2028\x9b31m\x00"
"""A line of its own, what clears a screen, a title, a mark of direction, a separator of lines, a C1 escape, a NUL."""

ON_DISK = HOSTILE.replace("\x00", "").replace("/", "")
"""The same as the name of a file."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="no file has such a name there")


def error_of(call: Callable[[], object]) -> Exception:
    """Return the error that a call ends in."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def put_as(saver: Any, at: Any, values: dict[str, Any], id: str) -> Any:
    """Put a checkpoint whose id is chosen by the attacker, as are the names in its metadata."""
    versions = dict.fromkeys(values, 1)
    checkpoint = {**empty_checkpoint(), "id": id, "channel_values": values, "channel_versions": versions}
    return saver.put(at, checkpoint, {"source": "loop", "step": 0, "parents": {}, HOSTILE: HOSTILE}, versions)


def assert_harmless(text: str) -> None:
    assert text.isprintable(), repr(text)


def check(*calls: Callable[[], object]) -> str:
    """Check that each call fails with a text that quotes the name and is harmless; return all texts."""
    texts = [str(error_of(call)) for call in calls]
    for text in texts:
        assert_harmless(text)
    return " | ".join(texts)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the package logged, having checked it."""
    said = [record.getMessage() for record in caplog.records if record.name.partition(".")[0] == "charm_checkpoint"]
    for text in said:
        assert_harmless(text)
    return said


# ------------------------------------------------------------------------------- on every store


def test_a_thread_and_all_that_is_in_it(url: str, mode: CallMode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "charm_checkpoint")
    memory = open_memory(url)
    store, saver = InMode(memory, mode), InMode(memory.get_langgraph_checkpointer(), mode)
    first = put_as(saver, config(HOSTILE), {"items": items(2)}, f"1 {HOSTILE}")
    put_as(saver, first, {"items": items(3)}, f"2 {HOSTILE}")
    put_as(saver, first, {"items": items(4)}, f"3 {HOSTILE}")  # a second writer
    texts = check(
        lambda: put_as(saver, first, {HOSTILE: _unstorable()}, HOSTILE),
        lambda: saver.put_writes(first, [(HOSTILE, _unstorable())], HOSTILE, HOSTILE),
        lambda: saver.copy_thread(HOSTILE, HOSTILE),
        lambda: saver.list(config(HOSTILE), filter={"step": {f"${HOSTILE}": 1}}),
        lambda: saver.list(config(HOSTILE), filter={HOSTILE: {f"${HOSTILE}": 1}}),
        lambda: store.append_messages(HOSTILE, [{HOSTILE: object()}]),
        lambda: store.save_messages(HOSTILE, [{"content": {HOSTILE: object()}}]),
    )
    assert "WARNING nobody" in texts
    assert any("two runs met" in said and "WARNING nobody" in said for said in told(caplog))
    store.close()


def test_a_conflict_that_is_refused(url: str, mode: CallMode) -> None:
    memory = open_memory(url, on_conflict="raise")
    saver = InMode(memory.get_langgraph_checkpointer(), mode)
    first = put_as(saver, config(HOSTILE), {"items": items(2)}, f"1 {HOSTILE}")
    put_as(saver, first, {"items": items(3)}, f"2 {HOSTILE}")
    error = error_of(lambda: put_as(saver, first, {"items": items(4)}, f"3 {HOSTILE}"))
    assert isinstance(error, ThreadConflict) and "WARNING nobody" in str(error)
    assert_harmless(str(error))
    InMode(memory, mode).close()


def test_items(url: str, mode: CallMode, caplog: pytest.LogCaptureFixture) -> None:
    with open_memory(url) as memory:
        if memory.location.scheme == "none":
            return
        store = InMode(memory.get_langgraph_store(), mode)
        space = (HOSTILE.replace("\x00", ""), "y")
        store.put(space, HOSTILE, {"text": "a"})
        texts = check(
            lambda: store.put((HOSTILE, "."), HOSTILE, {"a": 1}),
            lambda: store.put(space, HOSTILE, {HOSTILE: object()}),
            lambda: store.put(space, HOSTILE * 100_000, {"a": 1}),
            lambda: store.search(space, filter={HOSTILE: {f"${HOSTILE}": 1}}),
        )
        assert "WARNING nobody" in texts
        told(caplog)


# ------------------------------------------------------------------------- what was stored by others


def _unstorable() -> object:
    """Return an object of a class with such a name, that cannot be stored."""
    cls = type(HOSTILE, (), {"__slots__": ("x",), "__reduce__": None, "__module__": HOSTILE})
    cls.__qualname__ = HOSTILE
    return cls()


def test_a_class_that_is_not_loaded() -> None:
    module = sys.modules[__name__]
    name = ON_DISK.replace(".", "")
    made = dataclasses.make_dataclass("Made", [("x", int)], namespace={"__module__": __name__})
    made.__qualname__ = made.__name__ = name
    setattr(module, name, made)
    with open_memory("memory://", on_unknown="raise") as memory:
        saver = memory.get_langgraph_checkpointer()
        put(saver, config(HOSTILE), {"items": [made(1)]})
        delattr(module, name)
        del made
        gc.collect()
        error = error_of(lambda: saver.get_tuple(config(HOSTILE)))
    assert isinstance(error, TypeNotLoaded) and "WARNING nobody" in str(error)
    assert_harmless(str(error))


def test_a_checkpoint_whose_id_is_forged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/charm.db"
    with open_memory(url) as memory:
        put_as(memory.get_langgraph_checkpointer(), config("t"), {"items": items(2)}, HOSTILE)
    query(tmp_path / "charm.db", "UPDATE checkpoint SET body = x'00c1'")
    with open_memory(url) as memory:
        error = error_of(lambda: memory.get_langgraph_checkpointer().get_tuple(config("t")))
    assert isinstance(error, StoreCorrupt) and "'x\\nWARNING nobody" in str(error)
    assert_harmless(str(error))


@pytest.mark.parametrize("make", [StoreCorrupt, DataError, CharmError])
def test_whatever_a_message_is_made_of(make: type[CharmError]) -> None:
    error: Any = make(f"about {HOSTILE}")
    if isinstance(error, DataError):
        error.at(HOSTILE, 1)
    if hasattr(error, "place"):
        error.place = HOSTILE
    assert_harmless(str(error))
    assert HOSTILE in error.args[0]  # what a program compares stays as it was


def test_what_a_server_printed_keeps_its_lines() -> None:
    error = ServerFailed("the end of what it said:\none\n\x1b[2Jtwo")
    assert str(error) == "the end of what it said:\none\n\\x1b[2Jtwo"


@pytest.mark.parametrize("name", ["charm_checkpoint", "charm_checkpoint.operations"])
def test_a_record_that_is_harmless_stays_as_it_is(name: str, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger(name)
    log.warning("Thread %r: %d", "t", 1)
    log.warning("Thread %s: %d", HOSTILE, 1)
    one, two = caplog.records
    assert one.args == ("t", 1)
    assert not two.args and two.getMessage().isprintable()


# --------------------------------------------------------------------------------- names of files


@posix
def test_a_folder_and_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "charm_checkpoint")
    folder = tmp_path / ON_DISK
    folder.mkdir()
    (folder / "not.db").write_bytes(b"this is no database" * 100)
    (folder / ".charm").write_bytes(b"and this no folder")
    for make in (
        lambda: open_memory(folder / "not.db"),
        lambda: open_memory("local", {"path": str(folder)}),
    ):

        def use(make: Callable[[], Memory] = make) -> None:
            with make() as memory:
                memory.get_langgraph_checkpointer().put_writes(config("t", "1"), [("a", 1)], "task")

        check(use)
    told(caplog)


@posix
def test_memories_in_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "charm_checkpoint")
    with open_memory("memory://") as memory:
        memories = memory.long_term(tmp_path, {"notes": tmp_path / "notes", "project": True})
        memories.remember("fact", "A title", "text", scope="notes")
        for number, text in enumerate(("---\ntitle: [\n---\n", "---\ntitle: x\nkind: none\n---\n", "\xff")):
            (tmp_path / "notes" / f"{number} {ON_DISK}.md").write_bytes(text.encode("latin-1"))
        texts = check(
            lambda: memories.promote(HOSTILE, HOSTILE),
            lambda: memories.remember(HOSTILE, "A title", "x"),
            lambda: memories.undo(HOSTILE),
            lambda: memories.recall("text", scopes=HOSTILE),
        )
        assert "WARNING nobody" in texts
        memories.recall("text")
        assert any("WARNING nobody" in said for said in told(caplog))


# ------------------------------------------------------------------------------------- settings


def test_settings(caplog: pytest.LogCaptureFixture) -> None:
    check(
        lambda: open_memory("sqlite://", **{HOSTILE: 1}),
        lambda: open_memory(f"sqlite://?{HOSTILE}=1"),
        lambda: open_memory(f"sqlite://?timeout={HOSTILE}"),
        lambda: open_memory(f"{HOSTILE}://x"),
        lambda: open_memory(HOSTILE, {}),
        lambda: open_memory("sqlite", {"url": f"${{{HOSTILE}}}"}),
    )
    StorageManager.get_provider(HOSTILE)
    assert any("WARNING nobody" in said for said in told(caplog))
    StorageManager.clear()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/charm.db"
    with open_memory(url) as memory:
        put_as(memory.get_langgraph_checkpointer(), config(HOSTILE), {HOSTILE: HOSTILE}, HOSTILE)
        memory.save_messages(HOSTILE, [{"role": HOSTILE, "content": HOSTILE}])
    for words in (["threads"], ["usage"], ["show", HOSTILE], ["messages", HOSTILE], ["show", f"no {HOSTILE}"]):
        main([words[0], "--url", url, *words[1:]])
        out, error = capsys.readouterr()
        for line in (out + error).split("\n"):
            for cell in line.split("\t"):  # of a table that is no terminal's
                assert_harmless(cell)
                assert not cell.startswith("WARNING nobody"), words
