"""Keys of dicts and members of sets whose classes are others now: nothing is lost, and nothing else is in the way."""

from __future__ import annotations

import gc
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from charm_checkpoint import Serializer, Unknown
from charm_checkpoint.errors import TypeNotLoaded

MODULE = "changed_keys"
HEAD = "import dataclasses, enum\nfrom pydantic import BaseModel\nfrom typing import NamedTuple\n"

KEYS = "@dataclasses.dataclass(frozen=True)\nclass Key:\n    a: int\n    b: int = 0\n"
MODELS = "class Key(BaseModel, frozen=True):\n    a: int\n    b: int = 0\n"
ENUM = "class Key(enum.Enum):\n    A = 1\n    B = 2\n"
PLAIN = "[Key(1), Key(1, 2)]"
MODEL = "[Key(a=1), Key(a=1, b=2)]"
MEMBERS = "[Key.A, Key.B]"
TUPLE = "class Key(NamedTuple):\n    a: int\n    b: int = 0\n"

CHANGES = {
    "equal": (KEYS, PLAIN, "@dataclasses.dataclass(frozen=True)\nclass Key:\n    a: int\n"),
    "equal named tuples": (TUPLE, PLAIN, "class Key(NamedTuple):\n    a: int\n"),
    "equal members": (ENUM, MEMBERS, "class Key(enum.Enum):\n    A = 1\n    B = 1\n"),
    "inside tuples": (KEYS, "[('x', Key(1))]", "@dataclasses.dataclass\nclass Key:\n    a: int\n    b: int = 0\n"),
    "not frozen": (KEYS, PLAIN, "@dataclasses.dataclass\nclass Key:\n    a: int\n    b: int = 0\n"),
    "not frozen model": (MODELS, MODEL, "class Key(BaseModel):\n    a: int\n    b: int = 0\n"),
    "a list": (KEYS, PLAIN, KEYS + "    c: list[int] = dataclasses.field(default_factory=list)\n"),
    "a list in a model": (MODELS, MODEL, MODELS + "    c: list[int] = []\n"),
    "another kind": (TUPLE, PLAIN, "@dataclasses.dataclass\nclass Key:\n    a: int\n    b: int = 0\n"),
}

HOLDERS: list[Callable[[list[Any]], Any]] = [
    lambda keys: dict.fromkeys(keys, 1),
    lambda keys: [OrderedDict(dict.fromkeys(keys, 1))],
    lambda keys: {"x": defaultdict(int, dict.fromkeys(keys, 1))},
    set,
    lambda keys: (frozenset(keys), 1),
]


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    yield
    sys.modules.pop(MODULE, None)


def deploy(source: str) -> dict[str, Any]:
    """Put another version of the module in the place of the one before."""
    made = sys.modules[MODULE] = types.ModuleType(MODULE)
    exec(HEAD + source, vars(made))
    return vars(made)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("hold", HOLDERS)
def test_what_cannot_be_made_of_keys_any_more_is_kept_whole(hold: Callable[[list[Any]], Any], change: str) -> None:
    before, keys, after = CHANGES[change]
    data = Serializer().dumps(hold(eval(keys, deploy(before))))
    deploy(after)
    read = Serializer().loads(data)
    inner = read
    while type(inner) is not Unknown:
        inner = next(iter(inner.values() if isinstance(inner, dict) else inner))
    assert "changed_keys:Key" in inner.reason
    assert Serializer().dumps(read) == data
    with pytest.raises(TypeNotLoaded):
        Serializer(on_unknown="raise").loads(data)


def test_keys_of_a_class_that_is_gone_are_keys_still() -> None:
    same = "@dataclasses.dataclass(eq=False)\nclass Key:\n    a: int\n"
    data = Serializer().dumps(dict.fromkeys(eval(PLAIN, deploy(KEYS)), 1))
    alike = Serializer().dumps(set(eval("[Key(1), Key(1)]", deploy(same))))
    deploy("")
    gc.collect()
    assert [type(key) for key in Serializer().loads(data)] == [Unknown, Unknown]
    assert Serializer().dumps(Serializer().loads(data)) == data
    read = Serializer().loads(alike)
    assert "their class is gone" in read.reason
    assert Serializer().dumps(read) == alike


def test_very_many_keys_that_a_removed_field_told_apart_are_kept() -> None:
    shop = deploy(KEYS)
    data = Serializer().dumps({shop["Key"](n // 2, n % 2): n for n in range(2500)})
    deploy(CHANGES["equal"][2])
    read = Serializer().loads(data)
    assert "bring it back" in read.reason
    assert Serializer().dumps(read) == data
