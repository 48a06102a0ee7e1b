"""Namespaces and keys as callers give them, checked and made an item's address; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from langgraph.store.base import InvalidNamespaceError

from charm_checkpoint.contract_items import ItemKey
from charm_checkpoint.errors import DataError, StoreCorrupt
from charm_checkpoint.items.namespaces import namespace_of, path_of

CHARACTERS: Final = 10_000
"""How long a key may be, and the labels of a namespace together, each of them counted one longer than it is."""

RESERVED: Final = "langgraph"
"""The first label of namespaces that are LangGraph's own."""


def space_of(namespace: Sequence[str]) -> bytes:
    """Return a namespace's path; raises `InvalidNamespaceError` for labels that no namespace has."""
    try:
        return _space(namespace)
    except TypeError:  # it is a list, which is not remembered
        return _space.__wrapped__(namespace)


@lru_cache(4096)
def _space(namespace: tuple[str, ...]) -> bytes:
    check_labels(namespace)
    if sum(map(len, namespace)) + len(namespace) > CHARACTERS:
        raise InvalidNamespaceError(
            f"The labels of a namespace may have {CHARACTERS:,} characters together; these have "
            f"{sum(map(len, namespace)):,}: {_shown(namespace)}."
        )
    return path_of(tuple(namespace))


def space_to_put(namespace: Sequence[str]) -> bytes:
    """Return the path of a namespace that an item is to be put into, by whomever."""
    path = space_of(namespace)
    if not namespace:
        raise InvalidNamespaceError("An item's namespace has one label at least; this one is empty.")
    return path


def refuse_reserved(namespace: Sequence[str]) -> None:
    """Raise `InvalidNamespaceError` where programs put no items: only LangGraph does, by operations in batches."""
    space_to_put(namespace)
    if namespace[0] == RESERVED:
        raise InvalidNamespaceError(
            f"Namespaces whose first label is {RESERVED!r} are LangGraph's own. Choose another one than "
            f"{_shown(namespace)}."
        )


def check_labels(labels: Sequence[Any]) -> None:
    """Raise `InvalidNamespaceError` for what is no sequence of labels: text that is not empty, without ``.`` or NUL."""
    if not isinstance(labels, Sequence):
        raise InvalidNamespaceError(
            f"A namespace is a tuple of labels, such as ('users',), not a {type(labels).__name__}."
        )
    if isinstance(labels, (str, bytes)):
        raise InvalidNamespaceError(f"A namespace is a tuple of labels, such as ({labels!r},), not {labels!r} itself.")
    for label in labels:
        if not isinstance(label, str):
            why = f"must be strings, not {type(label).__name__}"
        elif not label:
            why = "cannot be empty strings"
        elif "." in label:
            why = "cannot contain periods ('.')"
        elif "\0" in label:
            why = "cannot contain NUL ('\\x00')"
        else:
            continue
        raise InvalidNamespaceError(f"Namespace labels {why}: {label!r} in {_shown(labels)}.")


def _shown(labels: Sequence[Any]) -> str:
    text = repr(tuple(labels))
    return text if len(text) <= 200 else f"{text[:200]}…"


def key_of(key: Any) -> bytes:
    """Return an item's key as bytes; anything but text stands for its text."""
    text = key if isinstance(key, str) else str(key)
    if len(text) > CHARACTERS:
        raise DataError(f"{len(text):,} characters; an item's key may have {CHARACTERS:,}", path=("key",))
    return text.encode("utf-8", "surrogatepass")


def item_of(namespace: Sequence[str], key: Any) -> ItemKey:
    """Return the address of an item, as one that is read has it."""
    return ItemKey(space_of(namespace), key_of(key))


def key_text(key: bytes) -> str:
    """Undo `key_of`; raises `StoreCorrupt`."""
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise StoreCorrupt(f"An item's key is damaged: {key!r} is no text.") from error


@lru_cache(4096)
def namespace_at(space: bytes) -> tuple[str, ...]:
    """Undo `space_of`, remembering what was made lately; raises `StoreCorrupt`."""
    try:
        return namespace_of(space)
    except UnicodeDecodeError as error:
        raise StoreCorrupt(f"A namespace of items is damaged: {space!r} is no path.") from error


def named(item: ItemKey) -> str:
    """Name an item in an error, whatever its bytes are."""
    try:
        return f"Item {key_text(item.key)!r} of {namespace_at(item.space)!r}"
    except StoreCorrupt:
        return f"Item {item.key!r} of {item.space!r}"
