"""LangGraph's checkpoints, configs and writes, to and from the records a store keeps; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    EXCLUDED_METADATA_KEYS,
    WRITES_IDX_MAP,
    CheckpointMetadata,
    PendingWrite,
    writes_sort_key,
)

from charm_checkpoint.codec import is_small
from charm_checkpoint.errors import ConfigError, DataError, StoreCorrupt
from charm_checkpoint.packing import pack, unpack
from charm_checkpoint.revive import split
from charm_checkpoint.serde import Serializer

CONFLICT_KEY = "charm_conflict"
"""Metadata key of a checkpoint that was kept as a branch: the id of the head it did not follow."""

THREAD_KEY = "thread_id"
"""Metadata key under which LangGraph's server names the checkpoint's own thread."""

_FIELDS = ("v", "ts", "channel_versions", "versions_seen")
_PARTS = (*_FIELDS, "checkpoint", "metadata", "channels", "own")
_SET_APART = frozenset((*_FIELDS, "id", "channel_values"))


class Where(NamedTuple):
    """The thread, namespace and checkpoint that a config names."""

    thread: str
    ns: str
    id: str | None


def where(config: RunnableConfig) -> Where:
    """Read a config's ``configurable``; raises `ConfigError` naming the key that is wrong."""
    configurable = config.get("configurable") or {}
    get = configurable.get
    thread, ns, id = get("thread_id"), get("checkpoint_ns"), get("checkpoint_id")
    if type(thread) is str and (ns is None or type(ns) is str) and (id is None or type(id) is str):
        return Where(thread, ns or "", id or None)
    if type(thread) in (int, UUID):
        thread = str(thread)
    if not isinstance(thread, str):
        raise ConfigError(
            f"configurable.thread_id must be text, not {type(thread).__name__}; "
            'pass {"configurable": {"thread_id": "..."}}.'
        )
    return Where(_plain(thread), _text(configurable, "checkpoint_ns") or "", _text(configurable, "checkpoint_id"))


def _plain(text: str) -> str:
    """Return the text of a subclass, such as an enum's member, as nothing but text."""
    return str.__str__(text)


def _text(configurable: Mapping[str, Any], key: str) -> str | None:
    value = configurable.get(key)
    if value is None or isinstance(value, str):
        return _plain(value) if value else None
    raise ConfigError(f"configurable.{key} must be text, not {type(value).__name__}.")


def config_of(thread: str, ns: str, id: str) -> RunnableConfig:
    """Return the config that names one checkpoint."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}}


REQUEST_KEYS = frozenset(
    {"langgraph_request_id", "langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions"}
)
"""Configurable keys that the savers of LangGraph's server do not keep either."""


