"""What a checkpoint, and what tasks write, tell of their thread: the notes that a listing reads (see `threads`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, TASKS

from charm_checkpoint.saver.threads import DONE, FAILED, UNFINISHED, WAITS, mark
from charm_checkpoint.saver.waiting import JOIN, is_full

TITLE = 80
"""Characters of a title."""

_START, _MESSAGES, _BRANCH = "__start__", "messages", "branch:to:"
_SOURCES = ("loop", "input", "update", "fork")
_STEPS = 1 << 31
_LOOKED_AT = 8
"""Messages, and channels, among which the first human one is looked for."""
_HUMAN = ("user", "human")
_TOLD_APART = frozenset((type(None), bool, int, float, str, bytes, dict, tuple))
"""Types of channels' values that are no messages."""


class Noted(NamedTuple):
    """What a checkpoint brings for its thread's record."""

    title: bytes | None = None
    note: bytes | None = None


def noted(ns: str, checkpoint: Mapping[str, Any], metadata: Mapping[str, Any], titled: bool = False) -> Noted:
    """Return what a checkpoint tells of its thread: nothing if it is not the root graph's.

    ``titled`` says that the thread is known to have a title.
    """
    if ns:
        return Noted()
    values = checkpoint["channel_values"]
    step, source = metadata.get("step"), metadata.get("source")
    note = (
        UNFINISHED if _goes_on(values) else DONE,
        mark(checkpoint["id"]),
        step if type(step) is int and -_STEPS < step < _STEPS else None,
        source if source in _SOURCES else None,
    )
    return Noted(None if titled else _title(values), ormsgpack.packb(note))


def note_of_writes(ns: str, id: str | None, channels: Sequence[str]) -> bytes | None:
    """Return what a task's writes to these channels tell of its thread, if they do."""
    if ns or id is None:
        return None
    status = FAILED if ERROR in channels else WAITS if INTERRUPT in channels else None
    return None if status is None else ormsgpack.packb([status, mark(id)])


def _goes_on(values: Mapping[str, Any]) -> bool:
    """Tell whether a channel's value starts a node, by the names that LangGraph gives channels that do."""
    for name in values:
        if name[:1] not in "_bj":
            continue
        if name == _START or name.startswith(_BRANCH):
            return True
        value = values[name]
        if (name == TASKS and type(value) is list and value) or (name.startswith(JOIN) and is_full(name, value)):
            return True
    return False


def _title(values: Mapping[str, Any]) -> bytes | None:
    start = values.get(_START)
    for state in (values, start) if type(start) is dict else (values,):
        for value in (state.get(_MESSAGES), *islice(list(state.values()), _LOOKED_AT)):
            if type(value) in _TOLD_APART:
                continue
            for message in _few(value):
                text = _human_text(message)
                if text:
                    return text.encode("utf-8", "replace")
    return None


def _few(value: Any) -> Sequence[Any]:
    if type(value) is list:
        return value[:_LOOKED_AT]
    return [value] if issubclass(type(value), BaseMessage) else ()


def _human_text(message: Any) -> str | None:
    """Return how a human message begins; no code of the message's own class is run."""
    kind = type(message)
    if issubclass(kind, BaseMessage):
        held = vars(message)
        return _beginning(held.get("content")) if held.get("type") == "human" else None
    if kind is dict:
        human = message.get("role") in _HUMAN or message.get("type") == "human"
        return _beginning(message.get("content")) if human else None
    if kind is tuple and len(message) == 2 and type(message[0]) is str and message[0] in _HUMAN:
        return _beginning(message[1])
    return None


def _beginning(content: Any) -> str | None:
    if type(content) is list:
        texts = [part.get("text") if type(part) is dict else part for part in content[:_LOOKED_AT]]
        content = next((text for text in texts if type(text) is str), None)
    if type(content) is not str:
        return None
    words = " ".join(content[: 8 * TITLE].split())
    return words if len(words) <= TITLE else words[: TITLE - 1].rstrip() + "\u2026"
