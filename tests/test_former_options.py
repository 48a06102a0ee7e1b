"""Options under their former names, and those that are to go, work in every way of giving them, and say so once."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from charm_checkpoint import CharmSaver, ConfigError, Memory, StorageManager, from_charm, open_memory
from charm_checkpoint.config import foreign_options, registry
from charm_checkpoint.config.options import Option
from charm_checkpoint.langgraph_server import open_configured
from charm_checkpoint.memory import OPTIONS
from charm_checkpoint.store import Store

SCHEMES = sorted(registry.BUILT_IN)
FORMER = [
    pytest.param(scheme, option, name, id=f"{scheme}-{name}")
    for scheme in SCHEMES
    for option in (*registry.resolve(scheme).options, *OPTIONS)
    for name in option.former
]
"""Every scheme with each option that had another name, and that name."""

URLS = {
    "file": "file://{folder}/files",
    "sqlite": "sqlite:///{folder}/agent.db",
    "memory": "memory://",
    "none": "none://",
    "redis+sentinel": "redis+sentinel://127.0.0.1:9/main",
    "unix": "unix:///{folder}/redis.sock",
    "supabase": "supabase://x.example",
}
PROVIDERS = {
    "file": "charm-local",
    "none": "none",
    "postgresql": "postgres",
    "redis": "redis",
    "sqlite": "sqlite",
    "supabase": "charm-supabase",
    "valkey": "valkey",
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be told yet, and no provider be open."""
    monkeypatch.setattr(foreign_options, "_told", set())
    monkeypatch.setenv("SUPABASE_KEY", "key")
    monkeypatch.delenv("CHARM_MEMORY_FILE", raising=False)
    yield
    StorageManager.clear()


def url_of(scheme: str, folder: Path) -> str:
    return URLS.get(scheme, f"{scheme}://127.0.0.1:9").format(folder=folder)


def value_of(option: Option) -> str:
    """Return a value that is not the default."""
    return "other.json" if option.name == "shared_messages_file" else "7"


class Way(NamedTuple):
    """How an option is given: by its name, to a store; ``in_code`` if a keyword names it."""

    open: Callable[[str, str, str, str, Path], Memory | Store]
    in_code: bool = False


def in_charm_yaml(scheme: str, url: str, name: str, value: str, folder: Path) -> Memory:
    config = json.dumps({"url": url, name: value})
    (folder / "charm.yaml").write_text(
        f"version: '1'\nruntime:\n  memory:\n    provider: {PROVIDERS[scheme]}\n    config: {config}\n"
    )
    found: Memory = from_charm(folder)
    return found


def in_langgraph_json(url: str, name: str, value: str) -> Memory:
    given = json.dumps({"charm_checkpoint": {"url": url, name: value}})
    return open_configured({"LANGGRAPH_CHECKPOINTER": given})


WAYS = {
    "URL": Way(lambda scheme, url, name, value, folder: open_memory(f"{url}?{name}={quote(value)}")),
    "config": Way(lambda scheme, url, name, value, folder: open_memory(url, {name: value})),
    "keyword": Way(lambda scheme, url, name, value, folder: open_memory(url, **{name: value}), True),
    "class": Way(lambda scheme, url, name, value, folder: Memory({"url": url}, **{name: value}), True),
    "from_conn_string": Way(lambda scheme, url, name, value, folder: by_name(url, name, value), True),
    "environment": Way(
        lambda scheme, url, name, value, folder: open_configured({"CHARM_CHECKPOINT_URL": f"{url}?{name}={value}"})
    ),
    "langgraph.json": Way(lambda scheme, url, name, value, folder: in_langgraph_json(url, name, value)),
    "provider": Way(
        lambda scheme, url, name, value, folder: StorageManager.get_provider(  # type: ignore[return-value]
            PROVIDERS[scheme], {"url": url, name: value}
        )
    ),
    "charm.yaml": Way(in_charm_yaml),
}


def by_name(url: str, name: str, value: str) -> Store:
    return CharmSaver.from_conn_string(url, **{name: value})._store


def given_in(ways: dict[str, Way]) -> list[Any]:
    """Return every former name with every way of giving it that its store has."""
    return [
        pytest.param(*former.values, way, id=f"{former.id}-{title}")
        for former in FORMER
        for title, way in ways.items()
        if title not in ("provider", "charm.yaml") or former.values[0] in PROVIDERS
    ]


class Opened(NamedTuple):
    """What a store was opened with, and what was said: in warnings, and in the log."""

    settings: list[dict[str, Any]]
    warned: list[warnings.WarningMessage]
    logged: list[str]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[..., Opened]:
    """Return a function that opens stores one after another and closes them."""
    from charm_checkpoint import opening as module

    read = module.read_options

    def open_all(make: Callable[[], Memory | Store], times: int = 2) -> Opened:
        found = Opened([], [], [])
        monkeypatch.setattr(module, "read_options", lambda *given: found.settings.append(read(*given)) or read(*given))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("default")
            for _ in range(times):
                make().close()
                StorageManager.clear()
        logged = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        return found._replace(warned=warned, logged=[text for text in logged if "version 1.0" in text])

    return open_all


@pytest.mark.parametrize(("scheme", "option", "name", "way"), given_in(WAYS))
def test_a_former_name_works_and_is_told_once(
    scheme: str, option: Option, name: str, way: Way, tmp_path: Path, opened: Callable[..., Opened]
) -> None:
    url, value = url_of(scheme, tmp_path), value_of(option)
    found = opened(lambda: way.open(scheme, url, name, value, tmp_path))
    assert [settings[option.name] for settings in found.settings] == [option.parse(value)] * 2
    told = [str(one.message) for one in found.warned] if way.in_code else found.logged
    assert told == [f"{scheme} store: the option {name} is {option.name} now; the former name goes in version 1.0."]
    assert (found.logged if way.in_code else found.warned) == []
    assert all(one.category is DeprecationWarning and one.filename == __file__ for one in found.warned)


