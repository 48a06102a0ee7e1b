"""A scope whose memories are Markdown files; a store beside them is the index, and holds what files do not."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from charm_checkpoint.errors import DataError, ReadOnlyStore, StoreError
from charm_checkpoint.items.flow import Flow, off_the_loop
from charm_checkpoint.items.results import FoundItem
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term.markdown import format
from charm_checkpoint.long_term.markdown.folder import MarkdownFolder
from charm_checkpoint.long_term.markdown.index import FileProblem, Index, Known, Spaces, known_of, sha_of
from charm_checkpoint.long_term.markdown.mapping import Rules, file_from, is_news, normal
from charm_checkpoint.long_term.records import Value
from charm_checkpoint.long_term.scope import Scope, Use
from charm_checkpoint.runtime import forks
from charm_checkpoint.stores.files.folder import FolderLock

log = logging.getLogger("charm_checkpoint")


class MarkdownScope(Scope):
    """The memories in a folder of Markdown files, one a file, that people and other programs may change as well.

    What files say is the truth: before each call those that have changed are read into the index. A change writes the
    file first. ``rules`` say what is in the files of it, and what is noted in the store alone. ``instead`` makes a
    store for this process alone, where files can be read and nothing can be written, as in some containers.
    """

    def __init__(
        self,
        name: str,
        store: CharmStore,
        owner: Sequence[str],
        folder: MarkdownFolder,
        rules: Rules,
        *,
        cites: bool = False,
        instead: Callable[[], CharmStore] | None = None,
    ) -> None:
        super().__init__(name, store, owner, cites=cites, reviews=rules.reviews, where=str(folder.path))
        self.folder = folder
        self._rules = rules
        self._instead = instead
        self._is_read_only = False
        self._index = self._index_in(store)

    def _index_in(self, store: CharmStore) -> Index:
        spaces = Spaces(self.notes, self.side("files"), self.side("away"))
        return Index(self.name, self.folder, store, spaces, self._rules)

    # ------------------------------------------------------------------------------------------------------ reading

    def refresh(self) -> Flow[None]:
        """Read the files that have changed into the index."""
        yield off_the_loop(self._refresh)

    def get(self, title: str) -> Flow[Value | None]:
        """Return the value of a memory, None if it is not there."""
        yield from self.refresh()
        return (yield from super().get(title))

    def get_many(self, titles: Sequence[str]) -> Flow[list[Value | None]]:
        """Return the values of memories, in that order; None for those that are not there."""
        yield from self.refresh()
        return (yield from super().get_many(titles))

    def search(
        self, query: str | None, filter: Mapping[str, Any], limit: int | None, explain: bool = False
    ) -> Flow[list[FoundItem]]:
        """Find the memories that match a filter; see `Scope.search`."""
        yield from self.refresh()
        return (yield from super().search(query, filter, limit, explain))

    def problems(self) -> Flow[list[FileProblem]]:
        """Return the files that hold no memory, or not quite what they say, and what is wrong with them."""

        def looked() -> list[FileProblem]:
            self._refresh()
            return self._index.problems()

        found: list[FileProblem] = yield off_the_loop(looked)
        return found

    def _refresh(self) -> None:
        if self._is_read_only:
            with forks.lock(str(self.folder.path)):
                self._index.take_in()
        elif not self._index.is_current():
            try:
                with FolderLock(self.folder.ready(), self.folder.timeout):
                    self._take_in()
            except ReadOnlyStore as error:
                self._go_on_without(error)
                self._refresh()

    def _go_on_without(self, error: ReadOnlyStore) -> None:
        """Keep in this process what can be written nowhere, beside what is there; or raise that error."""
        with forks.lock(str(self.folder.path)):
            if self._is_read_only:
                return
            if self._instead is None:
                raise error
            log.warning("%s: what is noted of memories in %s lasts as long as this process", error, self.folder.path)
            store, noted = self._instead(), io.BytesIO()
            if self.folder.state.is_dir():
                self.store.export(noted)
                noted.seek(0)
                store.import_(noted)
            self.store, self._index, self._is_read_only = store, self._index_in(store), True

    def _take_in(self) -> None:
        if self._index.take_in():
            self._list()

    def _list(self) -> None:
        """Write the list of titles, which is for other programs: what was done is done, should that fail."""
        if self._rules.shares:  # two people's lists would be a conflict for git at every change
            return
        try:
            self.folder.write_index(self._index.lines())
        except ReadOnlyStore:
            pass  # it can be read all the same
        except StoreError as error:
            log.warning("The list of memories in %s was not renewed: %s", self.folder.path, error)

    def note_use(self, titles: Sequence[str], now: int) -> Flow[dict[str, Use]]:
        """Note that memories were used; see `Scope.note_use`."""
        try:
            return (yield from super().note_use(titles, now))
        except ReadOnlyStore as error:
            yield off_the_loop(partial(self._go_on_without, error))
        return (yield from super().note_use(titles, now))

    # ----------------------------------------------------------------------------------------------------- changing

    def change(self, title: str, change: Callable[[Value | None], Value | None]) -> Flow[Value | None]:
        """Put what a function makes of a memory; see `Scope.change`. Others wait meanwhile."""
        made: Value | None = yield off_the_loop(partial(self._change, title, change))
        return made

    def _change(self, title: str, change: Callable[[Value | None], Value | None]) -> Value | None:
        with FolderLock(self.folder.ready(), self.folder.timeout):
            self._take_in()
            item = self.store.get(self.notes, title)
            old = None if item is None else item.value
            made = change(copy.deepcopy(old))
            if made is None or made == old:
                return old
            value = normal(made, self._rules)
            before, files = self._write(title, value)
            with self._or_as_before(before):
                self._index.put(title, value, files)
            self._list()
        return value

    @contextmanager
    def _or_as_before(self, before: Mapping[str, bytes | None]) -> Iterator[None]:
        """Have files say what they said, None for none, if the index cannot be written: on a full disk, perhaps.

        Else they would have to be read into it first by whoever looks for memories, which fails just so.
        """
        try:
            yield
        except StoreError:
            for name, data in before.items():
                with suppress(StoreError):
                    if data is None:
                        self.folder.remove(name)
                    else:
                        self.folder.write(name, data)
            raise

    def _write(self, title: str, value: Value) -> tuple[dict[str, bytes | None], dict[str, Known | None]]:
        """Write the file of a memory, if it is to say something else; return what it said, and what is known of it."""
        if value["title"] != title:
            raise DataError(f"the memory {title!r} cannot become {value['title']!r}: write that, and forget the other")
        name = self._index.name_of(title)
        data = self._read(name)
        before = None if data is None else format.read(data)
        file = file_from(value, self._rules, before)
        if not is_news(file, before):
            return {}, {}
        name = name or self._index.new_name(title)
        made = format.write(file)
        again = format.read(made)  # what cannot be read is not written
        signature = self.folder.write(name, made)
        return {name: data}, {name: known_of(again, sha_of(made), signature, self._rules)}

    def _read(self, name: str | None) -> bytes | None:
        if name is None:
            return None
        try:
            return self.folder.read(name, format.MAX_BYTES)[0]
        except FileNotFoundError:  # it was removed this moment
            return None

    def remove(self, title: str, check: Callable[[Value], None] | None = None) -> Flow[Value | None]:
        """Delete a memory and its file; see `Scope.remove`."""
        gone: Value | None = yield off_the_loop(partial(self._remove, title, check))
        return gone

    def _remove(self, title: str, check: Callable[[Value], None] | None) -> Value | None:
        with FolderLock(self.folder.ready(), self.folder.timeout):
            self._take_in()
            item = self.store.get(self.notes, title)
            if item is None:
                return None
            if check is not None:
                check(item.value)
            # With all files of this title: one that did not count would come back in its place.
            before = {name: self._read(name) for name in self._index.names_of(title)}
            for name in before:
                self.folder.remove(name)
            with self._or_as_before(before):
                self._index.put(title, None, dict.fromkeys(before))
            self._list()
        return item.value
