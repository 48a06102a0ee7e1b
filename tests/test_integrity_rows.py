"""Rows of tables that are there and stand where they should not: they are told, and a repair loses none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from children.jobs import config, items, put
from conftest import or_skip
from damaging import MESSAGES, SqlDamager, postgres_damager, sqlite_damager
from stores import postgres_url

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.checking.integrity import IntegrityFinding, IntegrityReport
from charm_checkpoint.errors import StoreCorrupt

KEY = "(SELECT key FROM thread WHERE kind = 0 AND name = CAST('bad' AS BLOB))"


class Tables(NamedTuple):
    """A store of tables that is filled: its URL, what damages it, and what stands before a table's name."""

    url: str
    damager: Callable[[], AbstractContextManager[SqlDamager]]
    schema: str = ""

    def run(self, statement: str, *params: Any) -> None:
        """Damage it."""
        with self.damager() as damager:
            damager.run(statement.replace("{}", self.schema), *params)


def fill(memory: Memory) -> None:
    """Store two threads, each with two namespaces, messages and three batches behind them."""
    saver = memory.get_langgraph_checkpointer()
    for thread in ("bad", "sound"):
        for ns in ("", "sub"):
            at: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
            for count in (60, 61, 90):
                at = put(saver, at, {"items": items(count)})
        memory.save_messages(thread, MESSAGES)
        for number in range(3):
            memory.append_messages(thread, [{"content": str(number)}])


def _sqlite(folder: Path) -> Tables:
    path = folder / "charm.db"
    return Tables(f"sqlite:///{path}", lambda: sqlite_damager(path))


def _postgres(folder: Path) -> Tables:
    url = or_skip(postgres_url)
    return Tables(url, lambda: postgres_damager(url), "charm_checkpoint.")


