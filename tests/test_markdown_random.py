"""Programs, people and git at work in one folder, at random: all find what the files say."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.errors import DataError
from charm_checkpoint.long_term.markdown.format import MemoryFile, read, write
from charm_checkpoint.long_term.memories import LongTermMemory

SCALE = int(os.environ.get("CHARM_TEST_SCALE", "1"))
TITLES = ("a", "A", "b", "b c", "b/c", "日", "memory", "con")
NAMES = ("a.md", "b.md", "b_c.md", "x.md", "y.md", "memory.md", "Z.MD")


class Folder:
    """A folder that a person changes by hand, at random."""

    def __init__(self, path: Path, choose: random.Random) -> None:
        self.path = path
        self._choose = choose
        self._count = 0

    def files(self) -> list[Path]:
        found = [path for path in self.path.iterdir() if path.suffix.lower() == ".md" and path.name != "MEMORY.md"]
        return sorted(found)

    def said(self) -> dict[str, set[str]]:
        """Return the bodies that there are of each title."""
        said: dict[str, set[str]] = {}
        for path in self.files():
            try:
                memory = read(path.read_bytes())
            except DataError:
                continue
            said.setdefault(memory.title, set()).add(memory.body)
        return said

    def body(self) -> str:
        self._count += 1
        # Of one length: a change is not told by the size of its file.
        return f"said {self._count:04}"

    def change(self) -> None:
        files = self.files()
        kind = self._choose.choice(["put", "put", "edit", "edit", "rename", "remove", "break", "copy"])
        if kind == "put" or not files:
            name = self._choose.choice(NAMES)
            (self.path / name).write_bytes(write(MemoryFile(self._choose.choice(TITLES), body=self.body())))
            return
        one = self._choose.choice(files)
        if kind == "edit":
            with open(one, "r+b") as file:  # in place, as some editors do
                data = file.read()
                at = data.rfind(b"said ")
                if at >= 0:
                    file.seek(at)
                    file.write(self.body().encode())
        elif kind == "rename":
            one.replace(self.path / self._choose.choice(NAMES))
        elif kind == "copy":
            (self.path / self._choose.choice(NAMES)).write_bytes(one.read_bytes())
        elif kind == "break":
            one.write_bytes(one.read_bytes().replace(b"title:", b"titel:", 1))
        else:
            one.unlink()


@pytest.mark.parametrize("seed", range(SCALE))
def test_all_find_what_the_files_say(seed: int, tmp_path: Path) -> None:
    choose = random.Random(seed)
    folder = Folder(tmp_path / "notes", choose)
    folder.path.mkdir()

    def opened() -> LongTermMemory:
        return open_memory("memory://").long_term(scopes={"global": folder.path, "project": False})

    programs = [opened(), opened()]
    for turn in range(40):
        program = choose.choice(programs)
        title = choose.choice(TITLES)
        acts: list[Callable[[], object]] = [
            folder.change,
            folder.change,
            lambda: program.remember("fact", title, folder.body(), scope="global"),  # noqa: B023
            lambda: program.forget(title),  # noqa: B023
        ]
        choose.choice(acts)()
        said = folder.said()
        for each in programs if turn % 4 else [*programs, opened()]:
            found = {entry.title: entry.body for entry in each.list("global")}
            assert found.keys() == said.keys()
            assert all(found[title] in said[title] for title in found)
            assert (entry := each.read(title)) is None or entry.body == found[title]
        listed = {entry.title for entry in programs[0].list("global")}
        index = folder.path / "MEMORY.md"
        lines = index.read_text(encoding="utf-8").splitlines()[2:] if index.exists() else []
        assert len(lines) == len(listed)
