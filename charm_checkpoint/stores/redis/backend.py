"""The plans of the Redis store for one thread: each method is one script call.

What concerns many threads is in threads.py. A call that sends more than a few MB sends its chunks
ahead, to a key that expires, and takes them from there.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from charm_checkpoint.contract import (
    Chunk,
    MessagesRow,
    NewCheckpoint,
    NewMessages,
    NewWrites,
    StoredCheckpoint,
    ThreadState,
    Waiting,
    WriteResult,
)
from charm_checkpoint.errors import DataError, StoreCorrupt, StoreUnavailable
from charm_checkpoint.followers import Newcomers
from charm_checkpoint.plan import Plan
from charm_checkpoint.runtime.pacing import resting
from charm_checkpoint.stores.redis.erasing import RedisErasing
from charm_checkpoint.stores.redis.layout import BATCHES, know_secret
from charm_checkpoint.stores.redis.rows import (
    LARGEST,
    Arg,
    Call,
    Command,
    optional,
    packed_chunks,
    packed_row,
    read_chunks,
    read_row,
    run_bytes,
)
from charm_checkpoint.stores.redis.sweeping import STRUCK, LargeThread
from charm_checkpoint.stores.shared.names import id_bytes, id_text, text_bytes
from charm_checkpoint.values.packing import pack
from charm_checkpoint.values.sealing import Identities, seal
from charm_checkpoint.values.serde import Serializer

log = logging.getLogger("charm_checkpoint")

AHEAD = 4 << 20
"""Bytes of chunks in one request; what is more is sent ahead."""
MESSAGES_KEY = 5
"""Which of a thread's keys holds its message list."""
LOOKS = 100
"""How often a removal from a large thread is tried again because somebody wrote meanwhile."""
ATTEMPTS = 3
"""How often chunks are sent ahead again because they expired or came twice."""


