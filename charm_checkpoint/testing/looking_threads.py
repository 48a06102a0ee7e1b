"""Looking for threads: filters, orders, and going on with a cursor; no value is read."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from charm_checkpoint.contract import capabilities
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.memory import Memory
from charm_checkpoint.testing.base import Suite, Take
from charm_checkpoint.testing.call_modes import CallMode, InMode
from charm_checkpoint.testing.samples import TEXTS, checkpoint, config
from charm_checkpoint.testing.saver_methods import put


def named(found: list[Any]) -> list[str]:
    """Return the names of listed threads."""
    return [item.thread_id for item in found]


class LookingForThreads(Suite):
    """`Memory.threads` with filters, orders and cursors."""

    @pytest.fixture
    def looked(self, memory: Memory, mode: CallMode) -> InMode:
        """Return the store, called in this mode."""
        return InMode(memory, mode)

    @pytest.fixture
    def six(self, looked: InMode, saver: InMode) -> list[str]:
        """Store threads of one to five checkpoints, and one of messages only; return their names."""
        for n in range(5):
            at = config(f"t{n}")
            for _ in range(n + 1):
                at = put(saver, at, checkpoint({"messages": [("user", f"Question {n}")], "filler": "x" * 100 * n}))
        looked.save_messages("said", [{"role": "user", "content": "hi"}])
        return ["t0", "t1", "t2", "t3", "t4", "said"]

    def test_those_that_are_pinned_or_not(self, looked: InMode, saver: InMode) -> None:
        for name in ("a", "b", "c"):
            put(saver, config(name), checkpoint({"n": 1}))
        looked.pin("b")
        for order in (None, "id"):
            assert [info.thread_id for info in looked.threads(1, pinned=True, order=order)] == ["b"]
            assert {info.thread_id for info in looked.threads(pinned=False, order=order)} == {"a", "c"}
        with pytest.raises(ConfigError, match="pinned is True, False or None"):
            looked.threads(pinned="yes")

    def test_a_text_is_looked_for_in_names_and_titles(self, looked: InMode, six: list[str]) -> None:
        assert named(looked.threads(search="T3")) == ["t3"]
        assert named(looked.threads(search="question 1")) == ["t1"]
        assert set(named(looked.threads(search="question"))) == {"t0", "t1", "t2", "t3", "t4"}
        assert named(looked.threads(search="nothing like it")) == []
        assert len(looked.threads(2, search="question")) == 2

    def test_a_status_is_looked_for(self, looked: InMode, asking: Any, saver: InMode) -> None:
        InMode(asking.paused(saver.raw), saver.mode).invoke({"log": ["begun"]}, config("waits"))
        put(saver, config("done"), checkpoint({}))
        assert named(looked.threads(status="waiting")) == named(looked.threads(status=["waits", "failed"])) == ["waits"]
        assert named(looked.threads(status="idle")) == ["done"]
        assert set(named(looked.threads(status=["idle", "waits"]))) == {"waits", "done"}
        assert named(looked.threads(status="failed")) == []

    def test_times_are_looked_for(self, looked: InMode, six: list[str]) -> None:
        now = datetime.now(timezone.utc)
        early, late = now - timedelta(minutes=5), now + timedelta(minutes=5)
        assert set(named(looked.threads(since=early, until=late))) == set(six)
        assert named(looked.threads(since=late)) == named(looked.threads(until=early)) == []

    def test_orders(self, looked: InMode, six: list[str]) -> None:
        assert named(looked.threads(order="id")) == sorted(six)
        assert named(looked.threads(order="checkpoints"))[:5] == ["t4", "t3", "t2", "t1", "t0"]
        assert named(looked.threads(2, order="checkpoints")) == ["t4", "t3"]
        sizes = [item.size for item in looked.threads(order="size")]
        assert sizes == sorted(sizes, key=lambda size: (size is None, -(size or 0)))
        times = [item.updated_at for item in looked.threads(order="activity")]
        assert times == sorted(times, reverse=True) and len(times) == 6

    @pytest.mark.parametrize("order", ["activity", "size", "checkpoints", "id"])
    def test_a_cursor_goes_on_behind_each_thread(self, looked: InMode, six: list[str], order: str) -> None:
        everything = looked.threads(order=order)
        assert set(named(everything)) == set(six)
        for number, item in enumerate(everything, 1):
            assert named(looked.threads(order=order, after=item.cursor)) == named(everything)[number:]
        pages, after = [], None
        while page := looked.threads(2, order=order, after=after):
            pages.append(named(page))
            after = page[-1].cursor
        assert list(itertools.chain(*pages)) == named(everything)

    def test_a_cursor_is_good_for_another_process(self, looked: InMode, six: list[str], second: Memory) -> None:
        first = looked.threads(3, order="activity")
        rest = InMode(second, looked.mode).threads(order="activity", after=first[-1].cursor)
        assert set(named(first) + named(rest)) == set(six) and len(rest) == 3

    def test_a_listing_without_an_order_has_cursors_where_the_store_has_one(
        self, looked: InMode, six: list[str]
    ) -> None:
        has_order = capabilities(looked.raw.store.backend).latest_first
        assert {item.cursor is not None for item in looked.threads()} == {has_order}

    def test_where_a_thread_is_gone_the_listing_goes_on_all_the_same(self, looked: InMode, six: list[str]) -> None:
        for order in ("activity", "id"):
            cursor = looked.threads(2, order=order)[-1].cursor
            before = named(looked.threads(order=order))
            looked.delete_thread(before[1])
            assert set(before[2:]) <= set(named(looked.threads(order=order, after=cursor)))

    def test_names_of_any_text(self, looked: InMode, saver: InMode, part_of: Take) -> None:
        texts = part_of(TEXTS)
        for name in texts:
            put(saver, config(name), checkpoint({}))
        found, after = [], None
        while page := looked.threads(len(texts) // 2, order="id", after=after):
            found += named(page)
            after = page[-1].cursor
        assert sorted(found) == sorted(texts)

    def test_what_nobody_can_look_for_is_told_at_once(self, looked: InMode, six: list[str]) -> None:
        cursor = looked.threads(1, order="id")[0].cursor
        wrong: list[dict[str, Any]] = [
            {"status": "asleep"}, {"order": "colour"}, {"since": "yesterday"}, {"until": 3}, {"search": 5},
            {"order": "id", "after": "!"}, {"order": "size", "after": cursor}, {"after": 7}, {"limit": -1},
        ]  # fmt: skip
        for options in wrong:
            with pytest.raises(ConfigError):
                looked.raw.threads(**options)
            with pytest.raises(ConfigError):
                looked.raw.athreads(**options)

    def test_a_line_is_plain_json(self, looked: InMode, six: list[str]) -> None:
        import json

        for item in looked.threads():
            told = json.loads(json.dumps(item.as_dict()))
            assert told["thread_id"] in six and told["updated_at"].endswith("+00:00")
