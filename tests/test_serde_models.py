"""Pydantic's own rules: excluded fields, private attributes, serialisers, its values; rows of SQLAlchemy."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import (
    VERSION,
    AnyUrl,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FileUrl,
    HttpUrl,
    Json,
    MongoDsn,
    PostgresDsn,
    PrivateAttr,
    RedisDsn,
    RootModel,
    Secret,
    SecretStr,
    UrlConstraints,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
)
from pydantic.dataclasses import dataclass
from pydantic_core import MultiHostUrl, Url
from strategies import values
from strict import same

from charm_checkpoint.errors import NotSerializable, TypeNotLoaded
from charm_checkpoint.values.json_values import simplified
from charm_checkpoint.values.serde import Serializer, register_type

SERDE = Serializer(on_unknown="raise")
T = TypeVar("T")


def ways(value: Any) -> list[Any]:
    """Return what is read of a value that was stored alone, in a run of its like, and among others."""
    return [
        SERDE.loads(SERDE.dumps({"a": [value]}))["a"][0],
        *SERDE.loads_many(SERDE.dumps_many([value, value])),
        SERDE.loads_many(SERDE.dumps_many([HumanMessage("x"), value]))[1],
    ]


class Client(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    name: str = "n"
    token: str = Field("none", exclude=True)
    lock: Any = Field(default_factory=threading.Lock, exclude=True)
    last: int = 1

    @field_validator("name")
    @classmethod
    def _never(cls, value: str) -> str:
        assert value == "given"
        return value


class OpenClient(Client):
    model_config = ConfigDict(extra="allow")
    _calls: list[int] = PrivateAttr(default_factory=list)


class Boxed(BaseModel, Generic[T]):
    item: T
    handle: Any = Field(None, exclude=True)


@dataclass(config=ConfigDict(arbitrary_types_allowed=True))
class Job:
    number: int
    lock: Any = Field(default=None, exclude=True)
    tags: list[int] = Field(default_factory=list, exclude=True)


@dataclass(slots=True)
class Slotted:
    number: int
    lock: Any = Field(exclude=True)


EXCLUDING: list[tuple[Callable[[], Any], dict[str, Any]]] = [
    (lambda: Client(name="given", token="secret", last=2), {"name": "given", "token": "none", "last": 2}),
    (lambda: Client(name="given"), {"name": "given", "token": "none", "last": 1}),
    (lambda: OpenClient(name="given", token="secret", more=[1]), {"token": "none", "more": [1], "last": 1}),
    (lambda: Boxed[Client](item=Client(token="secret"), handle=1), {"handle": None}),
    (lambda: Job(1, threading.Lock(), [1]), {"number": 1, "lock": None, "tags": []}),
]


@pytest.mark.parametrize(("make", "expected"), EXCLUDING)
def test_an_excluded_field_comes_back_as_its_default(make: Callable[[], Any], expected: dict[str, Any]) -> None:
    value = make()
    for restored in ways(value):
        assert type(restored) is type(value)
        assert {name: getattr(restored, name) for name in expected} == expected
        if isinstance(restored, BaseModel):
            assert list(restored.__dict__) == list(type(value).model_fields)
            assert restored.model_fields_set == value.model_fields_set - {"token", "lock", "handle"}
        if isinstance(restored, Client):
            assert restored.lock is not value.lock and not restored.lock.locked()
        assert SERDE.dumps(restored) == SERDE.dumps(value)


def test_no_secret_of_an_excluded_field_is_stored() -> None:
    value = Boxed[Client](item=Client(token="hunter2"), handle="hunter2")
    for data in (SERDE.dumps(value), SERDE.dumps_many([value]), SERDE.dumps([Job(1, "hunter2")])):
        assert b"hunter2" not in data


def test_an_excluded_field_is_no_change() -> None:
    runs = [[Client(token=token)] for token in ("a", "b")]
    assert SERDE.run(runs[0])[1] == SERDE.run(runs[1])[1]
    assert SERDE.run(runs[0])[1] != SERDE.run([Client(last=3)])[1]


def test_a_required_excluded_field_is_refused() -> None:
    class Needs(BaseModel):
        client: Any = Field(exclude=True)

    for value in (Needs(client=1), Slotted(1, 2)):
        with pytest.raises(
            NotSerializable, match=r"^a\[0\]: .*(client|lock) is excluded .* required.*Give it a default"
        ):
            SERDE.dumps({"a": [value]})
    empty = Needs.model_construct()
    assert all(vars(restored) == {} for restored in ways(empty))


def test_a_default_may_follow_from_the_fields_before_it() -> None:
    if tuple(map(int, VERSION.split(".")[:2])) < (2, 10):
        pytest.skip("needs pydantic 2.10")

    class Path(BaseModel):
        folder: str
        handle: str = Field(default_factory=lambda data: data["folder"] + "/handle", exclude=True)

    with pytest.raises(NotSerializable, match=r"Path\.handle is excluded .* a function makes its default"):
        SERDE.dumps(Path(folder="x", handle="open"))
    register_type(Path)
    assert ways(Path(folder="x", handle="open"))[0].handle == "x/handle"


def test_a_private_default_may_follow_from_the_fields() -> None:
    if tuple(map(int, VERSION.split(".")[:2])) < (2, 13):
        pytest.skip("needs pydantic 2.13")

    class Folder(BaseModel):
        name: str
        _handle: Any = PrivateAttr(default_factory=lambda data: (data["name"], threading.Lock()))

    for dumps in (SERDE.dumps, SERDE.dumps_many):
        with pytest.raises(NotSerializable, match=r"^\[0\]\._handle\[1\]: .*a plain default"):
            dumps([Folder(name="x")])
    register_type(Folder)
    assert ways(Folder(name="x"))[0]._handle[0] == "x"
    plain = SERDE.loads_many(SERDE.dumps_many([Folder.model_construct(name="y")]))
    assert plain[0]._handle[0] == "y"


def test_a_default_that_fails_is_told() -> None:
    @register_type
    class Failing(BaseModel):
        handle: Any = Field(default_factory=lambda: open("/no/such/file"), exclude=True)
        _handle: Any = PrivateAttr(default_factory=lambda: None)

    data = SERDE.dumps({"f": Failing(handle=None)})
    with pytest.raises(TypeNotLoaded, match=r"^f: .*Failing\.handle is not stored, and its default factory failed"):
        SERDE.loads(data)


def test_what_was_stored_before_a_field_was_excluded_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Early(BaseModel):
        token: str = "none"

    alone, many = SERDE.dumps(Early(token="t")), SERDE.dumps_many([Early(token="t")])

    class Late(BaseModel):
        token: str = Field("none", exclude=True)

    Late.__qualname__ = Early.__qualname__
    stored = SERDE.dumps(Late())
    del Early
    assert SERDE.loads(alone).token == SERDE.loads_many(many)[0].token == "t"
    assert SERDE.loads(stored).token == "none"


def test_no_message_leaves_a_field_out() -> None:
    for message in (HumanMessage("x"), AIMessage("x"), ToolMessage("x", tool_call_id="1")):
        assert not any(field.exclude for field in type(message).model_fields.values())


# -- private attributes and others ------------------------------------------------------------------------------------


class Keeper(BaseModel):
    name: str = "n"
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _kept: Any = PrivateAttr(default=7)
    _plain: Any = PrivateAttr(default=0)


UNSTORABLE: list[Callable[[], Any]] = [
    threading.Lock,
    lambda: [threading.Lock()],
    lambda: {"a": {"b": (threading.Lock(),)}},
    lambda: {1: iter([1])},
    lambda: {threading.Lock()},
    lambda: [frozenset([(1, threading.Lock())])],
    lambda: Keeper.model_construct(name=threading.Lock()),
]


@pytest.mark.parametrize("make", UNSTORABLE)
def test_a_private_attribute_that_cannot_be_stored_comes_back_as_its_default(make: Callable[[], Any]) -> None:
    keeper = Keeper()
    keeper._kept, keeper._plain = make(), [1, {"x": (2,)}]
    for restored in ways(keeper):
        assert restored._kept == 7 and restored._plain == [1, {"x": (2,)}] and not restored._lock.locked()
        assert restored._lock is not keeper._lock
    outer = Keeper()
    outer._kept = [keeper]
    assert ways(outer)[0]._kept[0]._kept == 7


class Kept(NamedTuple):
    """How a field or a private attribute of a made-up model is kept."""

    value: Any
    default: Any
    excluded: bool
    storable: bool

    def expected(self) -> Any:
        return self.value if self.storable and not self.excluded else self.default


KEPT = st.builds(Kept, values(), st.integers(), st.booleans(), st.booleans())
UNDER_NAMES = st.dictionaries(st.sampled_from("abcdef"), KEPT, max_size=4)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(UNDER_NAMES, UNDER_NAMES)
def test_any_model_by_its_rules(fields: dict[str, Kept], private: dict[str, Kept]) -> None:
    fields = {name: kept._replace(storable=True) for name, kept in fields.items()}
    namespace: dict[str, Any] = {"__module__": __name__, "__annotations__": dict.fromkeys(fields, Any)}
    namespace.update({name: Field(kept.default, exclude=kept.excluded) for name, kept in fields.items()})
    namespace.update({f"_{name}": PrivateAttr(kept.default) for name, kept in private.items()})
    made = type("Made", (BaseModel,), namespace).model_construct(**{name: kept.value for name, kept in fields.items()})
    for name, kept in private.items():
        setattr(made, f"_{name}", kept.value if kept.storable else [kept.value, threading.Lock()])
    for restored in ways(made):
        assert list(restored.__dict__) == list(fields)
        assert all(same(getattr(restored, name), kept.expected()) for name, kept in fields.items())
        assert all(
            same(getattr(restored, f"_{name}"), kept._replace(excluded=False).expected())
            for name, kept in private.items()
        )


def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Told(BaseModel):
        _lock: Any = PrivateAttr(default_factory=threading.Lock)

    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        ways(Told())
    (record,) = caplog.records
    assert "Told._lock is not stored; its default comes back: " in record.getMessage()


def test_a_private_attribute_without_a_default_is_refused() -> None:
    class Bare(BaseModel):
        _lock: Any = PrivateAttr()

        def model_post_init(self, context: Any) -> None:
            self._lock = threading.Lock()

    for dumps in (SERDE.dumps, SERDE.dumps_many):
        with pytest.raises(NotSerializable, match=r"^\[0\]\._lock: .*give the private attribute a plain default"):
            dumps([Bare()])


def test_a_cycle_through_a_private_attribute() -> None:
    keeper = Keeper()
    keeper._kept = [keeper]
    assert ways(keeper)[0]._kept == 7


def test_attributes_that_pydantic_does_not_know() -> None:
    class Cached:
        """A cached property of another library's."""

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, obj: Any, owner: type) -> Any:
            return self if obj is None else obj.__dict__.setdefault(self.name, threading.Lock())

    class Loose(BaseModel):
        model_config = ConfigDict(ignored_types=(Cached,))
        x: int = 1
        costly: ClassVar[Any] = Cached()

        @field_validator("x")
        @classmethod
        def _never(cls, value: int) -> int:
            raise AssertionError

    loose = Loose()
    plain = SERDE.dumps(loose)
    assert loose.costly and SERDE.dumps(loose) == plain
    loose.__dict__.update(note=[1], lock=threading.Lock())
    for restored in ways(loose):
        assert vars(restored) == {"x": 1, "note": [1]}


