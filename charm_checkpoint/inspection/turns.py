"""Messages of any form as turns: LangChain's, loaded or as they are stored, dicts of a role and a content, pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from charm_checkpoint.inspection.conversation import ToolCall, Turn
from charm_checkpoint.inspection.plain_values import Damaged, as_plain
from charm_checkpoint.values.serde.unknown import Unknown

ROLES = {
    "user": "human",
    "human": "human",
    "assistant": "ai",
    "ai": "ai",
    "AIMessageChunk": "ai",
    "HumanMessageChunk": "human",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "function",
    "remove": "remove",
}
"""What a role is called here."""


def turn_of(value: Any, position: int | None = None) -> Turn | None:
    """Return a message as a turn, None if it is no message."""
    if type(value) is Damaged:
        return Turn("?", position=position, note=value.why)
    if type(value) is Unknown:
        turn = _of_fields(value.fields, position)
        return None if turn is None else _noted(turn, f"{value.class_name} is not loaded here")
    if type(value) in (tuple, list):
        return _of_pair(value, position)
    return _of_fields(value if type(value) is dict else getattr(value, "__dict__", None), position)


def _noted(turn: Turn, note: str) -> Turn:
    return replace(turn, note=note)


def _of_pair(value: Sequence[Any], position: int | None) -> Turn | None:
    if len(value) != 2 or type(value[0]) is not str or value[0] not in ROLES:
        return None
    text, parts = content_of(value[1])
    return Turn(ROLES[value[0]], text, parts=parts, position=position)


def _of_fields(fields: Any, position: int | None) -> Turn | None:
    """Return the turn of a message's fields, None if they are no message's."""
    if type(fields) is not dict:
        return None
    for outer in ("data", "kwargs"):  # as LangChain dumps them
        if type(fields.get(outer)) is dict and "content" in fields[outer]:
            return _of_fields({"type": _type_of(fields), **fields[outer]}, position)
    named = fields.get("role", fields.get("type"))
    if type(named) is not str or not ("content" in fields or "tool_calls" in fields):
        return None
    if named == "chat" and type(fields.get("role")) is str:
        named = fields["role"]
    text, parts = content_of(fields.get("content"))
    return Turn(
        ROLES.get(named, named),
        text,
        _text(fields.get("name")),
        _text(fields.get("id")),
        tuple(_calls(fields)),
        _text(fields.get("tool_call_id")),
        _text(fields.get("status")),
        parts,
        position,
    )


def _type_of(fields: Mapping[str, Any]) -> Any:
    """Return the type of a message as LangChain dumps it; its constructor's form has the class's name alone."""
    named, path = fields.get("type"), fields.get("id")
    if named == "constructor" and type(path) is list and path and type(path[-1]) is str:
        return path[-1].removesuffix("Chunk").removesuffix("Message").lower()
    return named


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def content_of(content: Any) -> tuple[str, tuple[str, ...]]:
    """Return the text of a message's content, and the kinds of what else is in it."""
    if type(content) is str:
        return content, ()
    if type(content) is not list:
        return ("", ()) if content is None else (json.dumps(as_plain(content), ensure_ascii=False), ())
    texts: list[str] = []
    parts: list[str] = []
    for part in content:
        if type(part) is str:
            texts.append(part)
        elif type(part) is dict and type(part.get("text")) is str and part.get("type") in ("text", "output_text", None):
            texts.append(part["text"])
        elif type(part) is dict and part.get("type") not in ("tool_use", "tool_call", "function_call"):
            parts.append(str(part.get("type", "part")))
    return "".join(texts), tuple(parts)


def _calls(fields: Mapping[str, Any]) -> Iterator[ToolCall]:
    """Yield the tool calls of a message, in LangChain's form or OpenAI's, and those that a model garbled."""
    extra = fields.get("additional_kwargs")
    calls = fields.get("tool_calls") or (extra.get("tool_calls") if type(extra) is dict else None)
    for call in (*_listed(calls), *_listed(fields.get("invalid_tool_calls"))):
        if type(call) is not dict:
            continue
        named = call.get("function")
        inner = named if type(named) is dict else call
        args = inner.get("args", inner.get("arguments"))
        yield ToolCall(str(inner.get("name") or "?"), _args(args), _text(call.get("id")))


def _listed(value: Any) -> Sequence[Any]:
    return value if type(value) in (list, tuple) else ()


def _args(args: Any) -> Any:
    if type(args) is str:
        try:
            return json.loads(args)
        except ValueError:
            return args
    return as_plain(args)


def are_messages(value: Any) -> bool:
    """Tell whether a value is a list of messages, by the first few."""
    return type(value) is list and bool(value) and all(_is_message(item) for item in value[:4])


def _is_message(value: Any) -> bool:
    return type(value) is not Damaged and turn_of(value) is not None


def turns_of(values: Sequence[Any], start: int = 0) -> tuple[Turn, ...]:
    """Return messages as turns; what is none of them is shown as what it is.

    ``start`` is the position of the first, negative if they are counted from the end.
    """
    turns = []
    for position, value in enumerate(values, start):
        turns.append(turn_of(value, position) or _other(value, position))
    return tuple(turns)


def _other(value: Any, position: int) -> Turn:
    text = value if type(value) is str else json.dumps(as_plain(value), ensure_ascii=False, default=str)
    return Turn("?", text, position=position)
