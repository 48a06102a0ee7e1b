"""What a `Memory` offers to look into its threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from charm_checkpoint.errors import ConfigError, PathPart
from charm_checkpoint.inspection.listing import Listing, Order, SortedListing, listing
from charm_checkpoint.saver.refs import checkpoint_ref
from charm_checkpoint.session import adrive, drive

if TYPE_CHECKING:
    from datetime import datetime

    from charm_checkpoint.inspection.blaming import BlameEntry
    from charm_checkpoint.inspection.checkpoints import CheckpointInfo
    from charm_checkpoint.inspection.conversation import Conversation
    from charm_checkpoint.inspection.differences import StateDiff
    from charm_checkpoint.inspection.history import History
    from charm_checkpoint.inspection.reading import Look
    from charm_checkpoint.inspection.sizes import SizeReport
    from charm_checkpoint.inspection.states import StateView
    from charm_checkpoint.plan import Plan
    from charm_checkpoint.runtime.once import once
    from charm_checkpoint.saver.threads import ThreadInfo
    from charm_checkpoint.session import Session
    from charm_checkpoint.store import Store
    from charm_checkpoint.values.serde import Serializer

Checkpoint: TypeAlias = "str | int"
"""A checkpoint: its id, the beginning of its id, or how far behind its namespace's head it is: -1 is the one before."""


