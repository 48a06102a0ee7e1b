"""Everything one store offers: message history and the LangGraph checkpointer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from charm_checkpoint import registry
from charm_checkpoint.base import BaseMemoryStore
from charm_checkpoint.config import (
    Option,
    boolean,
    choice,
    expand,
    mask,
    merge,
    parse_url,
    read_options,
    size,
    suggest,
)
from charm_checkpoint.contract import Usage
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.messages import CharmChatHistory, Message, MessageHistory, to_messages
from charm_checkpoint.records import where
from charm_checkpoint.saver import CACHE_BYTES, CharmSaver
from charm_checkpoint.store import Store

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from typing_extensions import Self

    from charm_checkpoint.serde import Serializer

OPTIONS = (
    Option(
        "on_conflict",
        choice("allow", "warn", "raise"),
        "warn",
        "what becomes of a checkpoint whose parent is no longer the head: see CharmSaver",
    ),
    Option("auto_setup", boolean, True, "create or migrate the schema at first use"),
    Option("cache", size, CACHE_BYTES, "memory to keep what was read in"),
)
"""Options that every store has."""


class Memory(BaseMemoryStore):
    """A store's message history and checkpointer, for any thread and event loop.

    ``config`` holds ``url`` and options, as ``runtime.memory.config`` of Charm does; ``${NAME}``
    in it is expanded from the environment. Keywords, which are not expanded, win over the
    config, the config over the URL's query. Nothing is opened before it is needed. Close it with
    `close` or `aclose`, or use it as a context manager of either kind.

    Raises `ConfigError` for a URL or an option it does not know.
    """

    provider: ClassVar[str] = "sqlite"
    default_url: ClassVar[str] = "sqlite:///charm.db"

    def __init__(
        self, config: Mapping[str, Any] | None = None, *, serde: Serializer | None = None, **options: Any
    ) -> None:
        super().__init__(dict(config or {}))
        given = expand(dict(config or {}))
        self.location = parse_url(options.pop("url", None) or given.pop("url", None) or self.default_url)
        given = merge(given, options)
        kind = registry.resolve(self.location.scheme)
        settings = read_options(
            (*kind.options, *OPTIONS), merge(self.location.query, given), f"{self.location.scheme} store"
        )
        self.store: Store = kind.open_store(self.location, settings)
        self.store.auto_setup(settings["auto_setup"])
        self._history = self.store.history or MessageHistory(self.store.backend)
        self._saver = CharmSaver(
            self.store, serde=serde, on_conflict=settings["on_conflict"], cache_bytes=settings["cache"]
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r})"

    # ------------------------------------------------------------ checkpointer

    def get_langgraph_checkpointer(self) -> CharmSaver:
        """Return the checkpointer, always the same object; None where none are kept, which is ``none://`` only."""
        return self._saver if self.store.keeps_checkpoints else None  # type: ignore[return-value]

    # ------------------------------------------------------------ blocking

    def load_messages(self, thread_id: str) -> list[Message]:
        """Return a thread's messages as JSON dicts, oldest first."""
        return self.store.run(partial(self._history.load, _name(thread_id)), write=False)

    def save_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Replace a thread's messages, all at once; dicts and LangChain messages both will do."""
        self.store.run(partial(self._history.save, _name(thread_id), to_messages(messages)), write=True)

    def append_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Add messages at the end; writers at once do not lose each other's."""
        self.store.run(partial(self._history.append, _name(thread_id), to_messages(messages)), write=True)

    def delete_messages(self, thread_id: str) -> None:
        """Delete a thread's messages; its checkpoints stay."""
        self.store.run(partial(self._history.delete, _name(thread_id)), write=True)

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread: checkpoints, writes and messages."""
        self._saver.delete_thread(thread_id)
        self.delete_messages(thread_id)

    def chat_history(self, thread_id: str) -> CharmChatHistory:
        """Return a thread's messages as a LangChain chat history."""
        return CharmChatHistory(self, _name(thread_id))

    def usage(self, thread_id: str | None = None) -> Usage:
        """Count what a thread, or the whole store, holds."""
        return self.store.run(partial(self.store.backend.usage, thread_id), write=False)

    def setup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        self.store.setup()

    def close(self) -> None:
        """Release every connection; may be called again."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------ async

    async def aload_messages(self, thread_id: str) -> list[Message]:
        """Return a thread's messages; see `load_messages`."""
        return await self.store.arun(partial(self._history.load, _name(thread_id)), write=False)

    async def asave_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Replace a thread's messages; see `save_messages`."""
        await self.store.arun(partial(self._history.save, _name(thread_id), to_messages(messages)), write=True)

    async def aappend_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Add messages at the end; see `append_messages`."""
        await self.store.arun(partial(self._history.append, _name(thread_id), to_messages(messages)), write=True)

    async def adelete_messages(self, thread_id: str) -> None:
        """Delete a thread's messages; see `delete_messages`."""
        await self.store.arun(partial(self._history.delete, _name(thread_id)), write=True)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread; see `delete_thread`."""
        await self._saver.adelete_thread(thread_id)
        await self.adelete_messages(thread_id)

    async def ausage(self, thread_id: str | None = None) -> Usage:
        """Count what a thread, or the whole store, holds."""
        return await self.store.arun(partial(self.store.backend.usage, thread_id), write=False)

    async def asetup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        await self.store.asetup()

    async def aclose(self) -> None:
        """Release every connection, without blocking the event loop."""
        await self.store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def open_memory(url_or_provider: str = "sqlite", config: Mapping[str, Any] | None = None, **options: Any) -> Memory:
    """Open a store by URL, or by provider name and config; nothing is connected yet.

    Raises `ConfigError` for what it does not know, `MissingExtra` where a driver is not installed.
    """
    from charm_checkpoint.manager import known_providers, provider_class

    if "://" not in url_or_provider:
        found = provider_class(url_or_provider)
        if found is None:
            if url_or_provider.isidentifier():
                raise ConfigError(f"no provider {url_or_provider!r}; {suggest(url_or_provider, known_providers())}")
            parse_url(url_or_provider)  # says what is wrong with it, and shows the forms of a URL
            raise ConfigError(f"no provider {mask(url_or_provider)!r}")
        opened: Memory = found(config, **options)
        return opened
    if config and "url" in config:
        raise ConfigError("the URL is given twice: as the first argument and as config['url']; leave one out.")
    return Memory(config, url=url_or_provider, **options)


def _name(thread_id: Any) -> str:
    return where({"configurable": {"thread_id": thread_id}}).thread
