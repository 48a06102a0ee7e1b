"""Programs written for the official savers run with another import: their READMEs' code, and what opens them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import re
import subprocess
import sys
import textwrap
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from children.jobs import add_item, config
from stores import have, postgres_url, redis_url

from charm_checkpoint import CharmSaver, open_memory
from charm_checkpoint.errors import ConfigError, SchemaMismatch, StoreClosed
from charm_checkpoint.saver.conn_string import url_of

REDIS_README = """
from langgraph.checkpoint.redis import RedisSaver

write_config = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
read_config = {"configurable": {"thread_id": "1"}}
checkpoint = {
    "v": 1, "ts": "2024-07-31T20:14:19.804150+00:00", "id": "1ef4f797-8335-6428-8001-8a1503f9b875",
    "channel_values": {"my_key": "meow", "node": "node"},
    "channel_versions": {"__start__": 2, "my_key": 3, "start:node": 3, "node": 3},
    "versions_seen": {"__input__": {}, "__start__": {"__start__": 1}, "node": {"start:node": 2}},
    "pending_sends": [],
}
ttl_config = {"default_ttl": 60, "refresh_on_read": True}

with RedisSaver.from_conn_string("redis://localhost:6379", ttl=ttl_config) as checkpointer:
    checkpointer.setup()
    checkpointer.put(write_config, checkpoint, {}, {})
    loaded_checkpoint = checkpointer.get(read_config)
    checkpoints = list(checkpointer.list(read_config))
"""
"""What the README of langgraph-checkpoint-redis shows, its two blocks put together."""

REDIS_README_ASYNC = """
from langgraph.checkpoint.redis.aio import AsyncRedisSaver

async with AsyncRedisSaver.from_conn_string("redis://localhost:6379") as checkpointer:
    await checkpointer.asetup()
    await checkpointer.aput(write_config, checkpoint, {}, {})
    loaded_checkpoint = await checkpointer.aget(read_config)
    checkpoints = [c async for c in checkpointer.alist(read_config)]
"""


def readme(package: str) -> list[str]:
    """Return the Python of an official package's README."""
    text = distribution(package).metadata.get_payload()
    assert isinstance(text, str)
    return [code for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "import" in code]


def run(blocks: list[str], **swap: str) -> dict[str, Any]:
    """Run code with the import of an official saver changed, and the URLs of servers that it names."""
    names: dict[str, Any] = {}
    for code in blocks:
        code = re.sub(r"^from langgraph\.checkpoint\S* import (\w+)$", r"from charm_checkpoint import CharmSaver as \1",
                      code, flags=re.MULTILINE)  # fmt: skip
        for there, here in swap.values():
            assert isinstance(there, str)
            code = code.replace(there, here)
        if "async with" in code:
            code = f"async def main():\n{textwrap.indent(code, '    ')}\n    return checkpointer\n"
            exec(code, names)
            names["checkpointer"] = asyncio.run(names["main"]())
        else:
            exec(code, names)
        assert "CharmSaver as" in code
        assert isinstance(names["checkpointer"], CharmSaver)
        with pytest.raises(StoreClosed):
            names["checkpointer"].get(names["read_config"])
    gc.collect()
    return names


def test_the_readme_of_the_sqlite_saver_runs() -> None:
    run(readme("langgraph-checkpoint-sqlite"))


def test_the_readme_of_the_postgres_saver_runs() -> None:
    url = have(postgres_url)
    theirs = "postgres://postgres:postgres@localhost:5432/postgres?sslmode=disable"
    run(readme("langgraph-checkpoint-postgres"), url=(theirs, url))  # type: ignore[arg-type]
    with open_memory(url) as memory:
        assert memory.usage("1").checkpoints == 1


def test_the_readme_of_the_redis_saver_runs() -> None:
    url = have(redis_url)
    run([REDIS_README, REDIS_README_ASYNC], url=("redis://localhost:6379", url))  # type: ignore[arg-type]
    with open_memory(url) as memory:
        assert memory.usage("1").checkpoints == 1


# ---------------------------------------------------------------------------------------- setup


@pytest.mark.parametrize("url", ["sqlite:///{}/charm.db", "memory://", "file://{}"])
def test_what_setup_returns_may_be_awaited_or_not(url: str, tmp_path: Path) -> None:
    url = url.format(tmp_path)
    with open_memory(url, auto_setup=False) as memory:
        saver = memory.get_langgraph_checkpointer()
        saver.setup()
        gc.collect()
        assert add_item(saver, "t")[1] == 1

    async def main() -> None:
        async with open_memory(url, auto_setup=False) as memory:
            saver = memory.get_langgraph_checkpointer()
            assert inspect.isawaitable(saver.setup())
            done = await saver.setup()
            assert done is None
            await asyncio.gather(saver.setup(), saver.asetup())
            await saver.asetup()
            assert await saver.aget_tuple(config("none")) is None

    asyncio.run(main())
    gc.collect()


