"""Values as LangGraph's serializer wrote them: they revive as they were, and run nothing."""

from __future__ import annotations

import dataclasses
import enum
import json
import pickle
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
import samples
from langchain_core.messages import AIMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from official_savers import sqlite_saver, thread
from pydantic import BaseModel, Field

from charm_checkpoint import Memory, open_memory
from charm_checkpoint.errors import (
    DataError,
    TypeNotLoaded,
)
from charm_checkpoint.importers import import_official
from charm_checkpoint.importers.decoding import OfficialDecoder
from charm_checkpoint.testing.graphs import counting


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "official.sqlite"


@pytest.fixture
def memory() -> Iterator[Memory]:
    with open_memory("memory://") as memory:
        yield memory


# -------------------------------------------------------------------------------- data is not code


class Colour(enum.Enum):
    RED = "red"


class Inner(BaseModel):
    number: int


class Model(BaseModel):
    inner: Inner
    colour: Colour = Field(alias="hue")
    other: int = Field(1, alias="another")


@dataclasses.dataclass
class Order:
    number: int
    doubled: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.doubled = 2 * self.number


ORDER = Order(3)
ORDER.doubled = 7
MODEL = Model(inner=Inner(number=1), hue=Colour.RED, another=5)


def kept_by_langgraph(value: Any) -> bool:
    """Tell whether LangGraph's serializer gives a value back as it was."""
    try:
        revived = JsonPlusSerializer().loads_typed(JsonPlusSerializer().dumps_typed(value))
    except (TypeError, ValueError):
        return False
    return repr(revived) == repr(value)


SAFE = [value for value in samples.ALL if kept_by_langgraph(value)]


@pytest.mark.parametrize("value", [*SAFE, [Colour.RED], {"a": MODEL}, ORDER], ids=lambda value: type(value).__name__)
def test_values_revive_as_they_were(value: Any) -> None:
    assert len(SAFE) > 60
    revived = OfficialDecoder().loads(*JsonPlusSerializer().dumps_typed(value))
    assert (type(revived), repr(revived)) == (type(value), repr(value))


def forged(code: int, *body: Any) -> tuple[str, bytes]:
    """Return a value as LangGraph's serializer would write it, of a name of our choice."""
    return "msgpack", ormsgpack.packb({"a": [0, ormsgpack.Ext(code, ormsgpack.packb(body))]})


def envelope(lc: int, *id: str, **more: Any) -> tuple[str, bytes]:
    """Return the same in the JSON of older versions."""
    return "json", json.dumps({"a": [0, {"lc": lc, "type": "constructor", "id": id, **more}]}).encode()


def attacks(path: Path) -> dict[str, tuple[str, bytes]]:
    """Return values that make a file, if they can."""
    touch = ["touch", str(path)]
    return {
        "system": forged(0, "os", "system", f"touch {path}"),
        "posix": forged(1, "posix", "system", [f"touch {path}"]),
        "eval": forged(0, "builtins", "eval", f"open({str(path)!r}, 'w')"),
        "class": forged(1, "subprocess", "Popen", [touch]),
        "fields": forged(2, "subprocess", "Popen", {"args": touch}),
        "method": forged(3, "subprocess", "os", f"touch {path}", "system"),
        "model v1": forged(4, "subprocess", "Popen", {"args": touch}),
        "model": forged(5, "subprocess", "Popen", {"args": touch}, "model_validate_json"),
        "import": forged(0, "antigravity", "fly", "x"),
        "json": envelope(2, "os", "system", args=[f"touch {path}"]),
        "json method": envelope(2, "subprocess", "os", method="system", args=[f"touch {path}"]),
        "json model": envelope(1, "subprocess", "Popen", kwargs={"args": touch}),
    }


def test_the_attacks_are_real(tmp_path: Path) -> None:
    JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(attacks(tmp_path / "made")["system"])
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("name", attacks(Path()))
def test_forged_values_run_nothing(name: str, file: Path, memory: Memory) -> None:
    made = file.parent / "made"
    kind, data = attacks(made)[name]
    with sqlite_saver(file) as official:
        counting(official).invoke({"log": []}, thread("counting"))
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE writes SET type = ?, value = ? WHERE rowid = 1", (kind, data))
    loaded = set(sys.modules)
    [failure] = import_official(file, memory).failed
    assert isinstance(failure.error, TypeNotLoaded)
    assert ", pending_writes." in str(failure.error)
    assert ".a[1]: " in str(failure.error)
    assert not made.exists()
    assert "antigravity" not in set(sys.modules) - loaded
    assert memory.usage().checkpoints == 0


def test_pickles_and_unknown_types_are_refused() -> None:
    with pytest.raises(DataError, match="this is a pickle, and reading a pickle runs what it says"):
        OfficialDecoder().loads("pickle", pickle.dumps(1))
    with pytest.raises(DataError, match="another serializer than LangGraph's own: its type is 'mine'"):
        OfficialDecoder().loads("mine", b"")
    with pytest.raises(DataError, match="not MessagePack"):
        OfficialDecoder().loads("msgpack", b"\xc1")


def test_json_of_older_versions_revives() -> None:
    def made(*id: str, **more: Any) -> dict[str, Any]:
        return {"lc": 2, "type": "constructor", "id": list(id), **more}

    message = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessage"]}
    value = {
        "message": {**message, "kwargs": {"content": "x", "type": "ai", "id": "1"}},
        "when": made("datetime", "datetime", method="fromisoformat", args=[samples.NOW.isoformat()]),
        "bytes": made("builtins", "bytes", method="fromhex", args=["00ff"]),
        "set": made("builtins", "set", args=[[1, 2]]),
        "order": made(__name__, "Order", kwargs={"number": 3, "doubled": 7}),
        "model": made(__name__, "Inner", method=[None, "model_construct"], kwargs={"number": 1}),
        "plain": {"lc": 3, "id": "x"},
    }
    assert OfficialDecoder().loads("json", json.dumps(value).encode()) == {
        "message": AIMessage("x", id="1"),
        "when": samples.NOW,
        "bytes": b"\x00\xff",
        "set": {1, 2},
        "order": ORDER,
        "model": Inner(number=1),
        "plain": {"lc": 3, "id": "x"},
    }


class Reversing:
    """A cipher that hides little."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "reversing", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        return ciphertext[::-1]


def test_encrypted_values_need_the_cipher(file: Path, memory: Memory) -> None:
    with sqlite_saver(file) as official:
        official.serde = EncryptedSerializer(Reversing(), JsonPlusSerializer())
        counting(official).invoke({"log": []}, thread("counting"))
    report = import_official(file, memory)
    assert "encrypted (reversing); give import_official the cipher" in str(report.failed[0].error)
    assert import_official(file, memory, cipher=Reversing()).checkpoints == 5
