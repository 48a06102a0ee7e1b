"""Classes that a program says itself how to store: `register_type` with a dump and a load."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypedDict

import numpy as np
import pytest
from langchain_core.messages import ToolMessage
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, Field, PrivateAttr
from strict import same

from charm_checkpoint import open_memory, register_type
from charm_checkpoint.errors import ConfigError, NotSerializable, TypeNotLoaded
from charm_checkpoint.values.json_values import simplified
from charm_checkpoint.values.serde import Serializer, classes, hooks

SERDE = Serializer(on_unknown="raise")


pytestmark = pytest.mark.usefixtures("own_classes")


class Frame:
    """Stands for a table of another package's, which holds more than attributes."""

    __slots__ = ("_block",)

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._block = iter(rows), rows

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self._block[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.rows == other.rows

    __hash__ = object.__hash__


class Wide(Frame):
    pass


def register_frame(**more: Any) -> None:
    register_type(Frame, dump=lambda frame: frame.rows, load=Frame, **more)


def ways(value: Any) -> list[Any]:
    """Return what is read of a value stored alone, deep inside, in a run and in a message."""
    return [
        SERDE.loads(SERDE.dumps(value)),
        SERDE.loads(SERDE.dumps([((((((((({"k": value},),),),),),),),),)]))[0][0][0][0][0][0][0][0][0][0]["k"],
        *SERDE.loads_many(SERDE.dumps_many([value, value])),
        SERDE.loads_many(SERDE.dumps_many([ToolMessage("x", tool_call_id="1", artifact=value)]))[0].artifact,
    ]


def test_a_foreign_class_comes_back() -> None:
    register_frame()
    frame = Frame([{"a": 1, "b": (2, np.float64(3))}])
    for restored in ways(frame):
        assert type(restored) is Frame and same(restored.rows, frame.rows)


FOREIGN: list[tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = [
    (re.match("(a)b", "abc"), lambda match: [match.re, match.string], lambda data: data[0].match(data[1])),
    (threading.Lock(), lambda lock: lock.locked(), lambda locked: threading.Lock()),
    (np.array([{1}], dtype=object), lambda array: array.tolist(), lambda data: np.array(data, dtype=object)),
    (ValueError("x", 1), lambda error: error.args, lambda args: ValueError(*args)),
]


@pytest.mark.parametrize(("value", "dump", "load"), FOREIGN, ids=lambda part: type(part).__name__)
def test_classes_of_c_code(value: Any, dump: Callable[[Any], Any], load: Callable[[Any], Any]) -> None:
    register_type(type(value), name="foreign", dump=dump, load=load)
    for restored in ways(value):
        assert type(restored) is type(value) and SERDE.dumps(restored) == SERDE.dumps(value)


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    register_type(
        pandas.DataFrame, name="DataFrame", dump=lambda frame: frame.to_dict("tight"),
        load=lambda data: pandas.DataFrame.from_dict(data, orient="tight"),
    )  # fmt: skip
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]}, index=["i", "j"])
    for restored in ways(frame):
        pandas.testing.assert_frame_equal(restored, frame)


def test_the_serialised_form_of_a_model() -> None:
    class Client(BaseModel):
        url: str
        handle: Any = Field(exclude=True)
        _lock: Any = PrivateAttr()

    client = Client(url="x", handle=threading.Lock())
    with pytest.raises(NotSerializable, match=r"register_type\(Client, dump=…, load=…\)"):
        SERDE.dumps(client)
    register_type(Client, dump=Client.model_dump, load=lambda data: Client(**data, handle=threading.Lock()))
    assert {restored.url for restored in ways(client)} == {"x"}


def test_what_was_stored_before_is_read(caplog: pytest.LogCaptureFixture) -> None:
    class Later(BaseModel):
        x: int = 1

    class LaterPlain:
        def __init__(self) -> None:
            self.x = 1

    register_type(LaterPlain)
    stored = [SERDE.dumps(Later(x=2)), SERDE.dumps(LaterPlain())]
    many = SERDE.dumps_many([Later(x=3)])
    for cls in (Later, LaterPlain):
        register_type(cls, dump=vars, load=lambda data: pytest.fail("not stored by the dump"))
    assert [SERDE.loads(data).x for data in stored] == [2, 1]
    assert SERDE.loads_many(many)[0].x == 3


def test_a_change_in_place_is_noticed() -> None:
    register_frame()
    run = [Frame([{"a": 1}]), Frame([])]
    before = SERDE.run(run)[1]
    assert SERDE.run(run)[1] == before
    run[1].rows.append({"a": 2})
    assert SERDE.run(run)[1] != before


def test_a_graph_goes_on_with_it() -> None:
    class State(TypedDict):
        frame: Any

    def grow(state: State) -> dict[str, Any]:
        state["frame"].rows.append({"n": len(state["frame"].rows)})
        return {"frame": state["frame"]}

    register_frame()
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        graph = StateGraph(State).add_node("grow", grow).add_edge(START, "grow").compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}}
        graph.invoke({"frame": Frame([{"x": "y" * 2000}])}, config)
        for n in range(3, 5):
            graph.invoke({"frame": graph.get_state(config).values["frame"]}, config)
            assert len(graph.get_state(config).values["frame"].rows) == n


def test_metadata_has_what_the_dump_makes() -> None:
    register_frame()
    assert simplified({"f": Frame([{"a": (1,)}])}) == {"f": [{"a": [1]}]}


def test_exactly_this_class() -> None:
    register_frame()
    with pytest.raises(NotSerializable, match=r"^a: .*Wide is not a data class"):
        SERDE.dumps({"a": Wide([])})


