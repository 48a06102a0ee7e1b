"""Damaged bytes: whatever is stored may come back as anything.

Who: a disk that rots, a line that drops bits; and somebody who may write to the store, knows its form, and puts sound
bytes there that say something absurd: a text where a number belongs, a list of a list, a time zone that is a folder.

What he wants: a program that fails in a way nobody foresaw. A `TypeError` from deep inside is caught by no handler that
expects damage, names no thread that could be deleted, and hides every thread beside it in a listing; a read that never
ends, or asks for all the memory there is, does worse.

What he gets: `StoreCorrupt`, or `TypeNotLoaded` where the bytes name a class that is not here, within a moment, with
the thread, namespace and checkpoint (or the item's namespace and key) in it. Or another value: what is not covered by a
hash and still says something sensible is taken for what it says; see docs/security.md for what is noticed and what not.

CI tries some hundreds of mutations of each kind; with ``CHARM_TEST_SCALE=200`` it is some million in all.
"""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import ormsgpack
import pytest
from children.jobs import put
from workers import SCALE

from attacks.damaged_kinds import KINDS, Kind
from charm_checkpoint import open_memory
from charm_checkpoint.contract import Chunk, StoredCheckpoint
from charm_checkpoint.errors import StoreCorrupt, TypeNotLoaded
from charm_checkpoint.plan import Plan
from charm_checkpoint.values import codes
from charm_checkpoint.values.encoder import MANIFEST, address
from charm_checkpoint.values.packing import RAW
from charm_checkpoint.values.sealing import Identities, opened, seal
from charm_checkpoint.values.serde import Serializer, values

MUTATIONS = int(400 * SCALE)
PATIENCE = 20.0
"""Seconds that one read may take on a machine that is busy with other things; alone it is some milliseconds."""


def check(kind: Kind, data: bytes) -> str:
    """Read damaged bytes, and return what became of it."""
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pattern that is odd, or a dtype that NumPy no longer likes
            kind.read(data)
        came = "read"
    except (StoreCorrupt, TypeNotLoaded) as error:
        came = type(error).__name__
        assert len(str(error)) < 5000, "an error does not quote all that is stored"
    assert time.perf_counter() - began < PATIENCE
    return came


@pytest.mark.parametrize("name", KINDS)
def test_any_damage_is_an_error_that_says_so(name: str) -> None:
    kind, random = KINDS[name](), Random(name)
    came: dict[str, int] = {}
    for _ in range(MUTATIONS):
        data = kind.mutated(random)
        try:
            what = check(kind, data)
        except BaseException as error:
            error.add_note(f"of {name}: {data!r}") if hasattr(error, "add_note") else None
            raise
        came[what] = came.get(what, 0) + 1
    assert len(came) > 1 or name == "notes", "some damage is noticed, and some says something else"
    for thing in kind.things:
        kind.read(thing)


def test_what_goes_over_all_there_is_is_no_container() -> None:
    """A set was made of whatever stood in it: every address of a network, or what a class's own ``__iter__`` says."""
    network = ormsgpack.packb(ormsgpack.Ext(codes.ADDRESS, ormsgpack.packb(["IPv6Network", "::/64"])))
    endless = ormsgpack.packb(ormsgpack.Ext(codes.RANGE, ormsgpack.packb([0, 2**60, 1])))
    for held in (network, endless):
        for code in (codes.TUPLE, codes.SET, codes.FROZENSET, codes.MAP, codes.COUNTER, codes.ORDERED):
            with pytest.raises(StoreCorrupt):
                Serializer().loads(b"\1" + ormsgpack.packb(ormsgpack.Ext(code, held)))
        for run in (b"\2", b"\3"):
            with pytest.raises(StoreCorrupt):
                Serializer().loads_many(run + held)


def test_a_class_is_told_from_what_it_holds_without_a_call() -> None:
    """An instance in a set's place had its class's own ``__iter__`` called."""
    held = ormsgpack.Ext(42, ormsgpack.packb([f"{__name__}:Eager", {"told": []}]))
    for code in (codes.TUPLE, codes.SET, codes.FROZENSET):
        with pytest.raises(StoreCorrupt):
            Serializer().loads(b"\1" + ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(held))))
    assert not CALLED


@dataclass
class Eager:
    told: list[str]

    def __iter__(self) -> Iterator[str]:
        CALLED.append("called")
        return iter(self.told)


CALLED: list[str] = []


def test_many_classes_that_are_not_there_are_not_all_looked_for() -> None:
    """Each name that no class has costs a look at every class of the process: 3,000 took a minute."""
    many = [ormsgpack.Ext(42, ormsgpack.packb([f"nowhere:Class{n}", {"n": n}])) for n in range(3000)]
    began = time.perf_counter()
    plain = Serializer().loads_plain(b"\1" + ormsgpack.packb(many))
    assert plain == [{"n": n} for n in range(3000)] and time.perf_counter() - began < PATIENCE


def test_an_error_of_a_hosts_own_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is short of memory is not told that the store is damaged."""

    def short(body: object, finder: object) -> None:
        raise MemoryError

    data = Serializer().dumps([{1}])
    monkeypatch.setitem(values.DECODERS, codes.SET, short)
    with pytest.raises(MemoryError):
        Serializer().loads(data)


@pytest.mark.parametrize("half", ["blocking", "async"])
@pytest.mark.parametrize("what", ["record", "writes", "chunk"])
def test_damage_names_its_thread_namespace_and_checkpoint(what: str, half: str) -> None:
    """Below the seal, which an attacker can make as well as anybody."""
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        at = put(saver, {"configurable": {"thread_id": "t", "checkpoint_ns": "below"}}, {"items": ["x" * 40] * 90})  # type: ignore[typeddict-item]
        saver.put_writes(at, [("items", 1)], "task")
        id = at["configurable"]["checkpoint_id"]
        backend: Any = memory.store.backend
        find = backend.find

        def damaged(*args: Any, **named: Any) -> Plan[StoredCheckpoint]:
            found = yield from find(*args, **named)
            identities = Identities()
            row = found.row
            if what == "record":
                whose = identities.checkpoint("t", "below", id, row.parent, row.roots)
                return found._replace(row=row._replace(body=seal(whose, RAW + b"\0\0\0\1\1\xc0")))
            if what == "writes":
                return found._replace(writes=[seal(identities.writes("t", "below", id), RAW + b"\1\x93\1\2\3")])
            body = ormsgpack.packb([[], 7, "x"])
            chunk = Chunk(address(MANIFEST, body, b""), b"", RAW + MANIFEST + body)
            whose = identities.checkpoint("t", "below", id, row.parent, chunk.address)
            packed = opened(identities.checkpoint("t", "below", id, row.parent, row.roots), row.body)
            made = row._replace(roots=chunk.address, body=seal(whose, packed))
            return found._replace(row=made, chunks={chunk.address: chunk})

        backend.find = damaged
        with pytest.raises(StoreCorrupt) as caught:
            saver.get_tuple(at) if half == "blocking" else asyncio.run(saver.aget_tuple(at))
        assert str(caught.value).startswith(f"Thread 't', namespace 'below', checkpoint {id}: ")
        assert type(caught.value.__cause__) in (TypeError, ValueError, IndexError)
