"""Messages that are counted without being decoded: as many as are read, however a list is held."""

from __future__ import annotations

import pytest

from charm_checkpoint import open_memory

LISTS = {
    "none": [],
    "one": ["a"],
    "few, in one piece": ["a"] * 20,
    "tiny ones, in a tree": ["b"] * 700,
    "some of them large": ["x" * 3000 if n % 5 == 0 else "y" * 50 for n in range(300)],
    "all of them large": ["z" * 2000 + str(n) for n in range(60)],
}


@pytest.mark.sqlite
@pytest.mark.blocking
@pytest.mark.parametrize("appended", [0, 3])
@pytest.mark.parametrize("what", LISTS)
def test_as_many_messages_are_counted_as_are_read(what: str, appended: int) -> None:
    with open_memory("sqlite:///:memory:") as memory:
        memory.save_messages("t", [{"role": "user", "content": text} for text in LISTS[what]])
        for n in range(appended):
            memory.append_messages("t", [{"role": "user", "content": f"{n}"}] * (n + 1))
        expected = len(memory.load_messages("t"))
        assert memory.erase("t", dry_run=True).messages == expected == len(LISTS[what]) + (6 if appended else 0)


@pytest.mark.sqlite
@pytest.mark.blocking
def test_no_message_is_decoded_to_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_memory("sqlite:///:memory:") as memory:
        memory.save_messages("t", [{"role": "user", "content": "x" * 100}] * 500)
        monkeypatch.setattr(type(memory._history._serde), "loads_many", None)
        assert memory.erase("t").messages == 500
