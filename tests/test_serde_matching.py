"""Stored values and annotations: what fits is told without running code of any class."""
# ruff: noqa: UP006, UP007, UP045
# All ways to write a type are tried.

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime as dt
import enum
import numbers
import pathlib
import sys
import time
import types
import typing
import uuid
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import ormsgpack
import pydantic
import pytest
import typing_extensions
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    InstanceOf,
    SerializeAsAny,
    SkipValidation,
    field_validator,
)
from pydantic import v1 as pydantic_v1
from pydantic_core import SchemaError

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.class_reading import is_typed_dict
from charm_checkpoint.values.serde.field_hints import hints_of
from charm_checkpoint.values.serde.hints import Anything, read, scope_of, shown
from charm_checkpoint.values.serde.matching import is_same, misfit, mismatch
from charm_checkpoint.values.serde.unknown import Unknown

T = TypeVar("T")
NONE = type(None)


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Word(str, enum.Enum):
    YES = "yes"
    NO = "no"


class Size(enum.IntEnum):
    S = 1
    L = 2


class Item(BaseModel):
    name: str = "n"
    count: int = 1


class Special(Item):
    more: str = ""


class Box(BaseModel, Generic[T]):
    content: T


@dataclasses.dataclass
class Point:
    x: int = 0
    y: int = 0


class Pair(NamedTuple):
    left: int
    right: str


class Entry(TypedDict):
    key: str
    count: typing_extensions.NotRequired[int]


class Open(Protocol):
    def anything(self) -> None: ...


class Text(str):
    """Not registered, so that it is stored as the plain text."""


class Plain:
    """Not stored at all."""


UserId = NewType("UserId", int)
Pairs = dict[str, list[T]]
Tree: typing_extensions.TypeAlias = "str | list[Tree]"
Named = typing_extensions.TypeAliasType("Named", dict[str, int])
Itself: typing_extensions.TypeAlias = "Itself"
NOW = dt.datetime(2026, 1, 2)
ENTRY = {"key": "k"}
GONE = Unknown(40, ormsgpack.packb(["gone:Gone", {}, []]), "it is gone")