def test_names_aliases_and_the_decorator() -> None:
    register_frame(name="shop.Frame")
    old = SERDE.dumps(Frame([{"a": 1}]))
    classes._names.clear()
    classes._registered.clear()
    register_frame(name="shop.Table", aliases=["shop.Frame"])
    assert SERDE.loads(old) == Frame([{"a": 1}])
    assert b"shop.Table" in SERDE.dumps(Frame([]))

    @register_type(name="decorated", dump=lambda obj: None, load=lambda data: Decorated())
    class Decorated:
        pass

    register_type(Decorated, aliases=["more"])  # keeps its dump and load
    assert type(SERDE.loads(SERDE.dumps(Decorated()))) is Decorated
    assert SERDE.loads(SERDE.dumps([Decorated, Frame])) == [Decorated, Frame]


def test_a_reader_that_allows_nothing_reads_what_is_registered() -> None:
    register_frame()
    assert Serializer(allowed=(), on_unknown="raise").loads(SERDE.dumps(Frame([]))) == Frame([])


def test_a_zone_by_a_dump() -> None:
    class Fixed(tzinfo):
        def utcoffset(self, moment: datetime | None) -> timedelta:
            return timedelta(hours=1)

        def tzname(self, moment: datetime | None) -> str:
            return "X"

    register_type(Fixed, dump=lambda zone: None, load=lambda data: Fixed())
    assert type(SERDE.loads(SERDE.dumps(datetime(2020, 1, 1, tzinfo=Fixed()))).tzinfo) is Fixed


# -- errors -----------------------------------------------------------------------------------------------------------


def test_half_a_hook_is_refused() -> None:
    for given in ({"dump": vars}, {"load": dict}, {"dump": vars, "load": 1}, {"dump": "x", "load": dict}):
        with pytest.raises(ConfigError, match=r"needs both"):
            register_type(Frame, **given)  # type: ignore[arg-type]
    for cls in (str, dict, list, deque, datetime, tuple, object):
        with pytest.raises(ConfigError, match="cannot be changed"):
            register_type(cls, dump=vars, load=dict)
    with pytest.raises(ConfigError, match="is no class"):
        register_type(list[int], dump=vars, load=dict)  # type: ignore[arg-type]
    assert id(Frame) not in hooks._hooks and id(list) not in hooks._hooks


def boom(value: Any) -> Any:
    raise OSError("disk full")


def test_a_dump_that_fails_is_refused_with_its_path() -> None:
    register_type(Frame, dump=boom, load=Frame)
    for dumps in (SERDE.dumps, SERDE.dumps_many):
        with pytest.raises(
            NotSerializable, match=r"^\[0\]\.a: the dump of .*Frame failed: OSError\('disk full'\)"
        ) as caught:
            dumps([{"a": Frame([])}])
        assert isinstance(caught.value.__cause__, OSError)


def test_a_dump_that_returns_what_cannot_be_stored() -> None:
    register_type(Frame, dump=lambda frame: {"rows": iter(frame.rows)}, load=Frame)
    with pytest.raises(NotSerializable, match=r"^a\.rows: a list_iterator cannot be stored"):
        SERDE.dumps({"a": Frame([])})
    register_type(Frame, dump=lambda frame: [frame], load=Frame)
    with pytest.raises(NotSerializable, match=r"^a\[0\]: it contains itself"):
        SERDE.dumps({"a": Frame([])})
    register_type(Frame, dump=lambda frame: Frame([]), load=lambda data: Frame([]))
    with pytest.raises(NotSerializable, match="nested deeper"):
        SERDE.dumps({"a": Frame([])})


@pytest.mark.parametrize("load", [lambda data: data, boom], ids=["of another class", "that fails"])
def test_what_a_load_cannot_read_is_refused_at_the_write(load: Any) -> None:
    register_type(Frame, dump=lambda frame: {"rows": frame.rows}, load=load)
    for _ in range(2):
        with pytest.raises(
            NotSerializable, match=r"^a: .*(load of .*Frame makes a dict|its load cannot read: OSError)"
        ):
            SERDE.dumps({"a": Frame([1])})


def test_a_load_that_fails_is_told_with_its_path() -> None:
    register_frame()
    data, many = SERDE.dumps({"a": [Frame([])]}), SERDE.dumps_many([1, Frame([])])
    register_type(Frame, dump=vars, load=boom)
    with pytest.raises(TypeNotLoaded, match=r"^a\[0\]: the load of .*Frame failed: OSError\('disk full'\)") as caught:
        SERDE.loads(data)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(TypeNotLoaded, match=r"^\[1\]: the load"):
        SERDE.loads_many(many)
    register_type(Frame, dump=vars, load=list)
    with pytest.raises(TypeNotLoaded, match=r"^a\[0\]: the load of .*Frame returned a list"):
        SERDE.loads(data)


def test_a_reader_without_the_registration_is_told() -> None:
    register_frame(name="shop.Frame")
    data = SERDE.dumps({"a": Frame([])})
    told = r"^a: shop\.Frame was stored by a dump.*register_type\(cls, name='shop\.Frame', dump=…, load=…\)"
    code = (
        "import sys; from charm_checkpoint import Serializer\n"
        "Serializer(on_unknown='raise').loads(bytes.fromhex(sys.argv[1]))"
    )
    ran = subprocess.run([sys.executable, "-c", code, data.hex()], env={"PYTHONPATH": ":".join(sys.path)},
                         capture_output=True, text=True)  # fmt: skip
    assert re.search(told.lstrip("^"), ran.stderr)
    hooks._hooks.clear()
    classes._layouts.clear()
    with pytest.raises(TypeNotLoaded, match=told):
        SERDE.loads(data)
