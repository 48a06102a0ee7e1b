"""The serializer on data classes: round trips, and every change in place shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel
from shapes import POINT, USER, VALUES, Address, Noted, Pair, Typed, User
from strict import same

from charm_checkpoint.errors import NotSerializable
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.forms import COLUMNS

SERDE = Serializer(on_unknown="raise")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_itself(value: Any) -> None:
    for wrapped in (value, [value, {0: bytearray(b"x")}], HumanMessage("x", extra=value), {"k": (value,)}):
        data = SERDE.dumps(wrapped)
        assert same(SERDE.loads(data), wrapped)
        assert SERDE.dumps(SERDE.loads(data)) == data
    assert same(SERDE.loads_many(SERDE.dumps_many([value, value])), [value, value])


def test_mixed_runs_and_distinct_bytes() -> None:
    assert same(SERDE.loads_many(SERDE.dumps_many(VALUES)), VALUES)
    assert len({SERDE.dumps(value) for value in VALUES}) == len(VALUES)
    models = [value for value in VALUES if isinstance(value, BaseModel) and not isinstance(value, User)]
    assert same(SERDE.loads_many(SERDE.dumps_many(models)), models)


def test_the_typing_mark_of_a_generic_dataclass_is_no_content() -> None:
    assert SERDE.dumps(Typed[int](1)) == SERDE.dumps(Typed(1))
    assert SERDE.loads(SERDE.dumps(Typed[int](1))) == Typed(1)


def test_neither_init_nor_validators_run() -> None:
    assert SERDE.loads(SERDE.dumps(USER)).name == "ann!"
    assert SERDE.loads(SERDE.dumps(POINT)).total == 6


def test_a_cached_property_is_no_content() -> None:
    user = User(name="x")
    before = SERDE.dumps(user)
    assert user.costly
    assert SERDE.dumps(user) == before and SERDE.dumps_many([user]) == SERDE.dumps_many([User(name="x")])


CHANGES: list[Callable[[Any], object]] = [
    lambda m: m[0].additional_kwargs["a"].append(1),
    lambda m: m[1].__pydantic_extra__["more"].append(1),
    lambda m: m[1].__pydantic_extra__.update(new=None),
    lambda m: m[2]._seen.append(1),
    lambda m: m[2].address.__dict__.update(when=[1, 2]),
    lambda m: m[0].__pydantic_fields_set__.add("name"),
    lambda m: setattr(m[0], "content", "hi "),
    lambda m: setattr(m[1], "response_metadata", {"x": True}),
    lambda m: m.append(m[0]),
    lambda m: m.reverse(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_place_changes_the_bytes(change: Callable[[Any], object]) -> None:
    user = Noted(address=Address(when=(1, 2)))
    messages: list[Any] = [
        HumanMessage("hi", additional_kwargs={"a": []}),
        AIMessage("x", more=[], response_metadata={"x": 1}),
        user,
    ]
    assert SERDE.dumps_many(messages)[:1] == COLUMNS
    alone, many = SERDE.dumps(messages), SERDE.dumps_many(messages)
    assert (SERDE.dumps(messages), SERDE.dumps_many(messages)) == (alone, many)
    change(messages)
    assert SERDE.dumps(messages) != alone and SERDE.dumps_many(messages) != many


def test_a_named_tuple_with_attributes_is_refused() -> None:
    class Wide(Pair):
        pass

    wide = Wide(1)
    assert same(SERDE.loads(SERDE.dumps(wide)), wide)
    wide.note = 1  # type: ignore[attr-defined]
    with pytest.raises(NotSerializable, match="besides its fields"):
        SERDE.dumps(wide)