FITS: list[tuple[Any, list[Any]]] = [
    (int, [1, True, 10**30, Size.S]),
    (float, [1.5, 1, True]),
    (complex, [1j, 1.5, 1]),
    (bool, [True]),
    (str, ["", "x", Word.YES]),
    (bytes, [b"", bytearray(b"x")]),
    (None, [None]),
    (NONE, [None]),
    (Any, [1, None, Item()]),
    (object, [1, None, Item()]),
    (T, [1, None, "x"]),
    (Open, [1, Item()]),
    (Optional[int], [1, None]),
    (Union[int, str], [1, "x"]),
    (Union[list[int], list[str]], [[1], ["x"], []]),
    (Literal["a", "b"], ["a", "b"]),
    (Literal[1, None, True], [1, None, True]),
    (Literal["yes"], ["yes", Word.YES]),
    (Literal[Level.LOW], [Level.LOW]),
    (Annotated[int, "metres"], [1]),
    (Annotated[int, Field(gt=3)], [1]),
    (Annotated[int, AfterValidator(str)], [1, "1", None]),
    (UserId, [1]),
    (list, [[], [1]]),
    (list[int], [[], [1, 2]]),
    (typing.List[int], [[], [1, 2]]),
    (typing.List, [[], ["x"]]),
    (list[Any], [[1, None]]),
    (list[T], [[1, None]]),
    (list[float | None], [[1, None, 2.5]]),
    (set[str], [{"a"}, set()]),
    (frozenset[int], [frozenset({1})]),
    (dict, [{}, {1: 2}]),
    (dict[str, int], [{}, {"a": 1}, defaultdict(int, a=1), OrderedDict(a=1)]),
    (typing.Dict[str, typing.List[int]], [{"a": [1]}]),
    (collections.abc.Mapping[str, int], [{"a": 1}]),
    (collections.abc.Sequence[int], [[1], (1, 2), deque([1])]),
    (collections.abc.Sequence[str], [["a"], "abc"]),
    (collections.abc.Iterable[str], [["a"], {"a": 1}, "a"]),
    (collections.abc.Hashable, [1, "x", Point()]),
    (numbers.Number, [1, 2.5, Decimal(1)]),
    (tuple, [(), (1, "x")]),
    (tuple[int, str], [(1, "x"), Pair(1, "x")]),
    (tuple[int, ...], [(), (1, 2, 3)]),
    (tuple[()], [()]),
    (typing.Tuple[int, str], [(1, "x")]),
    (deque[int], [deque([1])]),
    (collections.Counter[str], [collections.Counter("ab")]),
    (type[Item], [Item, Special]),
    (type, [int, Item]),
    (collections.abc.Callable[[int], str], [int, None]),
    (Level, [Level.LOW]),
    (Item, [Item(), Special()]),
    (Point, [Point()]),
    (Pair, [Pair(1, "x")]),
    (Box[int], [Box[int](content=1), Box(content=1)]),
    (Box, [Box[int](content=1), Box(content=1)]),
    (Entry, [ENTRY, {"key": "k", "count": 1}, {"key": "k", "other": 1}]),
    (Text, ["x"]),
    (Plain, [1, "x", None]),
    (EmailStr, ["a@b.c"]),
    (dt.date, [NOW, NOW.date()]),
    (dt.tzinfo, [dt.timezone.utc]),
    (uuid.UUID, [uuid.UUID(int=7)]),
    (Decimal, [Decimal("1.5")]),
    (pathlib.Path, [pathlib.Path("x"), pathlib.PurePosixPath("x")]),
    (Named, [{"a": 1}]),
    (typing_extensions.Self, [1]),
    (typing_extensions.LiteralString, ["x"]),
    ("int", [1]),
    ("NotThere", [1, None]),
    ("f(x)", [1]),
    (Exception, ["ValueError()"]),
    (BaseMessage, [HumanMessage("x")]),
    (list[AnyMessage], [[HumanMessage("x"), AIMessage("y")]]),
    (int, [GONE]),
    (list[int], [[1, GONE]]),
    (Entry, [GONE]),
]