@pytest.mark.parametrize(("scheme", "option", "name", "way"), given_in(WAYS))
def test_the_present_name_is_told_nothing(
    scheme: str, option: Option, name: str, way: Way, tmp_path: Path, opened: Callable[..., Opened]
) -> None:
    url, value = url_of(scheme, tmp_path), value_of(option)
    found = opened(lambda: way.open(scheme, url, option.name, value, tmp_path), times=1)
    assert [settings[option.name] for settings in found.settings] == [option.parse(value)]
    assert (found.warned, found.logged) == ([], [])


@pytest.mark.parametrize(("scheme", "option", "name"), FORMER)
def test_both_names_are_refused(scheme: str, option: Option, name: str, tmp_path: Path) -> None:
    url, value = url_of(scheme, tmp_path), value_of(option)
    both = {name: value, option.name: value}
    for make in (
        lambda: open_memory(f"{url}?{name}={value}&{option.name}={value}"),
        lambda: open_memory(f"{url}?{name}={value}", {option.name: value}),
        lambda: open_memory(f"{url}?{option.name}={value}", **{name: value}),
        lambda: open_memory(url, both),
        lambda: open_memory(url, **both),
    ):
        with pytest.raises(ConfigError, match=f"store: {name} is the former name of {option.name}: give one of the"):
            make()
    open_memory(f"{url}?{option.name}={value}", **{name: None}).close()


@pytest.mark.parametrize(("scheme", "option", "name"), FORMER)
def test_who_mistypes_a_former_name_is_told_the_present_one(
    scheme: str, option: Option, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"unknown option '{name}e'; did you mean .*{option.name}") as caught:
        open_memory(url_of(scheme, tmp_path), {f"{name}e": "7"})
    assert f"'{name}'" not in str(caught.value).partition("did you mean")[2]


def test_every_store_has_one_word_for_one_thing() -> None:
    assert {former.values[2] for former in FORMER} == {"cache", "pool_size", "memory_file"}
    for scheme in SCHEMES:
        names = {option.name for option in (*registry.resolve(scheme).options, *OPTIONS) if option.listed}
        assert "cache_size" in names and not names & {"cache", "pool_size", "memory_file"}
        networked = scheme not in ("file", "memory", "none", "sqlite")
        assert ("max_connections" in names) == networked
        assert ("shared_messages_file" in names) == (scheme == "file")


def test_what_other_programs_call_it_gives_way_to_a_former_name(opened: Callable[..., Opened]) -> None:
    url = "postgresql://127.0.0.1:9/db?connection_limit=3"
    assert opened(lambda: open_memory(url)).settings[0]["max_connections"] == 3
    assert opened(lambda: open_memory(f"{url}&pool_size=4")).settings[0]["max_connections"] == 4


def test_a_former_name_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Opened]
) -> None:
    monkeypatch.setenv("CHARM_MEMORY_FILE", "environment.json")
    url = url_of("file", tmp_path)
    found = opened(lambda: open_memory(url))
    assert found.settings[0]["shared_messages_file"] == "environment.json"
    assert found.logged == []
    found = opened(lambda: open_memory(url, {"memory_file": "given.json"}))
    assert found.settings[0]["shared_messages_file"] == "given.json"


def test_a_wrong_value_under_a_former_name_is_told_by_the_present_one() -> None:
    with pytest.raises(ConfigError, match=r"option 'cache_size': what was given \(text\) is not a size"):
        open_memory("memory://?cache=lots")
    with pytest.raises(ConfigError, match="max_connections: it is at least 1"):
        open_memory("postgresql://127.0.0.1:9/db?pool_size=0")


@pytest.mark.parametrize(("name", "instead"), [("connect", "pool"), ("async_connect", "async_pool")])
@pytest.mark.parametrize("in_code", [True, False])
def test_an_option_that_is_to_go_works_and_is_told_once(
    name: str, instead: str, in_code: bool, opened: Callable[..., Opened]
) -> None:
    url, given = "postgresql://127.0.0.1:9/db", {name: print}
    found = opened((lambda: open_memory(url, **given)) if in_code else (lambda: open_memory(url, given)))
    assert [settings[name] for settings in found.settings] == [print, print]
    told = [str(one.message) for one in found.warned] if in_code else found.logged
    text = f"give {instead} or password instead of the option {name}, which goes in version 1.0."
    assert told == [f"postgresql store: {text}"]
    assert (found.logged if in_code else found.warned) == []
    assert all(one.category is DeprecationWarning and one.filename == __file__ for one in found.warned)


def test_an_option_that_is_to_go_is_not_offered() -> None:
    with pytest.raises(ConfigError) as caught:
        open_memory("postgresql://127.0.0.1:9/db?conect=x")
    assert "'connect'" not in str(caught.value)
    with pytest.raises(ConfigError, match="known: ") as caught:
        open_memory("postgresql://127.0.0.1:9/db?zzzz=x")
    assert ", pool, " in str(caught.value) and "async_connect" not in str(caught.value)


def test_a_store_of_another_package_keeps_its_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ram = registry.resolve("memory")
    seen: list[Any] = []

    def open_store(location: Any, options: Any) -> Any:
        seen.append(options)
        return ram.open_store(location, {})

    monkeypatch.setattr(registry, "_registered", {})
    registry.register_store("theirs", open_store, options=[Option("cache", str, "", "theirs")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_memory("theirs://?cache=big", cache_size=7).close()
    assert seen[0]["cache"] == "big"
