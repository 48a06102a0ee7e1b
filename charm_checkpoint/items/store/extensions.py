"""What a store of items does that LangGraph has no words for; each method with its async twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

from langgraph.store.base import InvalidNamespaceError, SearchOp

from charm_checkpoint.items import clock
from charm_checkpoint.items.addresses import item_of, refuse_reserved, space_of
from charm_checkpoint.items.flow import Flow, Run, off_the_loop
from charm_checkpoint.items.results import FoundItem, StoredItem, stored_item
from charm_checkpoint.items.store.changes import AT_ONCE
from charm_checkpoint.items.store.lifetimes import microseconds
from charm_checkpoint.items.store.line_files import PathOrFile
from charm_checkpoint.items.store.parts import StoreParts
from charm_checkpoint.items.store.reads import Walk
from charm_checkpoint.items.store.searches import Search
from charm_checkpoint.items.store.transfer import Source, Writer

Value = Mapping[str, Any]


class Extensions(StoreParts):
    """Compare and set, many items at once, counting, walking, files, erasing, indexing anew."""

    # ---------------------------------------------------------------------------------------------- compare and set

    def update(
        self, namespace: tuple[str, ...], key: str, change: Callable[[dict[str, Any] | None], Value | None]
    ) -> StoredItem | None:
        """Put what ``change`` makes of an item's value, None if it is not there; return the item.

        If others change the item in between, ``change`` is called again with what they left, so it should do nothing
        else. If it returns None nothing is changed. The item keeps its time to live and what is indexed of it. Raises
        `ItemConflict` if others are always faster.
        """
        return self._run(self._update(namespace, key, change))

    async def aupdate(
        self,
        namespace: tuple[str, ...],
        key: str,
        change: Callable[[dict[str, Any] | None], Value | None | Awaitable[Value | None]],
    ) -> StoredItem | None:
        """Put what ``change``, which may be async, makes of an item's value; see `update`."""
        return await self._arun(self._update(namespace, key, change))

    def _update(self, namespace: tuple[str, ...], key: str, change: Callable[[Any], Any]) -> Flow[StoredItem | None]:
        refuse_reserved(namespace)
        row = yield from self._changer.update(item_of(namespace, key), change, microseconds(self._lifetimes.default))
        return row and stored_item(row)

    # ------------------------------------------------------------------------------------------------- many of them

    def get_many(
        self, items: Iterable[tuple[tuple[str, ...], str]], *, refresh_ttl: bool | None = None
    ) -> list[StoredItem | None]:
        """Return items by their namespaces and keys, in that order; None for those that are not there."""
        return self._run(self._get_many(items, refresh_ttl))

    async def aget_many(
        self, items: Iterable[tuple[tuple[str, ...], str]], *, refresh_ttl: bool | None = None
    ) -> list[StoredItem | None]:
        """Return items by their namespaces and keys; see `get_many`."""
        return await self._arun(self._get_many(items, refresh_ttl))

    def _get_many(
        self, items: Iterable[tuple[tuple[str, ...], str]], refresh: bool | None
    ) -> Flow[list[StoredItem | None]]:
        wanted = [item_of(*_pair(item)) for item in items]
        return self._reader.get_many(wanted, self._lifetimes.refresh if refresh is None else refresh)

    def count(self, namespace_prefix: tuple[str, ...] = (), *, filter: Value | None = None) -> int:
        """Count the items below a prefix that match a filter."""
        return self._run(self._reader.count(_searched(namespace_prefix, filter)))

    async def acount(self, namespace_prefix: tuple[str, ...] = (), *, filter: Value | None = None) -> int:
        """Count the items below a prefix; see `count`."""
        return await self._arun(self._reader.count(_searched(namespace_prefix, filter)))

    def items(
        self, namespace_prefix: tuple[str, ...] = (), *, filter: Value | None = None, query: str | None = None
    ) -> Iterator[FoundItem]:
        """Yield all items below a prefix that match, as `search` orders them, however many there are.

        They are read a page at a time. What is changed meanwhile may be left out.
        """
        walk = self._reader.walk(_searched(namespace_prefix, filter, query))
        return self._walked(walk)

    def _walked(self, walk: Walk) -> Iterator[FoundItem]:
        while walk.more:
            for match in self._run(walk.next_page()):
                yield match.item

    def aitems(
        self, namespace_prefix: tuple[str, ...] = (), *, filter: Value | None = None, query: str | None = None
    ) -> AsyncIterator[FoundItem]:
        """Yield all items below a prefix that match; see `items`."""
        walk = self._reader.walk(_searched(namespace_prefix, filter, query))
        return self._awalked(walk)

    async def _awalked(self, walk: Walk) -> AsyncIterator[FoundItem]:
        while walk.more:
            for match in await self._arun(walk.next_page()):
                yield match.item

    # -------------------------------------------------------------------------------------------------- out and in

    def export(self, target: PathOrFile, namespace_prefix: tuple[str, ...] = ()) -> int:
        """Write all items below a prefix into a file, as JSON lines with a checksum; return how many there are.

        ``target`` is a path, whose file appears when it is whole, or a file that is open for writing.
        """
        return self._run(self._export(target, namespace_prefix))

    async def aexport(self, target: PathOrFile, namespace_prefix: tuple[str, ...] = ()) -> int:
        """Write all items below a prefix into a file; see `export`."""
        return await self._arun(self._export(target, namespace_prefix))

    def _export(self, target: PathOrFile, prefix: tuple[str, ...]) -> Flow[int]:
        # Oldest first: what is changed meanwhile comes again at the end, and is read in that order.
        walk = Walk(self._items, self._searcher, _searched(prefix), self._batches.reading_at(), oldest_first=True)
        writer = Writer(target)
        with closing(writer):
            yield off_the_loop(writer.begin)
            while walk.more:
                yield off_the_loop(partial(writer.write, (yield from walk.next_page())))
            count: int = yield off_the_loop(writer.finish)
            return count

    def import_(self, source: PathOrFile, *, overwrite: bool = True) -> int:
        """Put all items of a file that `export` wrote; return how many were put.

        They are indexed as this store does, keep the times at which they were put, and live as long again as they were
        given. Those that are there already are replaced; without ``overwrite`` they stay as they are. A file that is
        cut off or damaged is refused, with `DataError`, before anything is put.
        """
        return self._run(self._import(source, overwrite))

    async def aimport_(self, source: PathOrFile, *, overwrite: bool = True) -> int:
        """Put all items of a file that `export` wrote; see `import_`."""
        return await self._arun(self._import(source, overwrite))

    def _import(self, file: PathOrFile, overwrite: bool) -> Flow[int]:
        source: Source = yield off_the_loop(partial(Source, file))
        added = 0
        with closing(source):
            batches = source.items(AT_ONCE)
            while some := (yield off_the_loop(partial(next, batches, None))):
                if overwrite:
                    yield from self._changer.import_items(some)
                else:
                    added += yield from self._changer.add_items(some)
            return source.count if overwrite else added

    # ----------------------------------------------------------------------------------------------------- erasing

    def delete_namespace(self, namespace_prefix: tuple[str, ...]) -> int:
        """Delete all items of a namespace and of those below it; return how many there were."""
        return self._run(self._delete_namespace(namespace_prefix))

    async def adelete_namespace(self, namespace_prefix: tuple[str, ...]) -> int:
        """Delete all items of a namespace and of those below it; see `delete_namespace`."""
        return await self._arun(self._delete_namespace(namespace_prefix))

    def _delete_namespace(self, prefix: tuple[str, ...]) -> Flow[int]:
        path = space_of(prefix)
        if not prefix:
            raise InvalidNamespaceError(
                "delete_namespace(()) would delete everything. Name the first label at least; list_namespaces("
                "max_depth=1) returns them."
            )
        count: int = yield Run(partial(self._items.erase, path), write=True)
        yield from self._searcher.forget(path)
        return count

    # ---------------------------------------------------------------------------------------------------- indexing

    def reindex(self, namespace_prefix: tuple[str, ...] = (), *, every: bool = False) -> int:
        """Index anew the items below a prefix that wait for vectors or have those of another model.

        ``every`` takes all that are to be indexed: after ``fields`` were changed. Returns how many were.
        """
        return self._run(self._reindex(namespace_prefix, every))

    async def areindex(self, namespace_prefix: tuple[str, ...] = (), *, every: bool = False) -> int:
        """Index items anew; see `reindex`."""
        return await self._arun(self._reindex(namespace_prefix, every))

    def _reindex(self, prefix: tuple[str, ...], every: bool) -> Flow[int]:
        search = _searched(prefix)
        if every:
            walk = Walk(self._items, self._searcher, search, clock.now(), oldest_first=True)
            count = 0
            while walk.more:
                page = yield from walk.next_page()
                count += yield from self._changer.reindex([match.row.item for match in page])
            return count
        embedding = self._indexing.embedding
        if embedding is None:
            return 0
        identity = yield from embedding.known()
        if not identity:
            return 0  # the model fails, which was said in the log
        scope = yield from self._searcher.scope(search.prefix, self._indexing.how != "vector")
        return (yield from self._changer.reindex(scope.unembedded(identity, clock.now())))


def _pair(item: Any) -> tuple[tuple[str, ...], str]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise ValueError(
            f"get_many takes pairs of a namespace and a key, as in [(('users', '7'), 'taste')], and {item!r} is none"
        )
    namespace, key = item
    return namespace, key


def _searched(prefix: tuple[str, ...], filter: Any = None, query: str | None = None) -> Search:
    return Search.of(SearchOp(prefix, filter, 0, 0, query))
