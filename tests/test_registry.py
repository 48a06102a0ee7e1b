"""Which store opens which URL, and memory providers by name."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from charm_checkpoint.cli import main
from charm_checkpoint.config import manager, registry
from charm_checkpoint.config.manager import StorageManager
from charm_checkpoint.config.options import Option, non_negative_int
from charm_checkpoint.config.url import parse_url
from charm_checkpoint.errors import ConfigError, MissingExtra
from charm_checkpoint.memory import open_memory
from charm_checkpoint.providers import SqliteMemory
from charm_checkpoint.saver.checkpointer import CharmSaver
from charm_checkpoint.values.serde import Serializer

Install = Callable[..., None]

STORE = """
from charm_checkpoint.config.options import Option, non_negative_int
OPTIONS = (Option("shelves", non_negative_int, 3, "how many"),)
def open_store(location, options): return location, options
"""

PROVIDER = """
class Shop:
    made = 0
    def __init__(self, config):
        if "bad" in config: raise ValueError("the shop cannot open")
        type(self).made += 1
        self.config, self.closed = config, False
    def close(self): self.closed = True
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give every test a registry and a manager of its own."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(StorageManager, "_cache", {})
    registry._plugins.cache_clear()
    manager._plugins.cache_clear()
    yield
    StorageManager.clear()
    registry._plugins.cache_clear()
    manager._plugins.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a small package with entry points, as pip would lay it out."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def install(module: str, source: str, group: str, **names: str) -> None:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in names.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")

    yield install
    for module in set(sys.modules) - before:
        if module.startswith("shop"):
            del sys.modules[module]


def no_store(location: object, options: Mapping[str, Any]) -> Any:
    raise AssertionError("not opened here")


