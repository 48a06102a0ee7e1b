"""Real servers for tests, notebooks and the demo, from packages alone.

Each runs on 127.0.0.1, on a free port, in a temporary folder, and is gone with its folder when it
is stopped, when its ``with`` block ends and when this process ends, be it killed::

    from charm_checkpoint import open_memory
    from charm_checkpoint.servers import postgres

    with postgres() as server, open_memory(server.new_database()) as memory:
        ...

They are for trying things out: on one machine, without backups, access left open to its users.
A `Proxy` in front of one is a network that is slow, cuts connections, swallows bytes and counts.
"""

from __future__ import annotations

from charm_checkpoint.servers.cluster import ValkeyCluster, valkey_cluster
from charm_checkpoint.servers.lite import SupabaseServer, supabase
from charm_checkpoint.servers.pooler import PgBouncerServer, pgbouncer
from charm_checkpoint.servers.postgresql import PostgresServer, postgres
from charm_checkpoint.servers.proxy import Proxy
from charm_checkpoint.servers.sentinel import ValkeySentinel, valkey_sentinel
from charm_checkpoint.servers.valkey_node import ValkeyServer, valkey

__all__ = [
    "PgBouncerServer",
    "PostgresServer",
    "Proxy",
    "SupabaseServer",
    "ValkeyCluster",
    "ValkeySentinel",
    "ValkeyServer",
    "pgbouncer",
    "postgres",
    "supabase",
    "valkey",
    "valkey_cluster",
    "valkey_sentinel",
]
