"""What searches and listings read of items: every clause of `ItemBackend.entries`, `fetch`, `page` and the rest."""

from __future__ import annotations

from itertools import product

from charm_checkpoint.contract import NESTED
from charm_checkpoint.contract_items import INLINE_VECTORS, ItemKey, ItemQuery
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import ItemsInMode
from charm_checkpoint.testing.items_samples import (
    HOUR,
    LATE,
    NOW,
    View,
    all_known,
    delete,
    keys,
    listed,
    put,
    read,
    stored,
)

A, B, C = keys(b"a", b"b", b"c")


class ItemEntries(Suite):
    """What has changed below a prefix, for those who keep what they have read."""

    def test_what_is_not_known_comes_whole(self, items: ItemsInMode) -> None:
        assert list(items.entries(b"").spaces) == []
        stored(
            items, put(b"a", entry=b"\0entry\xff", vectors=b"\0vector\xff", ttl=9), put(b"b"), put(b"x", space=b"st")
        )
        reply = items.entries(b"s")
        found = {space.space: space for space in reply.spaces}
        assert len(found) == len(reply.spaces) == 2 and not reply.same
        space = found[b"s"]
        assert (space.stamp, sorted(space.keys)) == (NOW + 1, [b"a", b"b"])
        full, bare = sorted(space.entries)
        assert full == (b"a", NOW, NOW + 9, b"\0entry\xff", b"\0vector\xff"), "few vectors are sent along"
        assert bare == (b"b", NOW + 1, None, b"", b"")
        assert [space.space for space in items.entries(b"st").spaces] == [b"st"]
        assert list(items.entries(b"sta").spaces) == []

    def test_only_what_has_changed(self, items: ItemsInMode) -> None:
        stored(items, *(put(b"%d" % n, ttl=3 * HOUR) for n in range(50)), put(b"x", space=b"t"))
        (view := View(items)).update()
        for now in (NOW, NOW - HOUR, NOW + HOUR // 2, NOW):
            stored(items, put(b"1", entry=b"%d" % now), put(b"new %d" % now), now=now, touches=keys(b"7"))
            # Without the mark, and with it.
            for reply in (items.entries(b"", view.stamps), view.update()):
                changed = {space.space: {entry.key for entry in space.entries} for space in reply.spaces}
                assert changed == {b"s": {b"1", b"7", b"new %d" % now}, b"t": set()}
            assert view.known() == all_known(items)

    def test_nothing_has_changed(self, items: ItemsInMode) -> None:
        (view := View(items)).update()
        stored(items, put(b"a"), put(b"x", space=b"t"))
        assert not view.update().same
        assert not [space for space in view.update().spaces if space.entries or space.keys]
        for change in (put(b"a"), delete(b"a"), put(b"y", space=b"u"), delete(b"x", space=b"t")):
            stored(items, change)
            assert not view.update().same
            assert view.known() == all_known(items)
        read(items, *keys(b"a"))
        assert not [space for space in view.update().spaces if space.entries or space.keys]
        items.erase(b"u")
        assert not view.update().same and view.known() == {}

    def test_what_was_removed_is_gone(self, items: ItemsInMode) -> None:
        spaces = (b"s", b"t", b"u")
        stored(items, *(put(name, space=space, ttl=10) for space in spaces for name in (b"a", b"b")))
        views = [View(items), View(items, b"s"), View(items, b"t")]
        for view in views:
            view.update()
        views[1].update()
        stored(items, delete(b"a"), put(b"c", ttl=HOUR))
        assert not views[1].update().same
        stored(items, *(delete(name, space=b"t") for name in (b"a", b"b")))
        assert items.erase(b"u") == 2
        assert items.expire(NOW + 100, 100) == 1
        stored(items, put(b"d"))
        for view in views:
            view.update()
        assert set(views[0].known(0)) == {C, *keys(b"d")} == set(views[1].known(0))
        assert views[2].known() == {} == dict(views[2].stamps)
        assert views[0].known() == all_known(items)

    def test_a_space_that_was_emptied_and_filled_again(self, items: ItemsInMode) -> None:
        for number, (how, shift) in enumerate(product(("delete", "erase", "expire"), (-HOUR, HOUR))):
            space = b"space %d" % number
            stored(items, put(b"a", space=space, entry=b"old", ttl=10), put(b"b", space=space, ttl=10))
            (view := View(items, space)).update()
            if how == "delete":
                stored(items, delete(b"a", space), delete(b"b", space))
            else:
                assert (items.erase(space) if how == "erase" else items.expire(NOW + 50, 10)) == 2
            assert all_known(items, space) == {}
            assert list(items.spaces(space, 0)) == []
            [updated] = stored(items, put(b"a", space=space, entry=b"new"), now=NOW + shift)
            assert updated >= NOW + shift
            assert shift < 0 or updated == NOW + shift, "a forgotten space begins with the time"
            view.update()
            assert view.known() == {ItemKey(space, b"a"): (updated, None, b"new")}
            stored(items, put(b"c", space=space), now=NOW + shift)
            view.update()
            assert view.known() == all_known(items, space)

    def test_a_space_made_anew_by_a_slow_clock_and_then_changed_by_a_fast_one(self, items: ItemsInMode) -> None:
        for how in ("delete", "erase", "expire"):
            space = how.encode()
            stored(items, put(b"a", space=space, ttl=10), put(b"b", space=space, ttl=10), now=NOW + HOUR)
            (view := View(items)).update()
            if how == "delete":
                stored(items, delete(b"a", space), delete(b"b", space))
            else:
                assert (items.erase(space) if how == "erase" else items.expire(NOW + HOUR + 50, 10)) == 2
            stored(items, put(b"slow", space=space), put(b"b", space=space))
            stored(items, put(b"fast", space=space), now=NOW + 2 * HOUR)
            view.update()
            assert view.known() == all_known(items)
            assert {item.key for item in view.known() if item.space == space} == {b"slow", b"b", b"fast"}

    def test_many_entries(self, items: ItemsInMode) -> None:
        numbers = range(INLINE_VECTORS + 1)
        many = [put(b"%d" % n, space=b"s%d" % (n % 7), entry=b"e", vectors=b"v%d" % n) for n in numbers]
        stored(items, *many)
        reply = items.entries(b"s")
        entries = {ItemKey(space.space, entry.key): entry for space in reply.spaces for entry in space.entries}
        assert entries.keys() == {change.item for change in many}
        vectors = items.fetch(list(entries), vectors=True)
        for change in many:
            assert entries[change.item].vectors in (None, change.vectors), "all of them or none"
            assert vectors[change.item].value == change.vectors
        stored(items, delete(b"1", b"s1"))
        found = [entry.vectors for space in items.entries(b"s").spaces for entry in space.entries]
        assert len(found) == INLINE_VECTORS and None not in found


class ItemListings(Suite):
    """Listings, counts, and what removes items."""

    def test_pages_together_are_exactly_the_matches(self, items: ItemsInMode) -> None:
        for space in (b"s", b"s\0", b"t", b""):
            stored(items, *(put(b"%d" % n, space=space, ttl=5 if n == 3 else None) for n in range(9)))
        stored(items, put(b"1", space=b"s\0"), now=NOW - HOUR)
        stored(items, put(b"old", updated=1, space=b"t"), put(b"new", updated=LATE, space=b"t"))
        now = NOW + 8
        for prefix in (b"", b"s", b"s\0", b"t", b"none"):
            rows = list(items.page(ItemQuery(prefix, now, 1000)))
            place = [(-row.updated, row.space, row.key) for row in rows]
            assert place == sorted(set(place))
            assert {row.item for row in rows} == set(all_known(items, prefix, now))
            assert len(rows) == items.count(prefix, now)
            backward = list(items.page(ItemQuery(prefix, now, 1000, oldest_first=True)))
            assert backward == rows[::-1]
            for size, oldest_first in {b"": ((7, False), (9, True)), b"s\0": ((1, False), (1, True))}.get(prefix, ()):
                pages = [items.page(ItemQuery(prefix, now, size, oldest_first=oldest_first))]
                while len(pages[-1]) == size:
                    last = pages[-1][-1]
                    after = last.updated, last.space, last.key
                    pages.append(items.page(ItemQuery(prefix, now, size, after=after, oldest_first=oldest_first)))
                assert [row for page in pages for row in page] == (backward if oldest_first else rows)
        rows = list(items.page(ItemQuery(b"", now, 1000)))
        for skip, size in ((0, 5), (3, 4), (len(rows) - 1, 9), (len(rows), 9), (5000, 9)):
            assert list(items.page(ItemQuery(b"", now, size, skip=skip))) == rows[skip:][:size]
        after = rows[5].updated, rows[5].space, rows[5].key
        assert list(items.page(ItemQuery(b"", now, 4, skip=3, after=after))) == rows[9:13]
        stored(items, delete(rows[5].key, rows[5].space))
        assert list(items.page(ItemQuery(b"", now, 4, after=after))) == rows[6:10], "the last one need not be there"

    def test_what_has_the_tags_is_listed(self, items: ItemsInMode) -> None:
        one, two, three = b"tag1", b"tag2", b"\0\xff%_"
        stored(items, put(b"a", tags=one), put(b"b", tags=one + two), put(b"c", tags=three + two), put(b"d"))
        stored(items, put(b"e", tags=NESTED + one), put(b"f", tags=NESTED + one + three), put(b"g", tags=two, ttl=3))
        every = set(listed(items))
        for tags, nested, least in (
            ((one,), (), b"abef"),
            ((two,), (), b"bcg"),
            ((three, two), (), b"c"),
            ((b"none",), (), b""),
            ((one,), (three,), b"abf"),
            ((), (three,), b"abcdfg"),
        ):
            query = ItemQuery(b"s", NOW, 3, tags, nested)
            pages = [items.page(query)]
            while len(pages[-1]) == 3:
                last = pages[-1][-1]
                after = last.updated, last.space, last.key
                pages.append(items.page(ItemQuery(b"s", NOW, 3, tags, nested, after=after)))
            found = [row.item for page in pages for row in page]
            assert {ItemKey(b"s", bytes([name])) for name in least} <= set(found) <= every
            assert found == [item for item in listed(items) if item in found], "in order, each once"

    def test_expire_removes_so_many_of_what_is_over(self, items: ItemsInMode) -> None:
        spaces = (b"s", b"t", b"u")
        stored(items, *(put(b"%d" % n, space=space, ttl=10 + n) for space in spaces for n in range(10)))
        stored(items, *(put(b"for ever", space=space) for space in spaces[1:]))
        assert items.expire(NOW + 9, 100) == 0
        counts = list[int]()
        while counts[-1:] != [0]:
            counts.append(items.expire(NOW + 14, 4))
        assert sum(counts) == 15 and max(counts) <= 4, counts
        assert items.usage().items == items.count(b"", NOW) == 17
        assert items.expire(NOW + 15, 100) == 3
        assert items.expire(LATE, 100) == 12
        assert listed(items) == [ItemKey(space, b"for ever") for space in spaces[1:]]
        assert items.usage() == (2, 2 * len(b"for evervalue"))
        assert set(all_known(items, now=0)) == set(listed(items))
        stored(items, put(b"a", ttl=10), put(b"b", ttl=10), put(b"c", ttl=10))
        stored(items, put(b"b", b"new"), now=NOW + 9, touches=[A])
        assert items.expire(NOW + 10, 100) == 1, "what was put off or put anew stays"
        assert [row and row.expires for row in read(items, A, B, C)] == [NOW + 19, None, None]
        assert set(all_known(items, b"s", now=0)) == {A, B}

    def test_erase_and_usage(self, items: ItemsInMode) -> None:
        assert items.usage() == (0, 0) and items.erase(b"") == 0
        for space in (b"s", b"s\0", b"sa", b"t"):
            stored(items, put(b"key", b"value", space, entry=b"e", vectors=b"v" * 5, ttl=1), put(b"", b"", space))
        each = 3 + 5 + 1 + 5
        assert items.usage() == (8, 4 * each)
        assert items.usage(b"s") == (6, 3 * each)
        assert items.usage(b"s\0") == items.usage(b"sa") == (2, each)
        assert items.usage(b"none") == (0, 0)
        assert items.erase(b"s\0") == 2
        assert items.erase(b"sa") == 2 and items.erase(b"sa") == 0
        assert list(items.spaces(b"", NOW)) == [b"s", b"t"]
        assert items.usage() == (4, 2 * each)
        assert items.erase(b"") == 4
        assert items.usage() == (0, 0) and all_known(items, now=0) == {}
        assert read(items, *keys(b"key", b"")) == [None] * 2
