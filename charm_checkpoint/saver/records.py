"""LangGraph's checkpoints, to and from the records a store keeps; pure. For writes see pending_writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from charm_checkpoint.contract import CheckpointRow
from charm_checkpoint.errors import HOSTS, DataError, NewerFormat, TypeNotLoaded, corrupt
from charm_checkpoint.saver.refs import plain_name
from charm_checkpoint.values.decoder import split
from charm_checkpoint.values.limits import DEFAULTS, Limits
from charm_checkpoint.values.packing import pack_value, unpack_value
from charm_checkpoint.values.sealing import Identities, opened

if TYPE_CHECKING:
    from charm_checkpoint.values.encoder import EncodedValue
    from charm_checkpoint.values.serde import Serializer

CONFLICT_KEY = "charm_conflict"
"""Metadata key of a checkpoint that was kept as a branch: the id of the head it did not follow."""

THREAD_KEY = "thread_id"
"""Metadata key under which LangGraph's server names the checkpoint's own thread."""

NOT_TAGGED = frozenset((CONFLICT_KEY, THREAD_KEY))
"""Metadata that a body does not hold, since it may change: it has no tags."""

_TEXT = frozenset({str})
_FIELDS = ("v", "ts", "channel_versions", "versions_seen")
_PARTS = (*_FIELDS, "checkpoint", "metadata", "channels", "own")
_SET_APART = frozenset((*_FIELDS, "id", "channel_values"))


# --------------------------------------------------------------------------- checkpoints


ValueLocation: TypeAlias = "bytes | list[Any] | None"
"""Where a value is: in the chunk of this address; here, as the only member; or in `Record.inline`."""


class Record(NamedTuple):
    """A checkpoint's record, decoded but for its values, which ``locations`` locates by channel.

    ``inline`` holds those whose location is None, in the order of their channels.
    """

    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    locations: dict[str, ValueLocation]
    inline: bytes


def encode_record(
    serde: Serializer,
    thread: str,
    checkpoint: Mapping[str, Any],
    metadata: Mapping[str, Any],
    encoded: Mapping[str, EncodedValue | list[Any] | None],
    limits: Limits = DEFAULTS,
) -> tuple[bytes, bytes]:
    """Return a checkpoint's body and roots; ``encoded`` says where each value went.

    A small plain one is the only member of a list, or None if it is among the checkpoint's own. Values other than
    plain ones stand apart from the rest, so that this can be read where the classes of the state are not loaded. A
    thread's own name in its metadata is not written down, so that in a copy it is the copy's. Raises `NotSerializable`
    with a path that starts at the checkpoint or the metadata.
    """
    values = checkpoint["channel_values"]
    locations: dict[str, Any] = {}
    roots: list[bytes] = []
    apart: list[bytes] = []
    for name, value in encoded.items():
        text = plain_name(name)
        if value is None:
            locations[text] = [values[name]]
        elif isinstance(value, list):
            locations[text] = value
        elif value.ref is not None:
            locations[text] = len(roots)
            roots.append(value.ref)
        else:
            locations[text] = None
            apart.append(value.inline or b"")
    parts = [checkpoint["v"], checkpoint["ts"], *_outline(checkpoint), metadata, locations]
    if metadata.get(THREAD_KEY) == thread:
        parts[-2:] = [{key: value for key, value in metadata.items() if key != THREAD_KEY}, locations, True]
    try:
        header = serde.dumps(parts)
    except DataError as error:
        raise _named(error) from error.__cause__
    inline = serde.gathered(apart) if apart else b""
    payload = b"".join((len(header).to_bytes(4, "big"), header, inline))
    return pack_value(payload, limits, _HEADER), b"".join(roots)


def _outline(checkpoint: Mapping[str, Any]) -> list[Any]:
    """Return versions, versions seen and the rest of a checkpoint, with channels named in nothing but text.

    A node that returns ``{Key.A: 1}``, of an enum of texts, has LangGraph name a channel by the enum's member.
    """
    seen = {plain_name(node): _plain_names(versions) for node, versions in checkpoint["versions_seen"].items()}
    rest = {key: value for key, value in checkpoint.items() if key not in _SET_APART}
    updated = rest.get("updated_channels")
    if updated is not None:
        rest["updated_channels"] = list(map(plain_name, updated))
    return [_plain_names(checkpoint["channel_versions"]), seen, rest]


def _plain_names(versions: Mapping[str, Any]) -> Mapping[str, Any]:
    if _TEXT.issuperset(map(type, versions)):
        return versions
    return {plain_name(name): version for name, version in versions.items()}


def decode_record(
    serde: Serializer,
    thread: str,
    id: str,
    body: bytes,
    roots: bytes,
    outline: bool = False,
    limits: Limits = DEFAULTS,
) -> Record:
    """Undo `encode_record`; in outline, nothing but the values' locations and the metadata need be readable.

    Metadata that an earlier version stored with its classes is plain where these are not loaded.
    """
    try:
        payload = unpack_value(body, limits, _HEADER)
        read = FORMS.get(max(payload[0], FIRST) if payload else FIRST)
        if read is None:
            raise NewerFormat.of("A checkpoint's record begins with", payload[:1])
        return read(serde, (thread, id), payload, roots, outline)
    except HOSTS:
        raise
    except Exception as error:
        raise corrupt(OTHER_SHAPE, error) from error


def _first_form(serde: Serializer, names: tuple[str, str], payload: bytes, roots: bytes, outline: bool) -> Record:
    end = 4 + int.from_bytes(payload[:4], "big")
    header = payload[4:end]
    try:
        parts = serde.raising.loads(header)
    except TypeNotLoaded as error:
        number = _PARTS.index("checkpoint")
        unreadable = error.path[:1] == (number,) and not outline
        if unreadable and serde.on_unknown == "raise":
            raise _named(error) from error.__cause__
        parts = serde.loads_plain(header)
        if unreadable:
            parts[number] = serde.loads(header)[number]
    return _record(*names, roots, parts, payload[end:])


FIRST = 0x7F
"""The form of records whose first byte is at most this: it is a length's. Above it, the byte itself is the form."""

