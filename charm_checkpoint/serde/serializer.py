"""The serializer: one Python value to bytes and back, exactly, type for type.

Data is not code. Nothing that is read gets imported, called or unpickled because the data names it: values revive as
the safe types of `values`, or as data classes this process has loaded or registered (`classes`). Everything else is
an error that names the type and the path to it.

Exceptions are the one type that does not come back as itself: they are stored as their ``repr()``, as LangGraph's own
serializer stores them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import ormsgpack

from charm_checkpoint.errors import StoreCorrupt, TypeNotLoaded
from charm_checkpoint.serde.classes import KINDS, Plan, find_class, is_safe, path_of, plan_of, register_type
from charm_checkpoint.serde.columns import make_run, model_states, take_columns, walk_run
from charm_checkpoint.serde.values import AS_IS, PACKED, RAW, decode, encode
from charm_checkpoint.serde.walk import OPTIONS, ReadingWalk, WritingWalk

__all__ = ["Serializer", "register_type"]

# The first byte of what is stored says its form: never change or reuse one.
VALUE, LIST, COLUMNS = b"\x01", b"\x02", b"\x03"

TYPE = "charm1"
"""The type tag of `Serializer.dumps_typed`."""

_QUICK_DEPTH = 8  # objects inside objects; beyond it the walk takes over, which needs no C stack for each level
_FAILED = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError)


class _Writer:
    """One quick encoding. It fails with a bare TypeError; the walk then finds out why."""

    __slots__ = ("_depth",)

    def __init__(self) -> None:
        self._depth = 0

    def pack(self, value: Any) -> bytes:
        data = ormsgpack.packb(value, self._default, OPTIONS)
        # The engine writes bytearray and memoryview as bytes. Those begin with one of these three.
        if 0xC4 in data or 0xC5 in data or 0xC6 in data:
            _refuse_buffers(value)
        return data

    def _default(self, value: Any) -> Any:
        code, body = encode(value, self)
        if code in PACKED:
            return ormsgpack.Ext(code, body)
        if code == AS_IS:
            return body
        if self._depth >= _QUICK_DEPTH:
            raise TypeError
        self._depth += 1
        data = self.pack(body)
        self._depth -= 1
        return ormsgpack.Ext(code, data)


def _refuse_buffers(value: Any) -> None:
    todo = [[value]]
    while todo:
        items: Any = todo.pop()
        for item in items.values() if type(items) is dict else items:
            kind = type(item)
            if kind is dict or kind is list:
                todo.append(item)
            elif kind is bytearray or kind is memoryview:
                raise TypeError


class _Reader:
    """One decoding: knows which classes it may restore, and each one's plan."""

    __slots__ = ("_allowed", "_depth", "_found")

    def __init__(self, allowed: frozenset[str] | None) -> None:
        self._allowed = allowed
        self._depth = 0
        self._found: dict[str, tuple[Any, Plan]] = {}

    def unpack(self, data: bytes) -> Any:
        return ormsgpack.unpackb(data, ext_hook=self._extension)

    def _extension(self, code: int, data: bytes) -> Any:
        if code in RAW:
            return decode(code, data, self)
        if self._depth >= _QUICK_DEPTH:
            raise ValueError
        self._depth += 1
        body = ormsgpack.unpackb(data, ext_hook=self._extension)
        self._depth -= 1
        return decode(code, body, self)

    def find(self, name: str, kind: int) -> tuple[Any, Plan]:
        """Return the class of a stored name and its plan, or raise TypeNotLoaded."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._lookup(name)
        if found[1].kind != kind:
            stored, now = KINDS.get(kind, "data class"), KINDS[found[1].kind]
            raise TypeNotLoaded(f"{name} was stored as a {stored} and is now a {now}. Rename one of them.")
        return found

    def _lookup(self, name: str) -> tuple[Any, Plan]:
        if self._allowed is not None and not is_safe(name) and self._allowed.isdisjoint(_spellings(name)):
            raise TypeNotLoaded(
                f"{name} is not on the allowlist of this serializer. Add it there, or call register_type(cls)."
            )
        cls = find_class(name)
        plan = plan_of(cls)
        if plan is None:
            raise TypeNotLoaded(
                f"{name} is not a data class (pydantic model, dataclass, enum, named tuple) and not registered. "
                "It is not restored; if it is a class of yours, call register_type(cls)."
            )
        return cls, plan


def _spellings(name: str) -> set[str]:
    """Return what an allowlist may call a stored class: ``module:Outer.Inner[arg]`` or ``module:Inner``."""
    plain = name.partition("[")[0]
    module, _, qualname = plain.partition(":")
    return {name, plain, f"{module}:{qualname.rpartition('.')[2]}"}


class Serializer:
    """Turn values into bytes and back, exactly, type for type.

    ``allowed`` restricts the data classes that `loads` restores, besides safe and registered ones, to the classes and
    ``(module, name)`` pairs it holds; by default every data class this process has loaded is restored. What `dumps`
    accepts does not depend on it. Objects are immutable and may be shared between threads.
    """

    def __init__(self, *, allowed: Collection[type | tuple[str, ...]] | None = None) -> None:
        self._allowed = None if allowed is None else frozenset().union(*map(_names, allowed))

    def with_allowlist(self, extra: Collection[tuple[str, ...] | type]) -> Serializer:
        """Return a serializer that restores only safe and registered classes, those allowed so far, and ``extra``."""
        clone = Serializer(allowed=extra)
        clone._allowed = (clone._allowed or frozenset()) | (self._allowed or frozenset())
        return clone

    def dumps(self, value: Any) -> bytes:
        """Return a value's bytes: the same for the same content, in every process.

        Raises NotSerializable with the path to what cannot be stored.
        """
        try:
            return VALUE + _Writer().pack(value)
        except TypeError:
            return VALUE + WritingWalk().write(value)

    def loads(self, data: bytes) -> Any:
        """Return the value of `dumps`.

        Raises TypeNotLoaded with the path to what this process cannot restore, and StoreCorrupt for other bytes.
        """
        if data[:1] != VALUE:
            raise StoreCorrupt(f"These bytes are not a stored value: they begin with {data[:4]!r}.")
        try:
            return _Reader(self._allowed).unpack(data[1:])
        except ValueError:
            return ReadingWalk(_Reader(self._allowed)).read(data[1:])

    def dumps_many(self, values: Sequence[Any]) -> bytes:
        """Return the bytes of a run of values; paths in errors begin with a value's position.

        A run of pydantic models, such as messages, is stored by columns: several times quicker than one by one.
        """
        try:
            columns = take_columns(values)
            return LIST + _Writer().pack(list(values)) if columns is None else COLUMNS + _Writer().pack(columns)
        except (TypeError, AttributeError):  # AttributeError: a model that was never initialised
            return LIST + WritingWalk().write(list(values))

    def fingerprint(self, values: Sequence[Any]) -> int:
        """Return a number that two runs share only if `dumps_many` gives the same bytes for both.

        It is Python's own 64-bit hash, keyed anew in each process, of an encoding that leaves
        nothing out and is quicker to make than the stored one. Raises as `dumps_many` does.
        """
        try:
            states = model_states(values)
            if states is not None:
                return hash((states[0], _Writer().pack(states[1])))
        except (TypeError, AttributeError):  # awkward values, which the stored form can take
            pass
        return hash(self.dumps_many(values))

    def loads_many(self, data: bytes) -> list[Any]:
        """Return the values of `dumps_many`; raises as `loads` does."""
        form, reader = data[:1], _Reader(self._allowed)
        try:
            if form == COLUMNS:
                return make_run(reader, *reader.unpack(data[1:]))
            if form == LIST:
                return list(reader.unpack(data[1:]))
        except _FAILED:
            return walk_run(reader, data[1:]) if form == COLUMNS else list(ReadingWalk(reader).read(data[1:]))
        raise StoreCorrupt(f"These bytes are not a run of stored values: they begin with {data[:4]!r}.")

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return ``("charm1", dumps(obj))``: LangGraph's serializer protocol."""
        return TYPE, self.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value of `dumps_typed`."""
        if data[0] != TYPE:
            raise StoreCorrupt(f"This value was stored by another serializer: its type is {data[0]!r}, not {TYPE!r}.")
        return self.loads(data[1])


def _names(entry: type | tuple[str, ...]) -> set[str]:
    """Return the stored names an entry of an allowlist stands for; a generic model is allowed with any arguments."""
    name = path_of(entry) if isinstance(entry, type) else f"{'.'.join(entry[:-1])}:{entry[-1]}"
    return {name, name.partition("[")[0]}
