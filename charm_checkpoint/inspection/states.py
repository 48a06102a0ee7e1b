"""The state at a checkpoint, of which only what is shown is decoded, and what stopped the run there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from charm_checkpoint.errors import PathNotFound, PathPart
from charm_checkpoint.inspection.checkpoints import CheckpointInfo
from charm_checkpoint.inspection.conversation import Conversation
from charm_checkpoint.inspection.paths import at_path, parsed
from charm_checkpoint.plain import Plain, as_json


@dataclass(frozen=True, slots=True)
class Note(Plain):
    """Something that is not shown as it was: ``path`` leads to it, as ``messages[3].artifact``, ``text`` says why."""

    path: str
    text: str


class Content(NamedTuple):
    """A channel's value, decoded: as it is, as plain JSON, and what could not be shown as it was."""

    value: Any
    plain: Any
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class ChannelView:
    """One channel of a state. Its value is decoded when it is first asked for.

    ``is_internal``: it is LangGraph's own, such as ``branch:to:node``, and no part of what a program calls the state.
    ``size`` is the bytes that are stored for it, as far as they were read. ``before`` is None but for a list of which
    the last elements alone were read: there ``conversation(thread, before=...)`` goes on with those before.
    """

    name: str
    is_internal: bool
    size: int
    version: int | str | None
    before: str | None
    decode: Callable[[], Content] = field(repr=False, compare=False)

    @property
    def content(self) -> Content:
        """The value, decoded once."""
        held = self.__dict__.get("_content")
        if held is None:
            held = self.__dict__["_content"] = self.decode()
        content: Content = held
        return content

    @property
    def value(self) -> Any:
        """The value: objects whose class is not loaded are `Unknown`, what is damaged is None, with a note."""
        return self.content.value

    @property
    def plain(self) -> Any:
        """The value as plain JSON."""
        return self.content.plain

    @property
    def notes(self) -> tuple[Note, ...]:
        """What of the value could not be shown as it was."""
        return self.content.notes

    def as_dict(self) -> dict[str, Any]:
        """Return the channel as plain JSON, its value decoded."""
        return {
            "name": self.name,
            "value": self.plain,
            "size": self.size,
            "is_partial": self.before is not None,
            "before": self.before,
            "notes": [note.as_dict() for note in self.notes],
        }


@dataclass(frozen=True, slots=True)
class Question(Plain):
    """An interrupt: what a node asked; it ``waits`` until somebody answers.

    ``id`` is what ``Command(resume={id: …})`` takes.
    """

    task_id: str
    node: str | None
    value: Any
    id: str | None = None
    waits: bool = True
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TaskError(Plain):
    """The error that a task ended with, as text."""

    task_id: str
    node: str | None
    text: str


@dataclass(frozen=True, slots=True)
class PendingWriteView(Plain):
    """What a task wrote to a channel at this checkpoint: the next one takes it in. ``value`` is plain JSON."""

    task_id: str
    node: str | None
    channel: str
    value: Any
    note: str | None = None


@dataclass(frozen=True)
class StateView:
    """The state of a thread at one checkpoint.

    ``checkpoint`` is None, and ``channels`` are empty, of a thread that holds messages only: ``messages`` is its
    message history, None of other threads. ``answers`` were given to a head's questions and stored, as plain JSON, and
    no run has taken them yet.
    """

    thread_id: str
    checkpoint: CheckpointInfo | None
    channels: Mapping[str, ChannelView] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    errors: tuple[TaskError, ...] = ()
    writes: tuple[PendingWriteView, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    messages: Conversation | None = None
    answers: tuple[Any, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The state's values by channel, as plain JSON, without LangGraph's own channels."""
        return {name: channel.plain for name, channel in self.channels.items() if not channel.is_internal}

    @property
    def notes(self) -> tuple[Note, ...]:
        """What of the state could not be shown as it was."""
        return tuple(note for channel in self.channels.values() for note in channel.notes)

    @cached_property
    def conversation(self) -> Conversation:
        """The messages of the state, or of the thread's message history where that is all it holds."""
        if self.messages is not None:
            return self.messages
        from charm_checkpoint.inspection.turns import are_messages, turns_of  # which knows classes of values

        id = None if self.checkpoint is None else self.checkpoint.checkpoint_id
        own = [channel for channel in self.channels.values() if not channel.is_internal]
        for channel in sorted(own, key=lambda channel: channel.name != "messages"):
            if are_messages(channel.value):
                start = 0 if channel.before is None else -len(channel.value)
                return Conversation(turns_of(channel.value, start), channel.name, id, channel.before)
        return Conversation(checkpoint_id=id)

    def at(self, path: str | tuple[PathPart, ...]) -> Any:
        """Return what stands at a path, such as ``user.address[0]``, as plain JSON; raises `PathNotFound`."""
        first, *rest = parsed(path) or ("",)
        if first not in self.channels:
            names = ", ".join(name for name, channel in self.channels.items() if not channel.is_internal)
            raise PathNotFound(f"The state has no channel {first!r}; it has {names or 'none'}.")
        return at_path(self.channels[str(first)].plain, tuple(rest), (first,))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON, for which every channel is decoded."""
        return {
            "thread_id": self.thread_id,
            "checkpoint": as_json(self.checkpoint),
            "values": self.values,
            "channels": {name: channel.as_dict() for name, channel in self.channels.items() if channel.is_internal},
            "conversation": self.conversation.as_dict(),
            "questions": as_json(self.questions),
            "answers": list(self.answers),
            "errors": as_json(self.errors),
            "writes": as_json(self.writes),
            "metadata": as_json(self.metadata),
            "notes": as_json(self.notes),
        }
