"""A Valkey cluster: nodes that share the keys out among themselves."""

from __future__ import annotations

import secrets

from charm_checkpoint.servers.base import HOST, await_true
from charm_checkpoint.servers.valkey_node import ValkeyGroup, ValkeyServer, fields

SLOTS = 16384
"""How many parts a cluster divides its keys into."""

NODE_TIMEOUT = "2000"
"""Milliseconds after which the others take a silent node for dead."""


class ValkeyCluster(ValkeyGroup):
    """A cluster; ``nodes`` are its servers."""

    def __init__(self, nodes: int, *extra_args: str, program: str | None = None) -> None:
        super().__init__()
        self.nodes: list[ValkeyServer] = []
        settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT)
        password = secrets.token_hex(16)
        try:
            for _ in range(nodes):
                node = ValkeyServer(*settings, *extra_args, program=program, password=password).start()
                self.nodes.append(node)
                self.servers.append(node)
            self._join()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The URL of a node, from which the others are found."""
        return f"redis+cluster://{self.nodes[0].login}{HOST}:{self.nodes[0].port}"

    def _join(self) -> None:
        bounds = [SLOTS * number // len(self.nodes) for number in range(len(self.nodes) + 1)]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", HOST, node.port)
        await_true(self._is_whole, "the Valkey nodes did not become a cluster")

    def _is_whole(self) -> bool:
        wanted = {"cluster_state": "ok", "cluster_known_nodes": str(len(self.nodes))}
        return all(wanted.items() <= fields(node.ask("CLUSTER", "INFO")).items() for node in self.nodes)


def valkey_cluster(nodes: int = 3, *extra_args: str, program: str | None = None) -> ValkeyCluster:
    """Start a cluster of Valkey nodes without replicas; the other arguments are those of `valkey`."""
    return ValkeyCluster(nodes, *extra_args, program=program)