class RedisBackend(RedisErasing):
    """The backend, for one prefix and tenant. ``where`` is the server as a log may show it."""

    where = "Redis"
    _told = False

    # ------------------------------------------------------------------- setup

    def is_current(self) -> Plan[bool]:
        """Say yes, unless the layout is a newer one. Tells, once, what the server's settings may lose.

        What is stored is marked with its version when something is stored that older ones do not know.
        """
        if not self._told:
            info, version, secret = yield Call("inspect", (self._names.listings()[0], self.layout.key), (b"",))
            self.layout.check(version, self.where)
            self._names.learn(secret)
            self._told = True
            warn_durability(self.where, info.decode("utf-8", "replace"), expiring=self._ttl is not None)
        return True

    def setup(self) -> Plan[None]:
        """Do nothing: there is no schema."""
        yield from self.is_current()

    # ------------------------------------------------------------- checkpoints

    def put(self, new: NewCheckpoint) -> Plan[WriteResult]:
        """Commit a checkpoint; see `Backend.put`."""
        _check_size(new.body, "checkpoint's record")
        yield from know_secret(self._names, make=True)
        tag, run = self._names.tag(new.thread), run_bytes(new.run)
        token, entered = yield from self._enter_run(tag, run)
        reply = yield from self._put(tag, new, run, token, entered)
        if reply[0] == b"unnoted":
            # Somebody removed what the run had written, and its note with that.
            token, entered = yield from self._enter_run(tag, run, anew=True)
            reply = yield from self._put(tag, new, run, token, entered)
        outcome, deletes, sweeps, seq, head, conflict = reply
        if outcome == b"deleted" and entered:
            # Not if it was refused for another reason: another process may put in this run, whose note it is by now.
            yield from self._leave_runs(tag, (run, token))
        state = ThreadState(deletes, sweeps, seq)
        return WriteResult(outcome.decode(), state, id_text(head or None), conflict=bool(conflict))

    def _put(self, tag: bytes, new: NewCheckpoint, run: bytes, token: bytes, noted: bool) -> Plan[Any]:
        args: list[Arg] = [
            text_bytes(new.thread), text_bytes(new.ns), id_bytes(new.id), id_bytes(new.parent) or b"",
            packed_row(new), new.roots, new.on_conflict.encode(), _number(new.base_sweeps), _number(new.seen_deletes),
            run, token, int(noted), optional(new.title), optional(new.note), int(time.time()),
        ]  # fmt: skip
        return self._sent("put", tag, args, new.chunks)

    def put_writes(self, new: NewWrites) -> Plan[WriteResult]:
        """Append pending writes; see `Backend.put_writes`."""
        _check_size(new.body, "writes of a task")
        yield from know_secret(self._names, make=True)
        tag = self._names.tag(new.thread)
        args: list[Arg] = [
            text_bytes(new.thread), text_bytes(new.ns), id_bytes(new.id), new.body, _number(new.seen_deletes),
            optional(new.note), int(time.time()),
        ]  # fmt: skip
        call = partial(self._called, tag, "put_writes", *args)
        outcome, deletes, sweeps, seq, head = yield from self._listed_first(tag, call)
        return WriteResult(outcome.decode(), ThreadState(deletes, sweeps, seq), id_text(head or None))

    def find(self, thread: str, ns: str, id: str | None, known: Collection[bytes] = ()) -> Plan[StoredCheckpoint]:
        """Return one checkpoint; see `Backend.find`."""
        yield from know_secret(self._names)
        tag = self._names.tag(thread)
        reply = yield self._reading("find", tag, text_bytes(ns), id_bytes(id) or b"", b"".join(known))
        state, head = ThreadState(*reply[:3]), id_text(reply[3] or None)
        if len(reply) == 4:
            return StoredCheckpoint(state, head)
        yield from self._enlist_reader(tag)
        _, _, _, _, name, seq, packed, writes, chunks = reply
        return StoredCheckpoint(state, head, read_row(thread, ns, name, seq, packed), writes, read_chunks(chunks))

    def ancestors(self, thread: str, ns: str, id: str, size: int) -> Plan[Sequence[StoredCheckpoint]]:
        """Return a checkpoint and its ancestors; see `Backend.ancestors`."""
        line: list[StoredCheckpoint] = []
        seen: set[str] = set()
        step: str | None = id
        while step is not None and step not in seen and len(line) < size:
            args = (text_bytes(ns), id_bytes(step), size - len(line))
            deletes, sweeps, seq, head, rows = yield self._reading("ancestors", self._names.tag(thread), *args)
            state, step = ThreadState(deletes, sweeps, seq), None
            for name, number, packed, writes in rows:
                row = read_row(thread, ns, name, number, packed)
                if row.id in seen:
                    return line
                seen.add(row.id)
                line.append(StoredCheckpoint(state, id_text(head or None), row, writes))
                step = row.parent
        return line

    def chunks(self, thread: str, addresses: Collection[bytes], messages: bool = False) -> Plan[Mapping[bytes, Chunk]]:
        """Return chunks; see `Backend.chunks`."""
        left = list(addresses)
        found: dict[bytes, Chunk] = {}
        while left:
            tried, flat = yield self._reading("chunks", self._names.tag(thread), int(messages), b"".join(left))
            found.update(read_chunks(flat))
            left = left[tried:]
        return found

    # ---------------------------------------------------------------- removing

    def remove(self, thread: str, doomed: Collection[tuple[str, str]], expect: int | None) -> Plan[WriteResult]:
        """Remove checkpoints; see `Backend.remove`.

        Of a large thread they are removed some hundred at a time, and then its chunks.
        """
        yield from know_secret(self._names)
        tag = self._names.tag(thread)
        names = [name for ns, id in doomed for name in (text_bytes(ns), id_bytes(id))]
        outcome, deletes, sweeps, seq, ended = yield self._call(
            "remove", tag, _number(expect), int(time.time()), *names
        )
        if outcome == b"large":
            before = ThreadState(deletes, sweeps, seq)
            return (yield from self._remove_from_large(thread, tag, list(doomed), expect, before))
        yield from self._leave_runs(tag, ended)
        return WriteResult(outcome.decode(), ThreadState(deletes, sweeps, seq))

    def _remove_from_large(
        self, name: str, tag: bytes, doomed: Sequence[tuple[str, str]], expect: int | None, before: ThreadState
    ) -> Plan[WriteResult]:
        thread = LargeThread(partial(self._asked, tag), partial(self._fields, tag), (ns for ns, _ in doomed))
        newcomers = None if expect is None else Newcomers(self, name, doomed, expect)
        yield from thread.look()
        yield from thread.look_at_chunks()
        if newcomers is not None and (thread.state[:2] != before[:2] or not (yield from newcomers.look())):
            return WriteResult("changed", thread.state)
        for start in range(0, len(doomed), STRUCK):
            for _ in range(LOOKS):
                ended = yield from thread.strike(doomed[start : start + STRUCK])
                if ended is not None:
                    break
                if not (yield from thread.look()):
                    return WriteResult("stored", thread.state)  # all of it was deleted
                # What comes behind the first of these two looks has the next strike fail, and is looked at then.
                if newcomers is not None and not (yield from newcomers.look()):
                    return WriteResult("changed", thread.state)
            else:
                raise StoreUnavailable(f"A thread with {thread.state.seq} changes kept changing; try again.")
            yield from self._leave_runs(tag, ended)
            yield from resting()
        yield from thread.sweep()
        return WriteResult("stored", thread.state)

    def _asked(self, tag: bytes, script: str, *args: Arg) -> Plan[Any]:
        make = self._call if script in ("strike", "drop") else self._reading
        return (yield make(script, tag, *args))

    def _called(self, tag: bytes, script: str, *args: Arg) -> Plan[Any]:
        return (yield self._call(script, tag, *args))

    def _fields(self, tag: bytes, *fields: bytes) -> Plan[Any]:
        return (yield Command(("HMGET", self._names.thread(tag)[0], *fields)))

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        yield from know_secret(self._names)
        tag = self._names.tag(thread)
        deletes, sweeps, seq, ended = yield self._call("delete", tag, os.urandom(8))
        yield from self._leave_runs(tag, ended)
        return ThreadState(deletes, sweeps, seq)

    # ---------------------------------------------------------------- messages

    def messages(self, thread: str, known: Collection[bytes] = ()) -> Plan[MessagesRow]:
        """Return a message list; see `Backend.messages`."""
        yield from know_secret(self._names)
        tag = self._names.tag(thread)
        reply = yield self._reading("messages", tag, b"".join(known))
        sweeps, seq, revision, body, roots, chunks, batches, is_put = reply
        if not is_put:
            body = yield from self._legacy(thread)
        if is_put and (body is not None or batches):
            yield from self._enlist_reader(tag)
        return MessagesRow(ThreadState(0, sweeps, seq), body, roots, revision, read_chunks(chunks), batches)

    def _carry_over(self, thread: str, key: bytes) -> Plan[None]:
        """Make what Charm's sample plugin kept the list that the first batches stand behind."""
        try:
            body = yield from self._legacy(thread)
        except StoreCorrupt:
            return  # the batch is stored; whoever reads the list is told
        if body is None:
            yield Command(("HSET", key, "L", 0))  # so that no read has to look there
        else:
            yield from self.put_messages(NewMessages(thread, body, b"", (), None, expect=0, taken=0))

    def _legacy(self, thread: str) -> Plan[bytes | None]:
        """Return, as a list's body, the messages that Charm's sample plugin kept: a JSON list at one key."""
        key = self._names.legacy(thread)
        if key is None:
            return None
        held = yield Command(("GET", key))
        if held is None:
            return None
        try:
            messages = json.loads(held)
        except ValueError:
            messages = None
        if not isinstance(messages, list):
            raise StoreCorrupt(f"The key {key!r} should hold a JSON list of messages, and does not; mend or delete it.")
        return seal(Identities(self.tenant).messages(thread, b""), pack(Serializer(allowed=()).dumps(messages)))

    def put_messages(self, new: NewMessages) -> Plan[WriteResult]:
        """Replace a message list; see `Backend.put_messages`."""
        _check_size(new.body or b"", "message list")
        yield from know_secret(self._names, make=True)
        tag = self._names.tag(new.thread)
        sweep = new.sweep or new.body is None
        args: list[Arg] = [
            text_bytes(new.thread), optional(new.body), new.roots, _number(new.base_sweeps), _number(new.expect),
            int(sweep), os.urandom(8), _number(None if new.body is None else new.taken), int(time.time()),
        ]  # fmt: skip
        if new.body is None:
            reply = yield from self._called(tag, "put_messages", *args, b"", 0)
        else:
            reply = yield from self._sent("put_messages", tag, args, new.chunks)
        outcome, deletes, sweeps, seq, was_put = reply
        if outcome == b"stored":
            legacy = self._names.legacy(new.thread)
            if not was_put and legacy is not None:
                yield Command(("DEL", legacy))
        return WriteResult(outcome.decode(), ThreadState(deletes, sweeps, seq))

    def append_messages(self, thread: str, body: bytes) -> Plan[Waiting]:
        """Put a batch behind a message list; see `Backend.append_messages`."""
        _check_size(body, "messages appended at once")
        yield from self.layout.need(BATCHES)
        yield from know_secret(self._names, make=True)
        tag = self._names.tag(thread)
        call = partial(self._called, tag, "append_messages", text_bytes(thread), os.urandom(8), body, int(time.time()))
        _, batches, size, is_new = yield from self._listed_first(tag, call)
        if is_new:
            yield from self._carry_over(thread, self._names.thread(tag)[MESSAGES_KEY])
        return Waiting(batches, size)

    # ------------------------------------------------------------ large requests

    def _sent(self, script: str, tag: bytes, args: Sequence[Arg], chunks: Sequence[Chunk]) -> Plan[Any]:
        """Make a call that brings chunks, sending them ahead where they are too much for one request."""
        flat = packed_chunks(chunks)
        if sum(map(len, flat)) <= AHEAD:
            call = partial(self._called, tag, script, *args)
            return (yield from self._listed_first(tag, lambda intent: call(intent, 0, *flat)))
        items = [address + packed for address, packed in zip(flat[::2], flat[1::2], strict=True)]
        for _ in range(ATTEMPTS):
            stage = yield from self._send_ahead(tag, items)
            reply = yield from self._listed_first(tag, partial(self._taking, script, tag, stage, len(items), args))
            if reply[0] != b"unstaged":
                if reply[0] != b"stored":
                    yield Command(("UNLINK", stage))
                return reply
        raise StoreUnavailable(
            "What was sent ahead of a large value kept getting lost; nothing was written, try again."
        )


def warn_durability(where: str, info: str, *, expiring: bool) -> None:
    """Log what may be lost with the settings that a server's INFO tells of; what it does not tell, nobody knows."""
    facts = dict(line.partition(":")[::2] for line in info.splitlines())
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("aof_enabled") == "0":
        log.warning(
            "%s keeps no append-only file: what was stored since its last snapshot is lost when it stops. "
            "Set appendonly yes, or accept that.",
            where,
        )
    elif facts.get("aof_enabled") == "1":
        log.info("%s: unless appendfsync is always, a power loss may undo the last second.", where)
    if facts.get("maxmemory", "0") != "0" and (policy.startswith("allkeys") or (expiring and policy != "noeviction")):
        log.warning("%s may evict threads when memory runs short (maxmemory-policy %s); use noeviction.", where, policy)


def _number(value: int | None) -> Arg:
    return b"" if value is None else value


def _check_size(body: bytes, what: str) -> None:
    if len(body) > LARGEST:
        raise DataError(f"the {what} takes {len(body):,} bytes; Redis holds {LARGEST:,} in one piece")
