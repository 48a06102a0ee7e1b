"""What golden stores must read back as, type for type; see golden/write.py."""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import Any

import golden_contents_2 as second
import golden_contents_3 as third
import pytest
from golden_contents import DELETED, HOSTILE, MESSAGES, PRUNED, Put, puts
from strict import same

from charm_checkpoint import Memory
from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.messages.plans import MessageHistory
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.testing.call_modes import InMode, ItemsInMode
from charm_checkpoint.testing.samples import config, ids

FIRST = "1ef00000-0000-6000-8000-000000000001"


def check(saver: InMode, put: Put) -> None:
    found = saver.get_tuple(config(put.thread, put.ns, put.id))
    assert found is not None, put.id
    held = found.checkpoint["channel_values"]
    assert list(held) == list(put.values)
    for name, value in put.values.items():
        assert same(held[name], value), name
    metadata = dict(found.metadata)
    assert metadata.pop("charm_conflict", None) == put.conflict
    assert same(metadata, {**put.metadata, "thread_id": put.thread} if "thread_id" in metadata else put.metadata)
    assert (found.parent_config or config(put.thread))["configurable"].get("checkpoint_id") == put.parent
    assert sorted(task for task, _, _ in found.pending_writes) == sorted(
        task for task, _, writes in expected_writes(put) for _ in writes
    )
    left = {(task, channel): value for task, _, writes in expected_writes(put) for channel, value in writes}
    assert all(same(value, left[task, channel]) for task, channel, value in found.pending_writes)


def expected_writes(put: Put) -> list[tuple[str, str, list[tuple[str, Any]]]]:
    """Return what of its writes counts: of an ordinary channel's what came first."""
    return [(task, path, [item for item in writes if item[1] != "too late"]) for task, path, writes in put.writes]


def check_everything(memory: InMode, saver: InMode, is_second: bool, is_third: bool) -> None:
    """Check that a store holds what it was filled with, nothing more and nothing else."""
    check_filters(saver, is_second)
    for put in puts():
        check(saver, put)
    check_threads(saver)
    check_messages(memory)
    check_listing(memory, is_second, is_third)
    if is_second:
        check_second(memory, saver)
    if is_third:
        check_third(memory, saver)


def check_filters(saver: InMode, is_second: bool) -> None:
    for filter, found in [*FILTERS, *(second.FILTERS if is_second else ())]:
        assert ids(saver.list(None, filter=filter)) == found, filter


def check_threads(saver: InMode) -> None:
    turns = [put.id for put in puts() if put.thread == "chat"][::-1]
    assert ids(saver.list(config("chat"))) == ids(saver.list(config("copy"))) == turns
    assert ids(saver.list(config(PRUNED))) == ["p2"]
    assert saver.get(config(PRUNED))["channel_values"] == {"log": [2] * 900}
    assert saver.get_tuple(config(DELETED)) is None
    first = next(saver.get_tuple(config(put.thread, id=put.id)) for put in puts() if put.writes)
    assert [task for task, _, _ in first.pending_writes] == ["task-a"] * 3 + ["task-b"] * 3


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"user": "ann"}, [FIRST]),
    ({"parents": {"": HOSTILE}}, ["in sub"]),
    ({"parents.": HOSTILE}, ["in sub"]),
    ({"parents": {"": {"$in": [HOSTILE]}}}, ["in sub"]),
    ({"parents": {"$eq": {"": HOSTILE}}}, ["in sub"]),
    ({"parents": {"": "other"}}, []),
    ({"tags": ["a", {"b": None}]}, [FIRST]),
    ({"score": {"$gt": 1}}, ["1ef00000-0000-6000-8000-000000000002"]),
]
"""Filters, and what of the rows that an earlier version wrote they find."""


def check_messages(memory: InMode) -> None:
    for thread, messages in MESSAGES.items():
        assert same(memory.load_messages(thread), messages)


def check_listing(memory: InMode, is_second: bool, is_third: bool) -> None:
    found = {item.thread_id: item for item in memory.threads()}
    unnamed = found.pop(None, None)  # a file of messages whose name does not tell the thread, nor a log
    if unnamed is not None:
        assert unnamed.damage is not None and unnamed.has_messages and not is_second
        found["only messages"] = dataclasses.replace(unnamed, thread_id="only messages", damage=None)
    if sys.version_info >= (3, 14):
        found.pop("v1", None)  # of a class that there is none of
    logged = found.pop(second.LOGGED, None)
    assert logged is None or (logged.has_messages and is_second)
    expected = {*(put.thread for put in puts()), PRUNED, "copy", "paused", "nested", *MESSAGES}
    with_messages = {*MESSAGES}
    if is_second:
        with_messages |= {*second.SAID, "only batches"}
        expected |= {*(put.thread for put in second.puts()), second.EARLY[0], *with_messages}
    if is_third:
        expected |= {put.thread for put in third.puts()}
    assert set(found) == expected
    assert found["chat"].checkpoints == len([put for put in puts() if put.thread == "chat"])
    assert all(item.damage is None for item in found.values())
    assert {name for name, item in found.items() if item.has_messages} == with_messages


