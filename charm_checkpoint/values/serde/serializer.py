"""The serializer: one Python value to bytes and back, exactly, type for type.

Data is not code. Nothing that is read gets imported, called or unpickled because the data names it: values revive as
the safe types of `values`, or as data classes this process has loaded or registered (`classes`). Everything else is
kept as it is, as an `Unknown`, or is an error that names the type and the path to it.

Exceptions are the one type that does not come back as itself: they are stored as their ``repr()``, as LangGraph's own
serializer stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from charm_checkpoint.errors import (
    HOSTS,
    ConfigError,
    NotSerializable,
    StoreCorrupt,
    corrupt,
)
from charm_checkpoint.values.serde.changes import says_nothing_of_it, settled
from charm_checkpoint.values.serde.class_reading import path_of
from charm_checkpoint.values.serde.classes import is_safe
from charm_checkpoint.values.serde.columns import columns_to_state
from charm_checkpoint.values.serde.forms import COLUMNS, LIST, PLAIN_VALUES, RUNS, VALUE, VALUES, reader_of
from charm_checkpoint.values.serde.framing import array, unframed
from charm_checkpoint.values.serde.fresh_stack import on_a_fresh_stack
from charm_checkpoint.values.serde.program_names import MAINS, own_path, program
from charm_checkpoint.values.serde.reader import Reader, spellings
from charm_checkpoint.values.serde.registration import register_type
from charm_checkpoint.values.serde.stored_names import split_mark
from charm_checkpoint.values.serde.telling import Tell, log_once
from charm_checkpoint.values.serde.values import MayStore
from charm_checkpoint.values.serde.walk import TOO_DEEP, WritingWalk
from charm_checkpoint.values.serde.writer import Writer, may_hold_bytes, quickly

__all__ = ["Serializer", "register_type"]

T = TypeVar("T")

Classes: TypeAlias = Literal["loaded", "registered"]
OnUnknown: TypeAlias = Literal["keep", "raise"]
ON_UNKNOWN: tuple[OnUnknown, ...] = ("keep", "raise")
"""What becomes of objects that cannot be restored."""
CLASSES: tuple[Classes, ...] = ("loaded", "registered")
"""Which classes may be stored and restored: those this process has loaded, or those it registered."""

TYPE = "charm1"
"""The type tag of `Serializer.dumps_typed`."""


class Fingerprint(NamedTuple):
    """By what a run is taken to be the one before: Python's own 64-bit hash of what is stored of it.

    It is keyed anew in each process. Two runs that differ could share it, by a chance of 1 in 2**64.

    ``is_plain``: there are no bytes among its values, for which a buffer could pass.
    """

    digest: int
    is_plain: bool


# -- encoding: the quick way, the walk where that gives up, and again where another thread was in the way ------------


def _encoded(encode: Callable[[Any], T], value: Any) -> T:
    try:
        return settled(encode, value)
    except RecursionError:
        pass
    try:
        return on_a_fresh_stack(partial(settled, encode, value))
    except RecursionError as exc:
        raise NotSerializable(f"it is {TOO_DEEP}") from exc


def _give_up(error: Exception) -> None:
    """Leave to the walk what the quick way failed with; raise what a walk from here is no remedy for."""
    if says_nothing_of_it(error):
        raise error


def _pack(value: Any, heavy: bool, may_store: MayStore | None) -> bytes:
    try:
        return Writer(heavy, may_store).pack(value)
    except Exception as exc:  # among others, whatever the code of a value's class may raise
        _give_up(exc)
        return WritingWalk(may_store).write(value)


def _pack_each(values: Sequence[Any], heavy: bool, may_store: MayStore | None) -> list[bytes]:
    try:
        return Writer(heavy, may_store).pack_each(values)
    except Exception as exc:
        _give_up(exc)
        return [_pack_one(value, heavy, may_store, position) for position, value in enumerate(values)]


def _pack_one(value: Any, heavy: bool, may_store: MayStore | None, position: int) -> bytes:
    try:
        return _pack(value, heavy, may_store)
    except NotSerializable as error:
        raise error.at(position) from error.__cause__


def _run(
    values: Sequence[Any], packed: Sequence[bytes] | None, may_store: MayStore | None
) -> tuple[bytes, Fingerprint]:
    try:
        writer = Writer(False, may_store)
        columns = columns_to_state(values, writer)
        if columns is not None:
            return COLUMNS + columns.encoded(writer), Fingerprint(columns.digest(), False)
        data = writer.pack_all(values) if packed is None else array(packed)
    except Exception as exc:  # among others, AttributeError: a model that was never initialised
        _give_up(exc)
        data = WritingWalk(may_store).write(list(values))
    return LIST + data, Fingerprint(hash(data), not may_hold_bytes(values, data))


def _digest(values: Sequence[Any], may_store: MayStore | None) -> int:
    try:
        writer = Writer(False, may_store)
        columns = columns_to_state(values, writer)
        return hash(writer.pack_all(values)) if columns is None else columns.digest()
    except Exception as exc:
        _give_up(exc)
        return hash(WritingWalk(may_store).write(list(values)))


class Serializer:
    """Turn values into bytes and back, exactly, type for type.

    ``allowed`` restricts the data classes that `loads` restores, besides safe and registered ones, to the classes and
    ``(module, name)`` pairs it holds; by default every data class this process has loaded is restored. What `dumps`
    accepts does not depend on it. With ``classes="registered"`` safe and registered classes alone are restored and, so
    that what is stored can be read, stored; of others, those that are allowed.

    An object that cannot be restored is kept: an `Unknown` stands for it, which is written back byte for byte. With
    ``on_unknown="raise"`` reading raises TypeNotLoaded instead. With ``strict=True`` that is also so of an object of
    which a field is stored that its class does not have. Serializers are immutable and may be shared between threads.
    """

    def __init__(
        self,
        *,
        allowed: Collection[type | tuple[str, ...]] | None = None,
        classes: Classes = "loaded",
        on_unknown: OnUnknown = "keep",
        strict: bool = False,
    ) -> None:
        _check_choice("classes", classes, CLASSES)
        _check_choice("on_unknown", on_unknown, ON_UNKNOWN)
        _check_choice("strict", strict, (False, True))
        self.classes: Classes = classes
        """Whether classes need only be loaded, or be registered, to be stored and restored."""
        self.on_unknown: OnUnknown = on_unknown
        """What becomes of objects that cannot be restored: they are kept as they are, or reading raises."""
        self.strict = strict
        """Whether an object cannot be restored of which a field is stored that its class does not have."""
        self._tell: Tell = log_once
        self._shared: Reader | None = None
        self._allowed = None if allowed is None else frozenset().union(*map(_names, allowed))
        if classes == "registered":
            self._allowed = self._allowed or frozenset()
        self._may_store = self._check if classes == "registered" else None

    def with_allowlist(self, extra: Collection[tuple[str, ...] | type]) -> Serializer:
        """Return a serializer that restores only safe and registered classes, those allowed so far, and ``extra``."""
        clone = self._with()
        clone._allowed = frozenset().union(self._allowed or (), *map(_names, extra))
        return clone

    def strictly(self, classes: Classes, on_unknown: OnUnknown = "keep", strict: bool = False) -> Serializer:
        """Return a serializer that is as strict as these options say, where this one is not that strict already."""
        classes = "registered" if self.classes == "registered" else classes
        on_unknown, strict = "raise" if self.on_unknown == "raise" else on_unknown, self.strict or strict
        if (classes, on_unknown, strict) == (self.classes, self.on_unknown, self.strict):
            return self
        return self._with(classes, on_unknown, strict)

    @cached_property
    def raising(self) -> Serializer:
        """The serializer that is this one, but for what cannot be restored: reading that raises."""
        return self if self.on_unknown == "raise" else self._with(on_unknown="raise")

    @cached_property
    def keeping(self) -> Serializer:
        """The serializer that is this one, but for what cannot be restored: that is kept."""
        return self if self.on_unknown == "keep" else self._with(on_unknown="keep")

    def telling(self, tell: Tell) -> Serializer:
        """Return a serializer that hands what it finds of classes that changed to a function, and logs none of it."""
        clone = self._with()
        clone._tell = tell
        return clone

    def _with(
        self, classes: Classes | None = None, on_unknown: OnUnknown | None = None, strict: bool | None = None
    ) -> Serializer:
        strict = self.strict if strict is None else strict
        clone = Serializer(classes=classes or self.classes, on_unknown=on_unknown or self.on_unknown, strict=strict)
        clone._allowed = clone._allowed if self._allowed is None else self._allowed
        clone._tell = self._tell
        return clone

    def reading(self) -> Serializer:
        """Return a serializer for the parts of one value: it looks for each class once, and is for one thread alone."""
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__, _shared=self._reader())
        return clone

    def _reader(self) -> Reader:
        return self._shared or Reader(self._allowed, self.on_unknown == "keep", self.strict, self._tell)

    def _check(self, name: str) -> None:
        if not is_safe(name) and (self._allowed or frozenset()).isdisjoint(spellings(name)):
            raise NotSerializable(
                f'{split_mark(name)[0]} is not registered, and classes="registered" stores no others. Call '
                "register_type on it."
            )

    def dumps(self, value: Any) -> bytes:
        """Return a value's bytes: the same for the same content, in every process.

        Another thread may change the value meanwhile. Raises NotSerializable with the path to what cannot be stored.
        """
        return self.whole(self.pack(value))

    def pack(self, value: Any, heavy: bool = False) -> bytes:
        """Return a value's bytes as `whole` takes them; ``heavy`` if there may be too much to encode by one call."""
        return _encoded(partial(_pack, heavy=heavy, may_store=self._may_store), value)

    def pack_each(self, values: Sequence[Any], heavy: bool = False) -> list[bytes]:
        """Return the bytes of each of some values, as `pack` does; paths in errors begin with a value's position."""
        return _encoded(partial(_pack_each, heavy=heavy, may_store=self._may_store), values)

    def whole(self, packed: bytes) -> bytes:
        """Return what `dumps` would for a value that `pack` encoded."""
        return VALUE + packed

    def gathered(self, values: Sequence[bytes]) -> bytes:
        """Return what `dumps` would for a list of values that it has encoded already."""
        return VALUE + array([value[1:] for value in values])

    def loads(self, data: bytes) -> Any:
        """Return the value of `dumps`.

        What this process cannot restore is an `Unknown`, or with ``on_unknown="raise"`` a TypeNotLoaded with the path
        to it. Raises StoreCorrupt for other bytes.
        """
        return self._read(VALUES, data)

    def loads_parts(self, first: bytes, others: Sequence[bytes]) -> Any:
        """Return the value of `dumps`, of which several parts are given."""
        value = unframed(first[1:], others) if first[:1] == VALUE else None
        return self.loads(b"".join((first, *others))) if value is None else value

    def loads_plain(self, data: bytes) -> Any:
        """Return the value of `dumps`, with plain values instead of instances of classes that cannot be restored."""
        return self._read(PLAIN_VALUES, data)

    def dumps_many(self, values: Sequence[Any]) -> bytes:
        """Return the bytes of a run of values; paths in errors begin with a value's position.

        A run of pydantic models, such as messages, is stored by columns: several times quicker than one by one.
        """
        return self.run(values)[0]

    def run(self, values: Sequence[Any], packed: Sequence[bytes] | None = None) -> tuple[bytes, Fingerprint]:
        """Return the bytes of a run, as `dumps_many` does, and the fingerprint of just these.

        ``packed`` are the same values as `pack_each` encoded them, if they are at hand.
        """
        return _encoded(partial(_run, packed=packed, may_store=self._may_store), values)

    def numbers(self, values: list[Any]) -> tuple[bytes, Fingerprint]:
        """Return what `run` does, for a list of plain numbers that nobody changes."""
        data = quickly(values)
        if data is None:  # integers beyond what the engine takes
            return self.run(values)
        return LIST + data, Fingerprint(hash(data), True)

    def fingerprint(self, value: Any, packed: bytes) -> Fingerprint:
        """Return the fingerprint of a value that `pack` encoded."""
        return Fingerprint(hash(packed), not may_hold_bytes([value], packed))

    def is_value(self, value: Any, fingerprint: Fingerprint) -> bool:
        """Tell whether `pack` gives the bytes that a fingerprint was made of; raises as it does."""
        if fingerprint.is_plain:
            quick = quickly(value)
            if quick is not None:
                return hash(quick) == fingerprint.digest
        return hash(self.pack(value, heavy=True)) == fingerprint.digest

    def is_run(self, values: list[Any], fingerprint: Fingerprint) -> bool:
        """Tell whether `dumps_many` gives the bytes that a fingerprint was made of; raises as it does."""
        if fingerprint.is_plain:
            quick = quickly(values)
            if quick is not None:
                return hash(quick) == fingerprint.digest
        return _encoded(partial(_digest, may_store=self._may_store), values) == fingerprint.digest

    def loads_many(self, data: bytes) -> list[Any]:
        """Return the values of `dumps_many`; raises as `loads` does."""
        return self._read(RUNS, data)

    def _read(self, forms: Mapping[bytes, Callable[[Reader, bytes], T]], data: bytes) -> T:
        try:
            return reader_of(forms, data)(self._reader(), data[1:])
        except HOSTS:
            raise
        except Exception as error:
            raise corrupt("A stored value is damaged", error) from error

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return ``("charm1", dumps(obj))``: LangGraph's serializer protocol."""
        return TYPE, self.dumps(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value of `dumps_typed`."""
        if data[0] != TYPE:
            raise StoreCorrupt(f"This value was stored by another serializer: its type is {data[0]!r}, not {TYPE!r}.")
        return self.loads(data[1])


def _check_choice(name: str, given: Any, choices: tuple[Any, ...]) -> None:
    if not any(given is each or (type(given) is str and given == each) for each in choices):
        raise ConfigError(f"{name} is one of {', '.join(map(str, choices))}; given was {given!r}.")


def checked(serde: Any) -> Serializer:
    """Return the serializer that a caller gave, or a new one for None; raises ConfigError for another's."""
    if serde is None:
        return Serializer()
    if isinstance(serde, Serializer):
        return serde
    given = f"the class {serde.__name__}" if isinstance(serde, type) else f"a {type(serde).__qualname__}"
    raise ConfigError(
        f"serde is {given}, and charm_checkpoint stores only with its own Serializer. Leave serde out, or pass "
        "Serializer(allowed=[…]); how a class is stored, register_type(cls, dump=…, load=…) says."
    )


def _names(entry: type | tuple[str, ...]) -> set[str]:
    """Return the stored names an entry of an allowlist stands for; a generic model is allowed with any arguments."""
    if isinstance(entry, type):
        names = [path_of(entry), own_path(entry)]
    else:
        module, name = ".".join(entry[:-1]), entry[-1]
        names = [f"{module}:{name}", *([f"{program()}:{name}"] if module in MAINS and program() else [])]
    return {each for name in names for each in (name, name.partition("[")[0])}
