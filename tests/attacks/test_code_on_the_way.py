"""Code of a class that ran beside what reviving is about: on the way to defaults, members, namespaces and records.

The attacker may write to the store, and names classes that the program has. No row makes an instance by its class any
more; but a default that holds a set was copied by asking each member for its hash, a member of an enum was looked up
among values that compare as they like, a combination of flags was made as its class sets attributes, and an attribute
of a registered class could stand in the place of its methods.

What he gets is the value without any of it, or an error.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import ormsgpack
import pytest
from pydantic import BaseModel, ConfigDict

from attacks.forging import ENUM, OBJECT, SERDE, ext, instance, named, read, reference
from charm_checkpoint import Memory, open_memory, register_type
from charm_checkpoint.contract import NewCheckpoint
from charm_checkpoint.errors import CharmError, NotSerializable, TypeNotLoaded
from charm_checkpoint.saver.records import decode_record
from charm_checkpoint.testing.samples import config
from charm_checkpoint.values.packing import RAW
from charm_checkpoint.values.serde import Serializer

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    ran.clear()
    yield
    assert not ran


class Key:
    def __hash__(self) -> int:
        ran.append("__hash__")
        return 1

    def __eq__(self, other: object) -> bool:
        ran.append("__eq__")
        return True


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    number: int = 0
    held: Any = {"members": {Key()}, "keys": {Key(): 1}}


class Odd(enum.Enum):
    MEMBER = Key()


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2

    def __setattr__(self, name: str, value: Any) -> None:
        ran.append(name)
        super().__setattr__(name, value)


class Plain(enum.Flag):
    ONE = 1
    TWO = 2


@dataclass
class Spaced:
    number: int

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        ran.append("__dict__")
        return {}


@register_type
class Policy:
    def allows(self, what: str) -> bool:
        return False


@dataclass
class Disguised:
    number: int

    @property
    def __class__(self) -> Any:
        ran.append("__class__")
        return dict


ran.clear()


def test_a_default_is_copied_without_a_look_at_hashes() -> None:
    made = read(instance(Holder, number=1))
    assert made.held is not Holder.model_fields["held"].default
    assert [len(made.held["members"]), len(made.held["keys"])] == [1, 1]


def test_no_value_of_a_member_is_compared_by_its_own_code() -> None:
    with pytest.raises(TypeNotLoaded):
        read(ext(ENUM, named(Odd), 1))


def test_flags_are_combined_without_their_class() -> None:
    with pytest.raises(TypeNotLoaded):
        read(ext(ENUM, named(Bits), 3))
    both = Bits.ONE | Bits.TWO
    ran.clear()
    with pytest.raises(NotSerializable, match="__setattr__"):
        SERDE.dumps([both])
    assert SERDE.loads(SERDE.dumps([Plain.ONE | Plain.TWO, Bits.ONE])) == [Plain.ONE | Plain.TWO, Bits.ONE]


def test_no_combination_of_flags_is_as_large_as_somebody_says() -> None:
    # Python keeps each combination that was ever made.
    huge = ormsgpack.Ext(6, bytes([1]) + bytes(100_000))
    with pytest.raises(CharmError):
        read(ext(ENUM, "re:RegexFlag", huge))


def test_a_namespace_is_no_property() -> None:
    with pytest.raises(CharmError):
        read(ext(OBJECT, named(Spaced), {"number": 1}))


def test_no_attribute_stands_in_the_place_of_a_registered_class_s_method() -> None:
    for body in ([{"allows": reference(Disguised)}], [{"allows": 1}]):
        with pytest.raises(TypeNotLoaded, match="attribute"):
            read(ext(OBJECT, named(Policy), *body))


NS, FIRST, SECOND = "", "1f000000-0000-6000-8000-000000000001", "1f000000-0000-6000-8000-000000000002"


def planted(memory: Memory, parts: list[Any]) -> None:
    """Store two checkpoints with records of these parts."""
    header = b"\x01" + ormsgpack.packb(parts)
    body = RAW + len(header).to_bytes(4, "big") + header
    for id, parent in ((FIRST, None), (SECOND, FIRST)):
        new = NewCheckpoint("t", NS, id, parent, body, b"", b"", None, [], None, None, "allow")
        memory.store.run(partial(memory.store.backend.put, new), write=True)


ENDLESS = ormsgpack.Ext(19, ormsgpack.packb([0, 1 << 62, 1]))


@pytest.mark.parametrize(
    "value",
    [instance(Disguised, number=1), ENDLESS, 5, [[1]], {"": 5}],
    ids=["an object", "no end", "a number", "lists", "a dict"],
)
@pytest.mark.parametrize("key", ["counters_since_delta_snapshot", "parents", "source"])
def test_metadata_that_nobody_stores_is_no_matter(key: str, value: Any) -> None:
    metadata = {"source": "loop", "step": 1, "parents": {}, key: value}
    with open_memory("memory://") as memory:
        planted(memory, [1, "now", {}, {}, {}, metadata, {}])
        saver = memory.get_langgraph_checkpointer()
        for asked in ({"source": {"$ne": "x"}}, {"parents": {"": {"$ne": 1}}}, {key: {"$gt": 0}}, {key: 1}):
            list(saver.list(config("t"), filter=asked))
        saver.prune(["t"])
        assert [each.config["configurable"]["checkpoint_id"] for each in saver.list(config("t"))][0] == SECOND


def test_a_part_of_a_record_is_not_asked_what_it_passes_for() -> None:
    for place in range(2, 7):
        parts: list[Any] = [1, "now", {}, {}, {}, {}, {}]
        parts[place] = instance(Disguised, number=1)
        header = b"\x01" + ormsgpack.packb(parts)
        body = RAW + len(header).to_bytes(4, "big") + header
        with pytest.raises(CharmError):
            decode_record(Serializer(), "t", "1", body, b"")
