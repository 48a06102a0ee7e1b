"""Items beside the reference, under many hands, and after accidents."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import pytest

from charm_checkpoint.contract import capabilities
from charm_checkpoint.contract_items import ItemBackend, ItemBatch, ItemChange, ItemKey, ItemQuery, ItemRow
from charm_checkpoint.items.flow import Flow, Run, arun_flow, run_flow
from charm_checkpoint.memory import Memory
from charm_checkpoint.plan import run
from charm_checkpoint.store import Store
from charm_checkpoint.stores.ram_items import RamItems
from charm_checkpoint.testing.accidents import Interrupted, chosen, interrupt, loop_of_its_own
from charm_checkpoint.testing.base import Open, Suite
from charm_checkpoint.testing.call_modes import CallMode, ItemsInMode
from charm_checkpoint.testing.items_samples import HOUR, NOW, SECOND, View, all_known, delete, keys, put, read, stored
from charm_checkpoint.testing.moments import Moments
from charm_checkpoint.testing.scenarios import CAN_FORK, play, three_of
from charm_checkpoint.testing.thread_turns import leased

T = TypeVar("T")

SECONDS = max(float(os.environ.get("CHARM_HUNT_SECONDS", "0")), 0.6)
"""How long to go on beside the reference, with a new play after so many steps."""

STEPS = 120
LEAST = 30
SPACES = (b"i", b"ia\0", b"ia\0b\0", b"ib\0", b"\xff")
NAMES = (b"", b"a", b"b", b"\0", b"\xff\xff", b"key")
ITEMS = [ItemKey(space, name) for space in SPACES for name in NAMES]
PREFIXES = (b"", b"i", b"ia\0", b"\xff", b"none")
[A] = keys(b"a")
A_DAY = 24 * 3_600_000_000


class Reference:
    """The items in RAM, without a driver."""

    def __init__(self) -> None:
        self._items = RamItems()

    def __getattr__(self, name: str) -> Any:
        return lambda *args: run(getattr(self._items, name)(*args), lambda call: call())


class Play:
    """Operations at random on a store's items and on the reference beside them: they reply the same."""

    def __init__(self, items: ItemsInMode, dice: random.Random, begins: int) -> None:
        self.items, self.ram, self.dice = items, Reference(), dice
        self.now = self.last = begins
        self.floors: dict[bytes, int] = {}
        self.there: set[bytes] = set()
        self.held: set[bytes] = set()
        self.views = {prefix: View(items, prefix) for prefix in PREFIXES}
        self.log: list[Any] = []

    def step(self) -> None:
        """Do something or other."""
        self._set_clock()
        self._notice()
        actions = self._change, self._page, self._entries, self._fetch, self._count, self._expire, self._erase
        self.dice.choices(actions, (12, 4, 4, 2, 2, 1, 1))[0]()
        self._notice()

    def _same(self, name: str, *args: Any) -> Any:
        self.log.append((name, *args))
        ours, expected = getattr(self.items, name)(*args), getattr(self.ram, name)(*args)
        assert ours == expected if isinstance(expected, int) else list(ours) == list(expected)
        return expected

    def _set_clock(self) -> None:
        if self.dice.random() < 0.15:
            self._expire()  # else what is expired would be there again
            self.now -= self.dice.choice((1, SECOND, HOUR))
        else:
            self.now += self.dice.choice((0, 0, 0, 1, 1, 7, SECOND, HOUR))

    def _notice(self) -> None:
        """Leave a space that has no item alone until its stamps are past: a store may forget them, or may not."""
        there, held = set(self.ram.spaces(b"", self.now)), set(self.ram.spaces(b"", 0))
        # Also one whose last item had expired long before it was removed.
        self._leave_alone(self.there - there | self.held - held)
        self.there, self.held = there, held

    def _leave_alone(self, spaces: set[bytes]) -> None:
        self.last = max(self.last, self.now)
        self.floors.update(dict.fromkeys(spaces, self.last + 10_000))

    def _change(self) -> None:
        spaces = [space for space in SPACES if self.floors.get(space, 0) <= self.now]
        is_guarded = self.dice.random() < 0.4
        spaces = self.dice.sample(spaces, 1) if is_guarded and spaces else spaces
        changes = [self._some_change(item, is_guarded) for item in self._some(spaces, 4)]
        batch = ItemBatch(self.now, self._some(SPACES, 5), self._some(spaces, 3), changes)
        self.log.append(batch)
        ours, expected = self.items.change(batch), self.ram.change(batch)
        assert ours.outcome == expected.outcome
        assert list(ours.rows) == list(expected.rows)
        assert list(ours.updated) == list(expected.updated)
        self.last = max(self.last, *expected.updated, 0)

    def _some(self, spaces: Sequence[bytes], most: int) -> list[ItemKey]:
        items = [item for item in ITEMS if item.space in spaces]
        return self.dice.sample(items, self.dice.randint(0, min(most, len(items))))

    def _some_change(self, item: ItemKey, is_guarded: bool) -> ItemChange:
        dice = self.dice
        row = self.ram.fetch([item]).get(item)
        updated = row.updated if row else 0
        value = dice.choice((None, None, b"", b"\0\xff", b"%d" % dice.randrange(1000), b"value", b"large" * 500))
        change = ItemChange(
            *item,
            value,
            entry=dice.choice((b"", b"entry", b"\0entry\xff")),
            vectors=dice.choice((b"", b"vectors", b"\0\xff" * 20)),
            ttl=dice.choice((None, None, 1, SECOND, 2 * HOUR)),
            expect=dice.choice((None, updated, updated, 0, 5)) if is_guarded else None,
            expired=value is None and dice.random() < 0.3,
        )
        if value is not None and dice.random() < 0.1:
            change = replace(change, created=dice.choice((None, 5, NOW)), updated=dice.choice((None, 5, NOW)))
        return change

    def _page(self) -> None:
        rows = self.ram.page(ItemQuery(b"", 0, 100))
        places = [None, (NOW, b"ia\0", b"a"), *((row.updated, row.space, row.key) for row in rows)]
        for _ in range(3):
            query = ItemQuery(
                self.dice.choice(PREFIXES), self.now, self.dice.randint(1, 6), skip=self.dice.choice((0, 0, 1, 3)),
                after=self.dice.choice(places), oldest_first=self.dice.random() < 0.5,
            )  # fmt: skip
            self._same("page", query)

    def _entries(self) -> None:
        prefix = self.dice.choice(PREFIXES)
        self.log.append(("entries", prefix))
        self.views[prefix].update()
        assert self.views[prefix].known(self.now) == all_known(self.ram, prefix, self.now)

    def _fetch(self) -> None:
        args = self._some(SPACES, 30), self.dice.random() < 0.5
        self.log.append(("fetch", *args))
        ours, expected = (self._unexpired(found.fetch(*args)) for found in (self.items, self.ram))
        assert ours == expected

    def _unexpired(self, rows: Any) -> dict[ItemKey, ItemRow]:
        return {item: row for item, row in rows.items() if row.expires is None or row.expires > self.now}

    def _count(self) -> None:
        prefix = self.dice.choice(PREFIXES)
        self._same("count", prefix, self.now)
        self._same("spaces", prefix, self.now)

    def _expire(self) -> None:
        before = {row.item for row in self.ram.page(ItemQuery(b"", 0, 100))}
        self._same("expire", self.now, 1000)
        after = {row.item for row in self.ram.page(ItemQuery(b"", 0, 100))}
        self._leave_alone({item.space for item in before - after})  # each removal may have a stamp, or all have one
        self._same("usage", self.dice.choice(PREFIXES))

    def _erase(self) -> None:
        self._expire()
        prefix = self.dice.choice(PREFIXES[1:])
        self._leave_alone({space for space in self.there if space.startswith(prefix)})
        self._same("erase", prefix)


