"""What the commands of items are given: namespaces, filters, values; and how the store of items is opened."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from charm_checkpoint.cli.opening import open_store
from charm_checkpoint.errors import ConfigError, InvalidFilter

if TYPE_CHECKING:
    from charm_checkpoint.items.store.charm_store import CharmStore

Namespace: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAMESPACE", help="As users.7, or as a JSON list.", show_default=False)
]
Below: TypeAlias = Annotated[
    str, typer.Argument(metavar="[NAMESPACE]", help="Below this one alone; default: all.", show_default=False)
]
Key: TypeAlias = Annotated[str, typer.Argument(metavar="KEY", help="The item's key.", show_default=False)]
Filter: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="JSON",
        help='Whose value matches this, as {"kind": "rule", "n": {"$gte": 3}}.',
        show_default=False,
    ),
]


@contextmanager
def open_items(url: str | None) -> Iterator[CharmStore]:
    """Open the items of the store that a command line names; a namespace or filter that is none ends it."""
    with open_store(url) as memory, of_namespaces():
        yield memory.get_langgraph_store()


@contextmanager
def of_namespaces() -> Iterator[None]:
    """Have a namespace or filter that is none be a wrong command line."""
    from langgraph.store.base import InvalidNamespaceError

    try:
        yield
    except (InvalidNamespaceError, InvalidFilter) as error:
        raise ConfigError(str(error)) from error


def labels(text: str) -> tuple[str, ...]:
    """Return a namespace that was written with dots, or as a JSON list."""
    if text.startswith("["):
        found = _json("NAMESPACE", text)
        if not all(isinstance(label, str) for label in found):
            raise typer.BadParameter(f"{text}: the labels of a namespace are text", param_hint="'NAMESPACE'")
        return tuple(found)
    return tuple(text.split(".")) if text else ()


def labels_of(text: str) -> tuple[str, ...]:
    """Return a namespace that was written with dots, with slashes or as a JSON list; raises for what could be two."""
    if text.startswith("[") or "/" not in text:
        return labels(text)
    if "." in text:
        raise typer.BadParameter(
            f'{text!r} has dots and slashes; write a JSON list, as ["users", "7"]', param_hint="'--namespace'"
        )
    return tuple(text.split("/"))


def dotted(namespace: tuple[str, ...]) -> str:
    """Return a namespace as it is written on a command line."""
    text = ".".join(namespace)
    return json.dumps(list(namespace), ensure_ascii=False) if text.startswith("[") else text


def matching(text: str | None) -> dict[str, Any] | None:
    """Return a filter."""
    return None if text is None else mapping("--filter", text)


def mapping(name: str, text: str) -> dict[str, Any]:
    """Return a JSON object; raises what ends a wrong command line."""
    found = _json(name, text)
    if not isinstance(found, dict):
        raise typer.BadParameter(f'{text!r} is no JSON object, such as {{"text": "hi"}}', param_hint=f"'{name}'")
    return found


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{text[:200]!r} is no JSON: {error}", param_hint=f"'{name}'") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number that JSON has")


def _finite(text: str) -> float:
    number = float(text)
    return _no_number(text) if number in (math.inf, -math.inf) else number