FORMS: dict[int, Callable[[Serializer, tuple[str, str], bytes, bytes, bool], Record]] = {FIRST: _first_form}
"""How to read a record of each form."""


_HEADER = 5
"""Where the elements of a record's header begin; one more byte stands before those of its inline values."""


def decode_row(
    serde: Serializer,
    identities: Identities,
    row: CheckpointRow,
    outline: bool = False,
    limits: Limits = DEFAULTS,
) -> Record:
    """Return the record of a stored checkpoint, in whose metadata stands what it was in conflict with.

    Raises `StoreCorrupt` if it was not written as this checkpoint, or is damaged.
    """
    body = opened(identities.checkpoint(row.thread, row.ns, row.id, row.parent, row.roots), row.body)
    record = decode_record(serde, row.thread, row.id, body, row.roots, outline, limits)
    if row.conflict is not None:
        record.metadata[CONFLICT_KEY] = row.conflict
    return record


def _check_dicts(*parts: Any) -> None:
    for part in parts:
        if not issubclass(type(part), dict):  # what else it passes for, a class of the program may say
            raise TypeError(f"a dict is expected, not a {type(part).__name__}")


def _record(thread: str, id: str, roots: bytes, parts: Any, inline: bytes) -> Record:
    v, ts, versions, seen, rest, metadata, numbers, *own = parts
    if len(own) > 1:
        raise NewerFormat.of("A checkpoint's record has as many parts as", len(parts))
    _check_dicts(versions, seen, rest, metadata, numbers)
    _check_dicts(*seen.values())
    if own:
        metadata[THREAD_KEY] = thread
    if not (_LOCATIONS if roots else _WITHOUT_CHUNK).issuperset(map(type, numbers.values())):
        raise TypeError("a value is not where one can be, or its chunks are not named")
    locations: dict[str, ValueLocation] = numbers
    if roots:
        addresses = split(roots)
        locations = {
            name: addresses[location] if type(location) is int else location for name, location in numbers.items()
        }
    checkpoint = {
        "v": v, "id": id, "ts": ts, "channel_values": {}, "channel_versions": versions, "versions_seen": seen, **rest
    }  # fmt: skip
    return Record(checkpoint, metadata, locations, inline)


OTHER_SHAPE = "The body or the roots of a checkpoint have another shape than they should"
_WITHOUT_CHUNK = frozenset((type(None), list))
"""Types of locations in a record that names no chunk."""
_LOCATIONS = frozenset((type(None), list, int))


def inline_values(serde: Serializer, record: Record) -> dict[str, Any]:
    """Return the values that are in a record itself, by channel."""
    try:
        return _inline_values(serde, record)
    except HOSTS:
        raise
    except Exception as error:
        raise corrupt(OTHER_SHAPE, error) from error


def _inline_values(serde: Serializer, record: Record) -> dict[str, Any]:
    names = [name for name, location in record.locations.items() if location is None]
    if not names:
        return {name: location[0] for name, location in record.locations.items() if type(location) is list}
    try:
        loaded = dict(zip(names, serde.loads(record.inline), strict=True))
    except DataError as error:
        raise _in_channel(error, names) from error.__cause__
    return {
        name: location[0] if type(location) is list else loaded[name]
        for name, location in record.locations.items()
        if type(location) is not bytes
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