MISFITS: list[tuple[Any, Any, str]] = [
    (int, "1", "is int now, and a str is stored"),
    (int, 1.5, "is int now, and a float is stored"),
    (int, None, "is int now, and None is stored"),
    (bool, 1, "is bool now, and an int is stored"),
    (str, 1, "is str now, and an int is stored"),
    (str, Level.LOW, "is str now, and Level.LOW is stored"),
    (float, "1", "is float now, and a str is stored"),
    (bytes, "x", "is bytes now, and a str is stored"),
    (None, 0, "is None now, and an int is stored"),
    (Optional[int], "x", "is int | None now, and a str is stored"),
    (Union[int, str], [1], "is int | str now, and a list is stored"),
    (Union[list[int], None], ["x"], "is list[int] | None now, and a str is stored at [0]"),
    (Literal["a", "b"], "c", "is Literal['a', 'b'] now, and 'c' is stored"),
    (Literal[1], "1", "is Literal[1] now, and '1' is stored"),
    (Literal[Level.LOW], Level.HIGH, "is Literal[Level.LOW] now, and Level.HIGH is stored"),
    (Annotated[int, "metres"], "1", "is int now, and a str is stored"),
    (Annotated[int, BeforeValidator(int)], "1", "is int now, and a str is stored"),
    (UserId, "1", "is int now, and a str is stored"),
    (list, (1,), "is list now, and a tuple is stored"),
    (list[int], [1, 2, "x"], "is list[int] now, and a str is stored at [2]"),
    (list[list[int]], [[1], [2, None]], "is list[list[int]] now, and None is stored at [1][1]"),
    (typing.List[int], ["x"], "is list[int] now, and a str is stored at [0]"),
    (set[int], {"x"}, "is set[int] now, and a str is stored"),
    (dict[str, int], {"a": 1, "b": "x"}, "is dict[str, int] now, and a str is stored at ['b']"),
    (dict[str, int], {1: 1}, "is dict[str, int] now, and an int as a key is stored"),
    (dict[str, Item], {"a": {}}, "is dict[str, Item] now, and a dict is stored at ['a']"),
    (dict, Item(), "is dict now, and an Item is stored"),
    (collections.abc.Sequence[int], {1: 2}, "is Sequence[int] now, and a dict is stored"),
    (collections.abc.Sequence[int], [1, "x"], "is Sequence[int] now, and a str is stored at [1]"),
    (collections.abc.Mapping[str, int], [1], "is Mapping[str, int] now, and a list is stored"),
    (collections.abc.Hashable, [1], "is Hashable now, and a list is stored"),
    (numbers.Number, "1", "is Number now, and a str is stored"),
    (tuple[int, str], (1,), "is tuple[int, str] now, and a tuple of 1 is stored"),
    (tuple[int, str], (1, 2), "is tuple[int, str] now, and an int is stored at [1]"),
    (tuple[int, ...], (1, "x"), "is tuple[int, ...] now, and a str is stored at [1]"),
    (tuple[()], (1,), "is tuple[()] now, and a tuple of 1 is stored"),
    (type[Item], Point, "is type[Item] now, and the class Point is stored"),
    (type[Item], "Item", "is type[Item] now, and a str is stored"),
    (Level, "low", "is Level now, and a str is stored"),
    (Word, "yes", "is Word now, and a str is stored"),
    (Size, 1, "is Size now, and an int is stored"),
    (Item, {"name": "n"}, "is Item now, and a dict is stored"),
    (Item, Point(), "is Item now, and a Point is stored"),
    (Special, Item(), "is Special now, and an Item is stored"),
    (Point, (1, 2), "is Point now, and a tuple is stored"),
    (Pair, (1, "x"), "is Pair now, and a tuple is stored"),
    (Box[int], Box[str](content="x"), "is Box[int] now, and a str is stored at .content"),
    (Entry, {}, "is Entry now, and a dict without 'key' is stored"),
    (Entry, {"key": 1}, "is Entry now, and an int is stored at ['key']"),
    (Entry, Item(), "is Entry now, and an Item is stored"),
    (Text, 1, "is Text now, and an int is stored"),
    (uuid.UUID, "x", "is UUID now, and a str is stored"),
    (dt.datetime, "2026-01-02", "is datetime now, and a str is stored"),
    (dt.datetime, NOW.date(), "is datetime now, and a date is stored"),
    (Decimal, 1.5, "is Decimal now, and a float is stored"),
    (pathlib.Path, "x", "is Path now, and a str is stored"),
    (Named, {"a": "x"}, "is dict[str, int] now, and a str is stored at ['a']"),
    ("int", "x", "is int now, and a str is stored"),
    (list[AnyMessage], ["x"], "stored at [0]"),
]


@pytest.mark.parametrize(("hint", "values"), FITS, ids=lambda each: str(each)[:40])
def test_what_an_annotation_allows_fits(hint: Any, values: list[Any]) -> None:
    for value in values:
        assert mismatch(hint, value) is None
        assert mismatch(Optional[hint] if hint not in (None, T) else hint, value) is None
        assert mismatch(list[hint], [value, value]) is None


@pytest.mark.parametrize(("hint", "value", "told"), MISFITS, ids=lambda each: str(each)[:40])
def test_what_does_not_fit_is_told(hint: Any, value: Any, told: str) -> None:
    found = mismatch(hint, value)
    assert found is not None
    assert found == told or (not told.startswith("is") and told in found)
    assert mismatch(list[hint], [value]) is not None
    assert mismatch(dict[str, tuple[hint, ...]], {"a": (value,)}) is not None