@pytest.fixture(params=[_sqlite, _postgres], ids=["sqlite", "postgres"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Tables:
    """Return a store of each kind that is filled."""
    made: Tables = request.param(tmp_path)
    with open_memory(made.url) as memory:
        fill(memory)
    return made


@pytest.fixture
def sqlite(tmp_path: Path) -> Tables:
    """Return a file that is filled."""
    made = _sqlite(tmp_path)
    with open_memory(made.url) as memory:
        fill(memory)
    return made


def look(tables: Tables, **options: Any) -> IntegrityReport:
    """Look at all of a store."""
    with open_memory(tables.url) as memory:
        report = memory.check(integrity="only", **options).integrity
    assert report is not None
    return report


def reads(tables: Tables) -> Iterator[Any]:
    """Yield what reads of the thread "bad" show, then those of the other."""
    with open_memory(tables.url) as memory:
        saver = memory.get_langgraph_checkpointer()
        for thread in ("bad", "sound"):
            for ns in ("", "sub"):
                at: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
                yield saver.get_tuple(at)
                yield list(saver.list(at))
            yield memory.load_messages(thread)


def problems(report: IntegrityReport) -> list[IntegrityFinding]:
    """Return what is damaged, all of which must say what can be done."""
    assert all(found.advice for found in report.problems)
    return report.problems


LINKS = ["NULL", "key", "key + 1", "-1", "(SELECT min(key) FROM checkpoint c WHERE c.space <> checkpoint.space)"]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_leads_elsewhere_is_told_and_mended(sqlite: Tables, link: str) -> None:
    before = list(reads(sqlite))
    sqlite.run(f"UPDATE checkpoint SET previous = {link} WHERE key IN (SELECT head FROM space WHERE thread = {KEY})")
    assert {(found.kind, found.thread) for found in problems(look(sqlite))} == {("head", "bad")}
    report = look(sqlite, repair=True)
    assert report.ok and all(found.repaired for found in report.findings)
    assert list(reads(sqlite)) == before


def test_a_listing_ends_where_links_lead_round_in_a_circle(sqlite: Tables) -> None:
    sqlite.run("UPDATE checkpoint SET previous = (SELECT head FROM space s WHERE s.key = checkpoint.space)")
    with open_memory(sqlite.url) as memory:
        assert len(list(memory.get_langgraph_checkpointer().list(config("bad"), limit=10))) == 1


def test_a_checkpoint_that_is_stored_twice_is_told_and_never_takes_the_place_of_the_head(sqlite: Tables) -> None:
    before = list(reads(sqlite))
    columns = "space, id, parent, run, conflict, tags, roots, body"
    first = f"(SELECT min(key) FROM checkpoint WHERE space IN (SELECT key FROM space WHERE thread = {KEY}))"
    sqlite.run(f"INSERT INTO checkpoint ({columns}) SELECT {columns} FROM checkpoint WHERE key = {first}")
    for repair in (False, True):
        found = problems(look(sqlite, repair=repair))
        assert ("record", "bad") in {(each.kind, each.thread) for each in found}
        assert not any(each.repaired for each in look(sqlite).findings)
    assert list(reads(sqlite)) == before


@pytest.mark.parametrize("owner", ["-1", "99999"])
def test_a_head_whose_place_is_lost_stays_the_head(sqlite: Tables, owner: str) -> None:
    before = list(reads(sqlite))
    head = f"key IN (SELECT head FROM space WHERE ns = x'' AND thread = {KEY})"
    space = f"(SELECT key FROM space WHERE ns = x'' AND thread = {KEY})"
    sqlite.run(f"UPDATE checkpoint SET space = {owner} WHERE {head}")
    found = problems(look(sqlite, repair=True))
    assert {(each.kind, each.thread) for each in found} >= {("head", "bad"), ("store", None)}
    assert next(reads(sqlite)) == before[0]
    sqlite.run(f"UPDATE checkpoint SET space = {space} WHERE {head}")
    assert look(sqlite).ok and list(reads(sqlite)) == before


def test_a_commit_that_was_put_after_what_was_made_from_it_does_not_become_the_head(sqlite: Tables) -> None:
    before = list(reads(sqlite))
    space = f"(SELECT key FROM space WHERE ns = x'' AND thread = {KEY})"
    sqlite.run(f"UPDATE checkpoint SET key = 500 WHERE key = (SELECT min(key) FROM checkpoint WHERE space = {space})")
    for _ in range(2):
        assert ("head", "bad") in {(each.kind, each.thread) for each in problems(look(sqlite, repair=True))}
    assert next(reads(sqlite)) == before[0]


def test_a_namespace_that_is_another_threads_can_be_put_back_after_a_repair(sqlite: Tables) -> None:
    before = list(reads(sqlite))
    with sqlite.damager() as damager:
        [[key]] = damager.rows(f"SELECT key FROM space WHERE ns <> x'' AND thread = {KEY}")
    sqlite.run("UPDATE space SET thread = 99 WHERE key = ?", key)
    assert not look(sqlite, repair=True).ok
    sqlite.run(f"UPDATE space SET thread = {KEY} WHERE key = ?", key)
    assert look(sqlite, repair=True).ok and list(reads(sqlite)) == before


def test_a_repair_leaves_the_chunks_of_a_head_that_was_lost(sqlite: Tables) -> None:
    before = list(reads(sqlite))
    head = f"key IN (SELECT head FROM space WHERE ns = x'' AND thread = {KEY})"
    with sqlite.damager() as damager:
        [row] = damager.rows(f"SELECT * FROM checkpoint WHERE {head}")
    sqlite.run(f"DELETE FROM checkpoint WHERE {head}")
    assert look(sqlite, repair=True).ok
    sqlite.run(f"INSERT INTO checkpoint VALUES ({', '.join('?' * len(row))})", *row)
    assert look(sqlite, repair=True).ok and list(reads(sqlite)) == before


@pytest.mark.parametrize("wrong", ["identity = [0123456789abcdef]", "name = [bat]", "kind = 77"])
def test_a_row_that_is_not_found_by_the_name_it_bears_is_told(tables: Tables, wrong: str) -> None:
    made = "convert_to('{}', 'UTF8')" if tables.schema else "CAST('{}' AS BLOB)"
    wrong = wrong.replace("[", made.partition("{}")[0]).replace("]", made.partition("{}")[2])
    tables.run(f"UPDATE {{}}thread SET {wrong} WHERE kind = 0 AND name = {made.replace('{}', 'bad')}")
    report = look(tables, repair=True)
    named = "bat" if "bat" in wrong else "bad"
    assert ("thread", named) in {(found.kind, found.thread) for found in problems(report)}
    assert not look(tables).ok and "sound" not in report.damaged


def test_a_batch_that_is_lost_between_others_is_told(tables: Tables) -> None:
    tables.run("DELETE FROM {}message_batch WHERE number = 2")
    told = [(found.kind, found.thread) for found in problems(look(tables))]
    assert told == [("messages", "bad"), ("messages", "sound")]
    with open_memory(tables.url) as memory:
        for thread in ("bad", "sound"):
            memory.delete_messages(thread)
    assert look(tables).ok


def test_batches_that_were_taken_into_the_list_leave_no_gap(tables: Tables) -> None:
    with open_memory(tables.url) as memory:
        for number in range(20):
            memory.append_messages("bad", [{"content": "x" * 5000, "number": number}])
    assert look(tables).ok


def test_a_list_of_messages_that_is_lost_is_told_and_not_gone_on_with(tables: Tables) -> None:
    tables.run(f"UPDATE {{}}{'message' if tables.schema else 'message_list'} SET body = NULL")
    assert {(found.kind, found.thread) for found in problems(look(tables))} >= {("messages", "bad")}
    with open_memory(tables.url) as memory:
        with pytest.raises(StoreCorrupt, match="'bad'"):
            memory.load_messages("bad")
        memory.delete_messages("bad")
        memory.append_messages("bad", [{"content": "new"}])
        assert memory.load_messages("bad") == [{"content": "new"}]


def test_a_count_that_is_none_is_counted(sqlite: Tables) -> None:
    sqlite.run(f"UPDATE thread SET checkpoints = NULL WHERE key = {KEY}")
    assert look(sqlite).ok
    with open_memory(sqlite.url) as memory:
        assert {info.thread_id: info.checkpoints for info in memory.threads()} == {"bad": 6, "sound": 6}
