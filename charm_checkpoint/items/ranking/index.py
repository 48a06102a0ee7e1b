"""What a program keeps of the items below a prefix, to rank them for a question; pure, and safe for use by threads.

`ScopeIndex.apply` takes what a store says has changed, `ScopeIndex.rank` puts the items into order. Statistics, such
as how many items hold a word, are those of all items below the prefix that are not expired, whatever else is asked for:
what is elsewhere in a store has no influence, and all stores agree to the last bit.

Vectors are compared exactly where there are `EXACTLY` items at most. Where there are more, those are that are nearest
by sign codes, and those that are best by words; the others have the score that their words alone give them.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from threading import Lock
from types import MappingProxyType
from typing import Any
from zlib import crc32

from charm_checkpoint.contract_items import EntriesReply, Entry, ItemKey, ItemRow, SpaceEntries
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.items.addresses import named
from charm_checkpoint.items.ranking.entries import Parsed, read_entry
from charm_checkpoint.items.ranking.kept import TRIGRAM, WORD, Table, term_hash, write_buckets, write_table
from charm_checkpoint.items.ranking.models import Model
from charm_checkpoint.items.ranking.order import Items, Order
from charm_checkpoint.items.ranking.postings import GONE, Held, Living, Postings
from charm_checkpoint.items.ranking.questions import Question
from charm_checkpoint.items.ranking.scores import Ranking, Scoring, terms_to_find
from charm_checkpoint.items.ranking.vectors import Vectors
from charm_checkpoint.items.ranking.words import terms_of

_ITEM = 150
"""Bytes of an item's places in tables, beside its key."""
_SPACE = 500

MANY_REMOVED = 256
"""So many slots without an item, and a quarter of all, are given up by numbering the others anew."""