def test_what_pydantic_takes_as_it_is_fits() -> None:
    values = [value for _, values in FITS for value in values] + [value for _, value, _ in MISFITS]
    others = {str(dict[str, Item]), str(typing_extensions.LiteralString)}  # it makes objects, or takes anything
    tried = refused = 0
    for hint in [hint for hint, *_ in (*FITS, *MISFITS) if type(hint) is not str and str(hint) not in others]:
        own = isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel))
        try:
            adapter = pydantic.TypeAdapter(hint, config=None if own else ConfigDict(arbitrary_types_allowed=True))
        except (pydantic.errors.PydanticUserError, SchemaError, ImportError):  # a protocol, what takes another package
            continue
        for value in values:
            try:
                made = adapter.validate_python(value, strict=True)
            except (pydantic.ValidationError, TypeError, TypeNotLoaded):
                refused += mismatch(hint, value) is not None
                continue
            except BaseException as error:  # pydantic 2.11 panics at integers of many digits
                if type(error).__name__ != "PanicException":
                    raise
                continue
            tried += 1
            assert type(made) is not type(value) or mismatch(hint, value) is None, (hint, value)
    assert tried > 1000 and refused > 5000


TEXTS: list[tuple[str, Any, Any]] = [
    ("int", 1, "x"),
    ("int | None", None, "x"),
    ("'int'", 1, "x"),
    ("None", None, 1),
    ("Optional[int]", None, "x"),
    ("typing.Optional['int']", None, "x"),
    ("Union[int, 'str']", "x", None),
    ("Literal['a', -1, Level.LOW]", -1, Level.HIGH),
    ("typing.Literal['a']", "a", "b"),
    ("list[int]", [1], ["x"]),
    ("typing.List['Item']", [Item()], [{}]),
    ("dict[str, Item | None]", {"a": None}, {"a": 1}),
    ("tuple[int, ...]", (1, 2), ("x",)),
    ("tuple[()]", (), (1,)),
    ("tuple[int, str]", (1, "x"), (1, 2)),
    ("Annotated[int, Field(gt=3)]", 1, "x"),
    ("typing.Annotated[list[int], 'x']", [1], ["x"]),
    ("type[Item]", Special, Point),
    ("dt.datetime", NOW, "x"),
    ("collections.abc.Sequence[int]", [1], ["x"]),
    ("UserId", 1, "x"),
    ("Pairs[int]", {"a": [None]}, {"a": 1}),
    ("Tree", [["x", ["y"]]], [["x", [1]]]),
    ("Entry", ENTRY, {}),
    ("typing_extensions.NotRequired[int]", 1, "x"),
    ("Level", Level.LOW, "low"),
    ("collections.OrderedDict", OrderedDict(), {}),
]
if sys.version_info >= (3, 11):
    TEXTS += [("tuple[*Ts]", (1, "x"), None), ("typing.LiteralString", "x", 1)]


@pytest.mark.parametrize(("text", "fits", "other"), TEXTS, ids=[text for text, *_ in TEXTS])
def test_text_is_looked_up_where_the_class_stands(text: str, fits: Any, other: Any) -> None:
    hint = read(text, scope_of(Item))
    assert misfit(hint, fits) is None
    assert misfit(hint, other) is not None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Gone",
            "gone.Gone",
            "Item.Gone",
            "f(1)",
            "1",
            "[int]",
            "lambda: int",
            "int if x else str",
            "list[",
            "",
            "\0",
        ),
        *("Itself", "list[Itself]", "T", "Open", "Any", "typing.Any", "Callable[[int], str]", "Literal[f()]"),
        *("(" * 300 + ")" * 300, "list[" * 200 + "int" + "]" * 200, "x" * 20_000, "\0"),
        *("sys.modules['os'].system", "Plain"),
    ],
    ids=lambda each: each[:20],
)
def test_what_cannot_be_told_takes_anything(text: str) -> None:
    hint = read(text, scope_of(Item))
    for value in ([], None) if "list" in text else (1, None, "x", Item()):
        assert misfit(hint, value) is None or "list" in text


@dataclasses.dataclass
class Booking:
    """Its fields have the names of their types, or of what another one's type is made of."""

    date: date | None = None
    type: str = "int"
    made: type[int] | None = None