class ItemModel(Suite):
    """Whatever is done, it comes to the same as in RAM."""

    def test_a_play_beside_the_reference(self, opened: Open, mode: CallMode, items: ItemsInMode) -> None:
        until, steps = time.monotonic() + SECONDS, 0
        while steps < LEAST or time.monotonic() < until:
            if steps % STEPS == 0:
                items.erase(b"")
                seed = random.randrange(2**32)
                # A store may remember the stamps of an earlier play: its spaces go on from there.
                play = Play(items, random.Random(seed), NOW + steps * A_DAY)
            steps += 1
            try:
                play.step()
            except AssertionError as error:
                last = "\n".join(map(repr, play.log[-8:]))
                raise AssertionError(f"with seed {seed}, at {play.now}, after these last steps:\n{last}") from error


def at_once(mode: CallMode, jobs: Sequence[tuple[Store, Flow[T]]]) -> list[T]:
    """Do jobs at the same time, in threads or in tasks."""

    def in_threads() -> list[T]:
        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(lambda job: run_flow(*job), jobs))

    async def in_tasks() -> list[T]:
        return list(await asyncio.gather(*(arun_flow(*job) for job in jobs)))

    return mode.run(in_threads, in_tasks)


def count_up(items: ItemBackend, times: int) -> Flow[list[int]]:
    """Add 1 to a number so many times, each time if nobody else has meanwhile; return the stamps."""
    won: list[int] = []
    while len(won) < times:
        [row] = (yield Run(partial(items.change, ItemBatch(NOW, reads=[A])))).rows
        change = put(b"a", b"%d" % (int(row.value) + 1 if row else 1), expect=row.updated if row else 0)
        reply = yield Run(partial(items.change, ItemBatch(NOW, changes=[change])), write=True)
        won += reply.updated
    return won


def put_many(items: ItemBackend, writer: int, times: int) -> Flow[list[int]]:
    """Put pairs of new items; return their stamps."""
    stamps: list[int] = []
    for n in range(times):
        changes = [put(b"%d %d %d" % (writer, n, part), entry=b"%d" % part) for part in range(2)]
        reply = yield Run(partial(items.change, ItemBatch(NOW, changes=changes)), write=True)
        stamps += reply.updated
    return stamps


