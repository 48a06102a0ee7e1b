"""The memory that charm.yaml asks for, and the providers that Charm finds."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import charm_checkpoint
from charm_checkpoint import ConfigError, MissingExtra, StorageManager, from_charm
from charm_checkpoint.config import manager
from charm_checkpoint.config.registry import load_object
from charm_checkpoint.hosts.charm.project import anchored
from charm_checkpoint.memory import Memory
from charm_checkpoint.stores.shared.mounts import remote_kind

SQLITE = "runtime: {memory: {provider: sqlite, config: {url: 'sqlite:///agent.db'}}}"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give every test a manager of its own, and an environment that asks for nothing."""
    monkeypatch.setattr(StorageManager, "_cache", {})
    for name in ("CHARM_MEMORY_PROVIDER", "REDIS_URL", "VALKEY_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    StorageManager.clear()


def place(memory: Memory) -> str:
    return memory.location.raw


class TestWhereItLooks:
    def test_a_file_or_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "charm.yaml").write_text(SQLITE)
        memory = from_charm(tmp_path)
        assert from_charm(str(tmp_path / "charm.yaml")) is memory
        assert place(memory) == f"sqlite:///{tmp_path}/agent.db"

    def test_above_the_working_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "charm.yaml").write_text(SQLITE)
        (tmp_path / "src" / "deep").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "src" / "deep")
        assert place(from_charm()) == f"sqlite:///{tmp_path}/agent.db"

    def test_above_the_caller_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("agent", "elsewhere"):
            (tmp_path / name / "src").mkdir(parents=True)
            (tmp_path / name / "charm.yaml").write_text(SQLITE)
        (tmp_path / "agent" / "src" / "bot_.py").write_text("from charm_checkpoint import from_charm as ask\nm = ask()")
        monkeypatch.chdir(tmp_path / "elsewhere")
        monkeypatch.syspath_prepend(tmp_path / "agent" / "src")
        assert place(load_object("bot_:m")) == f"sqlite:///{tmp_path}/agent/agent.db"
        del sys.modules["bot_"]

    @pytest.mark.parametrize("missing", ["", "other", "charm.yaml"])
    def test_a_named_file_must_be_there(self, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CHARM_MEMORY_PROVIDER", "memory")
        with pytest.raises(ConfigError, match=r"there is no file .*name a charm\.yaml or its folder"):
            from_charm(tmp_path / missing)

    def test_nothing_anywhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match=r"there is no charm\.yaml .*from_charm\(path\), or set CHARM_MEMORY"):
            from_charm()


class TestEnvironment:
    @pytest.mark.parametrize("text", [None, "", "version: 1", "runtime: {adapter: {}}", "runtime: {memory: }"])
    def test_decides_where_no_file_does(
        self, text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        if text is not None:
            (tmp_path / "charm.yaml").write_text(text)
            with pytest.raises(ConfigError, match=r"charm\.yaml has no runtime\.memory; add runtime: "):
                from_charm()
        monkeypatch.setenv("CHARM_MEMORY_PROVIDER", "redis")
        monkeypatch.setenv("REDIS_URL", "rediss://cache:1")
        assert place(from_charm()) == "rediss://cache:1"

    @pytest.mark.parametrize(
        ("provider", "variable", "url"),
        [
            ("redis", "REDIS_URL", "redis://localhost:6379/0"),
            ("valkey", "VALKEY_URL", "valkey://localhost:6379/0"),
            ("postgres", "DATABASE_URL", "postgresql://"),
        ],
    )
    def test_a_url_of_another_kind_is_not_meant(
        self, provider: str, variable: str, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "mysql://u:p@h")
        assert place(StorageManager.get_provider(provider)) == url
        assert place(StorageManager.get_provider(provider, {"url": url + "?timeout=1s"})) == url + "?timeout=1s"

    def test_the_file_is_before_it_and_that_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "charm.yaml").write_text(SQLITE)
        monkeypatch.setenv("CHARM_MEMORY_PROVIDER", "sqlite")
        memory = from_charm(tmp_path)
        assert not caplog.records
        monkeypatch.setenv("CHARM_MEMORY_PROVIDER", "redis")
        assert from_charm(tmp_path) is memory
        assert "CHARM_MEMORY_PROVIDER says 'redis', but" in caplog.text

    def test_variables_are_expanded_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "${HOME} 100%"
        folder.mkdir()
        (folder / "charm.yaml").write_text(
            "runtime: {memory: {provider: sqlite, config: {url: 'sqlite:///${NAME}.db'}}}"
        )
        monkeypatch.setenv("NAME", "$$one")
        assert from_charm(folder).location.path == "$$one.db", "where a variable begins, nothing is known of the path"
        (folder / "charm.yaml").write_text("runtime: {memory: {provider: sqlite, config: {tenant: '$${NAME}'}}}")
        memory = from_charm(folder)
        assert memory.location.path == f"{folder}/charm.db"
        memory.save_messages("t", [])
        assert (folder / "charm.db").exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///agent.db?mode=ro", "sqlite:////a%20b/agent.db?mode=ro"),
        ("SQLite:///./x/../agent.db", "SQLite:////a%20b/./x/../agent.db"),
        ("file://./data", "file:///a%20b/./data"),
        ("file://..", "file:///a%20b/.."),
        ("file://.", "file:///a%20b/."),
        *((url, url) for url in (
            "sqlite:////abs.db", "sqlite:///:memory:", "sqlite:///", "sqlite:///?timeout=1s", "sqlite:///C:/x.db",
            "sqlite:///${DATA}/x.db", "file://", "file:///abs", "file://localhost/abs", "redis://h/0", "${URL}",
        )),
    ],
)  # fmt: skip
def test_relative_paths_begin_beside_charm_yaml(url: str, expected: str) -> None:
    assert anchored(url, Path("/a b")) == expected


