"""Items as records: every clause of `ItemBackend.change`."""

from __future__ import annotations

from functools import partial

from charm_checkpoint.contract_items import ItemKey, ItemQuery, ItemRow
from charm_checkpoint.testing.base import Suite
from charm_checkpoint.testing.call_modes import ItemsInMode
from charm_checkpoint.testing.items_samples import (
    HOUR,
    LATE,
    NOW,
    PATHS,
    SECOND,
    View,
    all_known,
    delete,
    do,
    keys,
    listed,
    put,
    read,
    stored,
)

A, B, C = keys(b"a", b"b", b"c")


class ItemChanges(Suite):
    """Batches: reads, touches, puts and deletes."""

    def test_an_item_is_read_as_it_was_put(self, items: ItemsInMode) -> None:
        assert do(items).outcome == "stored"
        full = put(b"a", b"\0value\xff", tags=b"tag1tag2", entry=b"entry", vectors=b"vectors", ttl=HOUR)
        assert stored(items, full, put(b"b", b"")) == [NOW, NOW + 1]
        row = ItemRow(b"s", b"a", b"\0value\xff", NOW, NOW, HOUR, NOW + HOUR)
        bare = ItemRow(b"s", b"b", b"", NOW + 1, NOW + 1)
        assert read(items, B, C, A, B) == [bare, None, row, bare]
        assert read(items, ItemKey(b"other", b"a"), ItemKey(b"", b"a"), ItemKey(b"s", b"")) == [None] * 3
        assert items.fetch([A, C, B]) == {A: row, B: bare}
        assert items.fetch([A, C, B], vectors=True) == {A: row._replace(value=b"vectors"), B: bare._replace(value=b"")}
        assert items.fetch([]) == {}

    def test_a_put_replaces_all_but_when_it_was_created(self, items: ItemsInMode) -> None:
        stored(items, put(b"a", tags=b"tag1", entry=b"entry", vectors=b"vectors", ttl=HOUR))
        assert stored(items, put(b"a", b"new"), now=NOW + 5) == [NOW + 5]
        row = ItemRow(b"s", b"a", b"new", NOW, NOW + 5)
        assert read(items, A, now=LATE) == [row]
        assert items.fetch([A], vectors=True)[A].value == b""
        assert all_known(items) == {A: (NOW + 5, None, b"")}
        assert items.usage() == (1, len(b"anew"))
        stored(items, put(b"a", b"timed", ttl=5), now=NOW + 6)
        assert read(items, A, now=NOW + 7) == [ItemRow(b"s", b"a", b"timed", NOW, NOW + 6, 5, NOW + 11)]

    def test_stamps_of_a_space_only_grow(self, items: ItemsInMode) -> None:
        assert stored(items, put(b"b"), put(b"a"), put(b"x", space=b"t"), put(b"c")) == [NOW, NOW + 1, NOW, NOW + 2]
        assert stored(items, put(b"a"), now=NOW - HOUR) == [NOW + 3], "the clock was set back"
        assert stored(items, delete(b"a"), delete(b"none"), put(b"d")) == [NOW + 4, 0, NOW + 5]
        assert stored(items, delete(b"a"), put(b"x", space=b"t"), now=NOW + 5) == [0, NOW + 5]
        assert stored(items, put(b"b"), now=NOW + HOUR) == [NOW + HOUR]
        assert stored(items, put(b"b"), put(b"e", space=b"t"), now=NOW + 5) == [NOW + HOUR + 1, NOW + 6]
        assert listed(items, b"s") == [B, *keys(b"d", b"c")]

    def test_times_that_are_given_are_kept(self, items: ItemsInMode) -> None:
        stored(items, put(b"b"))
        (view := View(items)).update()
        assert stored(items, put(b"a", created=7, updated=9), put(b"c", updated=LATE), put(b"b")) == [9, LATE, NOW + 3]
        view.update()
        assert view.known() == {A: (9, None, b""), B: (NOW + 3, None, b""), C: (LATE, None, b"")}
        assert read(items, A, C) == [ItemRow(b"s", b"a", b"value", 7, 9), ItemRow(b"s", b"c", b"value", LATE, LATE)]
        assert listed(items) == [C, B, A]
        assert do(items, put(b"a", expect=NOW + 1)).outcome == "changed"
        assert stored(items, put(b"a", b"new", expect=9)) == [NOW + 4]
        assert read(items, A) == [ItemRow(b"s", b"a", b"new", 7, NOW + 4)]
        stored(items, put(b"a", created=8))
        assert read(items, A) == [ItemRow(b"s", b"a", b"value", 8, NOW + 5)]

    def test_reads_see_what_was_before_the_batch(self, items: ItemsInMode) -> None:
        stored(items, put(b"a", b"old", ttl=HOUR), put(b"b", b"old"))
        before = read(items, A, B, C)
        reply = do(
            items, put(b"a", b"new", ttl=HOUR), delete(b"b"), put(b"c"),
            now=NOW + 9, reads=[A, B, C], touches=[A],
        )  # fmt: skip
        assert list(reply.rows) == before
        after = ItemRow(b"s", b"a", b"new", NOW, NOW + 10, HOUR, NOW + 9 + HOUR)
        assert read(items, A, B) == [after, None]

    def test_an_expired_item_is_not_there(self, items: ItemsInMode) -> None:
        stored(items, put(b"a", ttl=10), put(b"b", ttl=10), put(b"c", ttl=1000))
        over = NOW + 10
        assert all(read(items, A, B, now=over - 1))
        assert read(items, A, B, now=over) == [None, None]
        assert (listed(items, now=over), items.count(b"", over), list(items.spaces(b"", over))) == ([C], 1, [b"s"])
        assert (listed(items, now=LATE), items.count(b"", LATE), list(items.spaces(b"", LATE))) == ([], 0, [])
        assert stored(items, delete(b"a"), now=over, touches=[B]) == [0]
        assert read(items, A, B, now=over) == [None, None]
        assert do(items, put(b"a", expect=NOW), now=over).outcome == "changed"
        assert do(items, delete(b"a", expect=NOW), now=over).outcome == "changed"
        assert stored(items, delete(b"b", expect=0), now=over) == [0]
        assert stored(items, put(b"a", b"new", expect=0), now=over) == [over]
        assert read(items, A, now=LATE) == [ItemRow(b"s", b"a", b"new", over, over)]

    def test_a_touch_puts_off_the_end(self, items: ItemsInMode) -> None:
        first = stored(items, put(b"a", ttl=10), put(b"b"), put(b"c", ttl=10), put(b"d", ttl=10))
        (view := View(items)).update()
        touched = [*keys(b"d"), A, B, *keys(b"none"), ItemKey(b"no space", b"a")]
        assert stored(items, now=NOW + 9, touches=touched) == []
        view.update()
        expected = [(first[0], NOW + 19), (first[1], None), (first[2], NOW + 10), (first[3], NOW + 19)]
        assert [view.known(NOW)[item][:2] for item in (A, B, C, *keys(b"d"))] == expected
        row = ItemRow(b"s", b"a", b"value", NOW, first[0], 10, NOW + 19)
        assert read(items, A, B, C, now=NOW + 18) == [row, ItemRow(b"s", b"b", b"value", NOW + 1, NOW + 1), None]
        assert listed(items, now=NOW + 10) == [*keys(b"d"), B, A], "a touch changes no order"
        assert stored(items, put(b"e"), now=NOW) == [NOW + 11], "each touch has a stamp, of those that found something"
        assert read(items, A, now=NOW + 19) == [None]

    def test_only_as_is_expected(self, items: ItemsInMode) -> None:
        for space, is_there in ((b"s", True), (b"t", False)):
            a, b, c = keys(b"a", b"b", b"c", space=space)
            in_space = partial(put, space=space)
            stored(items, in_space(b"b", ttl=HOUR), *[in_space(b"a")] * is_there)
            right, wrong = (NOW + 1, (0, NOW, NOW + 2)) if is_there else (0, (1, NOW, NOW + 1))
            (view := View(items, space)).update()
            before = read(items, a, b)
            for expect in wrong:
                for change in (in_space(b"a", b"new", expect=expect), delete(b"a", space, expect=expect)):
                    others = in_space(b"c"), in_space(b"b", b"new", expect=NOW)
                    reply = do(items, others[0], change, others[1], now=NOW + 20, reads=[a, b], touches=[b])
                    assert (reply.outcome, list(reply.rows), list(reply.updated)) == ("changed", before, [])
            assert read(items, a, b, c) == [*before, None]
            known = view.known()
            view.update()
            assert view.known() == known == all_known(items, space), "nothing was touched either"
            last = NOW + is_there
            updated = stored(items, in_space(b"a", b"new", expect=right), in_space(b"b", expect=NOW))
            assert updated == [last + 1, last + 2]
            assert stored(items, delete(b"a", space, expect=last + 1), in_space(b"c", expect=0)) == [last + 3, last + 4]
            assert read(items, a) == [None]

    def test_a_delete_of_what_is_expired(self, items: ItemsInMode) -> None:
        first = stored(items, put(b"a", ttl=10), put(b"b", ttl=10), put(b"c"))
        stored(items, now=NOW + 9, touches=[B])
        (view := View(items)).update()
        doomed = [delete(name, expired=True) for name in (b"a", b"b", b"c", b"none")]
        at = NOW + 10
        assert stored(items, *doomed, now=at) == [at, 0, 0, 0]
        view.update()
        assert set(view.known(0)) == {B, C}, "what is removed is gone for searches, too"
        assert stored(items, *doomed, now=at) == [0] * 4
        assert read(items, A, C, now=at) == [None, ItemRow(b"s", b"c", b"value", first[2], first[2])]
        assert items.usage() == (2, len(b"bvaluecvalue"))

    def test_any_bytes(self, items: ItemsInMode) -> None:
        for now, changes in (
            (NOW, [put(key, key[-20:] + b"key") for key in PATHS]),
            (NOW + HOUR, [put(b"", space[-20:] + b"space", space, entry=space[-9:]) for space in PATHS]),
        ):
            assert len(stored(items, *changes, now=now)) == len(PATHS)
            wanted = [change.item for change in changes]
            rows = read(items, *wanted)
            assert [row and (row.item, row.value) for row in rows] == [
                (change.item, change.value) for change in changes
            ]
            assert {item: row.value for item, row in items.fetch(wanted).items()} == {
                change.item: change.value for change in changes
            }
        for prefix in PATHS:
            below = sorted(path for path in (*PATHS, b"s") if path.startswith(prefix))
            assert list(items.spaces(prefix, NOW)) == below
            if prefix in PATHS[:6]:
                assert items.count(prefix, NOW) == len(below) + (len(PATHS) - 1) * (b"s" in below)
                assert {item.space for item in all_known(items, prefix)} == set(below)
        assert listed(items, b"s") == keys(*PATHS)[::-1]
        # Their stamps are the same, so they come as their paths are sorted.
        spaces = sorted(PATHS)
        assert listed(items, size=len(PATHS)) == [ItemKey(space, b"") for space in spaces]
        for space in (b"i\xff", b"ia\0", b"x" * 40_000):
            gone = [path for path in PATHS if path.startswith(space)]
            assert items.erase(space) == len(gone)
            spaces = [path for path in spaces if path not in gone]
            assert list(items.spaces(b"", NOW)) == sorted([*spaces, b"s"])
        assert stored(items, *(delete(key) for key in PATHS)) == [NOW + len(PATHS) + n for n in range(len(PATHS))]
        assert listed(items, b"s") == []

    def test_large_values_and_large_batches(self, items: ItemsInMode) -> None:
        large = bytes(range(256)) * 20_000
        stored(items, put(b"a", large, entry=large[:100_000], vectors=large[:1_000_000]))
        assert [row.value for row in items.page(ItemQuery(b"s", NOW, 1))] == [large]
        assert items.fetch([A], vectors=True)[A].value == large[:1_000_000]
        assert items.usage(b"s").payload_bytes == 1 + len(large) + 1_100_000
        many = [put(b"%d" % n, b"v%d" % n, b"m", ttl=SECOND if n else None) for n in range(2000)]
        assert stored(items, *many) == [NOW + n for n in range(2000)]
        wanted = [change.item for change in many]
        assert [row and row.value for row in read(items, *wanted)] == [change.value for change in many]
        assert len(items.fetch(wanted)) == items.count(b"m", NOW) == 2000
        stored(items, now=NOW + 5, touches=wanted)
        gone = stored(items, *(delete(item.key, b"m") for item in wanted[:1500]))
        assert gone == [NOW + 3999 + n for n in range(1500)], "the touch of one that never ends was no change"
        assert items.count(b"m", NOW) == 500
