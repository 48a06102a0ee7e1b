"""What the doctor says of stores: those that are well, those with settings that lose something, those out of reach."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from children.jobs import config, items, put
from conftest import or_skip
from stores import (
    as_user,
    pgbouncer_url,
    postgres_server,
    postgres_url,
    redis_url,
    shared_database,
    supabase_url,
    valkey_cluster_url,
    valkey_server,
    valkey_url,
)

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.checking.doctor import DoctorReport
from charm_checkpoint.checking.doctor.disk import say_sync
from charm_checkpoint.servers import valkey


def doctor(url: str, **options: object) -> DoctorReport:
    with open_memory(url, **options) as memory:
        return memory.doctor()


def graded(report: DoctorReport) -> dict[str, str]:
    """Return the grade of each subject."""
    return {found.subject: found.grade for found in report.findings}


def fill(url: str) -> None:
    with open_memory(url) as memory:
        put(memory.get_langgraph_checkpointer(), config("t"), {"items": items(100)})


def test_every_store_that_is_there_is_reached(url: str) -> None:
    with open_memory(url) as memory:
        put(memory.get_langgraph_checkpointer(), config("t"), {"items": items(100)})
        report = memory.doctor()
        again = asyncio.run(_adoctor(url)) if ":memory:" not in url and not url.startswith("memory") else report
    wrong = {subject for subject, grade in graded(report).items() if grade == "error"}
    assert report.failed_at is None and wrong <= {"durability"}, list(report.lines())  # the tests' servers do not sync
    assert graded(report)["schema"] == "ok"
    timed = dict.fromkeys(("round trip", *(["sync"] if "sync" in graded(report) else [])), "ok")
    assert graded(again) | timed == graded(report) | timed
    document = report.as_dict()
    assert document["ok"] is (not wrong) and document["kind"] == url.partition(":")[0]
    assert all(isinstance(line, str) for line in report.lines())


async def _adoctor(url: str) -> DoctorReport:
    async with open_memory(url) as memory:
        return await memory.adoctor()


def test_it_makes_nothing(tmp_path: Path) -> None:
    file, folder = tmp_path / "charm.db", tmp_path / "folder"
    for url in (f"sqlite:///{file}", f"file://{folder}"):
        report = doctor(url)
        assert report.failed_at in ("file", "folder") and not report.ok
        assert "first" in report.findings[-1].advice
    assert not list(tmp_path.iterdir())
    url = or_skip(postgres_url)
    for _ in range(2):
        report = doctor(url)
        assert report.failed_at is None and graded(report)["schema"] == "warning"


def test_sqlite_says_what_its_settings_promise(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/charm.db"
    fill(url)
    report = doctor(url)
    assert graded(report)["durability"] == "ok" and report.facts["journal_mode"] == "wal"
    assert report.facts["round_trip_ms"] >= 0 and report.facts["disk_free_bytes"] > 0
    assert graded(doctor(f"{url}?synchronous=normal"))["durability"] == "warning"
    assert graded(doctor(f"{url}?mode=ro"))["rights"] == "note"
    assert graded(doctor("sqlite:///:memory:"))["durability"] == "warning"


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_an_fsync_is_timed_where_one_is_waited_for(tmp_path: Path, scheme: str) -> None:
    url = f"sqlite:///{tmp_path}/charm.db" if scheme == "sqlite" else f"file://{tmp_path}"
    fill(url)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    report = doctor(url)
    assert report.facts["fsync_ms"] >= 0 and "sync" in graded(report)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
    assert all(path.name.endswith(("-wal", "-shm")) for path in after.keys() - before.keys())
    assert "fsync_ms" not in doctor(f"{url}?synchronous=normal").facts


@pytest.mark.parametrize(("spent", "grade"), [(0.002, "warning"), (0.05, "ok"), (5.0, "ok"), (300.0, "warning")])
def test_a_disk_that_is_slow_or_does_not_wait_is_told(spent: float, grade: str) -> None:
    report = DoctorReport("url", "sqlite")
    say_sync(report, spent)
    [found] = report.findings
    assert (found.subject, found.grade, bool(found.advice)) == ("sync", grade, grade == "warning")


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_a_small_disk_that_turned_read_only_is_told(tmp_path: Path, scheme: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "charm", str(disk)], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    url = f"sqlite:///{disk}/charm.db" if scheme == "sqlite" else f"file://{disk}"
    try:
        fill(url)
        found = graded(doctor(url))
        assert (found["disk"], found["rights"]) == ("warning", "ok")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        report = doctor(url)
        assert not report.ok
        assert any("read-only" in found.message and found.advice for found in report.findings)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_redis_that_keeps_nothing_is_told() -> None:
    or_skip(valkey_server)
    with valkey("--save", "", "--appendonly", "no") as server:
        [found] = [found for found in doctor(server.url).findings if found.subject == "durability"]
        assert found.grade == "warning" and "all is lost" in found.message and "appendonly yes" in found.advice


def test_a_mount_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from charm_checkpoint.stores.shared import mounts

    listed = tmp_path / "mounts"
    listed.write_text(f"1 2 0:3 / {tmp_path} rw - fuse.gcsfuse bucket rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", listed)
    fill(f"sqlite:///{tmp_path}/charm.db")
    report = doctor(f"sqlite:///{tmp_path}/charm.db")
    assert graded(report)["file system"] == "error" and report.facts["file_system"] == "fuse.gcsfuse"
    fill(f"file://{tmp_path}/folder")
    assert graded(doctor(f"file://{tmp_path}/folder"))["file system"] == "note"


def test_postgres_says_what_its_settings_promise() -> None:
    url = or_skip(shared_database)
    fill(url)
    report = doctor(url)
    found = graded(report)
    assert found["durability"] == "error"  # the tests' server has fsync off
    assert (found["clock"], found["rights"], found["TLS"], found["connections"]) == ("ok", "ok", "ok", "ok")
    assert report.facts["server"].startswith("PostgreSQL ") and report.facts["pooler"] is False


def test_a_schema_of_which_a_table_is_missing_is_told() -> None:
    url = or_skip(postgres_url)
    fill(url)
    assert graded(doctor(url))["schema"] == "ok"
    postgres_server().execute("DROP TABLE charm_checkpoint.chunk CASCADE", url.rpartition("/")[2])
    report = doctor(url)
    assert not report.ok and graded(report)["schema"] == "error"
    assert any("not there: chunk." in found.message for found in report.findings)


def test_a_file_whose_log_was_not_restored_is_told(tmp_path: Path) -> None:
    with open_memory(f"sqlite:///{tmp_path}/charm.db") as memory:
        memory.save_messages("t", [{"role": "user"}])
        (tmp_path / "restored.db").write_bytes((tmp_path / "charm.db").read_bytes())
    report = doctor(f"sqlite:///{tmp_path}/restored.db")
    assert any(found.subject == "schema" and "-wal" in found.advice for found in report.findings)


def test_a_pooler_is_told() -> None:
    url = or_skip(pgbouncer_url)
    fill(url)
    report = doctor(url)
    assert report.facts["pooler"] is True and graded(report)["pooler"] == "note"


def test_options_without_effect_are_told() -> None:
    url = or_skip(shared_database)
    fill(url)
    report = doctor(f"{url}?pgbouncer=true&connection_limit=3")
    said = {found.message for found in report.findings if found.subject == "options"}
    assert len(said) == 2
    assert any("pgbouncer" in message and "no effect" in message for message in said)
    assert any("connection_limit" in message and "max_connections" in message for message in said)


def test_redis_says_what_its_settings_promise() -> None:
    for get in (valkey_url, redis_url, valkey_cluster_url):
        report = doctor(or_skip(get))
        found = graded(report)
        assert (found["clock"], found["eviction"], found["TLS"]) == ("ok", "ok", "ok")
        assert found["durability"] in ("note", "warning") and report.facts["server"]


def test_eviction_is_told() -> None:
    or_skip(valkey_server)
    with valkey("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes") as server:
        report = doctor(server.url)
        assert graded(report)["eviction"] == "warning" and report.facts["maxmemory_policy"] == "allkeys-lru"
        assert graded(report)["durability"] == "note"
        assert "noeviction" in " ".join(report.lines())


def test_supabase_says_whose_key_it_is() -> None:
    report = doctor(or_skip(supabase_url))
    assert report.failed_at is None and report.facts["key"] in ("service_role", "secret")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


OUT_OF_REACH: list[tuple[str, Callable[[], str]]] = [
    ("port", lambda: f"redis://127.0.0.1:{free_port()}?timeout=1"),
    ("port", lambda: f"postgresql://me:secret@127.0.0.1:{free_port()}/db?timeout=1"),
    ("port", lambda: f"supabase://127.0.0.1:{free_port()}?key=secret&timeout=1"),
    ("name", lambda: "redis://no-such-host.invalid?timeout=1"),
    ("name", lambda: "postgresql://me:secret@no-such-host.invalid/db?timeout=1"),
    ("login", lambda: as_user(or_skip(valkey_url), ":wrong-secret")),
    ("login", lambda: as_user(or_skip(shared_database), "postgres:wrong-secret")),
    ("database", lambda: or_skip(postgres_server).database_url("no_such_database")),
    ("TLS", lambda: f"{or_skip(shared_database)}?sslmode=require&timeout=1"),
]
"""At which step a store cannot be reached, and its URL."""


@pytest.mark.parametrize("number", range(len(OUT_OF_REACH)))
def test_out_of_reach(number: int) -> None:
    step, make = OUT_OF_REACH[number]
    report = doctor(make())
    assert report.failed_at == step, list(report.lines())
    assert not report.ok and report.findings[-1].subject == step and report.findings[-1].grade == "error"
    said = " ".join([*report.lines(), str(report.as_dict())])
    assert "secret" not in said.replace("wrong-secret", "secret") or "***" in said
    assert "wrong-secret" not in said and "me:secret" not in said


def test_a_newer_schema_is_told(tmp_path: Path) -> None:
    from sqlite_files import query

    fill(f"sqlite:///{tmp_path}/charm.db")
    query(tmp_path / "charm.db", "PRAGMA user_version = 999")
    report = doctor(f"sqlite:///{tmp_path}/charm.db")
    assert report.failed_at == "schema" and "pgrade" in report.findings[-1].message


def test_an_async_program_asks_in_the_same_words() -> None:
    async def ask() -> DoctorReport:
        async with Memory({"url": "memory://"}) as memory:
            return await memory.adoctor()

    assert asyncio.run(ask()).ok
