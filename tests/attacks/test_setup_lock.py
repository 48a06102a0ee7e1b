"""A lock that is never let go of.

The attacker may log in to the same Postgres database, and has no right to anything of ours. He wants that no store can
be set up or upgraded any more, by holding the lock that setup takes: once, that was an advisory lock, whose number
anybody can take.

He gets nothing: setup locks a table of its own schema, which needs rights in it. Who has these can still be in the way,
as he can be in everything else there, and so can who may create a schema of that name; the error then says who it is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from attacks.postgres_roles import Base, base, query, user
from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import StoreUnavailable

__all__ = ["base"]

NUMBER = 0x63686370
"""The advisory lock that setup took in version 0.2.0."""

CALLS: list[Callable[[Memory], object]] = [Memory.setup, lambda memory: asyncio.run(memory.asetup())]


def outdate(url: str) -> None:
    """Have a schema be of an earlier version, so that setup has something to do."""
    query(url, "DELETE FROM charm_checkpoint.migration WHERE version > 3")


@pytest.mark.parametrize("call", CALLS, ids=["blocking", "async"])
def test_nobody_without_rights_is_in_the_way(call: Callable[[Memory], object], base: Base) -> None:
    attacker, owner = base.role("attacker"), base.owner()
    with psycopg.connect(attacker) as held:
        held.execute("SELECT pg_advisory_lock(%s)", (NUMBER,))
        for _ in range(2):
            with open_memory(f"{owner}?timeout=5s") as memory:
                call(memory)
            for table in ("migration", "thread"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), held.transaction():
                    held.execute(f"LOCK TABLE charm_checkpoint.{table} IN ACCESS SHARE MODE".encode())
            outdate(owner)


@pytest.mark.parametrize("call", CALLS, ids=["blocking", "async"])
@pytest.mark.parametrize("table", ["migration", "thread"])
def test_who_holds_it_is_told(table: str, call: Callable[[Memory], object], base: Base) -> None:
    owner = base.owner()
    with open_memory(owner) as memory:
        memory.setup()
    outdate(owner)
    guest = base.role("guest", "USAGE ON SCHEMA charm_checkpoint", f"UPDATE ON charm_checkpoint.{table}")
    with psycopg.connect(f"{guest}?application_name=idle%20thing") as held:
        held.execute(f"LOCK TABLE charm_checkpoint.{table} IN SHARE ROW EXCLUSIVE MODE".encode())
        told = f"process {held.info.backend_pid} of '{user(guest)}' .'idle thing'.* Nothing was done"
        began = time.monotonic()
        with open_memory(f"{owner}?timeout=2s") as memory, pytest.raises(StoreUnavailable, match=told):
            call(memory)
        assert time.monotonic() - began < 10
    with open_memory(owner) as memory:
        call(memory)


def test_who_makes_a_schema_of_that_name_is_told(base: Base) -> None:
    attacker, owner = base.role("attacker", f'CREATE ON DATABASE "{base.name}"'), base.owner()
    with psycopg.connect(attacker) as held:
        held.execute("CREATE SCHEMA charm_checkpoint")
        told = f"process {held.info.backend_pid} of '{user(attacker)}'"
        with open_memory(f"{owner}?timeout=2s") as memory, pytest.raises(StoreUnavailable, match=told):
            memory.setup()
        held.rollback()
    with open_memory(owner) as memory:
        memory.setup()


def test_who_waits_goes_on_when_it_is_let_go(base: Base) -> None:
    owner = base.owner()
    with psycopg.connect(owner) as held:
        held.execute("CREATE SCHEMA charm_checkpoint")
        later = threading.Timer(0.5, held.commit)
        later.start()
        with open_memory(owner) as memory:
            memory.setup()
        later.join()