# -- serialisers ------------------------------------------------------------------------------------------------------


class Shown(BaseModel):
    amount: Any = 1

    @field_serializer("amount")
    def _shown(self, value: Any) -> str:
        return f"{value} EUR"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2


class Hidden(BaseModel):
    x: int = 1

    @model_serializer
    def _hidden(self) -> dict[str, Any]:
        return {"y": 2}


def test_the_raw_attribute_is_stored_and_not_what_a_serialiser_makes_of_it() -> None:
    for value in (Shown(amount=5), Hidden(x=3), Shown(amount=[Hidden(x=4)])):
        for restored in ways(value):
            assert same(restored, value)
    with pytest.raises(NotSerializable, match=r"^amount: "):
        SERDE.dumps(Shown(amount=threading.Lock()))


# -- values -----------------------------------------------------------------------------------------------------------


class OwnUrl(AnyUrl):
    _constraints = UrlConstraints(allowed_schemes=["own"])


class OwnSecret(SecretStr):
    pass


class OwnNumber(Secret[int]):
    pass


class Values(BaseModel):
    http: HttpUrl = HttpUrl("http://ex.com/ä?x=1#y")
    any_url: AnyUrl = AnyUrl("x://y/z")
    file: FileUrl = FileUrl("file:///x")
    postgres: PostgresDsn = PostgresDsn("postgres://u:p@h1,h2:1/db")
    redis: RedisDsn = RedisDsn("redis://h/0")
    mongo: MongoDsn = MongoDsn("mongodb://a,b/c")
    own: OwnUrl = OwnUrl("own://x")
    size: ByteSize = ByteSize(1_000_000)
    data: Json[list[int]] = Field("[1]", validate_default=True)
    secret: Secret[int] = Secret(3)
    number: OwnNumber = OwnNumber(4)
    text: OwnSecret = OwnSecret("s")


