"""Messages as JSON dicts, and LangChain's messages of them; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import (
    BaseMessage,
    ChatMessage,
    convert_to_messages,
    message_to_dict,
    messages_from_dict,
)

from charm_checkpoint.errors import DataError, NotSerializable, StoreCorrupt
from charm_checkpoint.messages.plans import Message
from charm_checkpoint.values.json_values import checked, refuse_value
from charm_checkpoint.values.serde.changes import settled
from charm_checkpoint.values.serde.fresh_stack import on_a_fresh_stack

UNKNOWN = "unknown"
"""The role of a message that names none."""

_DOCUMENT = frozenset(("id", "metadata", "page_content", "type"))
"""The keys of a ``Document`` as LangChain dumps it; its type is ``Document``."""


# -------------------------------------------------------------------------------- to JSON


def listed(messages: Any) -> list[Any]:
    """Return messages as a list, which an iterator can be read into but once; refuse what is none.

    One message is refused too: iterated over, it would be its fields.
    """
    if isinstance(messages, BaseMessage):
        raise _not_a_list(f"one {type(messages).__name__}: put it into a list")
    if isinstance(messages, Mapping):
        raise _not_a_list("one dict: put it into a list")
    if messages is None:
        raise _not_a_list("None: an empty list is []")
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Iterable):
        raise _not_a_list(type(messages).__name__)
    return list(messages)


def _not_a_list(what: str) -> NotSerializable:
    return NotSerializable(f"a list of messages is expected, not {what}", path=("messages",))


def to_messages(messages: Iterable[Mapping[str, Any] | BaseMessage]) -> list[Message]:
    """Return messages as JSON dicts; raises `NotSerializable` with the path of what is not JSON.

    A LangChain message becomes ``{"type": ..., "data": ...}``, from which it can be restored, its
    documents too; a tuple becomes a list, which is what JSON has for it.
    """
    return [_to_message(message, number) for number, message in enumerate(listed(messages))]


def _to_message(message: Any, number: int) -> Message:
    odd = refuse_value
    if isinstance(message, BaseMessage):
        message, odd = settled(_as_dict, message), _plain_document
    if not isinstance(message, Mapping):
        reason = f"a message is a dict or a LangChain message, not {type(message).__name__}"
        raise NotSerializable(reason, path=("messages", number))
    try:
        copied: Message = checked(message, odd)
    except DataError as error:
        raise error.at("messages", number) from error.__cause__
    return copied


def _as_dict(message: BaseMessage) -> Message:
    """Return a message as LangChain's dict, but with its values as they are: a dump makes dicts of any class's.

    What a subclass of the user's own declares is left as its dump has it.
    """
    made = message_to_dict(message)
    known: Any = next(cls for cls in type(message).__mro__ if cls.__module__.startswith("langchain_core."))
    held = {**vars(message), **(message.model_extra or {})}
    for name in type(message).model_fields.keys() - known.model_fields.keys():
        held.pop(name, None)
    return {**made, "data": {name: held.get(name, value) for name, value in made["data"].items()}}


def _plain_document(value: Any) -> Any:
    """Return a document as LangChain dumps it, to be looked into in turn; refuse what else is not JSON."""
    if type(value) is not Document:
        return refuse_value(value)
    return {"id": value.id, "metadata": value.metadata, "page_content": value.page_content, "type": value.type}


# ------------------------------------------------------------------------------ from JSON


def to_langchain(messages: Iterable[Message]) -> list[BaseMessage]:
    """Restore LangChain messages from their dicts, and make them from ``role`` and ``content``.

    What LangChain knows no message for becomes a ``ChatMessage``, so that it hides no other.
    """
    held = list(messages)

    def restored() -> list[BaseMessage]:
        return [_to_langchain(message) for message in held]

    try:
        return restored()
    except RecursionError:
        pass
    try:  # the caller may be deep, and not what is stored
        return on_a_fresh_stack(restored)
    except RecursionError as error:
        raise StoreCorrupt("A stored message is nested too deep to be one of LangChain's.") from error


def _to_langchain(message: Message) -> BaseMessage:
    is_dumped = set(message) == {"type", "data"} and isinstance(message["data"], dict)
    try:
        if not is_dumped:
            return convert_to_messages([_with_content(message)])[0]
        data = {name: _with_documents(value) for name, value in message["data"].items()}
        return messages_from_dict([{"type": message["type"], "data": data}])[0]
    except (ValueError, TypeError, LookupError, AttributeError):  # what LangChain raises for messages it does not know
        return _unknown({**message["data"], "type": message["type"]} if is_dumped else message)


def _with_content(message: Message) -> Message:
    """Return a message with the content that OpenAI's client leaves out where an assistant only calls tools."""
    is_assistant = message.get("role", message.get("type")) in ("assistant", "ai")
    return {**message, "content": ""} if is_assistant and "content" not in message else message


def _with_documents(value: Any) -> Any:
    if type(value) is list:
        return [_with_documents(item) for item in value]
    if type(value) is not dict:
        return value
    if value.keys() == _DOCUMENT and value["type"] == "Document" and _is_document(value):
        metadata = {key: _with_documents(item) for key, item in value["metadata"].items()}
        return Document(value["page_content"], id=value["id"], metadata=metadata)
    return {key: _with_documents(item) for key, item in value.items()}


def _is_document(value: dict[str, Any]) -> bool:
    kinds = (("page_content", str), ("metadata", dict), ("id", (str, type(None))))
    return all(isinstance(value[name], kind) for name, kind in kinds)


def _unknown(message: Message) -> ChatMessage:
    """Return a message of a role of its own, with all that it says elsewhere in ``additional_kwargs``."""
    left = dict(message)
    names = [name for name in (left.get("role"), left.get("type")) if name and isinstance(name, str)]
    role = names[0] if names else UNKNOWN
    for key in ("role", "type"):
        if left.get(key) == role:
            del left[key]
    texts = {key: left.pop(key) for key in ("id", "name") if isinstance(left.get(key), str)}
    content: Any = ""
    if isinstance(left.get("content"), str) or _is_parts(left.get("content")):
        content = left.pop("content")
    others = left.pop("additional_kwargs") if isinstance(left.get("additional_kwargs"), dict) else {}
    return ChatMessage(content=content, role=role, additional_kwargs={**left, **others}, **texts)


def _is_parts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(part, (str, dict)) for part in content)
