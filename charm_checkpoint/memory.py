"""Everything one store offers: message history, the LangGraph checkpointer, long-term memory and caches."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakSet

from charm_checkpoint.checking.methods import Checks
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
from charm_checkpoint.inspection.fork_methods import Forks
from charm_checkpoint.inspection.methods import Inspects
from charm_checkpoint.items.namespaces import ITEMS
from charm_checkpoint.messages.charm_base import BaseMemoryStore
from charm_checkpoint.opening import OPTIONS as OPTIONS
from charm_checkpoint.opening import as_strict, opened, policy_of
from charm_checkpoint.plan import Plan
from charm_checkpoint.retention.methods import Retains
from charm_checkpoint.runtime.handle import Handle
from charm_checkpoint.runtime.once import once
from charm_checkpoint.saver.refs import checkpoint_ref
from charm_checkpoint.transfer.methods import Transfers

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from typing_extensions import Self

    from charm_checkpoint.items.caches.langchain import CharmLLMCache
    from charm_checkpoint.items.caches.langgraph import CharmCache
    from charm_checkpoint.items.handed_out import HandedOut
    from charm_checkpoint.items.store.charm_store import CharmStore
    from charm_checkpoint.long_term.memories import LongTermMemory
    from charm_checkpoint.long_term.project import Project
    from charm_checkpoint.messages.chat_history import CharmChatHistory
    from charm_checkpoint.messages.plans import Message
    from charm_checkpoint.saver.checkpointer import CharmSaver
    from charm_checkpoint.store import History
    from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")

_SAVERS = ("classes", "on_unknown", "strict", "on_conflict", "sweep_every")
"""Options that are for the saver, which is made when somebody asks for it."""


class Memory(Checks, Forks, Inspects, Retains, Transfers, Handle, BaseMemoryStore):
    """A store's message history, checkpointer and long-term memory, for any thread and event loop.

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
        if serde is not None:  # before anything is opened
            from charm_checkpoint.values.serde import checked

            serde = checked(serde)
        self._given_serde = serde
        self.store, self.location, settings = opened(self.config, options, self.default_url)
        # Not all of them: among the others are passwords, which no traceback is to show.
        self._settings = {name: settings[name] for name in _SAVERS}
        # Weakly: a server may make one for each of its users.
        self._memories: WeakSet[LongTermMemory] = WeakSet()
        self._keep(policy_of(self.store, settings))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.location)!r})"

    # ------------------------------------------------------------ made for who uses it: a listing of threads needs none

    @once
    def _serde(self) -> Serializer:
        from charm_checkpoint.values.serde import checked

        return as_strict(checked(self._given_serde), self._settings)

    @once
    def _saver(self) -> CharmSaver:
        from charm_checkpoint.saver.checkpointer import CharmSaver

        saver = CharmSaver(self.store, serde=self._serde, on_conflict=self._settings["on_conflict"])
        saver.keeper = self._keeper_of(saver, self._settings["sweep_every"])
        return saver

    @once
    def _history(self) -> History:
        from charm_checkpoint.messages.plans import MessageHistory

        store = self.store
        return store.history or MessageHistory(store.backend, store.budget, store.limits)

    @once
    def _handed_out(self) -> HandedOut:
        from charm_checkpoint.items.handed_out import HandedOut

        return HandedOut(self.store)

    # ------------------------------------------------------------ checkpointer

    def get_langgraph_checkpointer(self) -> CharmSaver:
        """Return the checkpointer, always the same object; None where none are kept, which is ``none://`` only."""
        return self._saver if self.store.keeps_checkpoints else None  # type: ignore[return-value]

    # ------------------------------------------------------------ long-term memory

    def get_langgraph_store(
        self,
        index: Mapping[str, Any] | Literal[False] | None = None,
        ttl: Mapping[str, Any] | None = None,
        *,
        on_embed_error: Literal["wait", "raise"] = "wait",
        **embed_options: Any,
    ) -> CharmStore:
        """Return LangGraph's store, for ``builder.compile(store=...)``; for the same settings the same object.

        Without ``index`` items are found by their words, and scores are in [0, 1), where 0.5 is what 19 of 20 questions
        do not reach that have nothing to do with an item. ``index`` is LangGraph's, with ``embed``, ``dims`` and
        ``fields``; then scores are cosines, as with LangGraph's own stores, unless ``"search": "hybrid"`` in it asks
        for words and vectors together. ``index=False`` has nothing be indexed. ``ttl`` is LangGraph's, too:
        ``default_ttl`` and the others, in minutes.

        Where a text could not be embedded its item is stored and gets its vectors later, by a search or by `reindex`;
        ``on_embed_error="raise"`` has the model's error raised instead. ``embed_options`` say how the model is called,
        and what is kept of its vectors: ``chunk`` texts a call, of ``timeout`` seconds; none for ``pause`` seconds
        after ``failures`` in a row; ``cache_entries``, ``cache_bytes``, and seconds of ``cache_delay``.

        Raises `ConfigError` for settings that there are none of.
        """
        return self._handed_out.items(index, ttl, on_embed_error, embed_options)

    def get_langgraph_cache(self, **options: Any) -> CharmCache:
        """Return LangGraph's cache, for ``builder.compile(cache=...)``; its options are those of `CharmCache`."""
        return self._handed_out.cache(options)

    def get_llm_cache(self, **options: Any) -> CharmLLMCache:
        """Return LangChain's cache, for ``set_llm_cache(...)``; its options are those of `CharmLLMCache`."""
        return self._handed_out.llm_cache(options)

    def long_term(
        self,
        project: str | os.PathLike[str] | Project | None = None,
        scopes: Mapping[str, Any] | None = None,
        embed: Any = None,
        *,
        dims: int | None = None,
        **settings: Any,
    ) -> LongTermMemory:
        """Return durable memories: facts, rules and lessons, on the items of this store.

        ``project`` is a name, or a folder (a path object, or a text with a slash or ``.``), after which its memories
        are named, and whose files they may cite. ``scopes`` says where they are, by name; each is True for its usual
        place, False for none, a tuple for a namespace of this store, another `Memory` or its URL, or a folder of
        Markdown files:

        - "project" is in this store;
        - "shared" is in the project's folder, to be committed to git; there if ``project`` is a folder;
        - "global" is below the user's configuration directory, or in ``CHARM_MEMORY_DIR``;
        - others are as you name them.

        ``embed`` and ``dims`` are a model and the length of its vectors, as of `get_langgraph_store`; without them
        memories are found by their words. ``settings`` are those of `charm_checkpoint.long_term.settings.Settings`.

        Raises `ConfigError` for what it does not know. Closing this memory closes it.
        """
        from charm_checkpoint.long_term.opening import open_long_term  # only for who uses it: it takes a while

        made = open_long_term(self._handed_out, open_memory, project, scopes, embed, dims, settings)
        self._memories.add(made)
        return made

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
        from charm_checkpoint.messages.chat_history import CharmChatHistory

        return CharmChatHistory(self, _name(thread_id))

    def usage(self, thread_id: str | None = None) -> Usage:
        """Count what a thread, or the whole store, holds; `Usage` says which stores count damaged threads."""
        thread = None if thread_id is None else _name(thread_id)
        return self.store.run(partial(self._usage, thread), write=False, thread=thread)

    def _usage(self, thread: str | None) -> Plan[Usage]:
        usage = yield from self.store.backend.usage(thread)
        if thread is not None or self.store.items is None:
            return usage
        items = yield from self.store.items.usage(ITEMS)
        return replace(usage, items=items.items, payload_bytes=usage.payload_bytes + items.payload_bytes)

    def setup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        self.store.setup()

    def close(self) -> None:
        """Release every connection; may be called again."""
        for memories in list(self._memories):
            memories.close()
        if self._keeper is not None:
            self._keeper.close()
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
        from charm_checkpoint.messages.converting import converting

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

    async def ausage(self, thread_id: str | None = None) -> Usage:
        """Count what a thread, or the whole store, holds."""
        thread = None if thread_id is None else _name(thread_id)
        return await self.store.arun(partial(self._usage, thread), write=False, thread=thread)

    async def asetup(self) -> None:
        """Create or migrate the schema now instead of at first use."""
        await self.store.asetup()

    async def aclose(self) -> None:
        """Release every connection, without blocking the event loop."""
        for memories in list(self._memories):
            await memories.aclose()
        if self._keeper is not None:
            await self._keeper.aclose()
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
