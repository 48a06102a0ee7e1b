"""The serializer on safe types: round trips, same bytes for the same content, errors, forged data."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from decimal import Decimal
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import langchain_core.messages as lc
import numpy as np
import ormsgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.types import Command, Overwrite, Send
from samples import ALL, ARRAYS, MESSAGES, TASK
from strategies import values
from strict import same

from charm_checkpoint import open_memory
from charm_checkpoint.errors import NotSerializable, StoreCorrupt, TypeNotLoaded
from charm_checkpoint.testing.samples import checkpoint, config, versions
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.known_classes import SHORT_NAMES
from charm_checkpoint.values.serde.values import DECODERS

SERDE = Serializer(on_unknown="raise")


def nest(levels: int, wrap: Any, value: Any = None) -> Any:
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("value", ALL, ids=lambda v: type(v).__name__)
def test_a_value_comes_back_as_itself(value: Any) -> None:
    for wrapped in (value, [value], {"k": value}, {0: value}, (value, bytearray()), nest(15, lambda v: (v,), value)):
        data = SERDE.dumps(wrapped)
        assert same(SERDE.loads(data), wrapped)
        assert SERDE.dumps(SERDE.loads(data)) == data
    assert same(SERDE.loads_many(SERDE.dumps_many([value, value])), [value, value])


def test_a_mixed_run_and_an_empty_run() -> None:
    assert same(SERDE.loads_many(SERDE.dumps_many(ALL)), ALL)
    assert same(SERDE.loads_many(SERDE.dumps_many(MESSAGES)), MESSAGES)
    assert SERDE.loads_many(SERDE.dumps_many([])) == []


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(values(), max_size=3))
def test_any_mix_comes_back_as_itself(run: list[Any]) -> None:
    data, many = SERDE.dumps(run), SERDE.dumps_many(run)
    assert same(SERDE.loads(data), run) and SERDE.dumps(SERDE.loads(data)) == data
    assert same(SERDE.loads_many(many), run) and SERDE.dumps_many(SERDE.loads_many(many)) == many


def test_langgraphs_safe_types_are_all_covered() -> None:
    modules = {type(v): type(v).__module__.replace("pathlib._local", "pathlib") for v in ALL}  # so named in Python 3.13
    covered = set(SHORT_NAMES.values()) | {f"{module}:{kind.__qualname__}" for kind, module in modules.items()}
    names = {f"{module}:{name}" for module, name in SAFE_MSGPACK_TYPES if module != "pathlib._local"}
    elsewhere = {"re:compile", "pathlib:Path", "pathlib:WindowsPath"}  # a function, an abstract class, Windows only
    assert names - covered - elsewhere == set()


def test_different_values_have_different_bytes() -> None:
    for dumps in (SERDE.dumps, lambda v: SERDE.dumps_many([v])):
        encoded = [(dumps(value), value) for value in ALL]
        for (a, first), (b, second) in combinations(encoded, 2):
            assert a != b, (first, second)


def test_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "from charm_checkpoint.values.serde import Serializer; from langchain_core.messages import AIMessage as A\n"
        "v = [{str(n) for n in range(40)} | {*range(40)}, A('x', id='1', name='n', unknown=frozenset('abcdef'))]\n"
        "import sys; sys.stdout.write((Serializer().dumps(v) + Serializer().dumps_many(v[1:])).hex())"
    )
    seen = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(seen) == 1


def test_restored_values_are_independent() -> None:
    value = {"a": [lc.AIMessage("x", additional_kwargs={"k": [1]}), np.zeros(2), bytearray(b"x"), {1}]}
    data = SERDE.dumps(value)
    first, second = SERDE.loads(data), SERDE.loads(data)
    first["a"][0].additional_kwargs["k"].append(2)
    first["a"][0].__pydantic_fields_set__.clear()
    first["a"][1][0] = 7
    first["a"][2].append(1)
    assert same(second, value)
    run = SERDE.loads_many(SERDE.dumps_many([lc.HumanMessage("a"), lc.HumanMessage("b")]))
    run[0].__pydantic_fields_set__.clear()
    run[0].__pydantic_extra__["x"] = 1
    assert run[1].__pydantic_fields_set__ and not run[1].__pydantic_extra__


def test_a_restored_array_is_writable_and_its_own() -> None:
    for array in ARRAYS:
        restored = SERDE.loads(SERDE.dumps(array))
        assert restored.flags.writeable and restored.flags.owndata
    view = np.arange(12).reshape(3, 4)[:, ::2]
    assert np.array_equal(SERDE.loads(SERDE.dumps(view)), view)


def test_an_array_in_a_file_is_read_as_an_array(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "array", dtype="f4", mode="w+", shape=(2, 3))
    assert same(SERDE.loads(SERDE.dumps(mapped)), np.zeros((2, 3), "f4"))


def test_a_dict_keeps_its_content_without_a_factory_of_code(caplog: pytest.LogCaptureFixture) -> None:
    nested = defaultdict(lambda: defaultdict(int), a=defaultdict(int, {1: 2}))
    with caplog.at_level("WARNING", "charm_checkpoint"):
        read = [SERDE.loads(SERDE.dumps({"d": nested}))["d"], SERDE.loads_many(SERDE.dumps_many([nested]))[0]]
    for restored in read:
        assert same(restored, defaultdict(None, nested)) and restored["a"].default_factory is int
    (record,) = caplog.records
    assert "factory test_a_dict_keeps_its_content_without_a_factory_of_code.<locals>.<lambda>" in record.getMessage()
    for factory in (deque, partial(list), Plain, "x".upper):
        assert same(SERDE.loads(SERDE.dumps(defaultdict(factory, a=1))), defaultdict(None, a=1))


def test_nan_keeps_its_type() -> None:
    for value in (float("nan"), Decimal("NaN"), Decimal("sNaN12"), [complex(0, float("nan"))]):
        assert same(SERDE.loads(SERDE.dumps(value)), value)


def test_an_exception_is_stored_as_its_repr() -> None:
    assert SERDE.loads(SERDE.dumps({"error": ValueError("no\ud800")})) == {"error": repr(ValueError("no\ud800"))}


def test_the_serializer_protocol() -> None:
    assert SERDE.dumps_typed({1}) == ("charm1", SERDE.dumps({1}))
    assert SERDE.loads_typed(SERDE.dumps_typed({1})) == {1}
    with pytest.raises(StoreCorrupt, match="another serializer.*'msgpack'"):
        SERDE.loads_typed(("msgpack", b"\x01"))


def test_pickle_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dumps", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    assert same(SERDE.loads_many(SERDE.dumps_many(ALL)), ALL)


# -- refused when writing ---------------------------------------------------------------------------------------------


class Plain:
    pass


class Unbound:
    """A proxy as web frameworks have them, outside of what it stands for."""

    __slots__ = ()

    @property
    def __class__(self) -> Any:
        return self.__getattr__("__class__")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("Working outside of request context.")


REFUSED = [
    (lambda: 1, "a function cannot be stored"),
    (iter([1]), "list_iterator cannot be stored"),
    (memoryview(b"x"), "Store bytes"),
    (..., "ellipsis"),
    (slice(1), "slice"),
    (Plain(), "test_serde:Plain is not a data class.*register_type"),
    (Plain, "the class test_serde:Plain"),
    (np.array([object()]), "dtype object"),
    (np.ma.masked_array([1]), "MaskedArray"),
    (lc.HumanMessage.__new__(lc.HumanMessage), "not initialised"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_cannot_be_stored_is_named(value: Any, reason: str) -> None:
    for wrapped in (value, {"a": [value]}, lc.ToolMessage.model_construct(artifact=value)):
        with pytest.raises(NotSerializable, match=reason):
            SERDE.dumps(wrapped)
        with pytest.raises(NotSerializable, match=reason):
            SERDE.dumps_many([1, wrapped])


BAD_PATHS = [
    (lambda bad: {"messages": [1, {"a-b": bad}]}, "messages[1]['a-b']"),
    (lambda bad: lc.ToolMessage("x", tool_call_id="1", artifact=(0, bad)), "artifact[1]"),
    (lambda bad: {7: {(1, 2): deque([bad])}}, "[7]['(1, 2)'][0]"),
    (lambda bad: Send("n", Command(update=OrderedDict(a=bad))), "arg.update.a"),
    (lambda bad: lc.HumanMessage("x", extra=defaultdict(list, x=[bad])), "extra.x[0]"),
    (lambda bad: [TASK._replace(result=bad)], "[0].result"),
    (lambda bad: bad, ""),
]


@pytest.mark.parametrize(
    "wrap", [lambda bad: bad, lambda bad: [1, {"x": bad}], lambda bad: {"text": "x" * 9000, "k": bad}]
)
def test_a_proxy_of_what_is_not_there_is_named(wrap: Any) -> None:
    value = wrap(Unbound())
    reason = "this Unbound is broken or not initialised: Working outside of request context"
    with open_memory("memory://") as memory:
        saver = memory.get_langgraph_checkpointer()
        where = saver.put(config(), checkpoint(), {}, {})
        states = checkpoint({"user": value}), checkpoint({"user": [value] * 30})
        for save in (
            lambda: SERDE.dumps(value),
            lambda: SERDE.dumps_many([1, value]),
            lambda: SERDE.pack_each([1, value], heavy=True),
            lambda: saver.put(where, states[0], {}, versions(states[0])),
            lambda: saver.put(where, states[1], {}, versions(states[1])),
            lambda: saver.put_writes(where, [("user", value)], "task"),
            lambda: memory.save_messages("t", [{"content": value}]),
        ):
            with pytest.raises(NotSerializable, match=reason) as caught:
                save()
            assert isinstance(caught.value.__cause__, RuntimeError)
        with pytest.raises(NotSerializable, match=reason) as caught:
            saver.put(where, states[0], {}, versions(states[0]))
        assert caught.value.path[:2] == ("channel_values", "user")
        # Metadata is also read back, so nothing in it is asked what else it passes for.
        with pytest.raises(NotSerializable, match="a test_serde:Unbound is no data"):
            saver.put(where, checkpoint(), {"writes": value}, {})
        saver.put({"configurable": {**where["configurable"], "user": value}}, checkpoint(), {}, {})


@pytest.mark.parametrize(("make", "path"), BAD_PATHS, ids=[path for _, path in BAD_PATHS])
def test_errors_name_the_path(make: Any, path: str) -> None:
    with pytest.raises(NotSerializable) as caught:
        SERDE.dumps(make(Plain()))
    assert str(caught.value).startswith(f"{path}: test_serde:Plain" if path else "test_serde:Plain")
    with pytest.raises(NotSerializable) as caught:
        SERDE.dumps_many([None, make(Plain())])
    tail = f".{path}" if path and path[0] != "[" else path
    assert str(caught.value.at("values")).startswith(f"values[1]{tail}: test_serde:Plain")


# -- depth ------------------------------------------------------------------------------------------------------------

WRAPS = [
    lambda v: [v],
    lambda v: {"a": v},
    lambda v: (v,),
    lambda v: {1: v},
    lambda v: Overwrite(v),
    lambda v: [(v,)] * 1,
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_what_is_accepted_is_read_at_every_depth(wrap: Any) -> None:
    for levels in (1, 7, 8, 9, 60, 99, 100, 150, 199, 200, 201, 252, 253, 254, 255, 256, 2000):
        value = nest(levels, wrap)
        try:
            data = SERDE.dumps(value)
        except NotSerializable as exc:
            assert levels > 60 and "nested deeper than 200 levels" in exc.reason
        else:
            assert SERDE.dumps(SERDE.loads(data)) == data
            assert len(SERDE.loads_many(SERDE.dumps_many([nest(levels - 1, wrap)]))) == 1


def test_frozensets_in_frozensets() -> None:
    value = nest(30, lambda v: frozenset([v]))
    assert SERDE.loads(SERDE.dumps(value)) == value


@pytest.mark.parametrize("size", [0, 1, 15, 16, 255, 65_535, 65_536])
@pytest.mark.parametrize("kind", [set, frozenset])
def test_sets_of_every_size(kind: type, size: int) -> None:
    value = kind(range(size))
    assert SERDE.loads(SERDE.dumps(value)) == value
    assert SERDE.dumps(value) == SERDE.dumps(kind(reversed(range(size))))


def test_a_cycle_is_named() -> None:
    ring: list[Any] = [1]
    ring.append({"back": (ring,)})
    with pytest.raises(NotSerializable, match=r"^ring\[1\]\.back\[0\]: it contains itself"):
        SERDE.dumps({"ring": ring})
    message = lc.ToolMessage("x", tool_call_id="1")
    message.artifact = Overwrite(message)
    with pytest.raises(NotSerializable, match=r"^\[0\]\.artifact\.value: it contains itself"):
        SERDE.dumps_many([message])


def test_the_same_object_twice_is_no_cycle() -> None:
    shared: Any = {1: "x"}
    assert SERDE.loads(SERDE.dumps([shared, {2: shared}])) == [shared, {2: shared}]


# -- foreign and forged bytes ------------------------------------------------------------------------------------------


def forge(code: int, body: Any) -> bytes:
    return b"\x01" + ormsgpack.packb([ormsgpack.Ext(code, body if isinstance(body, bytes) else ormsgpack.packb(body))])


GARBAGE = [b"", b"\x00", b"\xff" * 9, b"\x01", b"\x01\xc1", b"\x01\x92\x01", b"\x01\xa1\xff", b"\x02\x90", b"pickle"]


@pytest.mark.parametrize("data", [*GARBAGE, forge(99, b"x"), forge(-0, b"x"), b"\x01" + b"\x91" * 5000])
def test_garbage_is_corrupt(data: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        SERDE.loads(data)


@pytest.mark.parametrize("code", [*DECODERS, 40, 41, 42, 43, 44, 45])
def test_a_forged_body_is_corrupt_or_not_loaded(code: int) -> None:
    for body in (b"\xff\xfe\xfd", b"", [], None, "x", {"a": 1}, [1, 2, 3, 4, 5, 6, 7], ["x", [9], "y", b"z"], [[{}]]):
        try:
            SERDE.loads(forge(code, body))
        except (StoreCorrupt, TypeNotLoaded):
            continue
        assert code in DECODERS


def test_any_flipped_byte_is_read_or_refused() -> None:
    for data, loads in ((SERDE.dumps(ALL[-40:]), SERDE.loads), (SERDE.dumps_many(MESSAGES), SERDE.loads_many)):
        for position in range(0, len(data), 7):
            flipped = data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]
            try:
                loads(flipped)
            except (StoreCorrupt, TypeNotLoaded):
                continue


def test_a_run_of_garbage_is_corrupt() -> None:
    for data in (b"", b"\x01\x90", b"\x03", b"\x03\x90", b"\x03\x93\x90\x91\x00\x91\x80", b"\x03\xc0", b"\x02\xc1"):
        with pytest.raises(StoreCorrupt):
            SERDE.loads_many(data)


def test_a_forged_time_zone_is_no_path() -> None:
    for key in ("../../etc/passwd", "/etc/passwd", "os.path", "a\0b"):
        with pytest.raises(StoreCorrupt, match="is not a time zone"):
            SERDE.loads(forge(15, key))
    with pytest.raises(TypeNotLoaded, match=r"^\[0\]: the time zone 'Mars/Base'.*tzdata"):
        SERDE.loads(forge(15, "Mars/Base"))


@pytest.mark.parametrize("dtype", ["O", "|O", [("a", "O")], "nope", "os.system", None])
def test_a_forged_dtype_is_corrupt(dtype: Any) -> None:
    for data in (SERDE.dumps([dtype, [1], "C", b"12345678"]), SERDE.dumps([dtype, b"12345678"])):
        for code in (27, 28):
            with pytest.raises(StoreCorrupt):
                SERDE.loads(forge(code, data[1:]))


def test_numpy_is_imported_where_it_is_needed() -> None:
    code = (
        "import sys; from charm_checkpoint.values.serde import Serializer\n"
        "sys.modules['numpy'] = None\n"
        "try: Serializer(on_unknown='raise').loads(bytes.fromhex(sys.argv[1]))\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
        "del sys.modules['numpy']\n"
        "loaded = Serializer().loads(bytes.fromhex(sys.argv[1]))\n"
        "import numpy; print(type(loaded['a'][0]) is numpy.float64, type(loaded['a']) is numpy.ndarray)"
    )
    data = SERDE.dumps({"a": np.zeros(1)}).hex()
    ran = subprocess.run([sys.executable, "-c", code, data], env={"PYTHONPATH": ":".join(sys.path)},
                         capture_output=True, check=True, text=True)  # fmt: skip
    refused, *loaded = ran.stdout.splitlines()
    assert refused.startswith("TypeNotLoaded a: this is a NumPy value, and NumPy cannot be imported")
    assert loaded == ["True True"]
