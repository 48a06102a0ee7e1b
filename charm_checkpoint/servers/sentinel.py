"""A Valkey server with replicas, and a sentinel that puts one in its place when it dies."""

from __future__ import annotations

import secrets
from pathlib import Path

from charm_checkpoint.servers.account import unprivileged
from charm_checkpoint.servers.base import HOST, Server, await_true
from charm_checkpoint.servers.process import write_private
from charm_checkpoint.servers.resp import Reply, ask
from charm_checkpoint.servers.valkey_node import ValkeyGroup, ValkeyServer, find_program

SERVICE = "charm"

DOWN_AFTER = 500
"""Milliseconds after which the sentinel takes a silent server for dead."""


class SentinelServer(Server):
    """The sentinel alone."""

    title = "Valkey Sentinel"

    def __init__(self, primary: ValkeyServer, program: str | None = None) -> None:
        self._program: Path = find_program(program)
        super().__init__(account=unprivileged())
        if self._account:
            self._program = self._account.reach(self._program, self.folder)
        self._primary = primary
        self.password = primary.password

    @property
    def url(self) -> str:
        """The URL to ask which server is the primary."""
        own = f"?sentinel_password={self.password}" if self.password else ""
        return f"redis+sentinel://{self._primary.login}{HOST}:{self.port}/{SERVICE}{own}"

    def ask(self, *words: str | int) -> Reply:
        """Send it a command and return the reply."""
        return ask(self.port, *words, password=self.password)

    def _prepare(self) -> None:
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"dir {self.folder}",
            f"sentinel monitor {SERVICE} {HOST} {self._primary.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        if self.password:
            lines += [f"sentinel auth-pass {SERVICE} {self.password}", f"requirepass {self.password}"]
        write_private(self.folder / "sentinel.conf", "\n".join(lines) + "\n", self._account)

    def _command(self) -> list[str]:
        return [str(self._program), str(self.folder / "sentinel.conf"), "--sentinel"]


class ValkeySentinel(ValkeyGroup):
    """Servers of which one is the primary, and their ``sentinel``."""

    def __init__(self, replicas: int, *extra_args: str, program: str | None = None) -> None:
        super().__init__()
        self.nodes: list[ValkeyServer] = []
        self._password = secrets.token_hex(16)
        try:
            first = self._add_node(*extra_args, program=program)
            for _ in range(replicas):
                self._add_node("--replicaof", f"{HOST} {first.port}", *extra_args, program=program)
            await_true(lambda: _count_replicas(first) == replicas, "the replicas did not find their Valkey server")
            self.sentinel = SentinelServer(first, program).start()
            self.servers.append(self.sentinel)
            await_true(lambda: self._count_known() == replicas, "the sentinel did not find the replicas")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The URL of the sentinel and its service."""
        return self.sentinel.url

    @property
    def primary(self) -> ValkeyServer:
        """The server that is the primary now, by what the sentinel says."""
        address = self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        assert isinstance(address, list)
        return next(node for node in self.nodes if str(node.port) == address[1])

    def fail_over(self) -> ValkeyServer:
        """Kill the primary, wait until a replica has its place, and return that; the old one can `restart`."""
        old = self.primary
        old.halt("SIGKILL")
        await_true(lambda: self.primary is not old, "the sentinel put no replica in the primary's place")
        # Until it has made up its mind the sentinel calls the new one dead, as the old one was.
        await_true(lambda: self._flags() == "master", "the sentinel did not end its failover")
        return self.primary

    def _add_node(self, *extra_args: str, program: str | None) -> ValkeyServer:
        node = ValkeyServer(*extra_args, program=program, password=self._password).start()
        self.nodes.append(node)
        self.servers.append(node)
        return node

    def _flags(self) -> str:
        report = self.sentinel.ask("SENTINEL", "MASTER", SERVICE)
        assert isinstance(report, list)
        return str(report[report.index("flags") + 1])

    def _count_known(self) -> int:
        known = self.sentinel.ask("SENTINEL", "REPLICAS", SERVICE)
        assert isinstance(known, list)
        # Each report is a flat list of names and values.
        reports = [dict(zip(report[::2], report[1::2], strict=True)) for report in known if isinstance(report, list)]
        return sum(report["flags"] == "slave" and report["master-link-status"] == "ok" for report in reports)


def valkey_sentinel(replicas: int = 1, *extra_args: str, program: str | None = None) -> ValkeySentinel:
    """Start Valkey with replicas and a sentinel; the other arguments are those of `valkey`."""
    return ValkeySentinel(replicas, *extra_args, program=program)


def _count_replicas(primary: ValkeyServer) -> int:
    info = primary.info("replication")
    return sum(name.startswith("slave") and "state=online" in value for name, value in info.items())
