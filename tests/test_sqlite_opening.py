"""Opening a connection that is cut short: it is never lent again as if it had been opened whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint import open_memory
from charm_checkpoint.stores.sqlite.open_file import Connection
from charm_checkpoint.testing.samples import checkpoint, config, versions

CALLS = ("execute", "create_function", "set_authorizer", "set_progress_handler")


class _Cut:
    """Raises what Ctrl-C does behind the call of that number, of those that open a connection."""

    def __init__(self, at: int) -> None:
        self.left = at

    def behind(self, name: str) -> Any:
        plain = getattr(sqlite3.Connection, name)

        def call(connection: Connection, *args: Any, **more: Any) -> Any:
            result = plain(connection, *args, **more)
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return result

        return call


@pytest.mark.parametrize("write", [False, True])
def test_a_connection_whose_opening_was_interrupted_is_closed(
    write: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path.as_posix()}/a.db"
    made = checkpoint({"a": 1})
    with open_memory(url) as memory:
        memory.get_langgraph_checkpointer().put(config("t"), made, {}, versions(made))
    cut = 0
    for at in range(1, 40):
        with open_memory(url) as memory:
            with monkeypatch.context() as patched:
                shears = _Cut(at)
                for name in CALLS:
                    patched.setattr(Connection, name, shears.behind(name), raising=False)
                try:
                    if write:
                        memory.setup()
                        memory.append_messages("m", [{"role": "user", "content": "hi"}])
                    else:
                        memory.usage()
                except KeyboardInterrupt:
                    cut += 1
            if shears.left > 0:
                break
            assert memory.store.run(memory.store.backend.space, write=False).taken
            memory.get_langgraph_checkpointer().copy_thread("t", f"copy {at}")
            assert memory.usage("t").checkpoints == 1
    assert cut > 5
