"""One thread's messages as LangChain sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from charm_checkpoint.errors import placing
from charm_checkpoint.messages.langchain import to_langchain
from charm_checkpoint.messages.plans import Message


class MessageStore(Protocol):
    """What keeps messages by thread: `Memory`, whose methods these are."""

    def load_messages(self, thread_id: str) -> list[Message]:
        """Return a thread's messages, oldest first."""
        ...

    def append_messages(self, thread_id: str, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end."""
        ...

    def delete_messages(self, thread_id: str) -> None:
        """Delete a thread's messages."""
        ...

    async def aload_messages(self, thread_id: str) -> list[Message]:
        """Return a thread's messages, oldest first."""
        ...

    async def aappend_messages(self, thread_id: str, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end."""
        ...

    async def adelete_messages(self, thread_id: str) -> None:
        """Delete a thread's messages."""
        ...


class CharmChatHistory(BaseChatMessageHistory):
    """One thread's messages, for `RunnableWithMessageHistory`."""

    def __init__(self, memory: MessageStore, thread_id: str) -> None:
        self._memory = memory
        self._thread = thread_id

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """Return all messages, oldest first."""
        with placing(self._thread):
            return to_langchain(self._memory.load_messages(self._thread))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end, atomically."""
        self._memory.append_messages(self._thread, messages)

    def clear(self) -> None:
        """Delete all messages."""
        self._memory.delete_messages(self._thread)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return all messages, oldest first."""
        held = await self._memory.aload_messages(self._thread)
        with placing(self._thread):
            return to_langchain(held)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end, atomically."""
        await self._memory.aappend_messages(self._thread, messages)

    async def aclear(self) -> None:
        """Delete all messages."""
        await self._memory.adelete_messages(self._thread)