def merged_metadata(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Add the config's own metadata and plain configurable values, as LangGraph's savers do.

    The rules are those of ``langgraph.checkpoint.base.get_checkpoint_metadata``, except that
    text is kept whole, where that function drops NULs, and that what LangGraph's server says of
    one request, its user among it, is left out.
    """
    merged = dict(metadata)
    for source in (config.get("metadata"), config.get("configurable")):
        for key, value in (source or {}).items():
            if key in merged or key in EXCLUDED_METADATA_KEYS or key in REQUEST_KEYS or key.startswith("__"):
                continue
            if isinstance(value, (str, int, float)):
                merged[key] = value
    merged.pop(CONFLICT_KEY, None)
    return merged


# --------------------------------------------------------------------------- checkpoints


Place: TypeAlias = "bytes | list[Any] | None"
"""Where a value is: in the chunk of this address; here, as the only member; or in `Record.inline`."""


class Record(NamedTuple):
    """A checkpoint's record, decoded but for its values, which ``places`` locates by channel.

    ``inline`` holds those whose place is None, in the order of their channels.
    """

    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    places: dict[str, Place]
    inline: bytes


def encode_record(
    serde: Serializer,
    thread: str,
    checkpoint: Mapping[str, Any],
    metadata: Mapping[str, Any],
    refs: Mapping[str, bytes | None],
) -> tuple[bytes, bytes]:
    """Return a checkpoint's body and roots; ``refs`` has None for a value that goes inline.

    Values other than plain ones stand apart from the rest, so that this can be read where the
    classes of the state are not loaded. A thread's own name in its metadata is not written down,
    so that in a copy it is the copy's. Raises `NotSerializable` with a path that starts at the checkpoint or
    the metadata.
    """
    values = checkpoint["channel_values"]
    places: dict[str, Any] = {}
    roots: list[bytes] = []
    apart: list[str] = []
    for name, ref in refs.items():
        if ref is not None:
            places[name] = len(roots)
            roots.append(ref)
        elif is_small(value := values[name]):
            places[name] = [value]
        else:
            places[name] = None
            apart.append(name)
    rest = {key: value for key, value in checkpoint.items() if key not in _SET_APART}
    parts = [*[checkpoint[field] for field in _FIELDS], rest, metadata, places]
    if metadata.get(THREAD_KEY) == thread:
        parts[-2:] = [{key: value for key, value in metadata.items() if key != THREAD_KEY}, places, True]
    try:
        header = serde.dumps(parts)
    except DataError as error:
        raise _named(error) from None
    inline = _dump_inline(serde, values, apart) if apart else b""
    return pack(b"".join((len(header).to_bytes(4, "big"), header, inline))), b"".join(roots)


def _dump_inline(serde: Serializer, values: Mapping[str, Any], names: Sequence[str]) -> bytes:
    try:
        return serde.dumps([values[name] for name in names])
    except DataError as error:
        raise _in_channel(error, names) from None


def decode_record(serde: Serializer, thread: str, id: str, body: bytes, roots: bytes) -> Record:
    """Undo `encode_record`."""
    payload = unpack(body)
    end = 4 + int.from_bytes(payload[:4], "big")
    try:
        v, ts, versions, seen, rest, metadata, numbers, *own = serde.loads(payload[4:end])
    except DataError as error:
        raise _named(error) from None
    if own:
        metadata[THREAD_KEY] = thread
    places: dict[str, Place] = numbers
    if roots:
        addresses = split(roots)
        places = {name: addresses[place] if type(place) is int else place for name, place in numbers.items()}
    checkpoint = {
        "v": v, "id": id, "ts": ts, "channel_values": {}, "channel_versions": versions, "versions_seen": seen, **rest
    }  # fmt: skip
    return Record(checkpoint, metadata, places, payload[end:])


def inline_values(serde: Serializer, record: Record) -> dict[str, Any]:
    """Return the values that are in a record itself, by channel."""
    names = [name for name, place in record.places.items() if place is None]
    if not names:
        return {name: place[0] for name, place in record.places.items() if type(place) is list}
    try:
        loaded = dict(zip(names, serde.loads(record.inline), strict=True))
    except DataError as error:
        raise _in_channel(error, names) from None
    return {
        name: place[0] if type(place) is list else loaded[name]
        for name, place in record.places.items()
        if type(place) is not bytes
    }


def _in_channel(error: DataError, names: Sequence[str]) -> DataError:
    """Turn a path into a list of inline values into one that starts at the channel."""
    number, *steps = error.path or (0,)
    error.path = ("channel_values", names[int(number)], *steps)
    return error


def _named(error: DataError) -> DataError:
    """Turn a path into a record's parts into one a user knows."""
    number, *steps = error.path or (0,)
    name = _PARTS[int(number)]
    error.path = tuple(steps) if name == "checkpoint" else (name, *steps)
    return error


# -------------------------------------------------------------------------------- writes


def encode_writes(serde: Serializer, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str) -> bytes:
    """Return the body of one task's writes; raises `NotSerializable` with the write's channel."""
    items = [[WRITES_IDX_MAP.get(channel, number), channel, value] for number, (channel, value) in enumerate(writes)]
    return encode_items(serde, items, task_id, task_path)


def encode_items(serde: Serializer, items: list[list[Any]], task_id: str, task_path: str) -> bytes:
    """Return the body of one task's writes, as lists of number, channel and value; raises as `encode_writes` does."""
    try:
        return pack(serde.dumps([task_id, task_path, items]))
    except DataError as error:
        raise _in_write(error, items) from None


def decode_writes(serde: Serializer, bodies: Iterable[bytes]) -> list[PendingWrite]:
    """Return pending writes in LangGraph's order, each place filled once.

    An ordinary write stays as it was first put; a special one (``WRITES_IDX_MAP``) is
    replaced by the last.
    """
    places: dict[tuple[str, int], tuple[str, str, Any]] = {}
    for body in bodies:
        task_id, task_path, items = _load_writes(serde, body)
        for number, channel, value in items:
            if number < 0 or (task_id, number) not in places:
                places[task_id, number] = (task_path, channel, value)
    ordered: Iterable[tuple[tuple[str, int], tuple[str, str, Any]]] = places.items()
    if len(places) > 1:
        ordered = sorted(ordered, key=lambda item: writes_sort_key(item[1][0], *item[0]))
    return [(task_id, channel, value) for (task_id, _), (_, channel, value) in ordered]


def _load_writes(serde: Serializer, body: bytes) -> tuple[str, str, list[tuple[int, str, Any]]]:
    try:
        task_id, task_path, items = serde.loads(unpack(body))
    except DataError as error:
        error.path = ("pending_writes", *error.path[1:])
        raise
    except ValueError as error:
        raise StoreCorrupt("The body of pending writes has another shape than it should.") from error
    return task_id, task_path, items


def _in_write(error: DataError, items: Sequence[Sequence[Any]]) -> DataError:
    """Turn [2][number][2] into the channel that was written."""
    path = error.path
    if len(path) >= 3 and path[0] == 2:
        error.path = ("writes", str(items[int(path[1])][1]), *path[3:])
    return error
