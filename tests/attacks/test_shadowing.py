"""An attribute of an instance stands in the place of a method of its class.

The attacker may write to the store. He cannot run code, but he can give an object attributes that it would not have:
an instance's own attribute wins over the method of its class, and a class is something that can be called. So a stored
``allows = bool`` makes a policy allow all, and ``__deepcopy__`` is called by whoever copies the object.

What he gets instead: an attribute besides the fields that the class has code for, that can be called, or that Python
itself asks for by name, is refused, at the read and at the write. Data under a name of its own comes back.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from attacks.forging import MODEL, OBJECT, SERDE, ext, instance, named, read, read_run, reference
from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.serde import classes, register_type
from charm_checkpoint.values.serde.classes import KEPT


@dataclasses.dataclass
class Policy:
    name: str
    limit: ClassVar[int] = 3

    def allows(self, what: str) -> bool:
        return False

    @property
    def strict(self) -> bool:
        return True

    @classmethod
    def made(cls) -> str:
        return "made"

    @functools.cached_property
    def costly(self) -> list[int]:
        return [1]

    class Inner:
        """A class inside."""


class Guard(BaseModel):
    name: str = "n"
    limit: ClassVar[int] = 3

    def allows(self, what: str) -> bool:
        return False


@dataclasses.dataclass
class Called:
    def __call__(self, *args: Any) -> bool:
        return True


FORGED = [
    *(
        {name: True}
        for name in ("allows", "strict", "made", "costly", "Inner", "__deepcopy__", "__class__", "__dict__")
    ),
    *({name: reference(Policy)} for name in ("allows", "note", "limit")),
    {"note": instance(Called)},
]


@pytest.mark.parametrize("others", FORGED, ids=lambda others: next(iter(others)))
def test_it_is_not_read(others: dict[str, Any]) -> None:
    forged = ext(OBJECT, named(Policy), {"name": "x"}, others, [])
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: the attribute"):
        read([forged])


@pytest.mark.parametrize("name", ["allows", "__deepcopy__"])
def test_nor_for_a_model(name: str) -> None:
    for value in (True, reference(Policy)):
        with pytest.raises(TypeNotLoaded, match=rf"^\[0\]: the attribute '{name}'"):
            read([ext(MODEL, named(Guard), {"name": "x"}, [], None, None, None, {name: value})])
    found = read([ext(MODEL, named(Guard), {"name": "x", name: True}, []), instance(Guard, name="y")])
    kept = {KEPT: {name: True}}  # beside the object, where nothing asks for it
    assert vars(found[0]) == {"name": "x", **kept}
    found = read_run(Guard, {"name": "x"}, {name: True}, {"name": "x", name: True})
    assert [vars(each) for each in found] == [{"name": "x"}, {"name": "n", **kept}, {"name": "x", **kept}]
    assert not any(each.allows("all") for each in found)


@pytest.mark.parametrize("name", ["allows", "made", "Inner", "__deepcopy__"])
def test_it_is_not_written(name: str) -> None:
    for value in (Policy("x"), Guard()):
        if hasattr(value, name):
            value.__dict__[name] = True
            with pytest.raises(NotSerializable, match=rf"^a\[0\]: the attribute '{name}' of this"):
                SERDE.dumps({"a": [value]})
    value = Policy("x")
    value.__dict__["note"] = Policy
    with pytest.raises(NotSerializable, match=r"^\[0\]: the attribute 'note' of this .* is a class or can be called"):
        SERDE.dumps([value])


def test_data_of_its_own_comes_back() -> None:
    value = Policy("x")
    value.__dict__.update(note=[1], limit=5)
    assert value.costly == [1]
    found = SERDE.loads(SERDE.dumps(value))
    assert vars(found) == {"name": "x", "note": [1], "limit": 5}


class Agent:
    def __init__(self) -> None:
        self.schema, self.made = Policy, [1]

    def run(self) -> bool:
        return False


def test_a_registered_class_may_hold_classes_but_in_no_methods_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_names", "_registered", "_layouts"):
        monkeypatch.setattr(classes, table, dict(getattr(classes, table)))
    register_type(Agent)
    assert vars(SERDE.loads(SERDE.dumps(Agent()))) == {"schema": Policy, "made": [1]}
    for forged in ({"run": reference(Policy)}, {"__class__": reference(Policy)}):
        with pytest.raises(TypeNotLoaded, match=r"^\[0\]: the attribute"):
            read([ext(OBJECT, named(Agent), {}, forged, [])])


def test_the_error_says_what_to_do() -> None:
    value = Policy("x")
    value.__dict__["note"] = Policy
    with pytest.raises(NotSerializable, match=r"Make it a field, .* register_type\(Policy\)\.$"):
        SERDE.dumps(value)
    value = Policy("x")
    value.__dict__["allows"] = Policy
    with pytest.raises(NotSerializable, match=r"give it another name, or remove it\.$"):
        SERDE.dumps(value)
