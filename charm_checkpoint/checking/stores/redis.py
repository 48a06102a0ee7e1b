"""What only Redis can tell: its settings, keys that were lost, evicted or written over, and threads in no list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from charm_checkpoint.checking.doctor.network import is_local
from charm_checkpoint.checking.doctor.report import DoctorReport
from charm_checkpoint.checking.integrity.own import Count
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.stores.redis_doctor import RedisDoctor, pinging
from charm_checkpoint.errors import StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.stores.redis.backend import RedisBackend
from charm_checkpoint.stores.redis.rows import TAG_BYTES, Command
from charm_checkpoint.stores.shared.names import bytes_text

KEYS = ("state", "rows", "order", "writes", "chunks", "messages", "message-chunks")
STATE, ROWS, ORDER, WRITES, CHUNKS, MESSAGES, MESSAGE_CHUNKS = range(7)
ALONE = (ROWS, ORDER, WRITES, CHUNKS)
"""Keys that nobody finds without the state."""

SCANNED = 1000
"""Keys that one SCAN looks at."""

LOOKS = 5
"""How often a thread is looked for in the list before it is told that it is not there."""

LOST = (
    "Restore it from a backup, or delete it. Keys are lost by eviction (maxmemory-policy is to be noeviction), by a "
    "failover that had not got all of a write, or by somebody's DEL."
)


class RedisExaminer:
    """Looks at the keys of all threads of a prefix and tenant."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._backend: Any = store.backend
        assert isinstance(store.backend, RedisBackend)

    # ---------------------------------------------------------------------- doctor

    is_remote = True

    def ping(self) -> Plan[Any]:
        """Ask whether a key is there."""
        return pinging(self._backend.layout.key)()

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell what the server's settings promise."""
        driver: Any = self._store.driver
        endpoint = driver._endpoint
        keys = (self._backend._names.listings()[0], self._backend.layout.key)
        tls = bool(endpoint.tls)
        near = bool(endpoint.socket) or is_local(endpoint.hosts)
        yield from RedisDoctor(keys, self._backend._ttl is not None, tls, near, endpoint.kind).examine(report)

    # ------------------------------------------------------------------- integrity

    def own_checks(self, repair: bool) -> Session[list[IntegrityFinding]]:
        """Return threads of which keys are lost, and those that no list names."""
        found: list[IntegrityFinding] = []
        listed: set[bytes] = set()
        for number in range(len(self._backend._names.listings())):
            last: bytes | None = b""
            while last is not None:
                try:
                    entries, replies = yield Step(partial(self._looked_at, number, last))
                except StoreCorrupt as error:
                    found.append(IntegrityFinding("store", f"a part of the list of threads: {error}", advice=LOST))
                    break
                tags = [entry[:TAG_BYTES] for entry in entries]
                listed.update(tags)
                for tag, reply in zip(tags, replies, strict=True):
                    found += _told(tag, reply)
                last = tags[-1] if tags else None
        if not self._is_cluster():
            found += yield from self._unlisted(listed, repair)
        return found

    def recount(self, count: Count) -> Session[bool]:
        """Note what a thread was counted to hold."""
        make = partial(self._recounted, count)
        return bool((yield Step(make, count.thread, write=True)))

    def _recounted(self, count: Count) -> Plan[Any]:
        return (yield self._backend._call("recount", self._backend._names.tag(count.thread), count.seq, count.size))

    def _looked_at(self, number: int, last: bytes) -> Plan[tuple[Sequence[bytes], Sequence[Any]]]:
        entries = yield from self._backend._entries(number, last)
        return entries, (yield from self._backend._each("examine", entries))

    def _is_cluster(self) -> bool:
        driver: Any = self._store.driver
        return bool(driver._endpoint.kind == "cluster")

    def _unlisted(self, listed: set[bytes], repair: bool) -> Session[list[IntegrityFinding]]:
        """Return the threads that are in no list, which listings and deletions of runs then miss."""
        found: list[IntegrityFinding] = []
        tags: list[bytes] = []
        cursor: Any = 0
        while True:
            cursor, keys = yield Step(partial(self._scan, cursor))
            fresh = {key[key.rindex(b"{") + 1 : key.rindex(b"}")] for key in keys} - listed
            listed |= fresh
            tags += sorted(fresh)
            if int(cursor) == 0:
                break
        for tag in tags:
            if not (yield from self._is_listed(tag)):
                found += yield from self._unlisted_one(tag, repair)
        return found

    def _is_listed(self, tag: bytes) -> Session[bool]:
        """Tell whether a thread is listed by now: who makes one with version 0.2 or older enters it just after that."""
        for _ in range(LOOKS):
            if (yield Step(partial(self._entry, tag))):
                return True
        return False

    def _entry(self, tag: bytes) -> Plan[Any]:
        listing = self._backend._names.listing(tag)
        return (yield Command(("ZRANGEBYLEX", listing, b"[" + tag, b"(" + tag + b"\xff", "LIMIT", 0, 1)))

    def _scan(self, cursor: Any) -> Plan[Any]:
        prefix = re.sub(rb"([\\*?\[\]^-])", rb"\\\1", self._backend._names._prefix)
        pattern = prefix + b":{" + b"?" * TAG_BYTES + b"}:[sm][te][as]*"  # their states and messages
        return (yield Command(("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)))

    def _unlisted_one(self, tag: bytes, repair: bool) -> Session[list[IntegrityFinding]]:
        [reply] = yield Step(partial(self._backend._each, "threads", [tag]))
        if isinstance(reply, Exception) or not reply[0] or not isinstance(reply[1], bytes):
            return []  # a deleted one, whose counters stay
        name = bytes_text(reply[1])
        if self._backend._names.tag(name) != tag:
            return []  # another tenant's
        if repair:
            yield Step(partial(self._backend._enlist, tag), write=True)
        return [
            IntegrityFinding(
                "thread", "it is in no list of threads, so listings do not show it.", thread=name,
                advice="A repair enters it.", repairable=True, repaired=repair,
            )
        ]  # fmt: skip


def _told(tag: bytes, reply: Any) -> Iterator[IntegrityFinding]:
    """Yield what is wrong with the keys of one thread."""
    if isinstance(reply, Exception):
        yield IntegrityFinding("thread", f"the thread with the tag {tag.decode()}: {reply}", advice=LOST)
        return
    name, *exists, rows, ordered, writes = reply
    thread = bytes_text(name) if isinstance(name, bytes) else None
    whose = "" if thread is not None else f"the thread with the tag {tag.decode()}, whose name is lost with it: "
    if exists[MESSAGE_CHUNKS] and not exists[MESSAGES]:
        message = f"{whose}its key 'messages' is gone, and so is its message list; the chunks of that are there."
        yield IntegrityFinding("messages", message, thread=thread, advice=LOST)
    left = [KEYS[at] for at in ALONE if exists[at]]
    if not exists[STATE] and left:
        message = f"{whose}its key 'state' is gone, and without it nobody finds what is left in {', '.join(left)}."
        yield IntegrityFinding("thread", message, thread=thread, advice=LOST)
    elif -1 not in (rows, ordered) and rows != ordered:
        message = f"{whose}{ordered:,} checkpoints are listed in its key 'order', and {rows:,} are in 'rows'."
        yield IntegrityFinding("thread", message, thread=thread, count=abs(rows - ordered), advice=LOST)
