"""The keys of langgraph-checkpoint-plainredis, read and left as they are.

They are, with a prefix in front: ``threads``, a hash of the timelines' keys and whose these are; a timeline for each
thread and namespace, a sorted set of checkpoints' ids; and by thread, namespace and id a checkpoint without its values,
``cp:``, and its writes, ``wr:``; by channel and version a value, ``blob:``. A value is JSON of a type tag and base64.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from charm_checkpoint.config.masking import Secret
from charm_checkpoint.contract import Driver
from charm_checkpoint.errors import DataError, SchemaMismatch, StoreUnavailable
from charm_checkpoint.importers.decoding import OfficialDecoder
from charm_checkpoint.importers.rows import Key, OldCheckpoint, OldWrite, checked, in_checkpoint
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.redis.rows import Calls, Command

PREFIX = "lg"
"""What the saver's keys begin with unless it is told otherwise."""
AT_ONCE = 200
"""Keys read in one round trip."""
_NO_VALUE = "empty"
"""The tag of a channel that was cleared."""


class PlainRedisSource:
    """A database of RedisSaver, or AsyncRedisSaver, of langgraph-checkpoint-plainredis.

    Raises `SchemaMismatch` where there is none, `StoreUnavailable` when the server is not there.
    """

    def __init__(self, place: Secret, prefix: str | None, decoder: OfficialDecoder) -> None:
        from charm_checkpoint.memory import open_memory

        self._memory = open_memory(place.plain())
        self._driver: Driver = self._memory.store.driver
        self._prefix = (prefix or PREFIX).rstrip(":")
        self._decoder = decoder
        try:
            self._timelines = self._registry()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._memory.close()

    # ------------------------------------------------------------------------- asking

    def _ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the replies to commands, so many at a time."""
        replies: list[Any] = []
        for at in range(0, len(commands), AT_ONCE):
            replies += self._driver.run(lambda: _together(commands[at : at + AT_ONCE]), write=False)  # noqa: B023
        return replies

    def _key(self, *parts: str) -> bytes:
        return ":".join((self._prefix, *parts)).encode("utf-8", "surrogatepass")

    def _registry(self) -> dict[str, dict[str, bytes]]:
        """Return the timelines' keys by thread and namespace."""
        [flat] = self._ask([("HGETALL", self._key("threads"))])
        found: dict[str, dict[str, bytes]] = {}
        for key, about in _pairs(flat).items():
            with contextlib.suppress(ValueError, TypeError, KeyError):  # the saver leaves these out, too
                info = json.loads(about)
                found.setdefault(info["thread"], {})[info["ns"]] = key
        if not found:
            raise SchemaMismatch(
                f"no threads of langgraph-checkpoint-plainredis in keys that begin with {self._prefix!r}; if its "
                "prefix is another one, name that. Threads of the saver that needs modules are not taken over."
            )
        return found

    # ------------------------------------------------------------------------- reading

    def threads(self) -> Iterator[str]:
        """Yield the ids of all threads."""
        yield from self._timelines

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold nothing: what is stored is not changed any more, but for writes, and what goes is noticed."""
        yield

    def keys(self, thread: str) -> list[Key]:
        """Return a thread's checkpoints in the order in which they were put."""
        timelines = self._timelines.get(thread, {})
        replies = self._ask([("ZRANGE", key, 0, -1, "WITHSCORES") for key in timelines.values()])
        listed: list[tuple[float, str, str]] = []
        for ns, flat in zip(timelines, replies, strict=True):
            listed += [(float(score), ns, _text(id)) for id, score in _pairs(flat).items()]
        return [(ns, id) for _, ns, id in sorted(listed)]

    def read(self, thread: str, keys: Sequence[Key]) -> Iterator[OldCheckpoint]:
        """Yield checkpoints one by one."""
        for ns, id in keys:
            try:
                yield self._read(thread, ns, id)
            except DataError as error:
                raise in_checkpoint(error, ns, id) from error

    def _read(self, thread: str, ns: str, id: str) -> OldCheckpoint:
        data, flat = self._ask([("GET", self._key("cp", thread, ns, id)), ("HGETALL", self._key("wr", thread, ns, id))])
        if data is None:
            raise StoreUnavailable(
                f"thread {thread!r}: the checkpoint {id} went while the thread was read, or has expired. Run it again; "
                "if this lasts, the saver has lost it, too: delete that thread there, or leave it out."
            )
        held = self._loads(data)
        if not isinstance(held, dict) or not isinstance(held.get("metadata"), dict):
            raise DataError("this is not a checkpoint of langgraph-checkpoint-plainredis")
        stored = checked({"channel_values": {}, **held["checkpoint"]}, id)
        values, size = self._values(thread, ns, stored["channel_versions"])
        writes = _pairs(flat)
        return OldCheckpoint(
            ns,
            id,
            held.get("parent_id") or None,
            {**stored, "channel_values": values},
            held["metadata"],
            self._writes(writes),
            len(data) + size + sum(map(len, writes.values())),
        )

    def _values(self, thread: str, ns: str, versions: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Return the values of channels at these versions; a channel without one is left out, as the saver does."""
        replies = self._ask(
            [("GET", self._key("blob", thread, ns, channel, str(version))) for channel, version in versions.items()]
        )
        values: dict[str, Any] = {}
        for channel, data in zip(versions, replies, strict=True):
            if data is not None and _typed(data)[0] != _NO_VALUE:
                try:
                    values[channel] = self._loads(data)
                except DataError as error:
                    raise error.at("channel_values", channel) from error.__cause__
        return values, sum(len(data or b"") for data in replies)

    def _writes(self, writes: Mapping[bytes, bytes]) -> list[OldWrite]:
        """Return a checkpoint's writes; the saver keeps no task's path."""
        found = []
        for field, data in writes.items():
            task, _, number = _text(field).rpartition(":")
            item = self._loads(data)
            if not isinstance(item, (list, tuple)) or len(item) != 3 or not number.lstrip("-").isdigit():
                raise DataError("this is not a write of langgraph-checkpoint-plainredis", path=("pending_writes",))
            found.append(OldWrite(task, "", int(number), item[1], item[2]))
        return sorted(found, key=lambda write: (write.task_id, write.idx))

    def _loads(self, data: bytes) -> Any:
        return self._decoder.loads(*_typed(data))


def _together(commands: Sequence[Sequence[Any]]) -> Plan[list[Any]]:
    replies: list[Any] = yield Calls([Command(tuple(command)) for command in commands])
    for reply in replies:
        if isinstance(reply, Exception):  # such as a key of another type
            raise reply
    return replies


def _typed(data: bytes) -> tuple[str, bytes]:
    try:
        held = json.loads(data)
        return str(held["t"]), base64.b64decode(held["d"], validate=True)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"this is not a value of langgraph-checkpoint-plainredis: {error}") from error


def _pairs(flat: Any) -> dict[bytes, bytes]:
    """Return a reply of keys and values as a dict, whichever protocol it came by."""
    if isinstance(flat, Mapping):
        return dict(flat)
    if flat and isinstance(flat[0], (list, tuple)):
        return {bytes(key): value for key, value in flat}
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