def follow(items: ItemBackend, view: View, times: int) -> Flow[list[int]]:
    """Keep a view up to date."""
    for _ in range(times):
        view.take((yield Run(partial(items.entries, b"", dict(view.stamps), view.mark))))
    return []


def one(items: ItemBackend, name: str, *args: Any) -> Flow[Any]:
    """Run one plan."""
    return (yield Run(partial(getattr(items, name), *args), write=True))


class ItemSharing(Suite):
    """One space, many callers; a batch is whole or absent."""

    @pytest.fixture
    def stores(self, items: ItemsInMode, opened: Open) -> list[tuple[Store, ItemBackend]]:
        """Return four callers' stores: of several openings where the store declares `processes`."""
        found = [items.store]
        if capabilities(items.store.backend).processes:
            found.append(opened().store)
        return [(store, store.items) for store in found * (4 // len(found)) if store.items is not None]

    def test_of_many_one_wins_each_round(
        self, items: ItemsInMode, mode: CallMode, stores: list[tuple[Store, ItemBackend]]
    ) -> None:
        won = at_once(mode, [(store, count_up(backend, 4)) for store, backend in stores])
        assert sorted(stamp for stamps in won for stamp in stamps) == [NOW + n for n in range(16)]
        assert [row and (row.value, row.updated) for row in read(items, A)] == [(b"16", NOW + 15)]

    def test_writers_of_one_space_have_stamps_of_their_own(
        self, items: ItemsInMode, mode: CallMode, stores: list[tuple[Store, ItemBackend]]
    ) -> None:
        view = View(items)
        jobs = [(store, put_many(backend, n, 6)) for n, (store, backend) in enumerate(stores)]
        stamps = at_once(mode, [*jobs, (stores[-1][0], follow(stores[-1][1], view, 10))])
        assert sorted(stamp for some in stamps for stamp in some) == [NOW + n for n in range(48)]
        assert all(
            later == earlier + 1 for some in stamps for earlier, later in zip(some[::2], some[1::2], strict=True)
        )
        view.update()
        assert view.known() == all_known(items), "who follows misses nothing"

    def test_a_sweep_never_takes_what_was_put_off(
        self, items: ItemsInMode, mode: CallMode, stores: list[tuple[Store, ItemBackend]]
    ) -> None:
        (one_store, one_backend), *_, (other_store, other_backend) = stores
        for n in range(8):
            now = NOW + 1000 * n
            stored(items, put(b"a", ttl=10), now=now)
            touch = one_store, one(one_backend, "change", ItemBatch(now + 9, [A], [A]))
            sweep = other_store, one(other_backend, "expire", now + 10, 100)
            if n % 2:
                reply, count = at_once(mode, [touch, sweep])
            else:
                count, reply = at_once(mode, [sweep, touch])
            [found] = read(items, A, now=now + 11)
            assert (reply.rows[0] is not None, count) == ((True, 0) if found else (False, 1))

    @pytest.mark.skipif(not CAN_FORK, reason="there are no forks here")
    def test_a_kill_amid_changes(self, items: ItemsInMode, url: str) -> None:
        if not capabilities(items.store.backend).durable:
            pytest.skip("this store does not declare the ability `durable`")
        play("killed_amid_item_changes", url)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore:coroutine .* was never awaited:RuntimeWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
class ItemInterrupts(Suite):
    """Ctrl-C: a batch is whole or absent, and the next one works."""

    def test_an_interrupted_change(self, memory: Memory, items: ItemsInMode, mode: CallMode) -> None:
        numbers = [0]

        def flow() -> Flow[Any]:
            numbers.append(numbers[-1] + 1)
            changes = [put(item.key, b"%d" % numbers[-1]) for item in three_of(b"s")]
            gone = delete(b"gone") if numbers[-1] % 2 else put(b"gone")
            return one(items.backend, "change", ItemBatch(NOW, changes=[*changes, gone]))  # type: ignore[arg-type]

        def check() -> None:
            rows = read(items, *three_of(b"s"))
            values = {int(row.value) if row else None for row in rows}
            assert len(values) == 1 and values <= {*numbers[1:]}, f"half of a batch is there: {rows}"
            view.update()

        with loop_of_its_own() as loop:

            def take() -> None:
                if mode.name == "blocking":
                    run_flow(memory.store, flow())
                else:
                    loop.run_until_complete(arun_flow(memory.store, flow()))

            take()
            view, moments = View(items), Moments()
            for at in chosen(moments, take):
                kept: BaseException | None = None
                try:
                    moments.run(take, at, interrupt)
                except Interrupted as error:
                    kept = error
                check()
                take()
                check()
                assert leased(memory) == 0, f"a connection was left out by an interrupt at moment {at}: {kept!r}"
        for _ in range(20):  # what was sent to a server may be carried out late
            view.update()
            if view.known() == all_known(items):
                return
        raise AssertionError("who follows missed a change")