date = dt.date
_NAMED_IN_TEXTS = (InstanceOf, SerializeAsAny, SkipValidation)


def test_the_default_of_a_field_is_no_type() -> None:
    hints = hints_of(Booking)
    assert mismatch(hints["date"], NOW.date()) is None
    assert mismatch(hints["date"], 1) is not None
    assert mismatch(hints["made"], int) is None


@pytest.mark.parametrize("text", ["InstanceOf[Item]", "SerializeAsAny[Item]"])
def test_what_pydantic_has_for_annotations_is_no_type_in_a_text_either(text: str) -> None:
    hint = read(text, scope_of(Item))
    assert misfit(hint, Item()) is None
    assert misfit(hint, 1) is not None
    assert misfit(read("SkipValidation[int]", scope_of(Item)), "x") is None


def test_a_function_may_have_a_class_of_its_own_under_a_name() -> None:
    @dataclasses.dataclass
    class Local:
        item: "Item"  # noqa: UP037
        number: int

    class Item(BaseModel):  # the one that is meant
        other: int = 1

    hints = hints_of(Local)
    assert misfit(hints["item"], Item()) is None
    assert misfit(hints["number"], "x") is not None


if sys.version_info >= (3, 12):

    def test_an_alias_of_python_is_not_evaluated() -> None:
        space: dict[str, Any] = {}
        exec("def fail(): raise AssertionError\ntype Alias = fail()\ntype Other[T] = list[T]", space)
        assert mismatch(space["Alias"], 1) is None
        assert mismatch(types.GenericAlias(list, (space["Alias"],)), [1]) is None
        assert mismatch(space["Other"][int], 1) is None
        exec("class Held[T]:\n    x: 'T'\n    y: 'list[T]'", space)
        scope = scope_of(space["Held"])
        assert misfit(read("T", scope), 1) is None
        assert misfit(read("list[T]", scope), 1) is not None


# -- fields -----------------------------------------------------------------------------------------------------------


class Checked(BaseModel):
    model_config = ConfigDict(use_enum_values=True)
    plain: int = 0
    after: int = 0
    before: int = 0
    inside: Annotated[int, AfterValidator(str)] = 0
    inner: list[Annotated[int, AfterValidator(str)]] = []
    level: Level = Level.LOW
    levels: list[Level] | None = None

    @field_validator("after")
    @classmethod
    def _after(cls, value: int) -> str:
        return str(value)

    @field_validator("before", mode="before")
    @classmethod
    def _before(cls, value: int) -> int:
        return value


def test_what_validators_may_make_of_a_field_fits() -> None:
    hints = hints_of(Checked)
    for name in ("after", "inside"):
        assert misfit(hints[name], "1") is None
    assert misfit(hints["inner"], ["1"]) is None
    for name in ("plain", "before"):
        assert misfit(hints[name], "1") is not None


def test_values_of_enums_fit_a_model_that_keeps_them() -> None:
    hints = hints_of(Checked)
    for value in ("low", Level.HIGH):
        assert misfit(hints["level"], value) is None
        assert misfit(hints["levels"], [value]) is None
    assert misfit(hints["level"], "middle") is not None
    assert misfit(hints["levels"], ["middle"]) is not None


class OldModel(pydantic_v1.BaseModel):
    number: int = None  # type: ignore[assignment]
    short: pydantic_v1.constr(max_length=3) = ""  # type: ignore[valid-type]
    items: list[int] = []
    seen: str = ""

    @pydantic_v1.validator("seen")
    def _seen(cls, value: str) -> Any:  # noqa: N805
        return [value]