@pytest.mark.parametrize("url", ["agent.db", "sqlite+aiosqlite:///agent.db", "${NAME}.db"])
def test_a_plain_file_name_is_beside_charm_yaml(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", f"{tmp_path}/agent")
    (tmp_path / "charm.yaml").write_text(f"runtime: {{memory: {{provider: sqlite, config: {{url: '{url}'}}}}}}")
    assert Path(from_charm(tmp_path).location.path) == tmp_path / "agent.db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runtime: {memory: {provider: sqlit}}", r"runtime\.memory: no memory provider 'sqlit'; did you mean 'sqlite'"),
        ("runtime: {memory: {provider: sqlite, confg: {}}}", "unknown key 'confg'; did you mean 'config'"),
        ("runtime: {memory: {provider: sqlite, config: {timout: 1}}}", "'timout'; did you mean 'timeout'"),
        ("runtime: {memory: {provider: sqlite, config: {timeout: soon}}}", "'soon' is not a duration"),
        ("runtime: {memory: {provider: sqlite, config: {url: '${NO_SUCH}'}}}", "NO_SUCH is not set"),
        ("runtime: {memory: {provider: sqlite, config: {url: 'redis://:s3cret@h'}}}", "SqliteMemory opens sqlite://"),
        ("runtime: {memory: {provider: 3}}", "provider is a provider's name"),
        ("runtime: {memory: [sqlite]}", "memory is a mapping"),
        ("runtime: {memory: {provider: sqlite, config: []}}", "config is a mapping"),
        ("runtime: 3", "runtime is a mapping"),
        ("- runtime", "runtime is a mapping"),
        ("runtime: {memory: {provider: sqlite}\nkey: [s3cret", r"charm\.yaml is not valid YAML in line 2: expected"),
        ("a: \x00", r"charm\.yaml is not valid YAML"),
    ],
)
def test_errors_say_where_and_what(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "charm.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        from_charm(tmp_path)
    assert str(tmp_path / "charm.yaml") in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_charm_yaml_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "charm.yaml").write_text(SQLITE)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("charm_checkpoint.hosts.charm.project.read_bounded", refuse)
    with pytest.raises(ConfigError, match="cannot read .*: Permission denied"):
        from_charm(tmp_path)


def test_without_pyyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "charm.yaml").write_text(SQLITE)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match=r'needs PyYAML; pip install "charm-checkpoint\[charm\]"'):
        from_charm(tmp_path)
    monkeypatch.setenv("CHARM_MEMORY_PROVIDER", "memory")
    monkeypatch.chdir(tmp_path.parent)
    assert place(from_charm()) == "memory://"


# --------------------------------------------------------------------------------- providers

NAMES = {"sqlite", "postgres", "redis", "valkey", "charm-local", "charm-supabase", "none"}


