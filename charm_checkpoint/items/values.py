r"""An item's value to bytes and back, and what it may be; pure.

A value is a JSON object, and beyond JSON: NaN and the infinities, integers of any size, any text, NUL and halves of
surrogate pairs included. The first byte tells the form of the rest:

    1   the object as JSON, in UTF-8; a half of a pair is written as UTF-8 would, if it were a character
    2   ``[about, object]`` as JSON: ``about`` is an object with what is not the rule. ``index`` is what the put of the
        item said of it, false or paths; ``big`` true: integers of too many digits for Python's own way to read them
        stand as ``{"\u0000": "0x…"}``, and keys that begin with NUL have one more of them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from charm_checkpoint.errors import DataError, NewerFormat, NotSerializable, PathPart, StoreCorrupt
from charm_checkpoint.values.json_values import checked, kind_of_value
from charm_checkpoint.values.sealing import SEALED
from charm_checkpoint.values.serde.fresh_stack import on_a_fresh_stack

VALUE_LIMIT: Final = 16 << 20
"""Bytes that a value may take."""

Index: TypeAlias = "Sequence[str] | Literal[False] | None"
"""What a put says of the index: which paths, none, or those of the store."""

_PLAIN, _ABOUT = b"\x01", b"\x02"
_NOT_OPENED = (
    "An item's value is damaged, or was written for another key, namespace or tenant and was put in this place: its "
    "seal is not right"
)
_NOT_JSON = "An item's value is damaged: it is not the JSON that it begins as."
_LONG = 10**4300
"""Python refuses to write an integer of so many digits in decimals."""

_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_read = json.JSONDecoder().decode
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class Stored(NamedTuple):
    """What the bytes of a value hold."""

    value: dict[str, Any]
    paths: Index = None


# ------------------------------------------------------------------------------------------------------------- writing


def plain(value: Any) -> dict[str, Any]:
    """Copy a value; raises `NotSerializable`, with the path in it, for what is none."""
    if not isinstance(value, Mapping):
        raise NotSerializable(f"an item's value is a mapping whose keys are text, not a {type(value).__name__}")
    try:
        copy: dict[str, Any] = checked(value, _beyond_json)
    except DataError as error:
        raise error.at("value") from error.__cause__
    return copy


def _beyond_json(value: Any) -> Any:
    if isinstance(value, float):
        return float.__float__(value)
    raise NotSerializable(f"{kind_of_value(value)} is not JSON, which items are kept as")


def encode(value: Mapping[str, Any], index: Index = None) -> bytes:
    """Return the bytes of a value that `plain` returned; raises `DataError` if they are too many."""
    try:
        text = _write(value)
    except ValueError:  # an integer of too many digits
        return _limited(value, _ABOUT, _write([{**_about(index), "big": True}, escaped(value)]))
    if index is None:
        return _limited(value, _PLAIN, text)
    return _limited(value, _ABOUT, f"[{_write(_about(index))},{text}]")


def _about(index: Index) -> dict[str, Any]:
    return {} if index is None else {"index": index and list(index)}


def _limited(value: Mapping[str, Any], form: bytes, text: str) -> bytes:
    data = form + text.encode("utf-8", "surrogatepass")
    if len(data) > VALUE_LIMIT:
        path, size = _largest(value)
        raise DataError(
            f"{size:,} bytes as JSON; an item's value may take {VALUE_LIMIT:,} in all. Store large things as files, "
            "and in the item where they are",
            path=("value", *path),
        )
    return data


def _largest(value: Any) -> tuple[tuple[PathPart, ...], int]:
    """Return the path to what makes a value large, and the bytes that it takes."""
    path: tuple[PathPart, ...] = ()
    size = _size(value)
    while isinstance(value, (dict, list)) and value:
        parts: list[tuple[PathPart, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
        sizes = [_size(item) for _, item in parts]
        most = max(sizes)
        if most < size // 2:
            break
        step, value = parts[sizes.index(most)]
        path, size = (*path, step), most
    return path, size


def _size(value: Any) -> int:
    try:
        return len(_write(value).encode("utf-8", "surrogatepass"))
    except ValueError:
        return len(_write(escaped(value)).encode("utf-8", "surrogatepass"))


def has_long_integers(value: Any) -> bool:
    """Tell whether a value holds an integer that Python does not write in decimals."""
    try:
        _write(value)
    except ValueError:
        return True
    return False


def escaped(value: Any) -> Any:
    """Return a value as form 2 has it where it is ``big``."""
    if isinstance(value, dict):
        return {f"\0{key}" if key[:1] == "\0" else key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return {"\0": hex(value)} if type(value) is int and abs(value) >= _LONG else value


# ------------------------------------------------------------------------------------------------------------- reading


def decode(data: bytes) -> dict[str, Any]:
    """Return a new copy of the value that `encode` made bytes of; raises `StoreCorrupt`."""
    if data[:1] == _PLAIN:
        try:
            text = str(data[1:], "utf-8", "surrogatepass")
            value, end = _scan(text, 0)  # half the time of `_read`
            if end == len(text) and type(value) is dict:
                return value
        except (ValueError, StopIteration, RecursionError):
            pass  # said below
    return stored(data).value


def stored(data: bytes) -> Stored:
    """Return all that the bytes of a value hold; raises `StoreCorrupt`."""
    return _anyhow(lambda: _stored(data))


def _anyhow(read: Callable[[], Stored]) -> Stored:
    try:
        return read()
    except RecursionError:
        pass
    try:  # the caller may be deep, and not what is stored
        return on_a_fresh_stack(read)
    except RecursionError as error:
        raise StoreCorrupt(_NOT_JSON) from error


def _stored(data: bytes) -> Stored:
    form = data[:1]
    if form == SEALED:
        raise StoreCorrupt(_NOT_OPENED)
    if form not in (_PLAIN, _ABOUT):
        raise NewerFormat.of("An item's value is of the form", form)
    try:
        held = _read(str(data[1:], "utf-8", "surrogatepass"))
        about, value = held if form == _ABOUT else ({}, held)
        if about.get("big"):
            value = unescaped(value)
        paths = about.get("index")
        if not isinstance(value, dict) or not is_index(paths):
            raise TypeError
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreCorrupt(_NOT_JSON) from error
    return Stored(value, paths)


def is_index(paths: Any) -> bool:
    """Tell whether this is what a put may say of the index."""
    return paths is None or paths is False or (isinstance(paths, list) and all(isinstance(each, str) for each in paths))


def unescaped(value: Any) -> Any:
    """Undo `escaped`."""
    if isinstance(value, list):
        return [unescaped(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"\0"}:
        return int(value["\0"], 16)
    return {key[1:] if key[:1] == "\0" else key: unescaped(item) for key, item in value.items()}
