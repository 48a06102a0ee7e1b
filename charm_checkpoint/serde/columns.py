"""Runs of pydantic models, such as messages, by columns: one call to the engine for a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.serde.classes import MODEL, Plan, plan_of
from charm_checkpoint.serde.objects import Finder, build_model, new_object, private_state, set_attribute
from charm_checkpoint.serde.walk import ReadingWalk, parse

Columns = list[Any]
"""``[shapes, shape of each, fields of each]``, then, if any is not empty, ``[extra of each, private of each]``.

A shape is a class's stored name and the names of the fields that were set.
"""


def take_columns(values: Sequence[Any]) -> Columns | None:
    """Return a run's columns, or None if one of its values is no pydantic model or has fields missing."""
    plans: dict[type, Plan] = {}
    for cls in set(map(type, values)):
        plan = plan_of(cls)
        if plan is None or plan.kind != MODEL or plan.loose:
            return None
        plans[cls] = plan
    if not plans:
        return None
    shapes, index = _shapes(values)
    states = [obj.__dict__ for obj in values]
    sizes = [len(plans[cls].fields) for cls, _ in shapes]
    if [len(state) for state in states] != [sizes[n] for n in index]:
        return None
    columns: Columns = [[[plans[cls].name, sorted(names)] for cls, names in shapes], index, states]
    extras = [obj.__pydantic_extra__ or None for obj in values]
    privates = [obj.__pydantic_private__ or None for obj in values]
    return [*columns, extras, privates] if any(extras) or any(privates) else columns


def model_states(values: Sequence[Any]) -> tuple[tuple[Any, ...], list[dict[str, Any]]] | None:
    """Return what tells a run of models apart, classes and fields set, and the fields of each.

    None if one of its values is no plain model; see `take_columns`. Classes stand for themselves,
    so this is for comparing within one process.
    """
    kinds = tuple(map(type, values))
    for cls in set(kinds):
        plan = plan_of(cls)
        if plan is None or plan.kind != MODEL or plan.loose:
            return None
    if any(obj.__pydantic_extra__ or obj.__pydantic_private__ for obj in values):
        return None
    names = tuple([frozenset(obj.__pydantic_fields_set__) for obj in values])
    return (kinds, names), [obj.__dict__ for obj in values]


Shape = tuple[type, frozenset[str]]


def _shapes(values: Sequence[Any]) -> tuple[list[Shape], list[int]]:
    known: dict[Shape, int] = {}
    index = []
    for obj in values:
        shape = (type(obj), frozenset(obj.__pydantic_fields_set__))
        n = known.get(shape)
        if n is None:
            n = known[shape] = len(known)
        index.append(n)
    return list(known), index


def make_run(finder: Finder, shapes: list[Any], index: list[int], states: list[Any], *rest: list[Any]) -> list[Any]:
    """Put a run together; the inverse of `take_columns`."""
    shaped = [(*finder.find(name, MODEL), set(names)) for name, names in shapes]
    if rest:
        return [build_model(*_whole(shaped[n], *parts)) for n, *parts in zip(index, states, *rest, strict=True)]
    # One writer, one class: what is in the first state of a shape is in all of its size.
    first = dict(zip(reversed(index), reversed(states), strict=True))
    sizes = {n: -1 if shaped[n][1].root or first[n].keys() != shaped[n][1].names else len(first[n]) for n in first}
    run = []
    for n, state in zip(index, states, strict=True):
        cls, plan, names = shaped[n]
        if len(state) != sizes[n]:
            run.append(build_model(cls, plan, state, names.copy(), None, None))
            continue
        obj = new_object(cls)
        set_attribute(obj, "__dict__", state)
        set_attribute(obj, "__pydantic_fields_set__", names.copy())
        set_attribute(obj, "__pydantic_extra__", {} if plan.extra else None)
        set_attribute(obj, "__pydantic_private__", private_state(cls, None) if plan.private else None)
        run.append(obj)
    return run


def _whole(shaped: tuple[Any, Plan, set[str]], state: Any, extra: Any = None, private: Any = None) -> tuple[Any, ...]:
    cls, plan, names = shaped
    return cls, plan, state, names.copy(), extra, private


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
    return build_model(*_whole((*finder.find(name, MODEL), set(names)), *parts))
