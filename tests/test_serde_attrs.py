"""Registered classes that attrs made: what they gained has its default, as far as that is data."""

from __future__ import annotations

from typing import Any

import pytest
from deployed import deploy

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde import Serializer

attrs = pytest.importorskip("attrs")
SERDE = Serializer(on_unknown="raise")

pytestmark = pytest.mark.usefixtures("own_classes")


def version(fields: dict[str, Any], slots: bool) -> Any:
    return attrs.make_class("Order", fields, slots=slots)


@pytest.mark.parametrize("slots", [True, False])
def test_an_attribute_that_is_new_has_its_default(slots: bool) -> None:
    before = version({"id": attrs.field()}, slots)
    deploy(before)
    data = SERDE.dumps([before(id="7"), before(id="8")])
    after = version(
        {"id": attrs.field(), "note": attrs.field(default="none"), "tags": attrs.field(factory=list)}, slots
    )
    deploy(after)
    first, second = SERDE.loads(data)
    assert (first, second) == (after("7"), after("8"))
    assert first.tags is not second.tags


@pytest.mark.parametrize(
    "field", [{}, {"factory": lambda: 1}, {"default": "takes self"}], ids=["none", "a function", "takes self"]
)
def test_what_takes_a_call_is_an_error_that_names_it(field: dict[str, Any]) -> None:
    if field.get("default"):
        field = {"default": attrs.Factory(lambda made: made.id, takes_self=True)}
    before = version({"id": attrs.field()}, True)
    deploy(before)
    data = SERDE.dumps(before(id="7"))
    deploy(version({"id": attrs.field(), "note": attrs.field(**field)}, True))
    with pytest.raises(TypeNotLoaded, match="sets note"):
        SERDE.loads(data)