def check_second(memory: InMode, saver: InMode) -> None:
    """Check what stores of the second version hold beside the rest."""
    for put in second.puts():
        if (put.thread, put.id) != (second.SWEPT, "goes"):
            check(saver, put)
    assert ids(saver.list(config(second.SWEPT))) == ["stays"]
    listed = {item.thread_id: item for item in memory.threads()}
    for thread, expected in second.STATUS.items():
        item = listed[thread]
        assert (item.title, item.status, item.step, item.source) == expected, thread
    for thread, batches in said():
        assert same(memory.load_messages(thread), [message for batch in batches for message in batch])
    assert memory.load_messages(DELETED) == []


def said() -> list[tuple[str, list[list[dict[str, Any]]]]]:
    return [*second.SAID.items(), ("only batches", second.SAID["batches"][1:2])]


def check_third(memory: InMode, saver: InMode) -> None:
    """Check what stores of the third version hold beside the rest."""
    for put in third.puts():
        check(saver, put)
    store = InMode(memory.raw.get_langgraph_store(), memory.mode)
    check_items(store)
    check_rows(memory)
    check_searches(store)
    check_meanings(memory)
    check_caches(memory)


def check_items(store: InMode) -> None:
    expected = third.held()
    for (namespace, key), item in expected.items():
        found = store.get(namespace, key, refresh_ttl=False)
        assert found is not None and same(found.value, item.value), (namespace, key)
        assert (found.namespace, found.key) == (namespace, key)
        assert (found.created_at.timestamp(), found.updated_at.timestamp()) == (
            pytest.approx(item.created / 1e6, abs=1e-6), pytest.approx(item.updated / 1e6, abs=1e-6),
        )  # fmt: skip
        assert found.revision == item.updated
    gone = {(step.namespace, step.key) for step in [*third.STEPS, third.EXPIRED]} - expected.keys()
    assert len(gone) == 5 and all(store.get(*each, refresh_ttl=False) is None for each in gone)
    namespaces = {namespace for namespace, _ in expected} | {third.MEANINGS, third.LATE, third.WAITING}
    assert store.list_namespaces(limit=100) == sorted(namespaces, key=lambda labels: third.path(labels))
    assert store.count(()) == len(expected) + len(third.MEANT) + 2
    newest = sorted((namespace for namespace in expected), key=lambda at: -expected[at].updated)
    old = [found for found in store.items(()) if (found.namespace, found.key) in expected]
    assert [(found.namespace, found.key) for found in old] == newest


def check_rows(memory: InMode) -> None:
    """Check what an item's callers do not see: its end."""
    items = ItemsInMode(memory.raw.store, memory.mode)
    at = {ItemKey(third.path(namespace), third.encoded(key)): held for (namespace, key), held in third.held().items()}
    rows = items.fetch(list(at))
    for place, held in at.items():
        row = rows[place]
        assert (row.created, row.updated, row.ttl, row.expires) == (held.created, held.updated, held.ttl, held.expires)
    values = {key: ItemKey(third.path(third.MEANINGS), third.encoded(key)) for key in third.MEANT}
    vectors = items.fetch(list(values.values()), vectors=True)
    for key, value in third.MEANT.items():
        assert vectors[values[key]].value == third.packed_vectors(value), key


def check_searches(store: InMode) -> None:
    for prefix, filter, expected in third.FILTERS:
        assert paths(prefix, store.search(prefix, filter=filter, refresh_ttl=False)) == expected, filter
    for prefix, query, words in third.WORDS:
        found = store.search(prefix, query=query, limit=100, refresh_ttl=False)
        assert set(paths(prefix, [item for item in found if (item.score or 0) > 0.5])) == words, query


def paths(prefix: tuple[str, ...], found: list[Any]) -> list[str]:
    return ["/".join((*item.namespace[len(prefix) :], item.key)) for item in found]


def meanings(memory: InMode, model: third.MadeUp) -> InMode:
    """Return the store of items that asks a model."""
    index = {"embed": model, "fields": ["text", "notes[*]"]}
    return InMode(memory.raw.get_langgraph_store(index, cache_delay=0), memory.mode)


def check_meanings(memory: InMode) -> None:
    """Check what is found by vectors, and that what was kept of the model spares asking it."""
    model = third.MadeUp()
    store = meanings(memory, model)
    found = store.search(third.MEANINGS, query=third.QUERY)
    assert [item.key for item in found][:1] == [third.NEAREST] and {item.key for item in found} == third.MEANT.keys()
    assert found[0].score == pytest.approx(third.cosine(third.QUERY, third.MEANT[third.NEAREST]["text"]), abs=2e-3)
    assert model.asked == []
    assert same(store.get(third.LATE, "k").value, third.LATE_VALUE)
    assert same(store.get(third.WAITING, "k").value, third.WAITING_VALUE)


def check_caches(memory: InMode) -> None:
    """Check what caches kept. Another version may have nothing there, as soon as it keeps it in another form."""
    cache, answers = (
        InMode(made, memory.mode) for made in (memory.raw.get_langgraph_cache(), memory.raw.get_llm_cache())
    )
    found = cache.get([*third.CACHED, (third.NODES, "other")])
    assert same(found, {key: value for key, (value, _) in third.CACHED.items()})
    for asked, answer in third.ANSWERS.items():
        assert answers.lookup(*asked) == answer and answers.lookup(asked[0], "another model") is None


def check_log(memory: Memory) -> None:
    """Check the messages that a store of local files has in a thread's log."""
    history = MessageHistory(memory.store.backend, Budget())
    held = memory.store.run(partial(history.load, second.LOGGED), write=False)
    assert same(held, [message for batch in second.SAID["batches"] for message in batch])
