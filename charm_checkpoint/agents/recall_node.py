"""Memories in the messages for a model: plain functions, and a node for graphs of one's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig, RunnableLambda

from charm_checkpoint.errors import ConfigError, StoreError
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.prompt_block import DEFAULT_BUDGET, Budget, prompt_block
from charm_checkpoint.long_term.recalling import Names
from charm_checkpoint.long_term.records import MemoryEntry, checked_score
from charm_checkpoint.messages.langchain import to_langchain

log = logging.getLogger("charm_checkpoint")

SOURCE: Final = "memories"
"""What ``additional_kwargs["lc_source"]`` says of the message that shows memories."""

Messages = Sequence["AnyMessage | BaseMessage"]


def with_memories(
    messages: Iterable[Any], memories: str | Iterable[MemoryEntry], budget: Budget = DEFAULT_BUDGET
) -> list[AnyMessage | BaseMessage]:
    """Return messages with a block of memories before the last one of the user's; for a model, not for the thread.

    ``memories`` is what `LongTermMemory.recall` returned, or the block that `LongTermMemory.context` made of it. All
    before that place stays as it is, so what a provider has cached of it is found again. Without memories, or a message
    of the user's, the messages are returned as they are.
    """
    given = as_messages(messages)
    block = memories if isinstance(memories, str) else prompt_block(memories, budget)
    place = last_of_user(given)
    if not block or place is None:
        return given
    return [*given[:place], memory_message(block), *given[place:]]


def memory_message(block: str) -> HumanMessage:
    """Return the message that shows a block: in the user's place, as not every provider takes others in between."""
    return HumanMessage(block, additional_kwargs={"lc_source": SOURCE})


def as_messages(messages: Iterable[Any]) -> list[AnyMessage | BaseMessage]:
    """Return messages as LangChain's, in a new list; those of other forms are converted.

    Dicts are, too, that `Memory.load_messages` returns: one that LangChain knows no message for hides no other.
    """
    given = list(messages)
    if all(isinstance(each, BaseMessage) for each in given):
        return given
    return [each if isinstance(each, BaseMessage) else _converted(each) for each in given]


def _converted(message: Any) -> AnyMessage | BaseMessage:
    return (to_langchain([dict(message)]) if isinstance(message, Mapping) else convert_to_messages([message]))[0]


def last_of_user(messages: Messages) -> int | None:
    """Return where the last message is that the user wrote, None if there is none.

    What was put in the user's place by a program, as a summary is, says so by ``lc_source``.
    """
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if isinstance(message, HumanMessage) and not message.additional_kwargs.get("lc_source"):
            return place
    return None


def checked_memories(long_term: Any) -> LongTermMemory:
    """Return memories; raises `ConfigError` for anything else, such as the store that they are in."""
    if not all(callable(getattr(long_term, name, None)) for name in ("remember", "recall", "context")):
        raise ConfigError(f"long_term is what memory.long_term() returns, not {type(long_term).__name__}")
    found: LongTermMemory = long_term
    return found


class Recaller:
    """Makes the block of memories for a message; a store that fails is logged, and there are none then.

    An agent's turn is worth more than what it may be reminded of: this is the one place where that is so.
    """

    def __init__(
        self,
        long_term: LongTermMemory,
        *,
        kinds: Names = None,
        scopes: Names = None,
        min_score: float | None = None,
        turns: bool = False,
        budget: Budget = DEFAULT_BUDGET,
    ) -> None:
        checked_memories(long_term)
        if min_score is not None:
            checked_score(min_score)
        if not isinstance(budget, Budget):
            raise ConfigError(f"budget is a Budget(entries, characters, total), not {budget!r}")
        self.long_term = long_term
        self._options: dict[str, Any] = {
            "kinds": kinds if kinds is None or isinstance(kinds, str) else tuple(kinds),
            "scopes": scopes if scopes is None or isinstance(scopes, str) else tuple(scopes),
            "min_score": min_score,
            "turns": turns,
            "budget": budget,
        }

    def block(self, message: AnyMessage | BaseMessage, session: str | None) -> str:
        """Return the block for a message, empty if there is nothing to show."""
        try:
            return self.long_term.context(text_of(message), session=session, **self._options)
        except StoreError as error:
            return _none(error)

    async def ablock(self, message: AnyMessage | BaseMessage, session: str | None) -> str:
        """Return the block for a message; see `block`."""
        try:
            return await self.long_term.acontext(text_of(message), session=session, **self._options)
        except StoreError as error:
            return _none(error)


def _none(error: StoreError) -> str:
    log.warning("Memories could not be recalled, and this turn goes on without: %s: %s", type(error).__name__, error)
    return ""


def text_of(message: AnyMessage | BaseMessage) -> str:
    """Return the text of a message, of its blocks those that are text."""
    content = message.content
    if isinstance(content, str):
        return content
    parts = (part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, dict)))
    return "\n".join(part for part in parts if isinstance(part, str))


def recall_node(
    long_term: LongTermMemory,
    messages_key: str = "messages",
    memories_key: str = "memories",
    **options: Any,
) -> RunnableLambda[Any, dict[str, str]]:
    """Return a node for a graph: it puts the block of memories for the user's last message under ``memories_key``.

    The node that calls a model gives it ``with_memories(state["messages"], state["memories"])``, then. Declare the key
    as ``memories: Annotated[str, UntrackedValue]``, of ``langgraph.channels``, and it is in no checkpoint. The node
    works in blocking and async graphs. ``options`` are those of `Recaller`: kinds, scopes, min_score, turns, budget.
    """
    recaller = Recaller(long_term, **options)

    def place(state: Any) -> AnyMessage | BaseMessage | None:
        given = state[messages_key] if isinstance(state, Mapping) else getattr(state, messages_key)
        messages = as_messages(given)
        at = last_of_user(messages)
        return None if at is None else messages[at]

    def recall(state: Any, config: RunnableConfig) -> dict[str, str]:
        message = place(state)
        return {memories_key: "" if message is None else recaller.block(message, session_of(config))}

    async def arecall(state: Any, config: RunnableConfig) -> dict[str, str]:
        message = place(state)
        return {memories_key: "" if message is None else await recaller.ablock(message, session_of(config))}

    return RunnableLambda(recall, arecall, name="recall")


def session_of(config: Mapping[str, Any]) -> str | None:
    """Return the thread of a run, which is the session of the turns that are saved in it."""
    thread = config.get("configurable", {}).get("thread_id")
    return None if thread is None else str(thread)