def test_fields_of_every_kind_have_their_types() -> None:
    @pydantic.dataclasses.dataclass
    class Both:
        a: int
        b: list[str] = dataclasses.field(default_factory=list)

    cases: list[tuple[type, dict[str, Any], dict[str, Any]]] = [
        (Item, {"name": "x", "count": 1}, {"name": 1, "count": "x"}),
        (Special, {"more": "x"}, {"more": 1}),
        (Point, {"x": 1}, {"x": "x"}),
        (Both, {"a": 1, "b": ["x"]}, {"a": "x", "b": [1]}),
        (OldModel, {"number": None, "short": "x", "items": [1], "seen": ["x"]}, {"short": 1, "items": ["x"]}),
        (Pair, {"left": 1, "right": "x"}, {"left": "x", "right": 1}),
        (Box[int], {"content": 1}, {"content": "x"}),
        (Box, {"content": object()}, {}),
    ]
    for cls, fits, others in cases:
        hints = hints_of(cls)
        assert hints.keys() >= fits.keys()
        assert [name for name, value in fits.items() if misfit(hints[name], value)] == []
        assert [name for name, value in others.items() if not misfit(hints[name], value)] == []


def test_a_plain_class_declares_no_types() -> None:
    assert hints_of(Plain) == {}
    assert is_typed_dict(Entry)
    assert not is_typed_dict(dict)


# -- no code ----------------------------------------------------------------------------------------------------------


class Loud(type):
    """A metaclass all of whose code fails."""

    def _fail(cls, *args: Any) -> Any:
        raise AssertionError("code of a class ran")

    __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = __getattribute__ = __getitem__ = _fail
    __or__ = __ror__ = __call__ = __iter__ = __repr__ = __bool__ = _fail


class Asked(metaclass=Loud):
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("code of a class ran")

    __eq__ = __hash__ = __iter__ = __len__ = __bool__ = __repr__ = __getitem__ = __contains__ = __getattribute__  # type: ignore[assignment]

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise AssertionError("code of a class ran")


def test_no_code_of_a_class_runs() -> None:
    value = object.__new__(Asked)
    generic = (list[int], dict[str, int], Optional[int], Literal["a"], type[int])
    for hint in (Asked, value, int, str, Entry, Level, *generic):
        for each in (value, Asked, [value], {"a": value}, (value,), 1):
            mismatch(hint, each)
            mismatch([hint], each)
            is_same(value, each)
    for text in ("Asked", "Asked.x", "list[Asked]", "Literal[Asked.x]", "Asked[int]", "int | Asked"):
        hint = read(text, scope_of(Item))
        for each in (value, Asked, [value], 1):
            misfit(hint, each)
            assert shown(hint)


def test_an_abstract_class_and_one_that_says_itself_what_it_is_take_anything() -> None:
    class Meta(type):
        def __instancecheck__(cls, other: Any) -> bool:
            raise AssertionError("code of a class ran")

    @dataclasses.dataclass
    class Own(metaclass=Meta):
        x: int = 0

    class Custom(BaseModel):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return handler(source)

    assert mismatch(Own, 1) is None
    assert mismatch(Custom, 1) is None


def test_a_type_may_be_shown() -> None:
    assert isinstance(read(Any), Anything)
    assert [shown(read(each)) for each in (Any, "x" * 100, Optional[list[int]])] == [
        "Any",
        "x" * 79 + "…",
        "list[int] | None",
    ]


def test_plain_values_are_the_same_if_equal_and_of_one_type() -> None:
    same = [1, "x", None, [1, "x"], {"a": [1]}, {1, 2}, (1,), frozenset({1})]
    for value in same:
        assert is_same(value, type(value)(value) if value is not None else None)
    for one, other in ((1, True), (1, 1.0), ([1], (1,)), ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}), ({1}, {2})):
        assert not is_same(one, other)
    assert not is_same(Point(), Point())


Nest: typing_extensions.TypeAlias = (
    "Union[list[Nest], collections.abc.Sequence[Nest], collections.abc.Iterable[Nest], int]"
)


def test_a_type_of_itself_takes_a_moment() -> None:
    value: Any = 1.5
    for _ in range(400):
        value = [value, value]
    begin = time.monotonic()
    assert misfit(read("Nest", scope_of(Item)), value) is None  # what lies so deep is not looked at
    assert misfit(read("Nest", scope_of(Item)), [[[1.5]]]) is not None
    assert time.monotonic() - begin < 20
