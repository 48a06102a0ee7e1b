"""The table of stores, and what every test leaves behind: nothing."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import markers
import pytest
from hypothesis import HealthCheck, settings
from stores import (
    Missing,
    pgbouncer_url,
    postgres_server,
    redis_url,
    supabase_url,
    tenant_url,
    valkey_cluster_url,
    valkey_url,
)
from workers import WorkerPool, worker_pool

from charm_checkpoint.memory import Memory
from charm_checkpoint.servers import PostgresServer
from charm_checkpoint.testing.call_modes import CALL_MODES, CallMode
from charm_checkpoint.values.serde import classes, hooks, telling

# How long data takes to be made says how busy the machine is, not what is wrong.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

T = TypeVar("T")

_stores_used = itertools.count(1)


class Row(NamedTuple):
    """A store to test: its name, and how to get the URL of a new, empty one; a missing server raises `Missing`."""

    name: str
    make_url: Callable[[Path], str]


STORES = (
    Row("ram", lambda folder: "memory://"),
    Row("sqlite", lambda folder: f"sqlite:///{folder}/charm.db"),
    Row("sqlite-memory", lambda folder: "sqlite:///:memory:"),
    Row("files", lambda folder: f"file://{folder}"),
    Row("postgres", lambda folder: tenant_url()),
    # In transaction mode, with TLS; in a schema of its own, in a database of no encoding where backslashes escape; the
    # tenant's name has a NUL and a lone surrogate.
    Row("pgbouncer-schema", lambda folder: pgbouncer_url("schema=Other-1&", "%00%ED%A0%80")),
    Row("supabase", lambda folder: supabase_url()),
    Row("valkey", lambda folder: valkey_url()),
    Row("valkey-cluster", lambda folder: valkey_cluster_url()),
    Row("redis", lambda folder: redis_url()),
)


def or_skip(get: Callable[[], T]) -> T:
    """Return what ``get`` does; skip the test where the server that it needs is missing."""
    try:
        return get()
    except Missing as missing:
        if os.environ.get("CHARM_REQUIRE_STORES") == "1":
            raise
        pytest.skip(str(missing))


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    markers.register(config)
    # All that is imported and collected stays: to look for garbage among it again and again finds none. What only hands
    # tests out to workers collects none itself.
    if not config.getoption("numprocesses", default=None):
        gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of each store, of each mode, and the slow ones; leave out those that are spare."""
    markers.mark(items)
    spare = {item: None for item in items if markers.is_spare(item)}
    if spare:
        config.hook.pytest_deselected(items=list(spare))
        items[:] = [item for item in items if item not in spare]


def pytest_collection_finish() -> None:
    """Spare `gc.collect`, which runs after every test, what is there before the first."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(params=STORES, ids=[row.name for row in STORES])
def make_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Return a function that makes URLs of new, empty stores, for each kind of store."""
    row: Row = request.param
    numbers = itertools.count()

    def make() -> str:
        folder = tmp_path / f"store {next(numbers)}"
        folder.mkdir()
        return or_skip(lambda: row.make_url(folder))

    return make


@pytest.fixture
def url(make_url: Callable[[], str]) -> str:
    """Return the URL of a new, empty store, of each kind."""
    return make_url()


@pytest.fixture
def own_classes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing that a test registers, or that is told of its classes, live on into the next."""
    for module, name in ((hooks, "_hooks"), (hooks, "_changes"), (classes, "_registered"), (classes, "_names")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    monkeypatch.setattr(telling, "_told", set())
    classes._layouts.clear()
    yield
    classes._layouts.clear()


@pytest.fixture
def postgres() -> PostgresServer:
    """Return the worker's PostgreSQL."""
    return or_skip(postgres_server)


@pytest.fixture
def tenant(postgres: PostgresServer) -> str:
    """Return the URL of a new, empty tenant there, in a database that others use too."""
    return tenant_url()


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    """Return what starts devices: processes with Charm's SDK loaded, each with a working folder and home of its own."""
    with worker_pool(tmp_path_factory.mktemp("devices"), "charm_jobs") as starter:
        yield starter


@pytest.fixture(autouse=True, scope="session")
def own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests from what the user has: memories in Markdown, and what is noted of those that are shared."""
    home = tmp_path_factory.mktemp("own_places")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CHARM_MEMORY_DIR", str(home / "memory"))
        patched.setenv("CHARM_STATE_DIR", str(home / "states"))
        yield


@pytest.fixture(autouse=True)
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let what a test forgot to close show up as a warning, which is an error, in one of the next tests."""
    yield
    if "make_url" in request.fixturenames and next(_stores_used) % 4 == 0:
        gc.collect()
        # What outlives its test, such as modules and servers, need not be looked through again.
        gc.freeze()


@pytest.fixture(params=list(CALL_MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[CallMode]:
    """Yield one way of calling, for modules that say no other."""
    mode = CALL_MODES[request.param]()
    yield mode
    mode.close()


@pytest.fixture
def ram() -> Iterator[Callable[[], Memory]]:
    """Yield what makes empty stores in RAM."""
    made: list[Memory] = []

    def make() -> Memory:
        made.append(Memory({"url": "memory://"}))
        return made[-1]

    yield make
    for memory in made:
        memory.close()
