"""The markers: which store a test is of, how it calls, and whether it takes long."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from zlib import crc32

import pytest
from workers import SCALE

STORES = {
    "memory": ("ram", "memory"),
    "sqlite": ("sqlite",),
    "files": ("file", "local"),
    "postgres": ("postgres", "pgbouncer"),
    "supabase": ("supabase",),
    "redis": ("redis", "valkey"),
}
"""The marker of each store, and what names of its test modules, rows and URLs begin with."""

PARAMETERS = ("make_url", "url", "url_in", "memory", "golden", "store", "broken")
"""The fixtures whose parameter is a store: a row of a table, a name, or a URL."""

FIXTURES = {"postgres": "postgres", "tenant": "postgres"}
"""Fixtures of one store, and its marker."""

MODES = ("blocking", "async")

SLOW_ROWS = ("pgbouncer-schema", "supabase", "valkey-cluster", "redis")
"""The rows of the table of stores whose calls take longer, or that are another server of a kind that is there."""

TWINS = ("sqlite-memory", "pgbouncer-schema", "valkey-cluster", "redis")
"""The rows that are the same code as another one before another server, or in RAM in place of a file: there, each test
runs in one of its modes."""

SLOW_MODULES = frozenset({
    "accidents", "agent_stories", "agents", "alternating", "benchmark_pairs", "benchmarks", "budget", "changing",
    "charm_examples",
    "charm_project", "charm_sdk", "conformance", "crash", "demo", "docs", "format_constants", "golden", "histories",
    "hosts_notebooks", "hosts_servers", "hosts_workers", "langgraph_server", "local_crash", "local_servers",
    "markdown_random", "network_accidents", "notebooks", "official", "oracle", "packed",
    "page_browser", "page_command", "postgres_connecting",
    "postgres_faults", "postgres_pools", "processes", "redis_connecting", "redis_faults", "redis_silence", "redis_tls",
    "servers", "servers_supabase", "sqlite_moved", "store_agents", "supabase", "supabase_attacks", "supabase_faults",
    "supabase_rights", "table", "terminal", "what_is_noticed",
})  # fmt: skip
"""Modules of tests that start servers and programs, wait for what does not answer, or try much at random."""

SLOW_TESTS = frozenset({
    "test_32_tasks_of_several_tenants_share_a_pooler", "test_a_fork", "test_a_file_is_whole_after_a_kill",
    "test_a_frozen_clock_changes_nothing",
    "test_a_growing_conversation", "test_a_hundred_appends_at_once_are_all_there_once", "test_a_large_value",
    "test_a_listing_of_all_threads_asks_many_at_once", "test_a_small_change_to_a_large_state_stores_little",
    "test_all_are_listed_copied_pruned_and_deleted", "test_an_interrupt_at_any_moment",
    "test_an_interrupt_of_the_first_call", "test_any_flipped_byte_is_read_or_refused",
    "test_classes_of_the_state_are_imported_only_when_named", "test_large_values_and_many_chunks",
    "test_loops_that_end_in_any_way_leave_no_warning", "test_many_tasks_at_once", "test_many_threads_at_once",
    "test_messages_appended_one_at_a_time", "test_one_saver_serves_both_halves_and_several_loops",
    "test_processes_that_write_at_once_lose_nothing",
    "test_sigterm_closes_and_ends", "test_the_demo_runs_on_a_folder", "test_what_was_put_survives_sigkill",
})  # fmt: skip
"""Tests in other modules that take long for what they show."""


def register(config: pytest.Config) -> None:
    """Make the markers known."""
    for name in STORES:
        config.addinivalue_line("markers", f"{name}: tests of the store {name}")
    for name in MODES:
        config.addinivalue_line("markers", f"{name}: tests that are written once and run in the {name} mode")
    config.addinivalue_line("markers", "slow: what takes long for what it shows, and may wait for the whole run")


def is_spare(item: pytest.Item) -> bool:
    """Tell whether a test is left to runs at a larger scale: of each that runs on a twin, one of the two modes is."""
    parameters = _parameters(item)
    mode, row = parameters.get("mode"), getattr(parameters.get("make_url"), "name", None)
    if SCALE > 1 or mode not in MODES or row not in TWINS:
        return False
    others = item.nodeid.replace(str(mode), "")  # the same for both
    return mode != MODES[crc32(others.encode()) % 2]


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _stores(item: pytest.Item) -> Iterator[str]:
    """Yield the names, or URLs, of stores that are a test's parameters."""
    parameters = _parameters(item)
    for key in PARAMETERS:
        yield from _names(parameters.get(key))


@cache
def store_of(name: str) -> str | None:
    """Return the marker of the store that something is named after, if any."""
    return next((marker for marker, begins in STORES.items() if name.startswith(begins)), None)


def _names(value: Any) -> Iterator[str]:
    """Yield what may be a store's name in a parameter: a name, a row that has one, or a pair of which one is one."""
    if isinstance(value, str):
        yield value
    elif name := getattr(value, "name", None):
        yield str(name)
    elif isinstance(value, tuple):
        for part in value:
            yield from _names(part)


def markers_of(item: pytest.Item) -> Iterator[str]:
    """Yield the markers that follow from a test's module, fixtures and parameters."""
    found = [store_of(item.path.stem.removeprefix("test_"))]
    found += [marker for fixture, marker in FIXTURES.items() if fixture in getattr(item, "fixturenames", ())]
    stores = list(_stores(item))
    found += map(store_of, stores)
    yield from {name for name in found if name}
    if (mode := _parameters(item).get("mode")) in MODES:
        yield str(mode)
    if _is_slow(item, stores):
        yield "slow"


def _is_slow(item: pytest.Item, stores: list[str]) -> bool:
    """Tell whether a test may wait for the run of all."""
    module = item.path.stem.removeprefix("test_")
    if module in SLOW_MODULES or getattr(item, "originalname", "") in SLOW_TESTS:
        return True
    return not set(stores).isdisjoint(SLOW_ROWS)


@cache
def _parts(cls: type | None, name: str) -> tuple[str, ...]:
    """Return the names of the classes that a test is inherited from."""
    return tuple(part.__name__ for part in (cls.__mro__ if cls else ()) if name in vars(part))


def mark(items: list[pytest.Item]) -> None:
    """Put on each test the markers that follow from its name and parameters.

    The tests of the contract suite are found by the name of their part, too: ``-k DeltaHistory``.
    """
    for item in items:
        item.extra_keyword_matches.update(_parts(getattr(item, "cls", None), getattr(item, "originalname", "")))
        for name in markers_of(item):
            item.add_marker(name)