class TestResolve:
    @pytest.mark.parametrize("scheme", sorted(registry.BUILT_IN))
    def test_built_in(self, scheme: str) -> None:
        kind = registry.resolve(scheme)
        assert callable(kind.open_store)
        assert all(isinstance(option, Option) for option in kind.options)

    def test_unknown_scheme_suggests_and_lists(self) -> None:
        with pytest.raises(ConfigError, match=r"scheme 'sqlit'; did you mean 'sqlite'\? known: file, .*sqlite"):
            registry.resolve("sqlit")

    def test_entry_point(self, install: Install) -> None:
        install("shop_store", STORE, registry.GROUP, shop="shop_store:open_store")
        assert registry.available()["shop"] == "shop_store:open_store"
        assert "shop_store" not in sys.modules
        kind = registry.resolve("shop")
        assert [option.name for option in kind.options] == ["shelves"]
        assert kind.open_store(1, {}) == (1, {})  # type: ignore[arg-type, comparison-overlap]

    def test_built_in_wins_over_an_entry_point(self, install: Install, caplog: pytest.LogCaptureFixture) -> None:
        install("shop_store", STORE, registry.GROUP, sqlite="shop_store:open_store")
        assert registry.available()["sqlite"] == "charm_checkpoint.stores.sqlite.driver:open_store"
        assert "sqlite = shop_store:open_store" in caplog.text

    def test_a_scheme_with_capitals_is_reached(self, install: Install) -> None:
        install("shop_store", STORE, registry.GROUP, Shop="shop_store:open_store")
        assert "shop" in registry.available()
        assert "Shop" not in registry.available()
        location = parse_url("SHOP://x")
        assert registry.resolve(location.scheme).options[0].name == "shelves"

    @pytest.mark.parametrize("name", ["my_shop", "1shop", "SQLite"])
    def test_a_scheme_that_no_url_has_is_told(
        self, name: str, install: Install, caplog: pytest.LogCaptureFixture
    ) -> None:
        install("shop_store", STORE, registry.GROUP, **{name: "shop_store:open_store"})
        assert "shop_store:open_store" not in registry.available().values()
        assert f"entry point {name} = shop_store:open_store" in caplog.text

    @pytest.mark.parametrize(
        "source", ["1 / 0", "import shop_store.part", "OPTIONS = 5\ndef open_store(): ...", "raise Exception('\\x1b')"]
    )
    def test_a_fault_in_a_store_module_hides_no_other_in_the_list(
        self, source: str, install: Install, capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("shop_store", source, registry.GROUP, shop="shop_store:open_store")
        assert main(["stores"]) == 0
        lines = capsys.readouterr().out.splitlines()
        at = lines.index("shop://  shop_store:open_store")
        assert lines[at + 1].startswith("    not ready: ")
        assert any(line.startswith("sqlite://") for line in lines[at:])

    def test_entry_points_are_read_once(self, install: Install) -> None:
        registry.available()
        install("shop_store", STORE, registry.GROUP, shop="shop_store:open_store")
        assert "shop" not in registry.available()

    @pytest.mark.parametrize(
        "source", ["import shop_driver", "raise ImportError('no libshop')", "from json import shop"]
    )
    def test_missing_driver(self, install: Install, source: str) -> None:
        install("shop_store", source, registry.GROUP, shop="shop_store:open_store")
        with pytest.raises(MissingExtra, match="cannot import what shop_store.*; see the documentation of shop_store"):
            registry.resolve("shop")

    def test_missing_driver_of_a_built_in(self, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
        install("shop_store", "import shop_driver", "none")
        hint = "pip install 'charm-checkpoint[shop]'"
        monkeypatch.setattr(registry, "BUILT_IN", {"shop": ("shop_store:open_store", hint)})
        with pytest.raises(MissingExtra, match=r"'shop_driver'; pip install 'charm-checkpoint\[shop\]'$") as caught:
            registry.resolve("shop")
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("shop_other:open_store", "no module 'shop_other'"),
            ("shop_store:sell", "'shop_store' has no 'sell'"),
        ],
    )
    def test_wrong_entry_point(self, install: Install, value: str, message: str) -> None:
        install("shop_store", STORE, registry.GROUP, shop=value)
        with pytest.raises(ConfigError, match=message) as caught:
            registry.resolve("shop")
        assert not isinstance(caught.value, MissingExtra)

    @pytest.mark.parametrize(
        ("source", "error"),
        [
            ("1 / 0", ZeroDivisionError),
            ("import shop_store.part", ModuleNotFoundError),
            ("raise SystemExit(3)", SystemExit),
            ("class Odd(BaseException): pass\nraise Odd", BaseException),
            ("OPTIONS = 5\ndef open_store(): ...", TypeError),
        ],
    )
    def test_a_fault_in_a_store_module_is_not_hidden(
        self, install: Install, source: str, error: type[BaseException], capsys: pytest.CaptureFixture[str]
    ) -> None:
        install("shop_store", source, registry.GROUP, shop="shop_store:open_store")
        with pytest.raises(
            ConfigError, match="the entry point shop = shop_store:open_store cannot be loaded"
        ) as caught:
            open_memory("shop://x")
        assert isinstance(caught.value.__cause__, error) and not isinstance(caught.value, MissingExtra)
        assert main(["stores"]) == 0
        assert "the entry point shop = shop_store:open_store cannot" in capsys.readouterr().out

    def test_an_interrupt_while_a_store_module_is_loaded_is_one(self, install: Install) -> None:
        install("shop_store", "raise KeyboardInterrupt", registry.GROUP, shop="shop_store:open_store")
        with pytest.raises(KeyboardInterrupt):
            registry.resolve("shop")

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("open_store = 5", "shop_store:open_store is no function that opens a store, but int"),
            ("OPTIONS = [5]\ndef open_store(): ...", "OPTIONS beside shop_store:open_store holds what is no Option"),
            (
                "def open_store(*given): return 5",
                "shop_store:open_store, which opens shop://, returned int and no Store",
            ),
        ],
    )
    def test_an_entry_point_that_opens_no_store(self, install: Install, source: str, said: str) -> None:
        install("shop_store", source, registry.GROUP, shop="shop_store:open_store")
        with pytest.raises(ConfigError, match=said):
            open_memory("shop://x")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "the entry point shop = shop_memory:Shop cannot be loaded: ZeroDivisionError"),
        ("raise SystemExit(3)", "the entry point shop = shop_memory:Shop cannot be loaded: SystemExit"),
        ("Shop = 5", "shop_memory:Shop is no provider's class, but int"),
    ],
)
def test_a_fault_in_a_providers_module_names_it(install: Install, source: str, said: str) -> None:
    install("shop_memory", source, manager.GROUP, shop="shop_memory:Shop")
    for call in (open_memory, StorageManager.get_provider):
        with pytest.raises(ConfigError, match=said):
            call("shop")


class TestRegister:
    def test_offers_a_store(self) -> None:
        option = Option("shelves", non_negative_int, 3, "how many")
        registry.register_store("shop", no_store, options=[option])
        assert registry.resolve("shop") == registry.StoreType("shop", no_store, (option,))
        assert registry.available()["shop"] == f"{__name__}:no_store"

    def test_clash_is_refused_unless_clobber(self) -> None:
        registry.register_store("shop", no_store)
        for scheme in ("shop", "sqlite"):
            with pytest.raises(ConfigError, match="clobber=True"):
                registry.register_store(scheme, no_store)
            registry.register_store(scheme, no_store, clobber=True)
            assert registry.resolve(scheme).open_store is no_store

    @pytest.mark.parametrize("scheme", ["", "Shop", "shop://", "1shop"])
    def test_scheme_must_be_one(self, scheme: str) -> None:
        with pytest.raises(ConfigError, match="not a URL scheme"):
            registry.register_store(scheme, no_store)


