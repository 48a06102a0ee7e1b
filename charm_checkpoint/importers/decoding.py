"""The values of LangGraph's serializer, read without giving data a say in what code runs.

A value is a type tag and bytes: MessagePack with extensions for objects, or JSON with envelopes
for them in rows of older versions. Both are decoded at full speed first; where that fails, a
slower walk finds out what is wrong, and where.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ormsgpack
from langchain_core.load.mapping import SERIALIZABLE_MAPPING
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from charm_checkpoint.errors import DataError, TypeNotLoaded
from charm_checkpoint.importers.building import build, call_method
from charm_checkpoint.importers.fields import Listener, telling
from charm_checkpoint.values.serde.arrays import array_from_state

# The extension codes of langgraph.checkpoint.serde.jsonplus.
ONE_ARGUMENT, ARGUMENTS, FIELDS, METHOD, MODEL_V1, MODEL, ARRAY, SNAPSHOT = range(8)

_KEYS = ormsgpack.OPT_NON_STR_KEYS


class OfficialDecoder:
    """Decodes the typed values of LangGraph's savers; ``cipher`` is for those that were encrypted.

    What is found of objects whose classes take not just what is stored is told the ``listener``.
    """

    def __init__(self, cipher: CipherProtocol | None = None, listener: Listener | None = None) -> None:
        self._cipher = cipher
        self._listener = listener or Listener()

    def loads(self, kind: str | None, data: bytes | str | None) -> Any:
        """Return a value; raises `DataError`, with the path to what cannot be restored."""
        raw = data.encode() if isinstance(data, str) else bytes(data or b"")
        kind, plus, cipher = (kind or "").partition("+")
        if plus:
            raw = self._decrypted(cipher, raw)
        if kind not in _READERS:
            raise DataError(_refusal(kind))
        with telling(self._listener):
            return _READERS[kind](raw)

    def _decrypted(self, name: str, data: bytes) -> bytes:
        if self._cipher is None:
            raise DataError(f"this is encrypted ({name}); give import_official the cipher of your EncryptedSerializer")
        return self._cipher.decrypt(name, data)


def _refusal(kind: str) -> str:
    if kind == "pickle":
        return "this is a pickle, and reading a pickle runs what it says. Save this thread without pickle_fallback."
    return f"this was written by another serializer than LangGraph's own: its type is {kind!r}"


# ------------------------------------------------------------------------------- MessagePack


class _Node(NamedTuple):
    """An extension not yet looked into, for the walk."""

    code: int
    data: bytes


def _load_msgpack(data: bytes) -> Any:
    try:
        return ormsgpack.unpackb(data, ext_hook=_extension, option=_KEYS)
    except ValueError:
        return _walk(_nodes(data), lambda value: value)


def _extension(code: int, data: bytes) -> Any:
    return _make(code, ormsgpack.unpackb(data, ext_hook=_extension, option=_KEYS))


def _nodes(data: bytes) -> Any:
    try:
        return ormsgpack.unpackb(data, ext_hook=_Node, option=_KEYS)
    except ValueError as error:
        raise DataError(f"these {len(data)} bytes are not MessagePack: {error}") from error


def _make(code: int, body: Any) -> Any:
    """Return the object of an extension whose parts are objects already."""
    if code == SNAPSHOT:
        return _DeltaSnapshot(body)
    try:
        return _MAKE[code](body)
    except (LookupError, TypeError) as error:
        raise DataError(f"an extension of code {code} has another shape than LangGraph writes") from error


def _array_from_state(body: Any) -> Any:
    with contextlib.suppress(ImportError):
        importlib.import_module("numpy")
    try:
        return array_from_state(*body)
    except (ValueError, TypeError) as error:
        raise DataError(f"this is not a NumPy array that can be restored: {error}") from error


_MAKE: Mapping[int, Callable[[Any], Any]] = {
    ONE_ARGUMENT: lambda body: build(body[0], body[1], (body[2],)),
    ARGUMENTS: lambda body: build(body[0], body[1], body[2]),
    FIELDS: lambda body: build(body[0], body[1], (), body[2]),
    METHOD: lambda body: call_method(body[0], body[1], body[3], (body[2],)),
    MODEL_V1: lambda body: build(body[0], body[1], (), body[2]),
    MODEL: lambda body: build(body[0], body[1], (), body[2]),
    ARRAY: _array_from_state,
}


# -------------------------------------------------------------------------------------- JSON


def _load_json(data: bytes) -> Any:
    try:
        return json.loads(data, object_hook=_revived)
    except DataError:
        return _walk(json.loads(data), _revived)
    except ValueError as error:
        raise DataError(f"this is not JSON: {error}") from error


def _revived(value: Any) -> Any:
    """Return the object of an envelope whose parts are objects already, and anything else as it is."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), list) or len(value["id"]) < 2:
        return value
    sort = value.get("lc"), value.get("type")
    if sort == (2, "constructor"):
        return _constructed(value)
    if sort == (1, "constructor"):
        *module, name = SERIALIZABLE_MAPPING.get(tuple(value["id"])) or value["id"]
        return build(".".join(module), name, (), value.get("kwargs") or {})
    if sort in ((1, "not_implemented"), (1, "secret")):
        raise TypeNotLoaded(f"{'.'.join(value['id'])} was not stored, only its name")
    return value


def _constructed(value: Mapping[str, Any]) -> Any:
    *parts, name = value["id"]
    module, method, args = ".".join(parts), value.get("method"), value.get("args") or ()
    if isinstance(method, str):
        return call_method(module, name, method, args)
    return build(module, name, args, value.get("kwargs") or {})


# -------------------------------------------------------------------------------------- walk


def _walk(value: Any, revive: Callable[[Any], Any]) -> Any:
    """Build a value from its parts; an error gets the path to the part that it is about."""
    if type(value) is _Node:
        body = _nodes(value.data)
        if value.code in _MAKE and value.code != ARRAY and isinstance(body, list) and len(body) > 2:
            body[2] = _walk(body[2], revive)
        elif value.code == SNAPSHOT:
            body = _walk(body, revive)
        return _make(value.code, body)
    if type(value) is list:
        return [_step(number, part, revive) for number, part in enumerate(value)]
    if type(value) is dict:
        return revive({key: _step(key, part, revive) for key, part in value.items()})
    return value


def _step(step: Any, part: Any, revive: Callable[[Any], Any]) -> Any:
    try:
        return _walk(part, revive)
    except DataError as error:
        raise error.at(step if isinstance(step, int) else str(step)) from error.__cause__


_READERS: Mapping[str, Callable[[bytes], Any]] = {
    "null": lambda data: None,
    "bytes": lambda data: data,
    "bytearray": bytearray,
    "json": _load_json,
    "msgpack": _load_msgpack,
}
