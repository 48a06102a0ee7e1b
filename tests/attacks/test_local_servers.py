"""Servers that are started for tests and demos, on a machine that others use too.

The attacker is another user of the machine, or of a package that npm brings. He may connect to every port of
127.0.0.1, list every process with its arguments, and publish another version of a package.

He wants to read what the demo stores, to have a server run his code (a Redis without a password lets anybody write
files as whoever runs it), to find keys of models and databases in what a child process was given, and to have his
package run. He gets nothing: a server asks for a password that is in no argument, nothing runs as root, children get
the few variables that they need, and npm takes what has the hash that is written down, and runs no scripts of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import have, postgres_server, redis_server, supabase_server, valkey_cluster_server, valkey_sentinel_server

from charm_checkpoint import open_memory
from charm_checkpoint.errors import MissingServer, ServerFailed
from charm_checkpoint.servers import lite, node, valkey
from charm_checkpoint.servers.base import Server
from charm_checkpoint.servers.process import clean_environment, run
from charm_checkpoint.servers.resp import ask

pytestmark = pytest.mark.skipif(os.name != "posix", reason="servers are started on Unix alone")

SECRETS = {"OPENAI_API_KEY": "sk-of-the-user", "DATABASE_URL": "postgresql://me:pw@db", "PGPASSWORD": "pw-1"}

SERVERS: dict[str, Callable[[], list[Server]]] = {
    "valkey": lambda: [redis_server()],
    "cluster": lambda: [*valkey_cluster_server().nodes],
    "sentinel": lambda: [*valkey_sentinel_server().servers],
    "postgres": lambda: [postgres_server()],
    "supabase": lambda: [supabase_server()],
}

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")


def of_processes(pid: int, what: str) -> bytes:
    """Return what /proc tells of a process and of its parent, which keeps it."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return b"\0".join(Path(f"/proc/{each}/{what}").read_bytes() for each in (pid, parent))


@pytest.mark.parametrize("kind", ["valkey", "cluster", "sentinel"])
def test_who_has_no_password_is_told_nothing(kind: str) -> None:
    for server in have(SERVERS[kind]):
        for words in (["INFO"], ["PING"], ["ACL", "WHOAMI"]):
            with pytest.raises(ServerFailed, match="NOAUTH"):
                ask(server.port, *words)


@linux
@pytest.mark.parametrize("kind", list(SERVERS))
def test_no_password_is_among_the_arguments(kind: str) -> None:
    for server in have(SERVERS[kind]):
        words = [getattr(server, name, "") for name in ("password", "secret_key")]
        assert any(words)
        shown = of_processes(server.pid, "cmdline")
        assert not any(word.encode() in shown for word in words if word)


def test_a_file_with_a_password_is_for_its_reader_alone() -> None:
    files = {"valkey": ["valkey.conf"], "postgres": ["password"], "supabase": ["supabase/config.toml"]}
    for kind, names in files.items():
        for server in have(SERVERS[kind]):
            assert server.folder.stat().st_mode & 0o077 in (0, 0o055)  # a copy of the programs is for nobody to read
            for name in names:
                assert (server.folder / name).stat().st_mode & 0o077 == 0, name


@linux
@pytest.mark.parametrize("kind", list(SERVERS))
def test_nothing_runs_as_root(kind: str) -> None:
    for server in have(SERVERS[kind]):
        [users] = [line for line in Path(f"/proc/{server.pid}/status").read_text().split("\n") if line[:4] == "Uid:"]
        assert "0" not in users.split()[1:]


def test_root_may_be_asked_for() -> None:
    with have(lambda: valkey(password="", drop_root=False)) as server, open_memory(server.url) as memory:
        assert server.url == f"redis://127.0.0.1:{server.port}"
        memory.save_messages("t", [{"n": 1}])
        if os.geteuid() == 0:
            assert Path(f"/proc/{server.pid}").stat().st_uid == 0 or sys.platform != "linux"


@linux
def test_children_do_not_get_what_they_do_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with have(valkey) as server:
        given = of_processes(server.pid, "environ")
        assert b"PATH=" in given
        assert not any(value.encode() in given for value in SECRETS.values())
    said = run([sys.executable, "-c", "import os; print(dict(os.environ))"]).stdout
    assert "PATH" in said and not any(value in said for value in SECRETS.values())
    assert SECRETS.keys().isdisjoint(clean_environment(npm=True))


# ------------------------------------------------------------------------------- what npm brings


def test_every_package_has_a_version_and_a_hash() -> None:
    wanted = node.locked(lite.PACKAGES)
    manifest, lock = json.loads(wanted.manifest), json.loads(wanted.lock)
    found = {place: entry for place, entry in lock["packages"].items() if place}
    assert len(found) > 50
    for place, entry in found.items():
        assert entry["integrity"].startswith("sha512-") and entry["version"], place
    assert lock["packages"][""]["dependencies"] == manifest["dependencies"]
    assert all(version[0].isdecimal() for version in manifest["dependencies"].values())


def test_a_package_of_another_hash_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    have(node.find_node)
    package = tmp_path / "package"
    package.mkdir()
    (package / "package.json").write_text('{"name": "planted", "version": "1.0.0"}')
    packed = tmp_path / "planted.tgz"
    subprocess.run(["tar", "-czf", packed, "-C", tmp_path, "package"], check=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = {"version": "1.0.0", "resolved": f"file:{packed}", "integrity": f"sha512-{'A' * 86}=="}
    packages = {"": {"dependencies": {"planted": f"file:{packed}"}}, "node_modules/planted": entry}
    wanted = node.Locked(
        "planted",
        json.dumps({"dependencies": {"planted": f"file:{packed}"}}),
        json.dumps({"lockfileVersion": 3, "requires": True, "packages": packages}),
    )
    with pytest.raises(MissingServer, match="npm could not install planted") as caught:
        node.packages(wanted)
    assert "EINTEGRITY" in str(caught.value) or "integrity" in str(caught.value)
    assert not [left for left in (tmp_path / "cache" / "charm-checkpoint").iterdir() if left.is_dir()]


def test_a_cache_that_others_may_write_to_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "charm-checkpoint").mkdir()
    (tmp_path / "charm-checkpoint").chmod(0o777)
    with pytest.raises(MissingServer, match="others may write to"):
        node.cache_folder()