class TestStorageManager:
    @pytest.fixture
    def shop(self, install: Install) -> None:
        install("shop_memory", PROVIDER, manager.GROUP, shop="shop_memory:Shop", sqlite="shop_memory:Shop")

    @pytest.mark.usefixtures("shop")
    def test_one_object_for_equal_configs(self) -> None:
        first = StorageManager.get_provider("shop", {"a": [1, {"b": 2}], "c": 3})
        assert StorageManager.get_provider("shop", {"c": 3, "a": [1, {"b": 2}]}) is first
        assert first.config == {"a": [1, {"b": 2}], "c": 3}

    @pytest.mark.usefixtures("shop")
    @pytest.mark.parametrize("other", [{"a": 2}, {"a": True}, {"a": "1"}, {"a": [1]}, {}, None, {"b": 1}])
    def test_another_object_for_another_config(self, other: dict[str, Any] | None) -> None:
        assert StorageManager.get_provider("shop", other) is not StorageManager.get_provider("shop", {"a": 1})

    @pytest.mark.usefixtures("shop")
    def test_another_object_when_the_environment_changes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHOP", "one")
        first = StorageManager.get_provider("shop", {"url": "${SHOP}"})
        assert first.config == {"url": "${SHOP}"}
        monkeypatch.setenv("SHOP", "two")
        assert StorageManager.get_provider("shop", {"url": "${SHOP}"}) is not first

    @pytest.mark.usefixtures("shop")
    def test_made_once_by_many_threads(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: id(StorageManager.get_provider("shop")), range(64)))
        assert len(found) == 1
        assert type(StorageManager.get_provider("shop")).made == 1

    @pytest.mark.usefixtures("shop")
    def test_built_in_wins_over_an_entry_point(self) -> None:
        provider = StorageManager.get_provider("sqlite", {"url": "sqlite:///:memory:"})
        assert type(provider).__module__ == "charm_checkpoint.providers"

    @pytest.mark.usefixtures("shop")
    def test_a_provider_that_cannot_start_raises_each_time(self) -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="the shop cannot open"):
                StorageManager.get_provider("shop", {"bad": 1})

    @pytest.mark.usefixtures("shop")
    def test_clear_closes_and_forgets(self) -> None:
        first = StorageManager.get_provider("shop")
        StorageManager.clear()
        assert first.closed
        assert StorageManager.get_provider("shop") is not first

    def test_a_missing_variable_is_named(self) -> None:
        with pytest.raises(ConfigError, match="NO_SUCH_URL is not set"):
            StorageManager.get_provider("sqlite", {"url": "${NO_SUCH_URL}"})

    def test_ram_and_memory(self) -> None:
        for name in ("ram", "memory"):
            provider = StorageManager.get_provider(name)
            provider.save_messages("t", [{"role": "user", "content": "hi"}])
            assert len(StorageManager.get_provider(name).load_messages("t")) == 1

    def test_unknown_name_falls_back_to_local_files(
        self, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHARM_WORKSPACE_DIR", str(tmp_path))
        with caplog.at_level(logging.WARNING):
            local = StorageManager.get_provider("sqlit", {"url": "redis://:s3cret@h"})
        assert "no memory provider 'sqlit' (did you mean 'sqlite'?" in caplog.text
        assert "s3cret" not in caplog.text
        assert type(local).__name__ == "LocalMemory"
        assert StorageManager.get_provider("local") is StorageManager.get_provider() is local
        local.save_messages("t", [{"role": "user", "content": "hi"}])
        assert (tmp_path / ".charm" / "memory" / "t.json").exists()

    def test_a_url_is_no_name(self) -> None:
        with pytest.raises(ConfigError, match=r"open_memory\(url\)") as caught:
            StorageManager.get_provider("postgresql://u:s3cret@h")
        assert "s3cret" not in str(caught.value)


def test_import_loads_no_driver_and_no_store() -> None:
    code = (
        "import sys, charm_checkpoint.config.registry, charm_checkpoint.config.manager\n"
        "found = {'psycopg', 'redis', 'supabase', 'sqlite3', 'charm_checkpoint.stores.sqlite.driver'}\n"
        "found &= set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_serializer_of_another_is_refused_at_once(tmp_path: Path) -> None:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    opened: list[Callable[[Any], Any]] = [
        lambda serde: open_memory("memory://", serde=serde),
        lambda serde: open_memory(f"sqlite:///{tmp_path}/a.db", serde=serde),
        lambda serde: open_memory("none://", serde=serde),
        lambda serde: SqliteMemory({"url": f"sqlite:///{tmp_path}/a.db"}, serde=serde),
        lambda serde: CharmSaver(open_memory("memory://").store, serde=serde),
    ]
    for open_one in opened:
        for serde, named in (
            (JsonPlusSerializer(), "serde is a JsonPlusSerializer"),
            (JsonPlusSerializer, "serde is the class JsonPlusSerializer"),
            (Serializer, "serde is the class Serializer"),
            ("json", "serde is a str"),
        ):
            with pytest.raises(ConfigError, match=f"{named}.*Leave serde out"):
                open_one(serde)
    assert not list(tmp_path.iterdir())
    serde = Serializer(allowed=())
    assert open_memory("memory://", serde=serde).get_langgraph_checkpointer().serde is serde
