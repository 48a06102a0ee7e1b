"""Pending writes, from the bytes a store keeps; pure. For the way there see task_writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from charm_checkpoint.errors import HOSTS, DataError, NewerFormat, corrupt
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.packing import check_all, unpack_value
from charm_checkpoint.values.serde.forms import VALUE

if TYPE_CHECKING:
    from langgraph.checkpoint.base import PendingWrite


def decode_writes(
    load: Callable[[bytes], Any], bodies: Iterable[bytes], limits: Limits = DEFAULTS
) -> list[PendingWrite]:
    """Return pending writes, of which ``load`` decodes each task's, in LangGraph's order, each number of a task once.

    An ordinary write stays as it was first put; a special one (``WRITES_IDX_MAP``) is
    replaced by the last.
    """
    bodies = list(bodies)
    if len(bodies) > 1:
        check_all(bodies, limits)
    kept: dict[tuple[str, int], tuple[str, str, Any]] = {}
    for body in bodies:
        try:
            _take(kept, load, body, limits)
        except HOSTS:
            raise
        except Exception as error:
            raise corrupt(_WRITES_SHAPE, error) from error
    ordered: Iterable[tuple[tuple[str, int], tuple[str, str, Any]]] = kept.items()
    if len(kept) > 1:
        # langgraph-checkpoint 4.3's `writes_sort_key`, which 4.1 and 4.2 do not have.
        ordered = sorted(ordered, key=lambda item: (item[1][0], *item[0]))
    return [(task_id, channel, value) for (task_id, _), (_, channel, value) in ordered]


def _take(
    kept: dict[tuple[str, int], tuple[str, str, Any]], load: Callable[[bytes], Any], body: bytes, limits: Limits
) -> None:
    """Take one task's writes into those that count."""
    payload = unpack_value(body, limits)
    read = FORMS.get(payload[:1])
    if read is None:
        raise NewerFormat.of("The body of pending writes begins with", payload[:1])
    try:
        task_id, task_path, items = read(load, payload)
    except DataError as error:
        error.path = ("pending_writes", *error.path[1:])
        raise
    for number, channel, value in items:
        if not type(task_id) is type(task_path) is type(channel) is str or type(number) is not int:
            raise TypeError("a task, its path and a channel are texts, and a write has a number")
        if number < 0 or (task_id, number) not in kept:
            kept[task_id, number] = (task_path, channel, value)


def _first_form(load: Callable[[bytes], Any], payload: bytes) -> Any:
    return load(payload)


FORMS: dict[bytes, Callable[[Callable[[bytes], Any], bytes], Any]] = {VALUE: _first_form}
"""How to read writes by the first byte of what is packed: in the first form they are a value."""

_WRITES_SHAPE = "The body of pending writes has another shape than it should"