def test_charm_finds_every_provider() -> None:
    from charm.core.storage import BaseMemoryStore

    found = {entry.name: entry for entry in entry_points(group="charm.memory") if "charm_checkpoint" in entry.value}
    assert found.keys() == NAMES
    for name, entry in found.items():
        assert entry.value == manager.PROVIDERS[name]
        assert issubclass(entry.load(), BaseMemoryStore)


@pytest.mark.parametrize("name", sorted(manager.PROVIDERS))
def test_every_provider_suggests_the_nearest_option(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_KEY", "k")
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.co")
    provider = manager.provider_class(name)
    with pytest.raises(ConfigError, match="unknown option 'on_conflit'; did you mean 'on_conflict'"):
        provider({"on_conflit": "warn"})
    with pytest.raises(ConfigError, match=f"{provider.__name__} opens {provider.schemes[0]}"):
        provider({"url": "sqlite:///:memory:" if name != "sqlite" else "memory://"})
    assert provider({}).location.scheme == provider.provider


def test_our_own_entry_points_are_no_clash(caplog: pytest.LogCaptureFixture) -> None:
    manager._plugins.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert {"charm-local", "redis"} <= set(manager.known_providers())
        assert type(StorageManager.get_provider("none")).__name__ == "NullMemory"
    assert not caplog.records


SDK = """
import sys
from charm.core.storage import StorageManager
memory = StorageManager.get_provider(sys.argv[1], {sys.argv[2]: sys.argv[3]})
print(type(memory).__module__, type(memory).__name__)
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sqlite", "url", "sqlite:///${NAME}.db"], "charm_checkpoint.providers SqliteMemory"),
        (["charm-local", "timeout", "1s"], "charm_checkpoint.providers LocalMemory"),
        (["sqlite", "timout", "1s"], "unknown option 'timout'; did you mean 'timeout'?"),
    ],
)
def test_the_sdks_own_manager(arguments: list[str], expected: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SDK, *arguments],
        cwd=tmp_path, env={**os.environ, "NAME": "agent"}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert expected in done.stdout


def test_from_charm_is_public() -> None:
    assert "from_charm" in dir(charm_checkpoint)
    assert charm_checkpoint.from_charm is from_charm


# ------------------------------------------------------------------------------------ mounts

MOUNTS = rb"""
22 27 0:21 / / rw - ext4 /dev/sda1 rw
23 22 0:22 / /workspace rw shared:1 - fuse.gcsfuse bucket rw
24 23 0:23 / /workspace/own\040disk rw - xfs /dev/sdb rw
25 22 0:24 / /home rw - nfs4 server:/home rw
26 22 0:25 / /home/ann rw - fuseblk /dev/sdc rw
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/agent.db", None),
        ("/workspaces/agent.db", None),
        ("/workspace/u/agent.db", "fuse.gcsfuse"),
        ("/workspace/own disk/agent.db", None),
        ("/home/bob/agent.db", "nfs4"),
        ("/home/ann/agent.db", None),
    ],
)
def test_remote_mounts_are_known(path: str, kind: str | None) -> None:
    assert remote_kind(path, MOUNTS) == kind


@pytest.mark.parametrize(
    "kind",
    ["virtiofs", "fakeowner", "drvfs", "vboxsf", "prl_fs", "vmhgfs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fuse.sshfs",
     "9p", "nfs", "nfs4", "cifs", "smb3", "ceph"],
)  # fmt: skip
def test_folders_of_other_machines_are_known(kind: str) -> None:
    assert remote_kind("/data/agent.db", f"1 1 0:1 / /data rw - {kind} source rw\n".encode()) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "apfs", "f2fs"])
def test_disks_of_this_machine_are_known(kind: str) -> None:
    assert remote_kind("/data/agent.db", f"1 1 0:1 / /data rw - {kind} source rw\n".encode()) is None


def test_sqlite_on_a_remote_mount_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_bytes(b"1 1 0:1 / / rw - fuse.gcsfuse bucket rw\n")
    monkeypatch.setattr("charm_checkpoint.stores.shared.mounts.MOUNTS", mounts)
    with charm_checkpoint.open_memory(f"sqlite:///{tmp_path}/agent.db") as memory:
        memory.save_messages("t", [])
        assert memory.load_messages("t") == []
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"{tmp_path}/agent.db is on a fuse.gcsfuse mount"
    ]