def test_pydantics_values_come_back_as_themselves() -> None:
    for restored in ways(Values()):
        assert restored == Values()
        assert list(map(type, vars(restored).values())) == list(map(type, vars(Values()).values()))
        assert str(restored.http) == str(Values().http) and restored.size.human_readable() == "976.6KiB"
        assert (restored.secret.get_secret_value(), restored.text.get_secret_value()) == (3, "s")
    for value in (Url("http://a/b?c"), MultiHostUrl("mongodb://a:1,b/c"), RootModel[list[HttpUrl]](["http://x"])):
        for restored in ways(value):
            assert type(restored) is type(value) and restored == value


def test_a_url_without_a_path_stays_so() -> None:
    try:
        bare = [Url("http://x", preserve_empty_path=True), MultiHostUrl("http://x,y", preserve_empty_path=True)]
    except TypeError:
        pytest.skip("needs pydantic 2.12")
    assert [str(url) for url in SERDE.loads(SERDE.dumps(bare))] == [str(url) for url in bare]


def test_pydantics_values_are_safe_but_not_what_derives_from_them() -> None:
    strict = Serializer(allowed=(), on_unknown="raise")
    values = [HttpUrl("http://x"), ByteSize(1), Secret(1), Url("http://x")]
    assert strict.loads(SERDE.dumps(values)) == values
    with pytest.raises(TypeNotLoaded, match=r"OwnUrl is not on the allowlist"):
        strict.loads(SERDE.dumps(OwnUrl("own://x")))


