"""Durable memories in an agent of LangChain's ``create_agent``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol, TypeAlias
from uuid import uuid4

from typing_extensions import NotRequired

from charm_checkpoint.agents import auto_save as saving
from charm_checkpoint.agents.recall_node import Recaller, last_of_user, memory_message
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.long_term.memories import LongTermMemory
from charm_checkpoint.long_term.prompt_block import DEFAULT_BUDGET, Budget
from charm_checkpoint.long_term.recalling import Names
from charm_checkpoint.runtime import forks

try:
    from langchain.agents.middleware import types
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelCallResult,
        ModelRequest,
        ModelResponse,
        PrivateStateAttr,
    )
    from langgraph.channels.untracked_value import UntrackedValue
    from langgraph.runtime import Runtime
    from langgraph.types import Command
except ImportError as error:
    raise MissingExtra(
        f"MemoryMiddleware is for agents of LangChain's create_agent, and langchain is missing or too old ({error}). "
        "pip install 'langchain>=1.2'; for other graphs there is charm_checkpoint.agents.recall_node."
    ) from error

KEY: Final = "recalled_memories"
"""Where an agent's state says which block belongs to the turn; it is private, and in no checkpoint."""
CLOSING: Final = 10.0
"""Seconds that `MemoryMiddleware.close` waits for what is being written."""

_KEPT = 256

# How a call of a model changes the state as well; former versions of LangChain have none, and with them each call after
# an interrupt recalls anew.
_Extended: Any = getattr(types, "ExtendedModelResponse", None)


Saved: TypeAlias = Mapping[str, Any]
"""Where and by whom something was said: what `charm_checkpoint.agents.auto_save.auto_save` takes."""


class Writer(Protocol):
    """What looks at each turn that ended, as `charm_checkpoint.agents.auto_writer.AutoWriter` does."""

    def observe(self, messages: Any) -> Any:
        """Look at a conversation whose last turn has ended, without having it wait."""

    async def aobserve(self, messages: Any) -> Any:
        """Look at a conversation; see `observe`."""

    def close(self, deadline: float) -> Any:
        """Wait for what is being written, ``deadline`` seconds at most."""

    async def aclose(self, deadline: float) -> Any:
        """Wait for what is being written; see `close`."""


class MemoryState(AgentState[Any]):
    """The state of an agent that is shown memories."""

    recalled_memories: NotRequired[Annotated[str, UntrackedValue, PrivateStateAttr]]


