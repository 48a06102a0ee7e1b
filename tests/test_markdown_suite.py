"""The suite of durable memories, with all scopes in folders of Markdown files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import Memory
from charm_checkpoint.long_term.markdown.front_matter import normal_body
from charm_checkpoint.long_term.project import project_of
from charm_checkpoint.testing import DurableSuite, durable_memories
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.durable_memories import OpenMemories


class InFolders:
    """Puts each scope that would be in the store into a folder of its own."""

    @pytest.fixture
    def url(self) -> str:
        return "memory://"

    @pytest.fixture(autouse=True)
    def what_a_file_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Leave out the title that UTF-8 has no bytes for, and that which is a body with white space at its ends."""
        titles = durable_memories.TITLES
        kept = [title for title in titles if title != "\ud800" and normal_body(title * 2) == title * 2]
        assert len(kept) == len(titles) - 2
        monkeypatch.setattr(durable_memories, "TITLES", kept)

    @pytest.fixture
    def open_memories(self, memory: Memory, mode: CallMode, tmp_path: Path) -> OpenMemories:
        def made(project: Any = "p", **settings: Any) -> InMode:
            name = project_of(project).name
            scopes = {"project": tmp_path / "folders" / f"of-{name}"}
            for scope, place in settings.pop("scopes", {"global": ("everybody",)}).items():
                scopes[scope] = tmp_path / "folders" / "_".join(place) if isinstance(place, tuple) else place
            return InMode(memory.long_term(project, scopes=scopes, **settings), mode)

        return made


class TestDurable(InFolders, DurableSuite):
    pass