def test_metadata_has_them_as_text_and_nothing_that_is_excluded() -> None:
    class Needs(BaseModel):
        kept: int = 1
        client: Any = Field(exclude=True)

    values = [HttpUrl("http://x"), Url("http://x"), OwnUrl("own://x"), Secret(1), OwnSecret("s"), ByteSize(5)]
    assert simplified(values) == ["http://x/", "http://x/", "own://x", "**********", "**********", 5]
    assert simplified([Needs(client=threading.Lock()), Job(1, threading.Lock())]) == [{"kept": 1}, {"number": 1}]
    assert simplified(row(id=1, name="x")) == {"id": 1, "name": "x"}


def test_extra_types() -> None:
    color = pytest.importorskip("pydantic_extra_types.color").Color("red")
    assert all(restored == color and repr(restored) == repr(color) for restored in ways(color))


# -- pydantic 1 -------------------------------------------------------------------------------------------------------


def test_first_version() -> None:
    v1 = pytest.importorskip("pydantic.v1")

    class Old(v1.BaseModel):  # type: ignore[name-defined, misc]
        a: int = 1
        token: Any = v1.Field([1], exclude=True)
        lock: Any = v1.Field(default_factory=threading.Lock, exclude=True)
        _lock: Any = v1.PrivateAttr(default_factory=threading.Lock)
        _kept: Any = v1.PrivateAttr([3])
        _plain: Any = v1.PrivateAttr(0)

    class Needs(v1.BaseModel):  # type: ignore[name-defined, misc]
        token: Any = v1.Field(..., exclude=True)

    assert SERDE.loads(SERDE.dumps(v1.SecretStr("s"))).get_secret_value() == "s"
    old = Old(a=2, token="secret")
    old._kept, old._plain = [threading.Lock()], [1]
    for restored in ways(old):
        assert (restored.a, restored.token, restored._kept, restored._plain) == (2, [1], [3], [1])
        assert restored.__fields_set__ == {"a"} and restored.lock is not old.lock
    assert b"secret" not in SERDE.dumps(old)
    with pytest.raises(NotSerializable, match=r"token is excluded .* required"):
        SERDE.dumps(Needs(token=1))


