"""Looking into a store: threads, their history and state, what differs, what is large."""

from __future__ import annotations

from charm_checkpoint.inspection.blaming import BlameEntry
from charm_checkpoint.inspection.checkpoints import CheckpointInfo
from charm_checkpoint.inspection.conversation import Conversation, ToolCall, Turn
from charm_checkpoint.inspection.differences import Change, StateDiff
from charm_checkpoint.inspection.sizes import ChannelSize, KindSize, SizeReport, ThreadSize, ValueSize
from charm_checkpoint.inspection.states import ChannelView, Note, PendingWriteView, Question, StateView, TaskError

__all__ = [
    "BlameEntry",
    "Change",
    "ChannelSize",
    "ChannelView",
    "CheckpointInfo",
    "Conversation",
    "KindSize",
    "Note",
    "PendingWriteView",
    "Question",
    "SizeReport",
    "StateDiff",
    "StateView",
    "TaskError",
    "ThreadSize",
    "ToolCall",
    "Turn",
    "ValueSize",
]
