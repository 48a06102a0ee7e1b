"""Whether a channel of a graph can take the value that is stored for it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from charm_checkpoint.errors import TypeNotLoaded
from charm_checkpoint.values.serde.matching import mismatch
from charm_checkpoint.values.serde.unknown import Unknown

if TYPE_CHECKING:
    from langgraph.channels.base import BaseChannel


def misfit(channel: BaseChannel[Any, Any, Any], value: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind of trouble, and what it is, that a channel has with a stored value.

    What a channel says of its own type is compared without running anything. A reducer is tried: it is given the
    stored value and an empty one of its type, as a node could return.
    """
    held = getattr(value, "value", value) if type(value).__name__ == "_DeltaSnapshot" else value
    if type(held) is Unknown:
        return  # told of its class
    why = _other_type(channel, held)
    if why is not None:
        yield "channel", why
    said = _refusal(channel, value)
    if said is not None:
        yield "reducer", said


def _other_type(channel: BaseChannel[Any, Any, Any], value: Any) -> str | None:
    """Return what of a value does not fit the type that the graph annotates, None if it may be of it."""
    typ: Any = getattr(channel, "ValueType", None)
    if typ is None or type(channel).__name__ in _PAIRS:
        return None
    why = mismatch(typ, value)
    return None if why is None else f"what it holds {why}"


_PAIRS = frozenset({"LastValueAfterFinish", "NamedBarrierValue", "NamedBarrierValueAfterFinish"})
"""Channels that store something else than their values."""


def _refusal(channel: BaseChannel[Any, Any, Any], value: Any) -> str | None:
    """Return why a channel's reducer does not take a stored value; None if it does, or if there is none to try."""
    reducer = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    try:
        filled = channel.from_checkpoint(copy.copy(value))
        if reducer is None:
            return None
        empty = _empty(channel)
        if empty is not None:
            filled.update([empty])
    except TypeNotLoaded:
        return None  # told of its class
    except Exception as error:  # whatever a reducer of the program's makes of it
        named = getattr(reducer, "__name__", type(channel).__name__)
        return f"{named} cannot take the {type(value).__name__} that is stored: {type(error).__name__}: {error}"
    return None


def _empty(channel: BaseChannel[Any, Any, Any]) -> Any:
    """Return an empty value of a channel's type, None if there is none."""
    if hasattr(channel, "operator"):
        fresh = getattr(channel, "value", None)
        return copy.copy(fresh) if isinstance(fresh, (list, dict, set, str, int, float, tuple)) else None
    typ = getattr(channel, "typ", None)
    return typ() if typ in (list, dict, set, str, int, float, tuple) else None
