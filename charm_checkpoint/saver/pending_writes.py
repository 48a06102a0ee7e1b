"""A task's pending writes, to and from the bytes a store keeps; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import add
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, PendingWrite

from charm_checkpoint.errors import HOSTS, DataError, NewerFormat, NotSerializable, corrupt
from charm_checkpoint.saver.records import plain_name
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.offload import THING, TooMuch
from charm_checkpoint.values.packing import check_all, pack_value, unpack_value
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.forms import VALUE
from charm_checkpoint.values.serde.writer import weigh


def encode_writes(
    serde: Serializer,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    allowance: int | None,
    limits: Limits = DEFAULTS,
    join: Callable[[bytes, bytes], bytes] = add,
) -> bytes:
    """Return the body of one task's writes; raises `NotSerializable` with the write's channel.

    ``allowance`` is about how many things they may hold: `TooMuch` is raised where there are more. ``join`` is as in
    `pack_value`.
    """
    if allowance is not None:
        if weigh([value for _, value in writes], allowance, THING) > allowance:
            raise TooMuch
    items = [
        [WRITES_IDX_MAP.get(channel, number), plain_name(channel), value]
        for number, (channel, value) in enumerate(writes)
    ]
    return encode_items(serde, items, task_id, task_path, allowance, limits, join)


def encode_items(
    serde: Serializer,
    items: list[list[Any]],
    task_id: str,
    task_path: str,
    allowance: int | None = None,
    limits: Limits = DEFAULTS,
    join: Callable[[bytes, bytes], bytes] = add,
) -> bytes:
    """Return the body of one task's writes, as lists of number, channel and value; raises as `encode_writes` does."""
    try:
        packed = serde.pack([task_id, task_path, items], heavy=allowance is None)
    except DataError as error:
        raise _in_write(error, items) from error.__cause__
    if allowance is not None and len(packed) > allowance * THING:  # what an object holds that is no text
        raise TooMuch
    if len(packed) >= limits.max_bytes:
        raise NotSerializable(
            f"the writes of one task come to {limits.told('max_bytes')}, and could not be read back. Store less in one "
            "state, or open the store with a larger one, wherever it is read."
        )
    return pack_value(serde.whole(packed), limits, join=join)


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


def _in_write(error: DataError, items: Sequence[Sequence[Any]]) -> DataError:
    """Turn [2][number][2] into the channel that was written."""
    path = error.path
    if len(path) >= 3 and path[0] == 2:
        error.path = ("writes", str(items[int(path[1])][1]), *path[3:])
    return error
