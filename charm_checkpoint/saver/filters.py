"""The filter language: what a filter says, and which values match it; pure.

A filter is a mapping, and every entry of it must hold:

    {"user": "ann"}                  the entry is equal, as JSON: ``True`` is not ``1``, ``1`` is ``1.0``
    {"user": None}                   it is None or missing
    {"user.name": "ann"}             the key if it is there, else a path: ``name`` in what ``user`` holds
    {"user": {"name": "ann"}}        an object that has these entries, among others
    {"user": {"$eq": {...}}}         the very object
    {"step": {"$gt": 3, "$lt": 9}}   operators, see `OPERATORS`; all of them must hold

Entries of an object are read as those of the filter itself are: paths and operators work at any depth.
A list is compared as a whole, and so is what is in it; paths do not lead into lists. Only numbers and
numbers, and texts and texts, are ordered: `$gt` and the like do not hold for anything else. ``$ne`` and
``$nin`` hold wherever ``$eq`` and ``$in`` do not.

A store narrows a listing down by the tags that every match has (see `tags`); what it returns is compared here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

from charm_checkpoint.errors import InvalidFilter, NotSerializable
from charm_checkpoint.saver.tags import tag
from charm_checkpoint.values.json_values import ATOMS, simplified


class _Missing:
    """What stands for an entry that is not there."""


_MISSING: Final = _Missing()

Test = Callable[[Any], bool]
"""Tells whether an entry's value, or `_MISSING`, is as a filter wants it."""


class Filter:
    """A filter that was checked, ready to compare.

    ``tags`` are those that every match has; ``nested`` those of every match that has tags of nested
    values. ``apart`` are entries that were left out of the tags. Raises `InvalidFilter`.
    """

    def __init__(self, filter: Mapping[str, Any] | None, apart: Collection[str] = ()) -> None:
        wanted: list[_Wanted] = []
        try:
            self._entries = _entries(filter or {}, "filter", (), wanted)
        except RecursionError:
            raise InvalidFilter("This filter is nested too deep, or in itself.") from None
        wanted = [want for want in wanted if want.steps[0].partition(".")[0] not in apart]
        self.tags = _tags(want for want in wanted if not want.is_nested)
        self.nested = _tags(want for want in wanted if want.is_nested)

    def __bool__(self) -> bool:
        """Tell whether there is anything to compare."""
        return bool(self._entries)

    def matches(self, value: Mapping[str, Any]) -> bool:
        """Tell whether a value has all that the filter asks for."""
        return all(test(_found(value, name)) for name, test in self._entries)


