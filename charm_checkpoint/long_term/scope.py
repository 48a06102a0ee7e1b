"""A scope: one place of memories, on the items of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.store.base import PutOp

from charm_checkpoint.errors import ConfigError, ItemConflict
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.items.results import FoundItem, StoredItem
from charm_checkpoint.items.store.charm_store import CharmStore
from charm_checkpoint.long_term.records import Value
from charm_checkpoint.long_term.steps import call, collect

ROOT: Final = "memories"
"""The first label of every namespace of memories."""
FIELDS: Final = ("title", "body", "tags[*]")
"""What a question is asked of."""

SIDES: Final = frozenset(
    ("notes", "access", "tombstones", "hygiene", "snapshots", "hashes", "captures", "files", "away", "lucid")
)
"""What the namespaces of an owner end in: no label of an owner is one of these."""

ATTEMPTS: Final = 20
"""How often something is tried that others may come before."""

Use = tuple[int, int]
"""When a memory was used last, in microseconds, and how often."""


class Scope:
    """The memories of one owner, in one store: a memory is an item, whose key is its title.

    What is noted beside them, such as when they were used, is in items of its own, below `side`. ``cites``: they may
    rest on files of the project. ``reviews``: what others put there is to be approved before it reaches a prompt.
    ``where`` says where they are, to people.

    All methods return flows, whose steps are calls of the store's; see `charm_checkpoint.long_term.steps`.
    """

    def __init__(
        self,
        name: str,
        store: CharmStore,
        owner: Sequence[str],
        *,
        cites: bool = False,
        reviews: bool = False,
        where: str = "",
    ) -> None:
        self.name = name
        self.store = store
        self.cites = cites
        self.reviews = reviews
        self.where = where
        self._root = (ROOT, *map(label, owner))
        self.notes = self.side("notes")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.where!r})"

    def side(self, kind: str) -> tuple[str, ...]:
        """Return the namespace of what is kept of a kind: "notes" are the memories themselves."""
        if kind not in SIDES:
            raise ValueError(f"{kind!r} is not in SIDES, and might be somebody's name")
        return (*self._root, kind)

    # ------------------------------------------------------------------------------------------------------- reading

    def refresh(self) -> Flow[None]:
        """Have the items say what is there now; to be called by who reads them other than by `get` and `search`."""
        yield from ()

    def get(self, title: str) -> Flow[Value | None]:
        """Return the value of a memory, None if it is not there."""
        item: StoredItem | None = yield call(self.store, "get", self.notes, title)
        return None if item is None else item.value

    def get_many(self, titles: Sequence[str]) -> Flow[list[Value | None]]:
        """Return the values of memories, in that order; None for those that are not there."""
        found = yield call(self.store, "get_many", [(self.notes, title) for title in titles])
        return [None if item is None else item.value for item in found]

    def search(
        self, query: str | None, filter: Mapping[str, Any], limit: int | None, explain: bool = False
    ) -> Flow[list[FoundItem]]:
        """Find the memories that match a filter, the best first; without a query those changed last."""
        if limit is None and explain:  # a search tells what a score is made of, a walk does not
            limit = yield call(self.store, "count", self.notes, filter=dict(filter))
        if limit is None:
            every: list[FoundItem] = yield collect(self.store, self.notes, filter=filter, query=query)
            return every
        found: list[FoundItem] = yield call(
            self.store, "search", self.notes, query=query, filter=dict(filter), limit=limit, explain=explain
        )
        return found

    # ------------------------------------------------------------------------------------------------------ changing

    def change(self, title: str, change: Callable[[Value | None], Value | None]) -> Flow[Value | None]:
        """Put what a function makes of a memory, None if it is not there; if it returns None, nothing is changed.

        It is called again if others were faster. Returns what is there then.
        """
        item: StoredItem | None = yield call(self.store, "update", self.notes, title, change)
        return None if item is None else item.value

    def remove(self, title: str, check: Callable[[Value], None] | None = None) -> Flow[Value | None]:
        """Delete a memory; return it, None if it is not there. ``check`` may raise, and nothing is deleted."""
        for _ in range(ATTEMPTS):
            item: StoredItem | None = yield call(self.store, "get", self.notes, title)
            if item is None:
                return None
            if check is not None:
                check(item.value)
            try:
                yield call(self.store, "delete", self.notes, title, if_revision=item.revision)
            except ItemConflict:
                continue
            return item.value
        raise ItemConflict(f"others changed the memory {title!r} again and again; it was not deleted. Try once more.")

    # ----------------------------------------------------------------------------------------------- beside memories

    def uses(self, titles: Sequence[str]) -> Flow[dict[str, Use]]:
        """Return when memories were used last, and how often, of those that were."""
        found = yield call(self.store, "get_many", [(self.side("access"), title) for title in titles])
        return {item.key: (item.value["used"], item.value["uses"]) for item in found if item is not None}

    def all_uses(self) -> Flow[dict[str, Use]]:
        """Return when each memory was used last, and how often, of those that were."""
        found = yield collect(self.store, self.side("access"))
        return {item.key: (item.value["used"], item.value["uses"]) for item in found}

    def note_use(self, titles: Sequence[str], now: int) -> Flow[dict[str, Use]]:
        """Note that memories were used, which changes nothing of them; return how it stands now.

        Of two programs that use a memory at the same moment one may not be counted.
        """
        if not titles:
            return {}
        before = yield from self.uses(titles)
        made = {title: (now, before.get(title, (0, 0))[1] + 1) for title in titles}
        yield call(
            self.store,
            "batch",
            [
                PutOp(self.side("access"), title, {"used": used, "uses": uses}, False)
                for title, (used, uses) in made.items()
            ],
        )
        return made

    def forget_uses(self, titles: Iterable[str]) -> Flow[None]:
        """Delete what is noted of the use of memories that are gone."""
        yield call(self.store, "batch", [PutOp(self.side("access"), title, None) for title in titles])


class Changed(Exception):
    """A memory is not as it was seen any more: ``value`` is what it is now. It is raised inside of flows only."""

    def __init__(self, value: Value) -> None:
        super().__init__(value["title"])
        self.value = value


def unchanged(seen: Value) -> Callable[[Value], None]:
    """Return a check for `Scope.remove`: what is deleted is what was seen, else `Changed` is raised."""

    def check(value: Value) -> None:
        if value != seen:
            raise Changed(value)

    return check


def label(text: str) -> str:
    """Return any text as a label of a namespace, in which a full stop and NUL may not be.

    No two texts are one label, and none is of `SIDES`: what is below an owner's would be taken for the owner's own.
    """
    if not isinstance(text, str) or not text:
        raise ConfigError(f"a project, and an owner of memories, has a name that is a text and not empty, not {text!r}")
    if text in SIDES:
        return f"%{ord(text[0]):02X}{text[1:]}"
    return text.replace("%", "%25").replace(".", "%2E").replace("\0", "%00")
