"""Messages in files: Charm's own local provider and this store read each other's."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config
from langchain_core.messages import HumanMessage

from charm_checkpoint import StorageManager, open_memory
from charm_checkpoint.errors import NotSerializable, StoreCorrupt
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.call_modes import CALL_MODES, InMode

HI = {"role": "user", "content": "hi"}


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment as Charm's runner does."""
    monkeypatch.setenv("CHARM_WORKSPACE_DIR", str(tmp_path))
    monkeypatch.delenv("CHARM_MEMORY_FILE", raising=False)


@pytest.fixture
def memory(surroundings: None) -> Iterator[Memory]:
    with open_memory("local") as memory:
        yield memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".charm" / "memory"


def sdk_save(folder: Path, thread: str, messages: Any) -> Path:
    """Write a thread's messages as charmos 0.5.2 does."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{thread}.json"
    with path.open("w", encoding="utf-8") as file:
        json.dump(messages, file, indent=2)
    return path


def sdk_load(folder: Path, thread: str) -> Any:
    """Read a thread's messages as charmos 0.5.2 does."""
    with (folder / f"{thread}.json").open(encoding="utf-8") as file:
        return json.load(file)


def lists_in(folder: Path) -> list[str]:
    """Return the names of the files of messages in a folder; beside one there may be its thread's id."""
    return [name for name in os.listdir(folder) if not name.endswith(".id")]


# ------------------------------------------------------------------------------------- the SDK's


@pytest.mark.parametrize(
    "thread", ["42", "default_thread", "Alice", "a.b-c@d", "two words", "größe", "a%20", ".hidden"]
)
def test_what_the_sdk_wrote_is_read_and_written_back_to_it(memory: Memory, folder: Path, thread: str) -> None:
    held = [HI, {"role": "assistant", "content": "größe \u2028", "n": 2**70, "x": [1.5, None, {"y": []}]}]
    path = sdk_save(folder, thread, held)
    assert memory.load_messages(thread) == held
    memory.append_messages(thread, [HI])
    assert sdk_load(folder, thread) == [*held, HI]
    assert list(folder.iterdir()) == [path]
    memory.delete_messages(thread)
    assert list(folder.iterdir()) == []
    assert memory.load_messages(thread) == []


@pytest.mark.parametrize("thread", ["42", "default_thread", "Alice", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "a@b.org"])
def test_the_sdk_reads_ours(memory: Memory, folder: Path, thread: str) -> None:
    memory.save_messages(thread, [HI, HumanMessage("and I?")])
    path = folder / f"{thread}.json"
    assert sdk_load(folder, thread) == memory.load_messages(thread)
    assert path.read_bytes() == json.dumps(memory.load_messages(thread), indent=2).encode()
    memory.save_messages(thread, [])
    assert sdk_load(folder, thread) == []


@pytest.mark.parametrize("made", [True, False])
def test_one_file_for_all_threads(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, made: bool) -> None:
    path = tmp_path / "injected" / "memory.json"
    if made:
        path.parent.mkdir()
        path.touch()
    monkeypatch.setenv("CHARM_MEMORY_FILE", str(path))
    with open_memory("local") as memory:
        assert memory.load_messages("a") == []
        memory.append_messages("a", [HI])
        memory.append_messages("b", [HI])
        assert memory.load_messages("c") == [HI, HI]
        assert memory.usage().payload_bytes == memory.usage("d").payload_bytes == path.stat().st_size
    assert json.loads(path.read_text()) == [HI, HI]
    assert (list(path.parent.iterdir()), folder.exists()) == ([path], False)


