"""Indexes of large namespaces that a store keeps: what is found by them is what is found by reading all entries."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from langgraph.store.base import PutOp

from charm_checkpoint.contract_items import ItemBatch, ItemChange, ItemKey, KeepsIndexes
from charm_checkpoint.items import clock as time
from charm_checkpoint.items.handed_out import HandedOut
from charm_checkpoint.items.namespaces import INDEXES
from charm_checkpoint.items.ranking import kept, scores
from charm_checkpoint.items.ranking.questions import Question
from charm_checkpoint.items.store import kept_indexes
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.long_term_base import Clock, LongTermBase, embed

HYBRID = {"embed": embed, "dims": 27, "fields": ["text"], "search": "hybrid"}
VECTOR = {**HYBRID, "search": "vector"}
WORDS = "boat harbour train window seat coffee milk sugar bridge honey tomato cello garden letter winter".split()
PREFIX, WITHIN, OTHER = ("n",), ("n", "b"), ("other",)
SEARCHES: tuple[tuple[str, Any, int], ...] = (
    ("boat at the harbour", None, 200),
    ("wintr garden, with coffee, milk and honey", None, 200),
    ("cello", {"kind": "a"}, 10),
)


class ItemsOfLargeNamespaces(LongTermBase):
    """Searches of namespaces that are large enough for their index to be kept in the store."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have few items be many."""
        monkeypatch.setattr(kept_indexes, "MANY", 20)
        monkeypatch.setattr(kept_indexes, "LEAST_BEHIND", 12)
        monkeypatch.setattr(kept, "BUCKET", 300)
        monkeypatch.setattr(scores, "EXACTLY", 20)
        monkeypatch.setattr(scores, "NEAREST", 12)
        monkeypatch.setattr(scores, "BEST_BY_WORDS", 8)

    @pytest.fixture
    def programs(self, memory: Memory, mode: CallMode) -> Programs:
        """Return what opens the store as a program does that has just begun."""
        if memory.store.items is None:
            pytest.skip("this store keeps no long-term memory")
        return Programs(memory, mode)

    def test_a_kept_index_finds_what_a_whole_one_finds(self, programs: Programs, clock: Clock) -> None:
        chance = random.Random(27)
        programs.new().batch([put(number, chance, ttl=number % 9 or None) for number in range(60)])
        first = programs.new()
        expected = programs.whole()
        assert found(first) == expected
        kept_now = programs.head()
        reader = programs.new()
        assert found(reader) == expected
        if programs.can_keep:
            assert kept_now is not None, "the first one wrote it"
            assert programs.index_of(reader).missing_terms(Question("tomato window bridge 17 words of no question"))
        # What is changed since: put anew, added, deleted, and what has come to its end.
        writer = programs.new()
        writer.batch([put(number, chance, ttl=None) for number in (1, 2, 61, 62)])
        writer.batch([PutOp(WITHIN, "4", None), PutOp(PREFIX, "6", None)])
        clock.pass_minutes(3.5)
        expected = programs.whole()
        for program in (first, reader, programs.new()):
            assert found(program) == expected
        assert programs.head() == kept_now
        assert found(programs.new(VECTOR)) == found(programs.new(VECTOR)) == programs.whole(VECTOR)
        # Time goes on, and an end is put off by a search.
        writer.batch([put(63, chance, ttl=2), put(64, chance, ttl=2)])
        clock.pass_minutes(1)
        assert programs.new().search(PREFIX, query="garden", limit=100, refresh_ttl=True)
        clock.pass_minutes(1.5)
        expected = programs.whole()
        for program in (first, reader, programs.new()):
            assert found(program) == expected

    def test_it_is_made_anew_where_much_has_changed_or_it_is_damaged(self, programs: Programs, clock: Clock) -> None:
        chance = random.Random(5)
        programs.new().batch([put(number, chance) for number in range(40)])
        reader = programs.new()
        found(reader)
        before = programs.head()
        programs.new().batch([put(number, chance) for number in range(30, 50)])
        expected = programs.whole()
        assert found(programs.new()) == found(reader) == expected
        if not programs.can_keep:
            return
        after = programs.head()
        assert before != after
        clock.pass_minutes(7 * 24 * 60 + 1)
        assert found(programs.new()) == expected
        assert programs.head() != after, "it has an end"
        for place in (1, 3):
            half = programs.new()
            half.search(PREFIX, query="boat", limit=1)
            programs.drop_parts(place)
            assert found(half) == found(programs.new()) == expected, "parts went"

    def test_it_goes_with_its_items(self, programs: Programs) -> None:
        chance = random.Random(6)
        store = programs.new()
        store.batch([put(number, chance, OTHER if number % 2 else None) for number in range(80)])
        for prefix in (PREFIX, OTHER, ()):
            store.search(prefix, query="boat")
        wanted = [b"nwi", b"nwin\0", b"nwiother\0"] if programs.can_keep else []
        assert programs.spaces() == wanted
        assert store.delete_namespace(WITHIN) > 0
        assert programs.spaces() == wanted[2:], "that of what is beside it stays"
        expected = programs.whole()
        assert found(programs.new()) == expected

    def test_the_first_of_a_small_namespace_asks_once(self, programs: Programs, kept: InMode) -> None:
        items: Any = programs.memory.store.items
        if not programs.can_keep:
            pytest.skip("this store keeps no indexes")
        kept.batch([PutOp(PREFIX, str(number), {"text": "boat"}) for number in range(20)])
        run = InMode(programs.memory.store, programs.mode).run
        prefix = b"in\0"
        few = run(partial(items.few_entries, prefix, 20), write=False)
        assert few is not None
        whole = run(partial(items.entries, prefix), write=False)
        assert contents(few) == contents(whole) and few.mark == whole.mark
        assert run(partial(items.few_entries, prefix, 19), write=False) is None
        nothing = run(partial(items.few_entries, b"iabsent\0", 0), write=False)
        assert nothing is not None and not nothing.spaces
        mark = items.mark_of(items.mark_bytes(whole.mark))
        assert mark == whole.mark
        known = {space.space: space.stamp for space in whole.spaces}
        again = run(partial(items.entries, prefix, known, mark), write=False)
        assert again.same


