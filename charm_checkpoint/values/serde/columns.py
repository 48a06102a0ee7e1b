"""Runs of pydantic models, such as messages, by columns: one call to the engine for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.values.serde.classes import MODEL, ClassLayout, layout_of, stored_name
from charm_checkpoint.values.serde.framing import array
from charm_checkpoint.values.serde.models import Finder, build_model, new_object, private_state, set_attribute
from charm_checkpoint.values.serde.values import Packer, storable
from charm_checkpoint.values.serde.walk import ReadingWalk, parse


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
    for cls in set(map(type, values)):
        layout = layout_of(cls)
        if layout is None or layout.kind != MODEL or layout.holds_unstored:
            return None
        stored[cls], sizes[cls] = stored_name(cls, layout), len(layout.fields)
    if not sizes:
        return None
    classes = list(map(type, values))
    states = [obj.__dict__ for obj in values]
    if list(map(len, states)) != [sizes[cls] for cls in classes]:
        return None
    kinds = tuple([stored[cls] for cls in classes])
    names = tuple([frozenset(obj.__pydantic_fields_set__) for obj in values])
    if not any(obj.__pydantic_extra__ or obj.__pydantic_private__ for obj in values):
        return Columns(kinds, names, packer.pack(states), ())
    extras = [obj.__pydantic_extra__ or None for obj in values]
    privates = [private and storable(obj, private, packer) or None for obj, private in _privates(values)]
    rest = (packer.pack(extras), packer.pack(privates)) if any(extras) or any(privates) else ()
    return Columns(kinds, names, packer.pack(states), rest)


def _privates(values: Sequence[Any]) -> list[tuple[Any, dict[str, Any] | None]]:
    return [(obj, obj.__pydantic_private__ or None) for obj in values]


def run_from_state(
    finder: Finder, shapes: list[Any], index: list[int], states: list[Any], *rest: list[Any]
) -> list[Any]:
    """Put a run together; the inverse of `columns_to_state`."""
    first = dict(zip(reversed(index), reversed(states), strict=True))
    shaped = [(*finder.find(name, MODEL, first.get(n, ())), set(names)) for n, (name, names) in enumerate(shapes)]
    if rest:
        return [build_model(*_whole(shaped[n], *parts)) for n, *parts in zip(index, states, *rest, strict=True)]
    # One writer, one class: what is in the first state of a shape is in all of its size.
    sizes = {n: _size(shaped[n][1], state) for n, state in first.items()}
    run = []
    for n, state in zip(index, states, strict=True):
        cls, layout, names = shaped[n]
        if len(state) != sizes[n]:
            run.append(build_model(cls, layout, state, names.copy(), None, None))
            continue
        obj = new_object(cls)
        set_attribute(obj, "__dict__", state)
        set_attribute(obj, "__pydantic_fields_set__", names.copy())
        set_attribute(obj, "__pydantic_extra__", {} if layout.allows_extra else None)
        set_attribute(obj, "__pydantic_private__", private_state(cls, None, state) if layout.has_private else None)
        run.append(obj)
    return run


def _size(layout: ClassLayout, state: dict[str, Any]) -> int:
    """Return how many fields a state has that can be taken as it is, -1 where none can."""
    return -1 if layout.is_root_model or state.keys() != layout.names else len(state)


def _whole(
    shaped: tuple[Any, ClassLayout, set[str]], state: Any, extra: Any = None, private: Any = None
) -> tuple[Any, ...]:
    cls, layout, names = shaped
    return cls, layout, state, names.copy(), extra, private


def walk_run(finder: Finder, data: bytes) -> list[Any]:
    """Decode a run one value after the other; errors carry the position of the one that failed."""
    walk = ReadingWalk(finder)
    try:
        shapes, index, *columns = parse(data)
        rows = [(shapes[n], *parts) for n, *parts in zip(index, *columns, strict=True)]
    except (TypeError, ValueError, LookupError) as exc:
        raise StoreCorrupt(f"A stored run is malformed: {exc}") from exc
    return [_walk_one(walk, n, *row) for n, row in enumerate(rows)]


def _walk_one(walk: ReadingWalk, position: int, shape: Any, *parts: Any) -> Any:
    walk.path = [position]
    walked = [walk.enter(part) for part in parts]
    return walk.guard(_make_one, walk.finder, shape, *walked)


def _make_one(finder: Finder, shape: Any, *parts: Any) -> Any:
    name, names = shape
    return build_model(*_whole((*finder.find(name, MODEL, parts[0]), set(names)), *parts))
