"""The writes of one task, to the bytes a store keeps; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import add
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP

from charm_checkpoint.errors import DataError, NotSerializable
from charm_checkpoint.saver.refs import plain_name
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.offload import THING, TooMuch
from charm_checkpoint.values.packing import pack_value
from charm_checkpoint.values.serde import Serializer
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


def _in_write(error: DataError, items: Sequence[Sequence[Any]]) -> DataError:
    """Turn [2][number][2] into the channel that was written."""
    path = error.path
    if len(path) >= 3 and path[0] == 2:
        error.path = ("writes", str(items[int(path[1])][1]), *path[3:])
    return error
