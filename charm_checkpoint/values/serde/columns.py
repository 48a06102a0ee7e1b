"""Runs of pydantic models, such as messages, by columns: one call to the engine for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ormsgpack

from charm_checkpoint.errors import StoreCorrupt, TypeNotLoaded
from charm_checkpoint.values.serde.class_fields import MODEL
from charm_checkpoint.values.serde.classes import KEPT, layout_of, stored_name
from charm_checkpoint.values.serde.framing import array
from charm_checkpoint.values.serde.kinds import KindChanged, read_as_another
from charm_checkpoint.values.serde.models import (
    Finder,
    build_model,
    check_private,
    names_of,
    new_object,
    set_extra,
    set_fields,
    set_names,
    set_private,
    unset_attributes,
)
from charm_checkpoint.values.serde.unknown import Unknown, column_body
from charm_checkpoint.values.serde.values import Packer, storable
from charm_checkpoint.values.serde.walk import ReadingWalk, parse, repacked


class Columns(NamedTuple):
    """A run of pydantic models, taken apart at one moment: ``states`` are the fields of each, encoded.

    ``kinds`` are stored names: a class of the same hash may take a dead one's place, and one class get another name.
    """

    kinds: tuple[str, ...]
    names: tuple[frozenset[str], ...]
    states: bytes
    rest: tuple[bytes, ...]

    def digest(self) -> int:
        """Return a 64-bit hash of what is stored of the run; it holds within this process."""
        return hash(self)

    def encoded(self, packer: Packer) -> bytes:
        """Return ``[shapes, shape of each, fields of each]``, and ``[extra of each, private of each]`` if any has some.

        A shape is a class's stored name and the names of the fields that were set.
        """
        known: dict[tuple[str, frozenset[str]], int] = {}
        index = [known.setdefault(shape, len(known)) for shape in zip(self.kinds, self.names, strict=True)]
        shapes = [[kind, sorted(names)] for kind, names in known]
        return array([packer.pack(shapes), packer.pack(index), self.states, *self.rest])


def columns_to_state(values: Sequence[Any], packer: Packer) -> Columns | None:
    """Take a run apart; None if one of its values is no pydantic model or has fields missing."""
    stored: dict[type, str] = {}
    sizes: dict[type, int] = {}
    called = False
    classes = set(map(type, values))
    if Unknown in classes:
        return _with_unknown(values, packer)
    for cls in classes:
        layout = layout_of(cls)
        if layout is None or layout.kind != MODEL or layout.holds_unstored:
            return None
        if packer.may_store is not None:
            packer.may_store(layout.name)
        stored[cls], sizes[cls] = stored_name(cls, layout), len(layout.fields)
        called = called or bool(layout.called or layout.required)
    if not sizes:
        return None
    types = list(map(type, values))
    states = [obj.__dict__ for obj in values]
    if list(map(len, states)) != [sizes[cls] for cls in types]:
        return None
    kinds = tuple([stored[cls] for cls in types])
    names = tuple([frozenset(obj.__pydantic_fields_set__) for obj in values])
    for obj in values if called else ():
        if (layout := layout_of(type(obj))) is not None:
            check_private(type(obj), layout, obj.__pydantic_private__)
            if unset_attributes(layout, obj.__pydantic_private__):
                return None
    packed = packer.pack(states)
    if _KEPT in packed:  # in the place of a field that is not there, it may be
        return None
    if not any(obj.__pydantic_extra__ or obj.__pydantic_private__ for obj in values):
        return Columns(kinds, names, packed, ())
    extras = [obj.__pydantic_extra__ or None for obj in values]
    privates = [private and storable(obj, private, packer) or None for obj, private in _privates(values)]
    return _columns(packer, kinds, names, packed, extras, privates)


def _columns(packer: Packer, kinds: Any, names: Any, packed: bytes, extras: Any, privates: Any) -> Columns:
    rest = (packer.pack(extras), packer.pack(privates)) if any(extras) or any(privates) else ()
    return Columns(tuple(kinds), tuple(names), packed, rest)


_KEPT = KEPT.encode()


def _with_unknown(values: Sequence[Any], packer: Packer) -> Columns | None:
    """Take a run apart in which there are models that could not be restored, as it was before it was read."""
    models = [value for value in values if type(value) is not Unknown]
    known = columns_to_state(models, packer) if models else None
    if models and known is None:
        return None
    rows = []
    kinds, names = iter(known.kinds if known else ()), iter(known.names if known else ())
    for value in values:
        if type(value) is not Unknown:
            extra, private = value.__pydantic_extra__ or None, value.__pydantic_private__ or None
            private = private and storable(value, private, packer) or None
            rows.append((next(kinds), next(names), value.__dict__, extra, private))
            continue
        body = column_body(value)
        if body is None:
            return None
        name, state, fields, *rest = ormsgpack.unpackb(body, ext_hook=_part)
        extra, private, _ = rest or (None, None, None)
        rows.append((name, frozenset(fields), state, extra, private))
    kind, name, states, extras, privates = map(list, zip(*rows, strict=True))
    return _columns(packer, kind, name, packer.pack(states), extras, privates)


def _part(code: int, data: bytes) -> Unknown:
    return Unknown(code, data, "")


def _privates(values: Sequence[Any]) -> list[tuple[Any, dict[str, Any] | None]]:
    return [(obj, obj.__pydantic_private__ or None) for obj in values]


def run_from_state(
    finder: Finder, shapes: list[Any], index: list[int], states: list[Any], *rest: list[Any]
) -> list[Any]:
    """Put a run together; the inverse of `columns_to_state`."""
    check_run(shapes, index, states, *rest)
    first = dict(zip(reversed(index), reversed(states), strict=True))
    shaped = [_Shape(finder, name, names, first.get(n)) for n, (name, names) in enumerate(shapes)]
    if rest:
        return [build_model(*shaped[n].whole(*parts)) for n, *parts in zip(index, states, *rest, strict=True)]
    run = []
    for n, state in zip(index, states, strict=True):
        shape = shaped[n]
        # Who writes the fields of a class writes them in one order.
        if type(state) is not dict or [*state] != shape.order:
            run.append(build_model(*shape.whole(state)))
            continue
        obj = new_object(shape.cls)
        set_fields(obj, state)
        set_names(obj, shape.names.copy())
        set_extra(obj, {} if shape.allows_extra else None)
        set_private(obj, None)
        run.append(obj)
    return run


class _Shape:
    """A class and the fields that were set; ``order`` are its fields where a state of just these is taken as it is."""

    __slots__ = ("allows_extra", "cls", "finder", "layout", "names", "order")

    def __init__(self, finder: Finder, name: str, names: Any, first: Any) -> None:
        self.finder = finder
        self.cls, layout = finder.find(name, MODEL, first if type(first) is dict else ())
        self.layout = layout
        self.names = names_of(names)
        self.allows_extra = layout.allows_extra
        more = layout.is_root_model or layout.private or layout.mapped
        is_whole = not more and layout.changed is None and type(first) is dict and first.keys() == layout.names
        self.order = [*first] if is_whole else None

    def whole(self, state: Any, extra: Any = None, private: Any = None) -> tuple[Any, ...]:
        """Return what `build_model` makes one of the run of."""
        return self.finder, self.cls, self.layout, state, self.names.copy(), extra, private


def check_run(shapes: Any, index: Any, *columns: Any) -> None:
    """Raise TypeError for what is no run, before anything asks a value that is none of ours for its hash or length."""
    if not (type(shapes) is type(index) is list and _LISTS.issuperset(map(type, columns))):
        raise TypeError("a run is made of lists")
    if not _NUMBERS.issuperset(map(type, index)):
        raise TypeError("a run has numbers of shapes")


_LISTS = frozenset({list})
_NUMBERS = frozenset({int})


def walk_run(finder: Finder, data: bytes) -> list[Any]:
    """Decode a run one value after the other; errors carry the position of the one that failed."""
    walk = ReadingWalk(finder)
    try:
        shapes, index, *columns = parse(data)
        check_run(shapes, index, *columns)
        rows = [(shapes[n], *parts) for n, *parts in zip(index, *columns, strict=True)]
    except (TypeError, ValueError, LookupError) as exc:
        raise StoreCorrupt(f"A stored run is malformed: {exc}") from exc
    return [_walk_one(walk, n, *row) for n, row in enumerate(rows)]


def _walk_one(walk: ReadingWalk, position: int, shape: Any, *parts: Any) -> Any:
    walk.path = [position]
    walked = [walk.enter(part) for part in parts]
    try:
        return walk.guard(_make_one, walk.finder, shape, *walked)
    except TypeNotLoaded as error:
        # As it would be stored by itself.
        (name, names), (state, *rest) = shape, parts
        body = [name, state, names, *rest, None] if any(rest) else [name, state, names]
        return walk.finder.keep(MODEL, repacked(body), error, True)


def _make_one(finder: Finder, shape: Any, *parts: Any) -> Any:
    name, names = shape
    try:
        return build_model(*_Shape(finder, name, names, parts[0]).whole(*parts))
    except KindChanged as error:
        return read_as_another(finder, error, MODEL, [name, parts[0], names, *parts[1:]])