class Programs:
    """One store, as programs see it that begin at different times."""

    def __init__(self, memory: Memory, mode: CallMode) -> None:
        self.memory = memory
        self.mode = mode
        self.can_keep = isinstance(memory.store.items, KeepsIndexes)

    def new(self, index: Any = HYBRID) -> InMode:
        """Return the store as a program opens it that has just begun."""
        return InMode(HandedOut(self.memory.store).items(index, None, "wait", {}), self.mode)

    def whole(self, index: Any = HYBRID) -> list[Any]:
        """Return what is found by reading all entries."""
        with more_than_there_are():
            return found(self.new(index))

    def index_of(self, program: InMode) -> Any:
        """Return what a program keeps of the namespace."""
        return program.raw._searcher._scopes.of(b"in\0")

    def head(self) -> bytes | None:
        """Return which index is kept."""
        item = ItemKey(kept_indexes.space_of(b"in\0", True), b"head")
        rows = self._run("fetch", [item])
        return rows[item].value if item in rows else None

    def spaces(self) -> list[bytes]:
        """Return where indexes are kept."""
        return list(self._run("spaces", INDEXES, 0))

    def drop_parts(self, some: int) -> None:
        """Remove some of what is kept, but not the head of it."""
        space = kept_indexes.space_of(b"in\0", True)
        reply = self._run("entries", space)
        keys = sorted(entry.key for found in reply.spaces for entry in found.entries if entry.key != b"head")
        doomed = keys[: len(keys) // some]
        assert doomed
        changes = [ItemChange(space, key, None) for key in doomed]
        self._run("change", ItemBatch(time.now(), changes=changes), write=True)

    def _run(self, method: str, *args: Any, write: bool = False) -> Any:
        run = InMode(self.memory.store, self.mode).run
        return run(partial(getattr(self.memory.store.items, method), *args), write=write)


@contextmanager
def more_than_there_are() -> Iterator[None]:
    """Have no namespace be large."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(kept_indexes, "MANY", 1 << 30)
        yield


def put(number: int, chance: random.Random, namespace: Any = None, ttl: float | None = None) -> PutOp:
    """Return a put of an item with words by chance."""
    text = " ".join(chance.choices(WORDS, k=chance.randint(2, 9)))
    space = namespace or (WITHIN if number % 4 == 0 else PREFIX)
    return PutOp(space, str(number), {"text": text, "kind": "ab"[number % 2]}, ttl=ttl)


def found(store: InMode) -> list[Any]:
    """Return all that searches find, with the scores."""
    results = []
    for query, filter, limit in SEARCHES:
        items = store.search(PREFIX, query=query, filter=filter, limit=limit, refresh_ttl=False)
        results.append([(item.namespace, item.key, item.score) for item in items])
    return results


def contents(reply: Any) -> Any:
    """Return what a reply tells, in order."""
    return [(space.space, space.stamp, sorted(space.entries), sorted(space.keys or ())) for space in reply.spaces]
