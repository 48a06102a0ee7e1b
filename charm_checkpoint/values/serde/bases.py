"""Subclasses of plain types, kept as their plain base.

Libraries hand out subclasses of ``str``, ``dict`` and the like where plain values are meant. One that is no data class
and not registered is stored as what its base's own methods say it holds; nothing that it overrides is called.
"""

from __future__ import annotations

import logging
import reprlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from charm_checkpoint.errors import NotSerializable, PathPart
from charm_checkpoint.values.serde.arrays import is_scalar_type
from charm_checkpoint.values.serde.class_reading import ATOMS, path_of
from charm_checkpoint.values.serde.classes import kind_of, layout_of
from charm_checkpoint.values.serde.keys import ALIKE, own_code, refusal, share_hashes
from charm_checkpoint.values.serde.origins import is_foreign

logger = logging.getLogger("charm_checkpoint")


def _counter(value: Any) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    dict.update(counter, dict.items(value))
    return counter


BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__pos__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: lambda value: bytearray.__getitem__(value, slice(None)),
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    OrderedDict: lambda value: OrderedDict(OrderedDict.items(value)),
    Counter: _counter,
    defaultdict: lambda value: defaultdict(value.default_factory, dict.items(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    deque: lambda value: deque(deque.__iter__(value), value.maxlen),
    UUID: lambda value: UUID(int=value.int, is_safe=value.is_safe),
    Decimal: Decimal,
    Fraction: lambda value: Fraction(value.numerator, value.denominator),
}
"""How the plain value is made of each type's subclasses."""
_warned: set[str] = set()


class _Shown(reprlib.Repr):
    """Shows plain values, and of any other object its class: its own ``__repr__`` is not asked."""

    def repr1(self, x: Any, level: int) -> str:
        return super().repr1(x, level) if type(x) in _REPRESENTED else f"<{path_of(type(x))}>"


_REPRESENTED = ATOMS | {list, tuple, set, frozenset, dict, deque}
_shown = _Shown()
_shown.maxstring = _shown.maxother = _shown.maxlong = 100


def base_of(cls: type) -> type | None:
    """Return the plain type that instances of a class are kept as; None for those that are not kept as another type."""
    base = next((base for base in cls.__mro__ if base in BASES), None)
    if base is None or base is cls or layout_of(cls) is not None or is_scalar_type(cls):
        return None
    return base


def as_base(value: Any, base: type) -> Any:
    """Return the plain value of an instance of a subclass; tells once for each class that the class is lost."""
    cls = type(value)
    if path_of(cls) not in _warned:
        _warned.add(path_of(cls))
        _warn(cls, base)
    return BASES[base](value)


def _warn(cls: type, base: type) -> None:
    if cls.__module__.partition(".")[0].startswith(("langchain", "langgraph")):
        return
    own = kind_of(cls, registered=True) is not None and not is_foreign(cls)
    keep = f" Call register_type({cls.__name__}) to keep both." if own else ""
    logger.warning(
        "%s is a subclass of %s and stored as plain %s, without its class and attributes of its own.%s",
        path_of(cls), base.__name__, base.__name__, keep,
    )  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value, or the plain value of an instance of a subclass; what it holds is left as it is."""
    if type(value) in ATOMS:
        return value
    base = base_of(type(value))
    return value if base is None else as_base(value, base)


def check_distinct(members: Collection[Any]) -> None:
    """Raise NotSerializable for members of a set, or keys of a dict, that could not be read back as such.

    That is where two become equal as plain values, and where asking one for its hash would run code of its class.
    """
    if not ATOMS.issuperset(map(type, members)):
        if (found := own_code(members)) is not None:
            raise NotSerializable(refusal(*found))
        _check_plain(members)
    if len(members) > ALIKE and share_hashes(members):
        raise NotSerializable(f"more than {ALIKE:,} of its keys or members have the hashes of others. Use a list.")


def _check_plain(members: Iterable[Any]) -> None:
    if not _hold_subclass(members):
        return
    seen: dict[Any, Any] = {}
    for member in members:
        try:
            other = seen.setdefault(_key(member), member)
        except TypeError:
            kind = type(plain(member)).__name__
            raise NotSerializable(f"a {kind}, as which it is stored, is no key or member of a set.") from None
        if other is not member:
            shown = _shown.repr(plain(member))
            raise NotSerializable(f"two of its members or keys are {shown} once they are stored. Keep one of them.")


def _hold_subclass(members: Iterable[Any]) -> bool:
    """Say whether anything among the members, or inside them, is kept as its plain base."""
    others = set(ATOMS)
    todo = [members]
    while todo:
        for member in todo.pop():
            kind = type(member)
            if kind is tuple or kind is frozenset:
                todo.append(member)
            elif kind not in others:
                if base_of(kind) is not None:
                    return True
                others.add(kind)
    return False


def _key(value: Any) -> Any:
    value = plain(value)
    kind = type(value)
    return kind(map(_key, value)) if kind is tuple or kind is frozenset else value


def as_step(key: Any) -> PathPart:
    """Return a dict's key, or a position, as a step of a path."""
    key = plain(key)
    return key if type(key) in (str, int) else _shown.repr(key)
