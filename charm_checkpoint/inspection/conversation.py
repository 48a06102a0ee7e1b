"""Messages as a conversation: who said what, whatever class or form a message is stored in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from charm_checkpoint.plain import Plain


@dataclass(frozen=True, slots=True)
class ToolCall(Plain):
    """A tool that a model asked for. ``args`` are plain JSON, or text where they could not be read as such."""

    name: str
    args: Any = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Turn(Plain):
    """One message.

    ``role`` is ``human``, ``ai``, ``system``, ``tool``, ``function``, ``remove``, or what else the message says.
    ``text`` is all its text, ``parts`` the kinds of what else is in it, such as ``image``. ``answers`` is the id of the
    call that a tool's message answers; ``status`` of such a one is ``success`` or ``error``. ``position`` is where it
    stands in its list: counted from the end, and negative, where only the last messages were read. ``note`` says what
    is wrong with it: its class is not loaded, it is damaged.
    """

    role: str
    text: str = field(default="", repr=False)
    name: str | None = None
    id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    answers: str | None = None
    status: str | None = None
    parts: tuple[str, ...] = ()
    position: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation(Plain):
    """Messages, oldest first.

    ``channel`` is the state's that holds them, None for a thread's message history. ``before`` goes on with what is
    before them, by ``conversation(thread, before=...)``; None where nothing is.
    """

    turns: tuple[Turn, ...] = ()
    channel: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