class ScopeIndex:
    """The items below one prefix. ``mark`` and ``known`` are what to ask the store with for what has changed.

    Without ``words`` it takes a third of the room and of the time to make, and serves questions by vectors alone.
    ``source`` is for who reads it from a store, to know from where.
    """

    def __init__(self, words: bool = True) -> None:
        self.words = words
        self.source: Any = None
        self._lock = Lock()
        self._clear()

    def _clear(self) -> None:
        self._known: Mapping[bytes, int] = MappingProxyType({})
        self._mark: Any = None
        self._spaces: dict[bytes, dict[bytes, int]] = {}
        self._items = Items()
        self._updated = array("q")
        self._prints = array("I")
        self._there = bytearray()
        self._alive = bytearray()
        self._indexed = bytearray()
        self._ends: dict[int, int] = {}
        self._hidden: set[int] = set()
        self._coming_ends: list[tuple[int, int]] = []
        self._now = 0
        self._live = 0
        self._removed = 0
        self._kept = 0
        self._there_indexed = 0
        self._words, self._trigrams = Postings(), Postings()
        self._vectors = Vectors()
        self._scoring: Scoring | None = None
        self._weight = 0

    @classmethod
    def kept(cls, table: Table, mark: Any, words: bool = True) -> ScopeIndex:
        """Return the index that was written down as a table and buckets, whose postings are taken when needed."""
        made = cls(words)
        made._known, made._mark = MappingProxyType(dict(table.known)), mark
        made._items, made._updated, made._prints = table.items, table.updated, table.prints
        made._spaces = {path: {} for path in table.known}
        # A namespace whose items are all gone is not known any more, and its path may still be in the table.
        tables = [made._spaces.get(path, {}) for path in table.items.paths]
        for slot, (space, key) in enumerate(zip(table.items.spaces, table.items.keys, strict=True)):
            tables[space][key] = slot
        count = made._live = len(table.items)
        made._there, made._alive = bytearray(b"\1") * count, bytearray(b"\1") * count
        made._indexed = bytearray(table.indexed)
        made._there_indexed = sum(table.indexed)
        made._words, made._trigrams = Postings.kept(table.words), Postings.kept(table.trigrams)
        made._vectors = Vectors.of(table.vectors)
        for slot, end in table.ends.items():
            made._end(slot, end)
        made._kept = count
        made._weigh()
        return made

    def written(self) -> tuple[bytes, list[bytes], Any]:
        """Return the index as it is kept in a store: its table and its postings in buckets; and its mark."""
        with self._lock:
            if self._removed:
                self._renumber()
            table = Table(
                self._known, self._items.of(range(len(self._items))), self._updated[:], self._prints[:],
                bytes(self._indexed), dict(self._ends), self._words.lengths[:], self._trigrams.lengths[:],
                self._vectors.freeze(),
            )  # fmt: skip
            return write_table(table), write_buckets(self._words, self._trigrams), self._mark

    @property
    def known(self) -> Mapping[bytes, int]:
        """Return the stamps of the spaces that are known; it stays as it is when the index changes."""
        return self._known

    @property
    def mark(self) -> Any:
        """Return the store's mark of the last answer."""
        return self._mark

    @property
    def is_new(self) -> bool:
        """Return whether it knows of nothing yet."""
        return self._mark is None and not self._known

    @property
    def behind(self) -> int:
        """Return how many items were put and removed since it was written, of an index just read from a store."""
        return len(self._items) - self._kept + self._removed

    @property
    def weight(self) -> int:
        """Return about how many bytes the index takes."""
        return self._weight + self._words.weight + self._trigrams.weight + self._vectors.weight

    def __len__(self) -> int:
        """Return how many items it holds, those among them that have expired since."""
        return len(self._items) - self._removed

    def apply(self, reply: EntriesReply, asked: Mapping[bytes, int] | None = None) -> bool:
        """Take what a store says has changed; return whether the index now is at least as new as the answer.

        ``asked`` is what `known` was when the question was put, for an index that several threads bring up to date.
        False: meanwhile others did, in a way that does not tell which of them is newer; ask again.
        """
        if reply.same:
            return True
        with self._lock:
            try:
                return self._apply(reply, self._known if asked is None else asked)
            except BaseException:
                # Half of it may have been taken: the next question is for all.
                self._clear()
                raise

    def _apply(self, reply: EntriesReply, asked: Mapping[bytes, int]) -> bool:
        known = dict(self._known)
        settled = self._take_spaces(reply.spaces, asked, known)
        there = {found.space for found in reply.spaces}
        for space in [space for space in known if space not in there]:
            if known[space] == asked.get(space):
                self._take_keys(space, ())
                del self._spaces[space], known[space]
                self._weight -= _SPACE + len(space)
            else:
                settled = False
        if known != self._known:
            self._known = MappingProxyType(known)
        self._mark = reply.mark if settled else None
        if self._removed > max(MANY_REMOVED, len(self._items) // 4):
            self._renumber()
        return settled

    def _take_spaces(self, spaces: Iterable[SpaceEntries], asked: Mapping[bytes, int], known: dict[bytes, int]) -> bool:
        settled = True
        for found in spaces:
            stamp = known.get(found.space)
            if stamp == found.stamp and not found.entries and found.keys is None:
                continue
            before = asked.get(found.space)
            if stamp != before and (stamp is None or found.stamp <= stamp or (before or 0) > stamp):
                # Another thread was here since. What it took is as new as this, unless the space was made anew.
                settled = settled and stamp is not None and (before or 0) <= found.stamp <= stamp
                continue
            whole = before is None or found.stamp < before
            self._take_space(found, whole)
            known[found.space] = found.stamp
        return settled

    def _take_space(self, found: SpaceEntries, whole: bool) -> None:
        if found.space not in self._spaces:
            self._spaces[found.space] = {}
            self._weight += _SPACE + len(found.space)
        table = self._spaces[found.space]
        for entry in found.entries:
            self._put(found.space, table, entry)
        if found.keys is not None:
            self._take_keys(found.space, found.keys)
        elif whole:
            self._take_keys(found.space, {entry.key for entry in found.entries})
        self._scoring = None

    def _take_keys(self, space: bytes, keys: Collection[bytes]) -> None:
        table = self._spaces[space]
        if len(keys) != len(table) or any(key not in table for key in keys):
            for key in table.keys() - set(keys):
                self._remove(table.pop(key))
            self._scoring = None

    def _put(self, space: bytes, table: dict[bytes, int], found: Entry) -> None:
        key, updated, expires, entry, vectors = found
        slot = table.get(key)
        printed = crc32(entry)
        if slot is not None:
            if self._updated[slot] == updated and self._prints[slot] == printed:
                self._end(slot, expires)
                if vectors is not None:
                    self._vectors.take(slot, vectors)
                return
        parsed = _parsed(space, found)  # which may raise: nothing was changed yet
        if slot is not None:
            self._remove(slot)
        slot = table[key] = len(self._items)
        self._items.add(space, key)
        self._updated.append(updated)
        self._prints.append(printed)
        self._there.append(1)
        self._alive.append(1)
        self._weight += _ITEM + len(key)
        self._indexed.append(parsed is not None)
        self._there_indexed += parsed is not None
        stems: list[str] = []
        trigrams: list[str] = []
        for word, count in parsed.words.items() if parsed is not None and self.words else ():
            terms = terms_of(word)
            stems += terms.stems * count
            trigrams += terms.trigrams * count
        self._vectors.add(slot, parsed, vectors)
        self._words.add(slot, Counter(stems))
        self._trigrams.add(slot, Counter(trigrams))
        self._count(slot, 1)
        self._end(slot, expires)

    def _count(self, slot: int, sign: int) -> None:
        """Count an item in, or out again."""
        self._live += sign
        self._words.total += sign * self._words.lengths[slot]
        self._trigrams.total += sign * self._trigrams.lengths[slot]

    def _end(self, slot: int, expires: int | None) -> None:
        if self._ends.get(slot) == expires:
            return
        if expires is None:
            del self._ends[slot]
        else:
            self._ends[slot] = expires
            heapq.heappush(self._coming_ends, (expires, slot))
        self._show(slot, expires is None or expires > self._now)

    def _show(self, slot: int, alive: bool) -> None:
        if self._alive[slot] != alive:
            self._alive[slot] = alive
            self._count(slot, 1 if alive else -1)
            (self._hidden.discard if alive else self._hidden.add)(slot)
            self._scoring = None

    def _remove(self, slot: int) -> None:
        if self._alive[slot]:
            self._count(slot, -1)
        self._alive[slot] = self._there[slot] = 0
        self._hidden.discard(slot)
        self._ends.pop(slot, None)
        self._vectors.remove(slot)
        self._words.removed()
        self._trigrams.removed()
        self._removed += 1
        self._there_indexed -= self._indexed[slot]

    def _renumber(self) -> None:
        """Give the items other slots, without those whose items went."""
        slots, kept = [], 0
        for there in self._there:
            slots.append(kept if there else GONE)
            kept += there
        was = [slot for slot, there in enumerate(self._there) if there]
        # New lists: rankings that are still read hold the former ones.
        self._items = self._items.of(was)
        self._updated = array("q", [self._updated[slot] for slot in was])
        self._prints = array("I", [self._prints[slot] for slot in was])
        self._alive = bytearray(self._alive[slot] for slot in was)
        self._indexed = bytearray(self._indexed[slot] for slot in was)
        self._there = bytearray(b"\1") * kept
        self._ends = {slots[slot]: end for slot, end in self._ends.items()}
        self._hidden = {slots[slot] for slot in self._hidden}
        self._coming_ends = [(end, slot) for slot, end in self._ends.items() if slot not in self._hidden]
        heapq.heapify(self._coming_ends)
        for table in self._spaces.values():
            for key, slot in table.items():
                table[key] = slots[slot]
        for part in (self._words, self._trigrams, self._vectors):
            part.renumber(slots)
        self._removed = 0
        self._weigh()
        self._scoring = None

    def _weigh(self) -> None:
        keys = sum(map(len, self._items.keys))
        self._weight = len(self._items) * _ITEM + keys + sum(_SPACE + len(space) for space in self._spaces)

    def _turn_to(self, now: int) -> None:
        """Have those items live that are not expired at a time, which may be earlier than the last one."""
        if now < self._now:
            for slot in [slot for slot in self._hidden if self._ends[slot] > now]:
                heapq.heappush(self._coming_ends, (self._ends[slot], slot))
                self._show(slot, True)
        while self._coming_ends and self._coming_ends[0][0] <= now:
            end, slot = heapq.heappop(self._coming_ends)
            if self._ends.get(slot) == end:
                self._show(slot, False)
        self._now = now

    def _scored(self, question: Question, now: int) -> Scoring:
        self._turn_to(now)
        if self._scoring is None or self._scoring.question is not question:
            self._scoring = Scoring(
                question,
                Order(self._items, self._updated),
                self._words,
                self._trigrams,
                self._vectors,
                Living(self._there, self._alive, self._live, bool(self._hidden)),
                self._indexed,
            )
        return self._scoring

    def missing_terms(self, question: Question) -> Sequence[bytes]:
        """Return the hashes of the terms whose postings ranking needs and has not; give them to `take_terms`."""
        with self._lock:
            stems, trigrams = terms_to_find(question)
            return [
                *(term_hash(term, WORD) for term in self._words.missing(stems)),
                *(term_hash(term, TRIGRAM) for term in self._trigrams.missing(trigrams)),
            ]

    def take_terms(self, question: Question, found: Mapping[bytes, Held]) -> None:
        """Take what the store keeps of the missing terms of a question, by their hashes."""
        with self._lock:
            stems, trigrams = terms_to_find(question)
            for postings, kind, terms in ((self._words, WORD, stems), (self._trigrams, TRIGRAM, trigrams)):
                for term in postings.missing(terms):
                    postings.take(term, found.get(term_hash(term, kind)))

    def wanted_vectors(self, question: Question, now: int) -> Sequence[ItemKey]:
        """Return the items whose vectors ranking needs and has not; fetch them, and give them to `take_vectors`."""
        with self._lock:
            return [self._items[slot] for slot in self._vectors.missing(self._scored(question, now).to_compare())]

    def take_vectors(self, found: Mapping[ItemKey, ItemRow]) -> None:
        """Keep vectors that the store's ``fetch`` gave; those of an item that was put anew since are passed over."""
        with self._lock:
            for item, row in found.items():
                slot = self._spaces.get(item.space, {}).get(item.key)
                if slot is not None and self._updated[slot] == row.updated:
                    self._vectors.take(slot, row.value)

    def rank(self, question: Question, now: int) -> Ranking:
        """Return all items that are not expired, in order. Vectors that are not at hand are left out of account."""
        with self._lock:
            scoring = self._scored(question, now)
            ranking = scoring.ranking()
            self._vectors.forget()
            return ranking

    def unembedded(self, model: Model | bytes, now: int, *, others: bool = True) -> Sequence[ItemKey]:
        """Return the indexed items that have no vectors of a model, given by itself or its identity.

        Without ``others``, those are left out that have vectors of another model.
        """
        identity = model.identity if isinstance(model, Model) else model
        with self._lock:
            if self._vectors.count(identity if others else None) == self._there_indexed:
                return []
            fine = {identity} if others else self._vectors.models()
            self._turn_to(now)
            return [
                self._items[slot]
                for slot in range(len(self._items))
                if self._alive[slot] and self._indexed[slot] and self._vectors.model_of(slot) not in fine
            ]


def _parsed(space: bytes, found: Entry) -> Parsed | None:
    try:
        return read_entry(found.entry)
    except StoreCorrupt as error:
        error.place = error.place or f"{named(ItemKey(space, found.key))}, which reindex(every=True) makes anew"
        raise