@pytest.mark.parametrize("mode", CALL_MODES)
def test_one_file_for_all_threads_is_told_and_outlives_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    path = tmp_path / "memory.json"
    calls = CALL_MODES[mode]()
    with open_memory(f"file://{tmp_path}", shared_messages_file=str(path)) as memory:
        twin = InMode(memory, calls)
        twin.delete_thread("nobody")
        assert caplog.text == ""
        twin.append_messages("b", [HI])
        assert f"{path} is one list of messages for every thread" in caplog.text
        add_item(memory.get_langgraph_checkpointer(), "a")
        caplog.clear()
        twin.delete_thread("a")
        assert f"Thread 'a' was deleted, but {path} is every thread's" in caplog.text
        assert memory.get_langgraph_checkpointer().get_tuple(config("a")) is None
        twin.delete_thread("a")
        assert caplog.text.count("was deleted, but") == 1
        assert twin.load_messages("b") == [HI]
        twin.delete_messages("b")
        assert (path.exists(), caplog.text.count("one list")) == (False, 0)
        twin.close()
    calls.close()


def test_the_providers_of_one_process_share_a_workspace(folder: Path) -> None:
    StorageManager.get_provider("local").save_messages("t", [HI])
    try:
        assert sdk_load(folder, "t") == StorageManager.get_provider().load_messages("t") == [HI]
    finally:
        StorageManager.clear()


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "threads",
    [
        ["Alice", "alice", "ALICE"],
        ["caf\xe9", "cafe\u0301", "cafe"],
        ["CON", "con", "con.txt", "nul", "COM1"],
        ["..", ".", "", "../a", "..\\a", "/a", "a", "a/b", "C:a"],
        ["a", "a ", "a.", " a", "a\0", "a\n"],
        ["x" * 10_000, "x" * 9_999, "x" * 300, "\xe9" * 130],
        ["\ud800", "\udc80", "\ud83d"],
    ],
)
def test_threads_are_apart_in_files_inside_the_folder(memory: Memory, folder: Path, threads: list[str]) -> None:
    for again in range(2):
        for number, thread in enumerate(threads):
            memory.append_messages(thread, [{"number": number, "again": again}])
    for number, thread in enumerate(threads):
        assert memory.load_messages(thread) == [{"number": number, "again": again} for again in range(2)]
    names = lists_in(folder)
    assert len({name.casefold() for name in names}) == len(names) == len(threads)
    assert all(name.isascii() and name.endswith(".json") and len(name) < 110 for name in names)
    assert os.listdir(folder.parent) == ["memory"]
    assert memory.usage().threads == len(threads)
    assert {found.thread_id for found in memory.threads()} == set(threads)
    for thread in threads:
        memory.delete_messages(thread)
    assert os.listdir(folder) == []


def test_a_file_whose_name_tells_no_thread_is_listed_without(memory: Memory, folder: Path) -> None:
    # As versions wrote them that kept no id beside.
    memory.save_messages("a/b", [HI])
    [signature] = folder.glob("*.id")
    signature.unlink()
    [found] = memory.threads()
    assert (found.thread_id, found.has_messages) == (None, True)
    assert found.damage is not None and "nothing tells which thread's messages these are" in found.damage
    memory.save_messages("named", [HI])
    assert (memory.usage().threads, memory.usage().damaged) == (1, 1)
    assert memory.usage("a/b").threads == 1
    memory.delete_messages("named")
    memory.append_messages("a/b", [HI])
    assert (memory.usage().threads, memory.usage().damaged) == (1, 0)
    assert [(found.thread_id, found.damage) for found in memory.threads()] == [("a/b", None)]


def test_a_name_of_ours_is_not_taken_for_another_thread(memory: Memory, folder: Path) -> None:
    memory.save_messages("a/b", [HI])
    [name] = lists_in(folder)
    assert memory.load_messages(name.removesuffix(".json")) == []
    memory.save_messages(name.removesuffix(".json"), [])
    assert memory.load_messages("a/b") == [HI]


def test_a_thread_has_one_file_whoever_wrote_it_first(memory: Memory, folder: Path) -> None:
    memory.save_messages("alice", [HI])
    memory.save_messages("Alice", [HI, HI])
    assert sdk_load(folder, "alice") == [HI]
    [escaped] = [name for name in lists_in(folder) if name != "alice.json"]
    assert escaped.startswith("alice~")
    memory.delete_messages("alice")
    memory.append_messages("Alice", [HI])
    assert lists_in(folder) == [escaped]
    assert len(memory.load_messages("Alice")) == 3