# -- rows -------------------------------------------------------------------------------------------------------------


class Manager:
    """Stands for SQLAlchemy's, where that is not installed."""

    __module__ = "sqlalchemy.orm.instrumentation"
    __qualname__ = "ClassManager"
    mapper = SimpleNamespace(configured=True)


def row(**state: Any) -> Any:
    class Row(BaseModel):
        model_config = ConfigDict(ignored_types=(Manager,))
        id: int | None = None
        name: str = ""
        _sa_class_manager: ClassVar[Manager] = Manager()
        friends: ClassVar[Any] = property(lambda self: self.__dict__.get("friends"))

    made = Row(**state)
    mapper = SimpleNamespace(column_attrs=[SimpleNamespace(key="id"), SimpleNamespace(key="name")])
    made.__dict__["_sa_instance_state"] = SimpleNamespace(key=("Row", 1), mapper=mapper, lock=threading.Lock())
    return made


def test_a_row_is_stored_without_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    states = SimpleNamespace(InstanceState=lambda obj, manager: f"new, by a {type(manager).__name__}")
    monkeypatch.setitem(sys.modules, "sqlalchemy.orm.state", states)  # type: ignore[misc]
    hero = row(id=1, name="x")
    hero.__dict__["friends"] = [hero]
    for restored in ways(hero):
        assert vars(restored) == {"id": 1, "name": "x", "_sa_instance_state": "new, by a Manager"}


def test_a_row_that_must_be_loaded_is_refused() -> None:
    hero = row(id=1, name="x")
    del hero.__dict__["name"]
    with pytest.raises(NotSerializable, match=r"^a: name of this Row must still be loaded.*session\.refresh"):
        SERDE.dumps({"a": hero})


class Result:
    """As a row that a query returns: a sequence, and no tuple."""

    __slots__ = ("_held",)

    def __init__(self, **held: Any) -> None:
        self._held = held

    def _asdict(self) -> dict[str, Any]:
        return self._held


def test_a_row_of_a_result_is_stored_as_its_dict(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "charm_checkpoint"):
        for restored in ways(Result(a=1, b=(b"x", bytearray(b"y"), [HttpUrl("http://x")]))):
            assert same(restored, {"a": 1, "b": (b"x", bytearray(b"y"), [HttpUrl("http://x")])})
    assert [record.getMessage() for record in caplog.records] == [
        "test_serde_models.Result is stored as the dict of its _asdict()."
    ]
    with pytest.raises(NotSerializable, match=r"^r\.b\[0\]: "):
        SERDE.dumps({"r": Result(b=[iter([])])})


def test_rows_of_sqlmodel() -> None:
    sqlmodel = pytest.importorskip("sqlmodel")

    class Hero(sqlmodel.SQLModel, table=True):  # type: ignore[name-defined, misc, call-arg]
        id: int | None = sqlmodel.Field(default=None, primary_key=True)
        name: str

    engine = sqlmodel.create_engine("sqlite://")
    sqlmodel.SQLModel.metadata.create_all(engine)
    with sqlmodel.Session(engine) as session:
        found = session.exec(sqlmodel.select(sqlmodel.literal(1).label("a"), sqlmodel.literal("x").label("b"))).all()
        assert SERDE.loads(SERDE.dumps(found)) == [{"a": 1, "b": "x"}]
        hero = Hero(name="x")
        session.add(hero)
        session.commit()
        with pytest.raises(NotSerializable, match=r"session\.refresh"):
            SERDE.dumps(hero)
        session.refresh(hero)
        for restored in ways(hero):
            assert (restored.id, restored.name) == (hero.id, "x")
        restored.name = "y"
        session.merge(restored)
        session.commit()
        assert session.exec(sqlmodel.select(Hero)).one().name == "y"
    engine.dispose()
