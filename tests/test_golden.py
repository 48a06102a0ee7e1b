"""Stores that earlier versions wrote, read and gone on with by this one; see golden/write.py."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import golden_contents
import golden_contents_2 as second
import golden_contents_3 as third
import pytest
from conftest import or_skip
from golden_checks import check_everything, check_messages, meanings, said
from golden_contents import HOSTILE, MESSAGES
from golden_stores import FOLDER, STORES, VERSIONS, opened, upgrade_supabase
from strict import same

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.errors import ItemConflict, ReadOnlyStore, SchemaMismatch
from charm_checkpoint.messages.plans import FOLD_BATCHES, MessageHistory
from charm_checkpoint.retention import sweeping
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode, InMode, ItemsInMode, PlansInMode
from charm_checkpoint.testing.graphs import Command, nested, paused
from charm_checkpoint.testing.samples import checkpoint, config, ids, new


def url_of(version: str, store: str, scratch: Path) -> str:
    """Return the URL of a store that a version wrote, ready to be used."""
    url = opened(store, scratch, version)
    if store == "supabase" and version in ("0.1.0", "0.2.0"):
        with open_memory(url) as memory, pytest.raises(SchemaMismatch, match="or an older one.*paste what it prints"):
            memory.usage()
        upgrade_supabase()
    return url


@pytest.fixture(params=[(version, store) for version in VERSIONS for store in STORES], ids="-".join)
def golden(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return a version, and the name of a store that it wrote."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def is_second(golden: tuple[str, str]) -> bool:
    """Tell whether the store was written by the second version, or a later one."""
    return golden[0] != "0.1.0"


@pytest.fixture
def is_third(golden: tuple[str, str]) -> bool:
    """Tell whether the store was written by the third version, or a later one."""
    return golden[0] not in ("0.1.0", "0.2.0")


@pytest.fixture
def memory(golden: tuple[str, str], tmp_path: Path) -> Iterator[Memory]:
    """Yield a store that an earlier version wrote."""
    with open_memory(or_skip(lambda: url_of(*golden, tmp_path))) as memory:
        yield memory


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    if request.param == "async" and sys.version_info < (3, 11):
        pytest.skip("interrupts in async code need Python 3.11")
    made = CALL_MODES[request.param]()
    yield made
    made.close()


def test_there_are_golden_stores_of_every_kind() -> None:
    assert VERSIONS
    for version in VERSIONS:
        assert {path.stem for path in (FOLDER / version).iterdir()} == set(STORES)


def test_everything_reads_back_and_goes_on(memory: Memory, mode: CallMode, is_second: bool, is_third: bool) -> None:
    saver = InMode(memory.get_langgraph_checkpointer(), mode)
    check_everything(InMode(memory, mode), saver, is_second, is_third)
    go_on(saver)
    paused_thread = next(found for found in InMode(memory, mode).threads() if found.thread_id == "paused")
    assert (paused_thread.status, paused_thread.source) == ("done", "loop")
    go_on_with_messages(InMode(memory, mode))
    if is_second:
        go_on_with_second(InMode(memory, mode), saver)
    if is_third:
        go_on_with_third(InMode(memory, mode))
    go_on_with_items(InMode(memory, mode))


def go_on(saver: InMode) -> None:
    """Add to threads of old, in the ways that a run does."""
    saver.put(config("filters"), checkpoint(id="new"), {"parents": {"": HOSTILE}}, {})
    assert sorted(ids(saver.list(None, filter={"parents": {"": HOSTILE}}))) == ["in sub", "new"]
    log = [{"turn": n, "text": f"what was said in turn {n}"} for n in range(200)]
    made = checkpoint({"log": log}, id="later", version=99)
    saver.put(config("chat", id="branch"), made, {"source": "loop"}, {"log": 99})
    assert saver.get(config("chat"))["channel_values"] == {"log": log}
    graph = paused(saver.raw)
    for answer in ("one", "two"):
        end = InMode(graph, saver.mode).invoke(Command(resume=answer), config("paused"))
    assert end["log"] == ["begun", "first", "one", "second", "two", "end"]
    again = InMode(nested(saver.raw, stable=True), saver.mode).invoke({"log": ["again"]}, config("nested"))
    assert again["log"][-1] == "after" and "again" in again["log"]
    saver.prune(["everything"])
    assert len(saver.list(config("everything"))) == 1
    saver.delete_for_runs(["run-1"])
    assert saver.get_tuple(config("everything")) is None
    assert saver.get(config(HOSTILE))["channel_values"] == {HOSTILE: HOSTILE}


def go_on_with_second(memory: InMode, saver: InMode) -> None:
    """Add to what stores of the second version hold beside the rest."""
    thread, id, task, writes = second.EARLY
    saver.put(config(thread), checkpoint({"a": 0}, id=id), {"source": "loop"}, {"a": 1})
    assert saver.get_tuple(config(thread)).pending_writes == [(task, *write) for write in writes]
    long = second.values()["deep groups"]
    grown = [*long[:2600], {"n": "new"}, *long[2601:]]
    saver.put(config("types", id=second.SECOND_ID), checkpoint({"deep groups": grown}, id="grown", version=9),
              {"source": "loop"}, {"deep groups": 9})  # fmt: skip
    saver.prune(["types"])
    assert same(saver.get(config("types"))["channel_values"], {"deep groups": grown})
    saver.delete_thread("asked")
    assert saver.get_tuple(config("asked")) is None
    for thread, batches in said():
        memory.append_messages(thread, [{"n": 1}])
        assert same(memory.load_messages(thread), [*(message for batch in batches for message in batch), {"n": 1}])


def go_on_with_third(memory: InMode) -> None:
    """Change items of old, in the ways that programs do."""
    store = InMode(memory.raw.get_langgraph_store(), memory.mode)
    expected = third.held()
    store.put(third.USER, "k", {"text": "third"}, if_revision=expected[third.USER, "k"].updated)
    with pytest.raises(ItemConflict):
        store.put(third.USER, "kinds", {"text": "late"}, if_revision=1)
    changed = store.get(third.USER, "k")
    assert changed.revision > expected[third.USER, "k"].updated
    assert changed.created_at == third.START + timedelta(seconds=1)  # when the second step was
    store.get(("timed",), "stays", refresh_ttl=True)
    items = ItemsInMode(memory.raw.store, memory.mode)
    at = ItemKey(third.path(("timed",)), b"stays")
    assert items.fetch([at])[at].expires > (expected[("timed",), "stays"].expires or 0)
    store.put(("emptied",), "a", {"n": "new"})
    store.delete(third.USER, "large")
    assert all((found.score or 0) < 0.5 for found in store.search(third.USER, query="word699", limit=100))
    assert store.sweep_ttl() == 1, "the one that has expired, and was there"
    store.put((*third.EXPIRED.namespace,), third.EXPIRED.key, {"text": "anew"})
    model = third.MadeUp()
    near = meanings(memory, model)
    near.put(third.MEANINGS, "new", {"text": third.QUERY})
    assert near.search(third.MEANINGS, query=third.QUERY)[0].key == "new"
    assert near.search(third.WAITING, query="never embedded")[0].score > 0.99
    assert sorted(model.asked) == sorted([third.QUERY, "never embedded", "never embedded"])
    assert store.delete_namespace(("batch",)) == len(third.BATCH)
    memory.raw.get_langgraph_cache().clear()
    assert memory.raw.get_langgraph_cache().get(list(third.CACHED)) == {}


def go_on_with_items(memory: InMode) -> None:
    """Keep items beside whatever a store of old holds."""
    store = InMode(memory.raw.get_langgraph_store(), memory.mode)
    before = memory.usage().items
    store.put(("new", "7"), "k", {"text": "what is new here", "user": "ann"})
    store.put(("new", "7"), "timed", {"n": 1}, ttl=60)
    store.put(("new",), "k", {"text": "gone"})
    store.delete(("new",), "k")
    assert store.get(("new", "7"), "k").value == {"text": "what is new here", "user": "ann"}
    assert [found.key for found in store.search(("new",), query="new", filter={"user": "ann"})] == ["k"]
    assert store.list_namespaces(prefix=("new",)) == [("new", "7")]
    assert memory.usage().items == before + 2


def go_on_with_messages(memory: InMode) -> None:
    """Add to message lists of old, so often that what was added is folded in; save and delete others."""
    for thread, messages in MESSAGES.items():
        for n in range(FOLD_BATCHES + 1):
            memory.append_messages(thread, [{"n": n}])
        assert same(memory.load_messages(thread), [*messages, *({"n": n} for n in range(FOLD_BATCHES + 1))])
    memory.save_messages("chat", [{"new": 1}])
    memory.delete_messages(HOSTILE)
    assert (memory.load_messages("chat"), memory.load_messages(HOSTILE)) == ([{"new": 1}], [])


@pytest.mark.parametrize("erased", [True, False])
def test_they_are_left_empty(memory: Memory, erased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMode(memory, CALL_MODES["blocking"]())
    threads = len(store.threads())
    if erased:
        report = store.erase(tenant=True)
        assert (report.threads + report.damaged, len(report.notes)) == (threads, 1)
        assert store.threads() == []
    else:
        monkeypatch.setattr(sweeping, "now", lambda: time.time() + timedelta(days=40).total_seconds())
        store.sweep({"ttl": "30d", "keep_interrupted": False})
        assert all(row.pinned or row.damage for row in store.threads())


@pytest.mark.parametrize("version", VERSIONS[:1])
def test_an_older_file_that_is_to_be_read_only_says_what_it_needs(version: str, tmp_path: Path, mode: CallMode) -> None:
    url = opened("sqlite", tmp_path, version)
    with open_memory(f"{url}?mode=ro") as memory:
        for read in (InMode(memory, mode).usage, InMode(memory, mode).threads, InMode(memory, mode).setup):
            with pytest.raises(ReadOnlyStore, match=r"older version's.*open it once with this version.*or a copy"):
                list(read())
        open_memory(url).setup()
        check_messages(InMode(memory, mode))


@pytest.mark.parametrize("version", VERSIONS[:1])
def test_an_older_file_that_nobody_may_set_up_says_what_it_needs(version: str, tmp_path: Path, mode: CallMode) -> None:
    with open_memory(opened("sqlite", tmp_path, version), auto_setup=False) as memory:
        both, saver = InMode(memory, mode), InMode(memory.get_langgraph_checkpointer(), mode)
        for call in (
            lambda: saver.get_tuple(config("chat")),
            lambda: saver.list(config("chat")),
            lambda: saver.put(config("chat"), checkpoint(), {}, {}),
            lambda: saver.delete_thread("chat"),
            lambda: both.load_messages("chat"),
        ):
            with pytest.raises(SchemaMismatch, match=r"run setup\(\)"):
                call()
        both.setup()
        check_messages(both)


def test_messages_in_a_log_read_back(tmp_path: Path, mode: CallMode) -> None:
    with open_memory(opened("files", tmp_path)) as memory:
        history, store = MessageHistory(memory.store.backend, Budget()), InMode(memory.store, mode)
        messages = [message for batch in second.SAID["batches"] for message in batch]
        assert same(store.run(partial(history.load, second.LOGGED), write=False), messages)
        store.run(partial(history.append, second.LOGGED, [{"n": 1}]), write=True)
        store.run(partial(history.fold, second.LOGGED), write=True)
        assert same(store.run(partial(history.load, second.LOGGED), write=False), [*messages, {"n": 1}])


@pytest.mark.parametrize("store", ["sqlite", "files"])
def test_what_is_known_of_erased_and_pinned_threads(store: str, tmp_path: Path, mode: CallMode) -> None:
    with open_memory(opened(store, tmp_path)) as memory:
        backend = PlansInMode(memory.store, mode)
        assert backend.find(third.ERASED, "", None).state.deletes == 1
        assert backend.put(new("late", thread=third.ERASED, seen_deletes=0)).outcome == "deleted"
        assert [row.thread for row in backend.threads(None, 1000).items if row.pinned] == [third.PINNED]
        assert backend.forget_erased(third.UNTIL - 1) == 0
        assert backend.forget_erased(third.UNTIL) == 1
        assert backend.put(new("late", thread=third.ERASED, seen_deletes=0)).outcome == "stored"


def test_a_golden_store_of_todays_schema_has_todays_tables(tmp_path: Path) -> None:
    # As long as a version is not released, its schema may change; then its golden stores are to be written anew.
    opened("sqlite", tmp_path)
    with open_memory(f"sqlite:///{tmp_path}/new.db") as memory:
        memory.setup()
    (was, tables), (now, made) = (of_sqlite(tmp_path / name) for name in ("agent.db", "new.db"))
    assert was < now or tables == made


def of_sqlite(file: Path) -> tuple[int, list[str]]:
    with closing(sqlite3.connect(file)) as database:
        [[version]] = database.execute("PRAGMA user_version")
        tables = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return version, [" ".join(text.split()) for [text] in tables]


def test_what_is_in_them_has_every_form(memory: Memory, is_second: bool) -> None:
    # A golden store proves nothing of a form that it does not hold.
    found: Any = memory.get_langgraph_checkpointer().get_tuple(config("everything"))
    assert found.checkpoint["channel_values"].keys() == golden_contents.values().keys()
    # The first version's leaves were smaller.
    assert memory.usage("everything").chunks > (200 if is_second else 300)
    assert not is_second or memory.usage("types").chunks > 400
