"""Turns of conversations are kept as they were said, each once, and what programs say is not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from charm_checkpoint import open_memory
from charm_checkpoint.agents.auto_save import aauto_save, auto_save, title_of
from charm_checkpoint.errors import DataError, ReadOnlyStore, StoreError
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.noise import is_noise
from charm_checkpoint.testing.call_modes import CALL_MODES

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

SAID = "Please book the train to Paris for Monday."
PART = st.text(st.sampled_from("ab_%~-. 5F/é\0\ud800"), min_size=1, max_size=4) | st.text(min_size=1, max_size=300)
KEY = {"channel": "telegram", "sender": "anna", "message_id": 7}


@QUICK
@given(st.tuples(PART, PART, PART), st.tuples(PART, PART, PART), st.booleans())
def test_no_two_messages_have_the_same_title(one: Any, other: Any, threaded: bool) -> None:
    first, second = title_of(*one), title_of(*other)
    assert (first == second) == (one == other)
    assert title_of(*one, thread="t") not in (first, second)
    for title in (first, title_of(*one, thread=other[0])):
        assert title.isascii() and title.isprintable() and len(title) < 400 and " " not in title


def test_plain_names_stay_as_they_are() -> None:
    assert title_of("telegram", "anna-b", "12.3") == "telegram_anna-b_12.3"
    assert title_of("a_b", "c", 1) == "a%5Fb_c_1"
    some = {title_of(*parts) for parts in itertools.product(["a_b", "a", "b_a"], ["b", "a_b", "_"], ["1", "b_1"])}
    assert len(some) == 18


@pytest.mark.parametrize("wrong", ["", None, 1.5, True, b"x"])
def test_what_names_nothing_is_refused(wrong: Any) -> None:
    for place in range(3):
        parts: list[Any] = ["channel", "sender", "id"]
        parts[place] = wrong
        with pytest.raises(DataError, match=r"^(channel|sender|message_id)"):
            title_of(*parts)


NOISE = [
    "", "  \n", "[cron: daily] Water the plants in the garden", "[Heartbeat Task] check the disks of the server",
    "[DISTILLED_facts] these are what was said before", "[Memory context]\n- a: b and so on, and more",
    "some long text with Distilled_Index_Sig: 12ab in it",
]  # fmt: skip


@pytest.mark.parametrize("text", NOISE)
def test_what_programs_say_is_noise(text: str) -> None:
    assert is_noise(text) and is_noise(f"  {text}")
    assert not is_noise(f"He asked: {SAID}")


@pytest.mark.parametrize("name", CALL_MODES)
def test_a_turn_is_kept_as_it_was_said(name: str, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    mode = CALL_MODES[name]()
    memory = open_memory(f"sqlite:///{tmp_path}/charm.db")
    long_term = memory.long_term("p", scopes={"global": False})

    def save(message: Any, **more: Any) -> Any:
        given = {**KEY, **more}
        return mode.run(lambda: auto_save(long_term, message, **given), lambda: aauto_save(long_term, message, **given))

    kept = save(SAID, session="s1")
    assert (kept.title, kept.body, kept.kind, kept.category, kept.session, kept.source) == (
        "telegram_anna_7", SAID, "fact", "conversation", "s1", "auto",
    )  # fmt: skip
    [found] = long_term.recall("train to Paris", session="s1")
    assert found.title == kept.title
    for short in ("ok, thanks", "x" * 19, f"x{' ' * 30}", *NOISE, "see data:image/png;base64," + "A" * 400):
        assert save(short, message_id=8) is None
    picture = f"{SAID} ![me](data:image/png;base64,{'iVBOR' * 1000}==)"
    assert save(picture, message_id=9).body == f"{SAID} ![me]()"
    blocks = HumanMessage([{"type": "text", "text": SAID}, {"type": "image_url", "image_url": {"url": "data:x"}}])
    assert save(blocks, message_id=10).body == SAID
    assert save("This message was edited meanwhile.").body == "This message was edited meanwhile."
    assert len(long_term.list()) == 3
    long_term.forget(kept.title)
    assert save(SAID) is None and long_term.read(kept.title) is None
    mode.run(memory.close, memory.aclose)
    mode.close()


def test_no_turn_fails_for_a_store(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def failing(error: StoreError) -> Callable[..., Any]:
        def remember(*args: Any, **more: Any) -> Any:
            raise error

        return remember

    with open_memory("memory://") as memory:
        long_term: LongTermMemory = memory.long_term("p", scopes={"global": False})
        monkeypatch.setattr(long_term, "remember", failing(ReadOnlyStore("the disk is full")))
        assert auto_save(long_term, SAID, **KEY) is None  # type: ignore[arg-type]
    assert "the disk is full" in caplog.text