def matches(value: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Tell whether a value has all that ``filter`` asks for; raises `InvalidFilter`."""
    return Filter(filter).matches(value)


# ------------------------------------------------------------------------ reading a filter


class _Wanted(NamedTuple):
    """A value that must be under these steps."""

    steps: tuple[str, ...]
    value: Any

    @property
    def is_nested(self) -> bool:
        return len(self.steps) > 1 or "." in self.steps[0]

    @property
    def has_nested_tag(self) -> bool:
        return type(self.value) in ATOMS


def _entries(
    filter: Mapping[str, Any], where: str, steps: tuple[str, ...], wanted: list[_Wanted]
) -> list[tuple[str, Test]]:
    if not isinstance(filter, Mapping):
        raise InvalidFilter(f'{where} must be a mapping such as {{"user": "ann"}}, not {type(filter).__name__}.')
    found = []
    for key, value in list(filter.items()):
        name = _name(key)
        if not steps and name[:1] == "$" and name[1:2].isalpha():
            _refuse_operator(name, where)
        found.append((name, _test(value, f"{where}[{name!r}]", (*steps, name), wanted)))
    return found


def _test(value: Any, where: str, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    if not isinstance(value, Mapping):
        return _equal_to(_literal(value, where), steps, wanted)
    names = [_name(key) for key in value]
    operators = [name for name in names if name[:1] == "$"]
    if not operators:
        return partial(_has_part, _entries(value, where, steps, wanted))
    for name in operators:
        if name not in OPERATORS:
            _refuse_operator(name, where)
    if len(operators) < len(names):
        raise InvalidFilter(
            f"{where} mixes operators and keys: {', '.join(names)}. Put the operators under a key of their own, "
            'such as {"a": {"$gt": 1}, "b": 2}.'
        )
    tests = [OPERATORS[_name(key)](item, f"{where}[{_name(key)!r}]", steps, wanted) for key, item in value.items()]
    return tests[0] if len(tests) == 1 else lambda held: all(test(held) for test in tests)


def _refuse_operator(name: str, where: str) -> NoReturn:
    if name in OPERATORS:
        raise InvalidFilter(f'{where}: the operator {name} belongs under a key, as in {{"step": {{"{name}": ...}}}}.')
    raise InvalidFilter(
        f"{where}: there is no operator {name}; there are {', '.join(OPERATORS)}. "
        "An object whose keys begin with $ is compared with $eq."
    )


def _literal(value: Any, where: str) -> Any:
    """Return a value that stands for itself; operators in a list would be taken for keys."""
    try:
        plain = simplified(value)
    except NotSerializable:
        return value
    if isinstance(plain, list):
        _refuse_operators(plain, where)
    return plain


def _refuse_operators(value: Any, where: str) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            if type(item) not in ATOMS:
                _refuse_operators(item, f"{where}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if key[:1] == "$":
                raise InvalidFilter(
                    f"{where}: operators such as {key} do not work in a list, which is compared as a whole; "
                    "for a list with such keys use $eq."
                )
            _refuse_operators(item, f"{where}[{key!r}]")


def _name(key: Any) -> str:
    """Return a key as metadata keeps it."""
    if isinstance(key, str):
        return str.__str__(key)
    try:
        [name] = simplified({key: None})
    except NotSerializable:
        return str(key)
    return str(name)


def _equal_to(value: Any, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    if value is None:
        return lambda held: held is None or held is _MISSING
    wanted.append(_Wanted(steps, value))
    return lambda held: _same(held, value)


def _has_part(entries: Sequence[tuple[str, Test]], held: Any) -> bool:
    return isinstance(held, dict) and all(test(_within(held, name)) for name, test in entries)


def _tags(wanted: Iterable[_Wanted]) -> tuple[bytes, ...]:
    """Return the tags that every match has."""
    found = [tag(".".join(want.steps), want.value) for want in wanted if not want.is_nested or want.has_nested_tag]
    return tuple(each for each in found if each is not None)


# ------------------------------------------------------------------------------- operators


def _eq(value: Any, where: str, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    return _equal_to(_simplified(value), steps, wanted)


def _ne(value: Any, where: str, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    return _not(_eq(value, where, steps, []))


def _in(values: Any, where: str, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise InvalidFilter(f"{where} takes a list of values, not {type(values).__name__}.")
    tests = [_eq(value, where, steps, wanted if len(values) == 1 else []) for value in values]
    return lambda held: any(test(held) for test in tests)


def _nin(values: Any, where: str, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    return _not(_in(values, where, steps, []))


def _exists(value: Any, where: str, steps: tuple[str, ...], wanted: list[_Wanted]) -> Test:
    if not isinstance(value, bool):
        raise InvalidFilter(f"{where} takes True or False, not {type(value).__name__}.")
    return lambda held: (held is not _MISSING) is value


def _compared(compare: Callable[[Any, Any], bool], value: Any, where: str, *_: Any) -> Test:
    limit = _simplified(value)
    kind = _order(limit)
    return lambda held: kind is not None and _order(held) == kind and compare(held, limit)


def _order(value: Any) -> str | None:
    """Return the name of the order that a value is in."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "numbers"
    return "texts" if isinstance(value, str) else None


def _not(test: Test) -> Test:
    return lambda held: not test(held)


OPERATORS: Mapping[str, Callable[[Any, str, tuple[str, ...], list[_Wanted]], Test]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$gt": partial(_compared, operator.gt),
    "$gte": partial(_compared, operator.ge),
    "$lt": partial(_compared, operator.lt),
    "$lte": partial(_compared, operator.le),
    "$in": _in,
    "$nin": _nin,
    "$exists": _exists,
}


# ------------------------------------------------------------------------------- comparing


def _found(value: Mapping[str, Any], name: str) -> Any:
    """Return the entry of a name, the key if it is there, else at the end of a path."""
    if name in value:
        return _held(value[name])
    head, dot, rest = name.partition(".")
    return _within(_held(value[head]), rest) if dot and head in value else _MISSING


def _within(value: Any, name: str) -> Any:
    """Return the entry of a name in a JSON value."""
    while isinstance(value, dict):
        if name in value:
            return value[name]
        head, dot, name = name.partition(".")
        if not dot or head not in value:
            break
        value = value[head]
    return _MISSING


def _same(a: Any, b: Any) -> bool:
    """Tell whether two JSON values are equal: NaN is itself, and no number is a truth value."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(item, b[key]) for key, item in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b) or (type(a) is type(b) is float and a != a and b != b)


def _simplified(value: Any) -> Any:
    """Return a value as metadata keeps it; as it is where metadata would refuse it."""
    try:
        return simplified(value)
    except NotSerializable:
        return value


def _held(value: Any) -> Any:
    """Return a stored value as metadata keeps it; what is none is equal to nothing, and not asked whether it is."""
    try:
        return simplified(value)
    except NotSerializable:
        return _OTHER


_OTHER = object()