# ----------------------------------------------------------------------------------------- safety


@pytest.mark.parametrize("text", ["[", '[{"role": "us', "not json", "\xff", "nan"])
def test_a_broken_file_is_named_and_left_alone(memory: Memory, folder: Path, text: str) -> None:
    path = sdk_save(folder, "t", [])
    path.write_text(text, encoding="latin-1")
    for call in (lambda: memory.load_messages("t"), lambda: memory.append_messages("t", [HI])):
        with pytest.raises(StoreCorrupt, match=r"t\.json is not JSON: .*Mend it, or remove it"):
            call()
    assert path.read_text(encoding="latin-1") == text
    memory.save_messages("t", [HI])
    assert memory.load_messages("t") == [HI]


@pytest.mark.parametrize("content", [{"role": "user"}, "text", [1], ["hi"], 5])
def test_another_programs_file_is_refused(memory: Memory, folder: Path, content: Any) -> None:
    sdk_save(folder, "t", content)
    with pytest.raises(StoreCorrupt, match="is not a list of messages; it was left as it is"):
        memory.append_messages("t", [HI])
    assert sdk_load(folder, "t") == content


def test_an_empty_file_is_an_empty_list(memory: Memory, folder: Path) -> None:
    sdk_save(folder, "t", []).write_text(" \n")
    assert memory.load_messages("t") == []


def test_what_json_cannot_tell_apart_is_refused(memory: Memory) -> None:
    memory.save_messages("t", [{"content": "\ud83d and \ude00"}])
    for text in ("\ud83d\ude00", "x\udbff\udfffx"):
        with pytest.raises(NotSerializable, match=r"^messages: .*lone surrogate"):
            memory.append_messages("t", [{"content": text}])
    assert memory.load_messages("t") == [{"content": "\ud83d and \ude00"}]
    memory.save_messages("t", [{"content": "\N{GRINNING FACE} \ud800 \\ud83d\\ude00"}])
    assert memory.load_messages("t") == [{"content": "\N{GRINNING FACE} \ud800 \\ud83d\\ude00"}]


def test_what_is_nested_too_deep_is_refused(memory: Memory) -> None:
    deep: Any = []
    for _ in range(700):
        deep = [deep]
    with pytest.raises(NotSerializable, match="nested too deep"):
        memory.save_messages("t", [{"content": deep}])
    assert memory.load_messages("t") == []


def test_a_files_permissions_stay(memory: Memory, folder: Path) -> None:
    path = sdk_save(folder, "t", [])
    path.chmod(0o600)
    memory.append_messages("t", [HI])
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_folder_of_the_one_file_may_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("CHARM_MEMORY_FILE", str(tmp_path / "link" / "all.json"))
    with open_memory("local") as memory:
        memory.append_messages("t", [HI])
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "real" / "all.json").read_text()) == [HI]


def test_appends_at_once_all_get_in(memory: Memory) -> None:
    with open_memory("local") as other:

        def append(target: Memory, name: int) -> None:
            for number in range(20):
                target.append_messages("t", [{"by": name, "number": number}])

        threads = [threading.Thread(target=append, args=((memory, other)[name % 2], name)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = memory.load_messages("t")
    assert len(found) == 80
    for name in range(4):
        assert [message["number"] for message in found if message["by"] == name] == list(range(20))


def test_a_number_that_json_readers_refuse_is_refused_at_the_write(tmp_path: Path) -> None:
    with open_memory(f"file://{tmp_path}") as memory:
        memory.append_messages("t", [{"n": 1}])
        for change in (memory.append_messages, memory.save_messages):
            with pytest.raises(NotSerializable, match="^messages: a number that a JSON file cannot keep"):
                change("t", [{"n": 10**5000}])
        assert memory.load_messages("t") == [{"n": 1}]