class MemoryMiddleware(AgentMiddleware):
    """Shows an agent's model what is in long-term memory about the user's message.

    Memories are recalled once a turn. Each call of the model in it is shown the same block, see
    `charm_checkpoint.long_term.prompt_block`, in a message before the user's that is for this call alone: it is in no
    thread and no checkpoint, and the conversation before it stays the same bytes, so that what a provider has cached of
    it is found again. Only what is active and reviewed is shown, see `LongTermMemory.context`, which ``kinds``,
    ``scopes``, ``min_score``, ``turns`` and ``budget`` are of. ``session`` tells which one saved turns belong to; by
    itself it is the thread's id. A store that fails is logged, and the turn goes on without memories.

    ``tools=True`` gives the agent `charm_checkpoint.agents.tools.memory_tools`. ``writer`` is given each turn that
    ended well; `close` and `aclose` wait for it. ``auto_save`` has the user's message of each kept by
    `charm_checkpoint.agents.auto_save.auto_save`: it is what that takes, as in ``{"channel": "cli", "sender": "ann"}``,
    or a function of the runtime that returns it; the message's id and the session are added.
    """

    state_schema = MemoryState

    def __new__(cls, *args: Any, **options: Any) -> MemoryMiddleware:
        """Make one that looks at turns that ended only where that is wanted: a hook costs a step and a checkpoint."""
        looks = options.get("writer") is not None or options.get("auto_save") is not None
        return super().__new__(_WritingMiddleware if cls is MemoryMiddleware and looks else cls)

    def __init__(
        self,
        long_term: LongTermMemory,
        *,
        kinds: Names = None,
        scopes: Names = None,
        min_score: float | None = None,
        turns: bool = False,
        budget: Budget = DEFAULT_BUDGET,
        session: Callable[[Any], str | None] | None = None,
        tools: bool = False,
        writer: Writer | None = None,
        auto_save: Saved | Callable[[Any], Saved] | None = None,
    ) -> None:
        super().__init__()
        if writer is not None and not callable(getattr(writer, "observe", None)):
            raise ConfigError(f"writer is an AutoWriter, not {writer!r}")
        if auto_save is not None and not isinstance(auto_save, Mapping) and not callable(auto_save):
            raise ConfigError(f"auto_save says whose turns are kept, as in {{'sender': 'ann'}}, not {auto_save!r}")
        self.long_term = long_term
        self.writer = writer
        self._recaller = Recaller(
            long_term, kinds=kinds, scopes=scopes, min_score=min_score, turns=turns, budget=budget
        )
        self._session = session or _thread
        self._saved = auto_save
        # The blocks are here and not in the state: some versions of LangChain copy a state into what is saved.
        self._blocks: OrderedDict[str, tuple[str, str]] = OrderedDict()
        if tools:
            from charm_checkpoint.agents.tools import memory_tools

            self.tools = memory_tools(long_term)

    @property
    def name(self) -> str:
        """Return the name of the middleware in the graph; deepagents has another of the class's own name."""
        return "CharmMemoryMiddleware"

    # ------------------------------------------------------------------------------------------------------- recalling

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Recall memories for the user's message."""
        place = last_of_user(state["messages"])
        if place is None:
            return None
        message = state["messages"][place]
        return {KEY: self._keep(message, self._recaller.block(message, self._session(runtime)))}

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Recall memories for the user's message; see `before_agent`."""
        place = last_of_user(state["messages"])
        if place is None:
            return None
        message = state["messages"][place]
        return {KEY: self._keep(message, await self._recaller.ablock(message, self._session(runtime)))}

    def _keep(self, message: Any, block: str) -> str:
        """Keep a block for the rest of the turn; return the key to it."""
        key = uuid4().hex
        with forks.lock(__name__):
            self._blocks[key] = (_identity(message), block)
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return key

    def _kept(self, state: Any, messages: Sequence[Any]) -> tuple[int | None, str | None]:
        """Return where the turn's message is, and its block; None for a block that is not known: after an interrupt.

        That a program puts another message in the user's place during a turn begins no other one.
        """
        identity, block = self._blocks.get(state.get(KEY, ""), (None, None))
        last = last_of_user(messages)
        if identity is None:
            return last, None
        found = (at for at in range(len(messages) - 1, -1, -1) if _identity(messages[at]) == identity)
        return next(found, last), block

    # --------------------------------------------------------------------------------------------------------- showing

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelCallResult[Any]:
        """Show a model the memories of the turn."""
        place, block = self._kept(request.state, request.messages)
        if place is None:
            return handler(request)
        if block is not None:
            return handler(_showing(request, place, block))
        message = request.messages[place]
        block = self._recaller.block(message, self._session(request.runtime))
        return self._keeping(handler(_showing(request, place, block)), message, block)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelCallResult[Any]:
        """Show a model the memories of the turn; see `wrap_model_call`."""
        place, block = self._kept(request.state, request.messages)
        if place is None:
            return await handler(request)
        if block is not None:
            return await handler(_showing(request, place, block))
        message = request.messages[place]
        block = await self._recaller.ablock(message, self._session(request.runtime))
        return self._keeping(await handler(_showing(request, place, block)), message, block)

    def _keeping(self, response: ModelResponse[Any], message: Any, block: str) -> ModelCallResult[Any]:
        """Have what remains of the turn show the same block."""
        if _Extended is None or not isinstance(response, ModelResponse):
            return response
        change: Command[Any] = Command(update={KEY: self._keep(message, block)})
        extended: ModelCallResult[Any] = _Extended(model_response=response, command=change)
        return extended

    # --------------------------------------------------------------------------------------------------------- closing

    def close(self, deadline: float = CLOSING) -> Any:
        """Wait for what the writer has to write, ``deadline`` seconds at most; return what it says."""
        return None if self.writer is None else self.writer.close(deadline)

    async def aclose(self, deadline: float = CLOSING) -> Any:
        """Wait for what the writer has to write; see `close`."""
        return None if self.writer is None else await self.writer.aclose(deadline)


class _WritingMiddleware(MemoryMiddleware):
    """Looks at turns that ended: keeps what was said, and has a writer learn from it."""

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Keep what the user said, and give the turn to the writer."""
        for message, how in self._to_save(state, runtime):
            saving.auto_save(self.long_term, message, **how)
        if self.writer is not None:
            self.writer.observe(state["messages"])
        return None

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Keep what the user said, and give the turn to the writer; see `after_agent`."""
        for message, how in self._to_save(state, runtime):
            await saving.aauto_save(self.long_term, message, **how)
        if self.writer is not None:
            await self.writer.aobserve(state["messages"])
        return None

    def _to_save(self, state: Any, runtime: Runtime[Any]) -> list[tuple[Any, dict[str, Any]]]:
        if self._saved is None:
            return []
        place, _ = self._kept(state, state["messages"])
        if place is None:
            return []
        message = state["messages"][place]
        how = self._saved(runtime) if callable(self._saved) else self._saved
        return [(message, {"message_id": message.id, "session": self._session(runtime), **how})]


def _showing(request: ModelRequest[Any], place: int, block: str) -> ModelRequest[Any]:
    if not block:
        return request
    shown = [*request.messages[:place], memory_message(block), *request.messages[place:]]
    return request.override(messages=shown)


def _identity(message: Any) -> str:
    return str(message.id or f"{message.type}: {message.text}")


def _thread(runtime: Runtime[Any]) -> str | None:
    thread: str | None = getattr(getattr(runtime, "execution_info", None), "thread_id", None)
    return thread
