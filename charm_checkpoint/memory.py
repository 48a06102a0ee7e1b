"""Everything one store offers: message history and the LangGraph checkpointer."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from charm_checkpoint.config.manager import known_providers, provider_class
from charm_checkpoint.config.masking import Masked
from charm_checkpoint.config.options import (
    mask,
    parse_url,
    suggest,
)
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.config.url import as_url
from charm_checkpoint.contract import Usage
from charm_checkpoint.errors import ConfigError, DataError, StoreError
from charm_checkpoint.messages.charm_base import BaseMemoryStore
from charm_checkpoint.messages.chat_history import CharmChatHistory
from charm_checkpoint.messages.langchain import Message
from charm_checkpoint.messages.plans import MessageHistory, converting
from charm_checkpoint.opening import OPTIONS as OPTIONS
from charm_checkpoint.opening import opened
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.saver.records import checkpoint_ref, limited
from charm_checkpoint.saver.threads import ThreadInfo, ThreadListing
from charm_checkpoint.values.serde import checked

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from typing_extensions import Self

    from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")


class Memory(Handle, BaseMemoryStore):
    """A store's message history and checkpointer, for any thread and event loop.

    ``config`` holds ``url`` and options, as ``runtime.memory.config`` of Charm does; ``${NAME}``
    in it is expanded from the environment. Keywords, which are not expanded, win over the
    config, the config over the URL's query. A ``url`` may be a path object too, or the plain name
    of a SQLite file. Nothing is opened before it is needed. Close it with
    `close` or `aclose`, or use it as a context manager of either kind.

    Raises `ConfigError` for a URL or an option it does not know.
    """

    provider: ClassVar[str] = "sqlite"
    default_url: ClassVar[str] = "sqlite:///charm.db"

    @unseen
    def __init__(
        self, config: Mapping[str, Any] | None = None, *, serde: Serializer | None = None, **options: Any
    ) -> None:
        super().__init__(Masked(as_config(config)))
        serde = checked(serde)  # before anything is opened
        self.store, self.location, settings = opened(self.config, options, self.default_url)
        self._history = self.store.history or MessageHistory(self.store.backend, self.store.budget)
        self._saver = CharmSaver(self.store, serde=serde, on_conflict=settings["on_conflict"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r})"

    # ------------------------------------------------------------ checkpointer

    def get_langgraph_checkpointer(self) -> CharmSaver:
        """Return the checkpointer, always the same object; None where none are kept, which is ``none://`` only."""
        return self._saver if self.store.keeps_checkpoints else None  # type: ignore[return-value]

    # ------------------------------------------------------------ blocking

    def load_messages(self, thread_id: str) -> list[Message]:
        """Return a thread's messages as JSON dicts, oldest first."""
        thread = _name(thread_id)
        return self.store.run(partial(self._history.load, thread), write=False, thread=thread)

    def save_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Replace a thread's messages, all at once; dicts and LangChain messages both will do."""
        plan = self._with_messages(self._history.save, thread_id, messages)
        self.store.run(plan, write=True, thread=_name(thread_id))

    def append_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Add messages at the end; writers at once do not lose each other's."""
        thread, plan = _name(thread_id), self._with_messages(self._history.append, thread_id, messages)
        if self.store.run(plan, write=True, thread=thread):
            with _leaving_it():
                self.store.run(partial(self._history.fold, thread), write=True, thread=thread)

    def delete_messages(self, thread_id: str) -> None:
        """Delete a thread's messages; its checkpoints stay."""
        thread = _name(thread_id)
        self.store.run(partial(self._history.delete, thread), write=True, thread=thread)

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread: checkpoints, writes and messages, but not a list that others have too."""
        thread = _name(thread_id)
        self._saver.delete_thread(thread)
        self.store.run(partial(self._history.forget, thread), write=True, thread=thread)

    def chat_history(self, thread_id: str) -> CharmChatHistory:
        """Return a thread's messages as a LangChain chat history."""
        return CharmChatHistory(self, _name(thread_id))

    def threads(self, limit: int | None = None) -> Iterator[ThreadInfo]:
        """Yield the threads that hold checkpoints, writes or messages, ``limit`` at most; no value is read.

        Those changed last come first, but on Redis, where they come in no order.
        """
        return self._threads(ThreadListing(self.store.backend, limited(limit)))

    def _threads(self, listing: ThreadListing) -> Iterator[ThreadInfo]:
        while listing.more:
            yield from listing.take(self.store.run(listing.next_page, write=False))

    def usage(self, thread_id: str | None = None) -> Usage:
        """Count what a thread, or the whole store, holds; `Usage` says which stores count damaged threads."""
        thread = None if thread_id is None else _name(thread_id)
        return self.store.run(partial(self.store.backend.usage, thread), write=False, thread=thread)

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

    def _with_messages(
        self,
        change: Callable[[str, list[Message]], Plan[bool]],
        thread_id: str,
        messages: Iterable[Mapping[str, Any] | BaseMessage],
    ) -> partial[Plan[bool]]:
        """Return the plan of a change by messages, which are looked at where no event loop waits for it."""
        return partial(_changed, change, _name(thread_id), converting(messages))

    # ------------------------------------------------------------ async

    async def aload_messages(self, thread_id: str) -> list[Message]:
        """Return a thread's messages; see `load_messages`."""
        thread = _name(thread_id)
        return await self.store.arun(partial(self._history.load, thread), write=False, thread=thread)

    async def asave_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Replace a thread's messages; see `save_messages`."""
        plan = self._with_messages(self._history.save, thread_id, messages)
        await self.store.arun(plan, write=True, thread=_name(thread_id))

    async def aappend_messages(self, thread_id: str, messages: Iterable[Mapping[str, Any] | BaseMessage]) -> None:
        """Add messages at the end; see `append_messages`."""
        thread, plan = _name(thread_id), self._with_messages(self._history.append, thread_id, messages)
        if await self.store.arun(plan, write=True, thread=thread):
            with _leaving_it():
                await self.store.arun(partial(self._history.fold, thread), write=True, thread=thread)

    async def adelete_messages(self, thread_id: str) -> None:
        """Delete a thread's messages; see `delete_messages`."""
        thread = _name(thread_id)
        await self.store.arun(partial(self._history.delete, thread), write=True, thread=thread)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything of a thread; see `delete_thread`."""
        thread = _name(thread_id)
        await self._saver.adelete_thread(thread)
        await self.store.arun(partial(self._history.forget, thread), write=True, thread=thread)

    def athreads(self, limit: int | None = None) -> AsyncIterator[ThreadInfo]:
        """Yield the threads of the store; see `threads`."""
        return self._athreads(ThreadListing(self.store.backend, limited(limit)))

    async def _athreads(self, listing: ThreadListing) -> AsyncIterator[ThreadInfo]:
        while listing.more:
            for item in listing.take(await self.store.arun(listing.next_page, write=False)):
                yield item

    async def ausage(self, thread_id: str | None = None) -> Usage:
        """Count what a thread, or the whole store, holds."""
        thread = None if thread_id is None else _name(thread_id)
        return await self.store.arun(partial(self.store.backend.usage, thread), write=False, thread=thread)

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


@unseen
def open_memory(
    url_or_provider: str | os.PathLike[str] = "sqlite", config: Mapping[str, Any] | None = None, **options: Any
) -> Memory:
    """Open a store by URL, or by provider name and config; nothing is connected yet.

    A path object, or a plain name that ends in ``.db``, ``.sqlite`` or ``.sqlite3``, is a SQLite
    file. Raises `ConfigError` for what it does not know, `MissingExtra` where a driver is not
    installed.
    """
    name = as_url(url_or_provider)
    if "://" not in name:
        found = provider_class(name)
        if found is None:
            if name.isidentifier():
                raise ConfigError(f"no provider {name!r}; {suggest(name, known_providers())}")
            parse_url(name)  # says what is wrong with it, and shows the forms of a URL
            raise ConfigError(f"no provider {mask(name)!r}")
        made: Memory = found(config, **options)
        return made
    if "url" in as_config(config):
        raise ConfigError("the URL is given twice: as the first argument and as config['url']; leave one out.")
    return Memory(config, url=name, **options)


def as_config(config: object) -> dict[str, Any]:
    """Return a config as a dict; raises `ConfigError` for what is no mapping."""
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        raise ConfigError(
            f'a config is a mapping, as in open_memory("sqlite", {{"url": …}}), not {type(config).__name__}'
        )
    return dict(config)


def _changed(
    change: Callable[[str, list[Message]], Plan[bool]], thread: str, convert: Callable[[], Plan[list[Message]]]
) -> Plan[bool]:
    messages = yield from convert()
    return (yield from change(thread, messages))


@contextmanager
def _leaving_it() -> Iterator[None]:
    """Say in the log why batches were not folded: they are stored, so an error would have them appended twice."""
    try:
        yield
    except (StoreError, DataError) as error:
        log.warning("Messages were appended, but not folded into the list, which a later append tries again: %s", error)


def _name(thread_id: Any) -> str:
    return checkpoint_ref({"configurable": {"thread_id": thread_id}}).thread