def test_setup_does_what_it_says_and_fails_if_it_cannot(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_memory(f"sqlite:///{tmp_path}/new.db", auto_setup=False) as memory:
            saver = memory.get_langgraph_checkpointer()
            with pytest.raises(SchemaMismatch):
                await saver.aget_tuple(config("t"))
            saver.setup()
            assert await saver.aget_tuple(config("t")) is None

    asyncio.run(main())
    (tmp_path / "text.db").write_text("no database" * 100)
    with (
        CharmSaver.from_conn_string(tmp_path / "text.db") as saver,
        pytest.raises(Exception, match="not a sound SQLite"),
    ):
        saver.setup()


# ----------------------------------------------------------------------------- what they are opened with


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (":memory:", "sqlite:///:memory:"),
        ("", "sqlite:///:memory:"),
        ("file::memory:", "sqlite:///:memory:"),
        ("file::memory:?cache=shared", "sqlite:///:memory:"),
        ("file:shared?mode=memory&cache=shared", "sqlite:///:memory:"),
        ("checkpoints.sqlite", "sqlite:///checkpoints.sqlite"),
        ("agent", "sqlite:///agent"),
        (Path("dir") / "a.db", "sqlite:///dir/a.db"),
        (b"a.db", "sqlite:///a.db"),
        ("/abs/a.db", "sqlite:////abs/a.db"),
        ("./a.db", "sqlite:///./a.db"),
        ("file:a.db", "sqlite:///a.db"),
        ("file:/abs/a%20b.db?mode=ro", "sqlite:////abs/a%20b.db?mode=ro"),
        ("postgres://u:p@h/d?sslmode=disable", "postgres://u:p@h/d?sslmode=disable"),
        ("redis://h:1/2", "redis://h:1/2"),
        ("memory://", "memory://"),
    ],
)
def test_what_names_a_store(given: Any, url: str) -> None:
    assert url_of(given) == url
    assert CharmSaver.from_conn_string(given)


@pytest.mark.parametrize(
    "name", ["50%.db", "a?b=c.db", "a#b.db", "ä b.db", "a@b:c.db", "%41.db", "host.db", "a&b.db", "~a"]
)
def test_a_path_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    with CharmSaver.from_conn_string(str(tmp_path / name)) as saver:
        add_item(saver, "t")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "conninfo",
    [
        "host={h} port={p} dbname={d} user={u} password={w}",
        "  user='{u}' hostaddr={h} port='{p}' dbname={d} password={w} application_name=mine",
    ],
)
def test_libpqs_own_form(conninfo: str) -> None:
    from psycopg.conninfo import conninfo_to_dict

    known = conninfo_to_dict(have(postgres_url))
    conninfo = conninfo.format(
        h=known["host"], p=known["port"], d=known["dbname"], u=known["user"], w=known["password"]
    )
    with CharmSaver.from_conn_string(conninfo, pipeline=True) as saver:
        saver.setup()
        assert add_item(saver, "t")[1] == 1


def test_a_password_in_libpqs_form_is_not_shown() -> None:
    url = url_of("host=h user=u password='p/?#@ %41'")
    assert open_memory(url).location.password == "p/?#@ %41"
    for wrong in ("host=h password=hunter2 nonsense", "host=h password=hunter2 unheard=1"):
        with pytest.raises(ConfigError) as caught:
            CharmSaver.from_conn_string(wrong)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ("a.db", {"pipeline": True}, "pipeline is for Postgres"),
        ("redis://h", {"redis_client": object()}, "redis_client is not taken here; give the server's URL"),
        ("redis://h", {"connection_args": {"ssl": True}}, "rediss:// for TLS"),
        ("redis://h", {"checkpoint_prefix": "mine"}, "give prefix="),
        ("redis://h", {"checkpoint_write_prefix": "mine"}, "give prefix="),
        ("redis://h", {"ttl": {"default_tll": 1}}, "did you mean 'default_ttl'"),
        ("redis://h", {"ttl": {"default_ttl": "1h"}}, "a number of minutes"),
        ("redis://h", {"ttl": {"default_ttl": 0}}, "a number of minutes, or -1"),
        ("postgres://h/d", {"serde": object()}, "only with its own Serializer"),
        ("a.db", {"tenat": "x"}, "did you mean 'tenant'"),
        ("file:a.db?vfs=unix-none", {}, "unknown option 'vfs'"),
        (5, {}, "a path or a URL, not a int"),
        (object(), {}, "a connection or a client of yours is not taken"),
    ],
)
def test_what_cannot_be_done_is_told_at_once(given: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CharmSaver.from_conn_string(given, **options)


def test_a_url_may_be_named_as_the_redis_saver_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://of-the-environment")
    for saver, host in (
        (CharmSaver.from_conn_string(redis_url="redis://given"), "given"),
        (CharmSaver.from_conn_string(), "of-the-environment"),
        (CharmSaver.from_conn_string(None, redis_url=None), "of-the-environment"),
    ):
        with saver as opened:
            assert host in repr(opened._store.driver._endpoint.hosts)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="leave one out"):
        CharmSaver.from_conn_string("redis://h", redis_url="redis://h")
    with pytest.raises(ConfigError, match="redis_client is not taken here; give the server's URL"):
        CharmSaver.from_conn_string(redis_client=object())
    monkeypatch.delenv("REDIS_URL")
    with pytest.raises(ConfigError, match="needs a path or a URL"):
        CharmSaver.from_conn_string()


def test_what_changes_nothing_is_taken() -> None:
    CharmSaver.from_conn_string("a.db", pipeline=False, serde=None, ttl=None, redis_client=None)
    CharmSaver.from_conn_string("postgres://h/d", pipeline=True)
    for ttl in ({}, {"default_ttl": None}, {"default_ttl": -1, "refresh_on_read": True}, "30d", {"default_ttl": 0.5}):
        CharmSaver.from_conn_string("redis://h", ttl=ttl)


def test_a_connection_is_no_store() -> None:
    import sqlite3

    with pytest.raises(ConfigError, match=r"not a Connection: use CharmSaver\.from_conn_string"):
        CharmSaver(sqlite3.connect(":memory:"))  # type: ignore[arg-type]


def test_the_name_is_there_without_a_driver() -> None:
    code = (
        "import sys; from charm_checkpoint import CharmSaver; CharmSaver.from_conn_string\n"
        "print({'psycopg', 'redis', 'httpx', 'aiosqlite', 'sqlite3'} & set(sys.modules) - {'httpx'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