class Inspects:
    """Looking into threads: no value is decoded but what is asked for, and no class need be loaded.

    A thread that is not there raises `ThreadNotFound`, a checkpoint that is not there `CheckpointNotFound`; both are
    LookupErrors. An iterator raises it when it is first asked for something.
    """

    store: Store
    _serde: once[Serializer]

    def threads(
        self,
        limit: int | None = None,
        *,
        status: str | Collection[str] | None = None,
        search: str | None = None,
        pinned: bool | None = None,
        order: Order | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
    ) -> Iterator[ThreadInfo]:
        """Yield the threads that hold checkpoints, writes or messages, ``limit`` at most; no value is read.

        Those changed last come first, but on Redis without an ``order``, where they come in none. ``order`` is
        ``activity``, ``size``, ``checkpoints`` (the most first) or ``id``; one that is not the store's is made here,
        of all threads, so give a limit with it. ``after`` is a `ThreadInfo.cursor` of a listing in the same order.

        ``status`` is one or several of ``waits``, ``failed``, ``unfinished`` and ``done`` (also ``idle``), ``search``
        a text in the id or the title, whatever its case, ``since`` and ``until`` when it changed last, ``pinned``
        whether it is.
        """
        return self._threads(listing(self.store.backend, limit, status, search, pinned, order, since, until, after))

    def _threads(self, found: Listing | SortedListing) -> Iterator[ThreadInfo]:
        while found.more:
            yield from found.take(self.store.run(found.next_page, write=False))

    def athreads(
        self,
        limit: int | None = None,
        *,
        status: str | Collection[str] | None = None,
        search: str | None = None,
        pinned: bool | None = None,
        order: Order | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
    ) -> AsyncIterator[ThreadInfo]:
        """Yield the threads of the store; see `threads`."""
        return self._athreads(listing(self.store.backend, limit, status, search, pinned, order, since, until, after))

    async def _athreads(self, found: Listing | SortedListing) -> AsyncIterator[ThreadInfo]:
        while found.more:
            for item in found.take(await self.store.arun(found.next_page, write=False)):
                yield item

    def history(
        self, thread_id: str, *, ns: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Iterator[CheckpointInfo]:
        """Yield a thread's checkpoints, the last one committed first; no value is decoded.

        ``ns`` is the namespace, ``""`` for the root graph's, None for all. ``after`` is a `CheckpointInfo.cursor`.
        """
        return self._history_pages(self._history_of(thread_id, ns, limit, after))

    def _history_of(self, thread_id: str, ns: str | None, limit: int | None, after: str | None) -> History:
        from charm_checkpoint.inspection.history import History  # only for who looks
        from charm_checkpoint.inspection.outlines import Outliner

        outliner = Outliner(self.store, self._serde)
        wanted = None if ns is None else text_of(ns, "ns")
        return History(self.store.backend, outliner, named_thread(thread_id), wanted, limit, after)

    def _history_pages(self, found: History) -> Iterator[CheckpointInfo]:
        while found.more:
            yield from found.take(self.store.run(found.next_page, write=False, thread=found.thread))

    def ahistory(
        self, thread_id: str, *, ns: str | None = None, limit: int | None = None, after: str | None = None
    ) -> AsyncIterator[CheckpointInfo]:
        """Yield a thread's checkpoints; see `history`."""
        return self._ahistory_pages(self._history_of(thread_id, ns, limit, after))

    async def _ahistory_pages(self, found: History) -> AsyncIterator[CheckpointInfo]:
        while found.more:
            for item in found.take(await self.store.arun(found.next_page, write=False, thread=found.thread)):
                yield item

    def state(
        self, thread_id: str, checkpoint: Checkpoint | None = None, *, ns: str = "", last: int | None = None
    ) -> StateView:
        """Return the state at a checkpoint, the head if none is named.

        Its values are decoded when they are asked for. With ``last``, of channels that are long lists only so many
        elements are read, the last ones.
        """
        thread = named_thread(thread_id)
        return self.store.run(self._state(thread, checkpoint, ns, last), write=False, thread=thread)

    async def astate(
        self, thread_id: str, checkpoint: Checkpoint | None = None, *, ns: str = "", last: int | None = None
    ) -> StateView:
        """Return the state at a checkpoint; see `state`."""
        thread = named_thread(thread_id)
        return await self.store.arun(self._state(thread, checkpoint, ns, last), write=False, thread=thread)

    def _state(self, thread: str, checkpoint: Any, ns: str, last: int | None) -> partial[Plan[StateView]]:
        from charm_checkpoint.inspection.viewing import state

        return partial(state, self._look(), thread, checkpoint, text_of(ns, "ns"), last)

    def _look(self) -> Look:
        from charm_checkpoint.inspection.reading import Look

        return Look(self.store, self._serde)

    def conversation(
        self,
        thread_id: str,
        checkpoint: Checkpoint | None = None,
        *,
        ns: str = "",
        channel: str | None = None,
        last: int = 50,
        before: str | None = None,
    ) -> Conversation:
        """Return the last messages of a state, or those before, by a `Conversation.before`; nothing else is read.

        ``channel`` is the one that holds them, by default ``messages`` or the first that does. Of a thread without
        checkpoints it is the message history.
        """
        thread = named_thread(thread_id)
        plan = self._conversation(thread, checkpoint, ns, channel, last, before)
        return self.store.run(plan, write=False, thread=thread)

    async def aconversation(
        self,
        thread_id: str,
        checkpoint: Checkpoint | None = None,
        *,
        ns: str = "",
        channel: str | None = None,
        last: int = 50,
        before: str | None = None,
    ) -> Conversation:
        """Return the last messages of a state; see `conversation`."""
        thread = named_thread(thread_id)
        plan = self._conversation(thread, checkpoint, ns, channel, last, before)
        return await self.store.arun(plan, write=False, thread=thread)

    def _conversation(
        self, thread: str, checkpoint: Any, ns: str, channel: str | None, last: int, before: str | None
    ) -> partial[Plan[Conversation]]:
        from charm_checkpoint.inspection.viewing import conversation

        wanted = None if channel is None else text_of(channel, "channel")
        return partial(conversation, self._look(), thread, checkpoint, text_of(ns, "ns"), wanted, last, before)

    def diff(
        self,
        thread_id: str,
        a: Checkpoint | None,
        b: Checkpoint | None = None,
        *,
        ns: str = "",
        other_thread: str | None = None,
    ) -> StateDiff:
        """Return what differs between the states at two checkpoints; ``b`` is the head if it is not named.

        ``other_thread`` is the thread of ``b``. Only what differs is decoded.
        """
        thread = named_thread(thread_id)
        return self.store.run(self._diff(thread, a, b, ns, other_thread), write=False, thread=thread)

    async def adiff(
        self,
        thread_id: str,
        a: Checkpoint | None,
        b: Checkpoint | None = None,
        *,
        ns: str = "",
        other_thread: str | None = None,
    ) -> StateDiff:
        """Return what differs between two states; see `diff`."""
        thread = named_thread(thread_id)
        return await self.store.arun(self._diff(thread, a, b, ns, other_thread), write=False, thread=thread)

    def _diff(self, thread: str, a: Any, b: Any, ns: str, other: str | None) -> partial[Plan[StateDiff]]:
        from charm_checkpoint.inspection.diffing import diff

        other = None if other is None else named_thread(other)
        return partial(diff, self._look(), thread, a, b, text_of(ns, "ns"), other)

    def blame(
        self, thread_id: str, path: str | tuple[PathPart, ...], *, checkpoint: Checkpoint | None = None, ns: str = ""
    ) -> list[BlameEntry]:
        """Tell which checkpoint, step and node wrote what stands at a path.

        Of a list or dict it is told of each element. Raises `PathNotFound` where nothing stands there.
        """
        return drive(self.store, self._blame(named_thread(thread_id), path, checkpoint, ns))

    async def ablame(
        self, thread_id: str, path: str | tuple[PathPart, ...], *, checkpoint: Checkpoint | None = None, ns: str = ""
    ) -> list[BlameEntry]:
        """Tell who wrote what stands at a path; see `blame`."""
        return await adrive(self.store, self._blame(named_thread(thread_id), path, checkpoint, ns))

    def _blame(self, thread: str, path: Any, checkpoint: Any, ns: str) -> Session[list[BlameEntry]]:
        from charm_checkpoint.inspection.blame import blame

        return blame(self._look(), thread, path, checkpoint, text_of(ns, "ns"))

    def size(self, thread_id: str | None = None, *, top: int = 20) -> SizeReport:
        """Tell what takes how much room, of one thread or of the whole store; ``top`` of each kind are named.

        Of a thread: its channels, what they grow by, and its largest values by path. No class need be loaded. Of a
        store: its largest threads, by what their records say; nothing of them is read.
        """
        return drive(self.store, self._size(thread_id, top))

    async def asize(self, thread_id: str | None = None, *, top: int = 20) -> SizeReport:
        """Tell what takes how much room; see `size`."""
        return await adrive(self.store, self._size(thread_id, top))

    def _size(self, thread_id: str | None, top: int) -> Session[SizeReport]:
        if type(top) is not int or top < 1:
            raise ConfigError("top is how many of each kind are named, 1 or more")
        if thread_id is None:
            from charm_checkpoint.inspection.store_sizing import store_sizes

            return store_sizes(self.store, top)
        from charm_checkpoint.inspection.sizing import thread_sizes

        return thread_sizes(self._look(), named_thread(thread_id), top)


def named_thread(thread_id: Any) -> str:
    """Return the thread that is named, as a config names one."""
    return checkpoint_ref({"configurable": {"thread_id": thread_id}}).thread


def text_of(given: Any, what: str) -> str:
    """Return a text that was given; raises `ConfigError` for anything else, before anything is read."""
    if not isinstance(given, str):
        raise ConfigError(f"{what} is a text, not {type(given).__name__}")
    return str.__str__(given)
