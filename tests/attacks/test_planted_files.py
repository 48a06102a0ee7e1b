"""Files that were put where a program is going to write.

The attacker may write into the folder that a store is in, and the names of files that were written beside a log or a
list of messages, to take its place, could be known before. He puts a symbolic link there, to a file of the victim's
that he may not write: the program empties it, and writes into it. Or he puts a file of his own there, which the
program fills and then moves to where the chat is: it is his file from then on, and he reads and changes it as he
likes, whatever the rights of others are.

He gets nothing: a new file's name has 64 random bits, it is made by this call or not at all, and nobody else may read
it. What he put there is as it was, and so is what it leads to.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from attacks.planted import HI, fill, opened, places
from charm_checkpoint import open_memory
from charm_checkpoint.cli.memory.settings_files import write_settings
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.long_term.markdown.folder import MarkdownFolder
from charm_checkpoint.long_term.whole_files import put_file

both_modes = pytest.mark.parametrize("mode", ["blocking", "async"])

OTHER = 4242
"""Another user."""


@both_modes
@pytest.mark.parametrize("kind", ["link", "file of another user"])
def test_what_is_planted_beside_the_files_of_a_store(tmp_path: Path, kind: str, mode: str) -> None:
    store, victim = tmp_path / "store", tmp_path / "victim"
    victim.write_text("mine")
    fill(f"file://{store}")
    found = places(store)
    found["id"].unlink()  # it is written again with the next list
    planted = [found["log"].with_name("new"), found["items"].with_name("new")]
    planted += [found["messages"].with_name(name) for name in (".new", ".new-id")]
    for path in planted:
        plant(path, kind, victim)
    with opened(f"file://{store}", mode) as call:
        for each in ("put a checkpoint", "append messages", "put an item"):
            call(each)
    with open_memory(f"file://{store}") as memory:
        memory.save_messages("a/b", [HI])
        memory.get_langgraph_checkpointer().prune(["t"])
        memory.get_langgraph_store().delete(("n",), "k")  # a log that is so short is written anew
    assert victim.read_text() == "mine"
    assert all(is_planted(path, kind) for path in planted if path.parent.exists())
    assert all(path.stat().st_uid == os.geteuid() for path in found.values() if path.exists())


@both_modes
@pytest.mark.parametrize("kind", ["link", "file of another user"])
def test_what_is_planted_beside_the_one_file_of_messages(tmp_path: Path, kind: str, mode: str) -> None:
    file, victim = tmp_path / "shared" / "chat.json", tmp_path / "victim"
    victim.write_text("mine")
    file.parent.mkdir()
    plant(file.with_name(".chat.json.new"), kind, victim)
    with opened(f"file://{tmp_path}/store", mode, shared_messages_file=str(file)) as call:
        call("append messages")
        assert call("load messages") == [HI]
    assert victim.read_text() == "mine" and is_planted(file.with_name(".chat.json.new"), kind)
    assert file.stat().st_uid == os.geteuid() and stat.S_IMODE(file.stat().st_mode) == 0o600


@both_modes
def test_a_list_that_was_somebody_elses_is_not_open_to_all(tmp_path: Path, mode: str) -> None:
    """In a folder such as /tmp, a file with the chat's name is put there before, for all to read and write."""
    file = tmp_path / "shared" / "chat.json"
    file.parent.mkdir()
    file.parent.chmod(0o1777)
    file.write_text("[]")
    file.chmod(0o666)
    give_away(file)
    with opened(f"file://{tmp_path}/store", mode, shared_messages_file=str(file)) as call:
        call("append messages")
    assert file.stat().st_uid == os.geteuid() and stat.S_IMODE(file.stat().st_mode) == 0o600


def test_names_of_new_files_are_random(tmp_path: Path) -> None:
    with seen_names() as names:
        fill(f"file://{tmp_path}/store")
        fill(f"file://{tmp_path}/other", shared_messages_file=str(tmp_path / "chat.json"))
        put_file(tmp_path / "bundle.md", b"")
        MarkdownFolder(tmp_path / "memories", tmp_path / "state").write("fact.md", b"")
    written = {name for name in names if name not in ("log", "lock")}
    assert any("fact.md" in name for name in written)
    assert len(written) > 8 and all(re.search(r"[0-9a-f]{16}", name) for name in written)


def test_what_a_killed_process_left_goes_and_what_looks_like_it_stays(tmp_path: Path) -> None:
    fill(f"file://{tmp_path}")
    found, random = places(tmp_path), "0123456789abcdef"
    left = [found["log"].with_name(f"new-{random}"), found["messages"].with_name(f".new-{random}")]
    for path in left:
        path.write_text("half")
    victim, link = tmp_path / "victim", found["messages"].with_name(".new-fedcba9876543210")
    victim.write_text("mine")
    link.symlink_to(victim)
    other = found["messages"].with_name(".new-of-mine")
    other.write_text("mine")
    with opened(f"file://{tmp_path}", "blocking") as call:
        call("put a checkpoint")
        call("append messages")
    assert not any(path.exists() for path in left)
    assert victim.read_text() == other.read_text() == "mine"


def test_what_a_clone_brings_beside_shared_memories_is_not_written_to(tmp_path: Path) -> None:
    victim, state = tmp_path / "victim", tmp_path / "state"
    victim.write_text("mine")
    state.mkdir()
    (state / ".gitignore").symlink_to(victim)
    MarkdownFolder(tmp_path / "memories", state).ready()
    assert victim.read_text() == "mine"


def test_settings_are_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name, form in ((".env", "env"), ("charm.yaml", "charm")):
        (tmp_path / name).symlink_to(victim)
        with pytest.raises(StoreCorrupt, match="is a symbolic link"):
            write_settings(tmp_path / name, form, "sqlite:///a.db", None)
    assert victim.read_text() == "mine"


def plant(path: Path, kind: str, victim: Path) -> None:
    """Put there what the attacker does."""
    if kind == "link":
        path.symlink_to(victim)
    else:
        path.write_text("his")
        path.chmod(0o666)
        give_away(path)


def give_away(path: Path) -> None:
    """Have a file be another user's."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    os.chown(path, OTHER, OTHER)


def is_planted(path: Path, kind: str) -> bool:
    """Tell whether what was planted is as it was."""
    return path.is_symlink() if kind == "link" else path.read_text() == "his" and path.stat().st_uid == OTHER


@contextmanager
def seen_names() -> Iterator[set[str]]:
    """Note the names of all files that are made."""
    names: set[str] = set()
    original = os.open

    def noting(path: str, flags: int, *args: int, **kwargs: int | None) -> int:
        if flags & os.O_CREAT:
            names.add(os.path.basename(path))
        return original(path, flags, *args, **kwargs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", noting)
        yield names
