"""Threads of LangGraph's own savers, taken over into a store as they are.

A thread is put together under another name first, and then copied to its own in one piece: a
process killed meanwhile leaves nothing that an agent could take for the thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

from langgraph.checkpoint.serde.base import CipherProtocol

from charm_checkpoint.config.masking import Secret
from charm_checkpoint.config.url import os_path, parse_url
from charm_checkpoint.contract import Query, WriteResult
from charm_checkpoint.errors import CharmError, ConfigError, DataError, StoreError, StoreUnavailable, ThreadExists
from charm_checkpoint.importers.decoding import OfficialDecoder
from charm_checkpoint.importers.fields import Listener
from charm_checkpoint.importers.rows import Key, OldCheckpoint, Source
from charm_checkpoint.memory import Memory, open_memory
from charm_checkpoint.plan import Plan
from charm_checkpoint.saver.notes import note_of_writes
from charm_checkpoint.saver.plans import SaverPlans
from charm_checkpoint.saver.records import THREAD_KEY
from charm_checkpoint.saver.refs import CheckpointRef
from charm_checkpoint.saver.task_writes import encode_items
from charm_checkpoint.saver.threads import IMPORTING, removed_staging
from charm_checkpoint.values.chunk_reader import ChunkReader
from charm_checkpoint.values.sealing import opened
from charm_checkpoint.values.serde import Serializer
from charm_checkpoint.values.serde.telling import Finding

REDIS = ("redis", "rediss", "valkey", "valkeys")
"""Schemes of the plain-Redis saver's servers."""
OUTLINE = 1000
"""Checkpoints of the target listed at a time, without their values."""


class Progress(NamedTuple):
    """How far an import is: ``checkpoints`` of ``total`` in ``thread``, after ``threads`` whole ones."""

    thread: str
    threads: int
    checkpoints: int
    total: int


class Failure(NamedTuple):
    """A thread that was not taken over, and why."""

    thread: str
    error: CharmError


@dataclass
class ImportReport:
    """What was taken over. ``threads`` counts those that are new or have more now than before.

    ``unchanged`` counts threads that were there already, ``skipped`` and ``failed`` name those
    left alone. ``source_bytes`` is what was read, ``stored_bytes`` what the threads take now.
    ``findings`` say what their classes do not have of it, or took otherwise than it is stored, each class and field
    once: ``kept`` is stored beside the object, ``lost`` is not.
    """

    threads: int = 0
    checkpoints: int = 0
    writes: int = 0
    source_bytes: int = 0
    stored_bytes: int = 0
    unchanged: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def losses(self) -> list[Finding]:
        """What is not as it was: fields that are lost or missing, and objects whose classes do not take them."""
        return [finding for finding in self.findings if finding.what in ("lost", "changed", "missing")]

    def complaints(self) -> list[str]:
        """Return a sentence for each thread that was left alone, and for each loss."""
        left = [f"the thread {thread!r} was left alone: {error}" for thread, error in self.failed]
        return [*left, *(finding.message for finding in self.losses)]


def import_official(
    source: str | os.PathLike[str],
    memory: Memory,
    *,
    threads: Iterable[str] | None = None,
    schema: str | None = None,
    prefix: str | None = None,
    skip_existing: bool = False,
    dry_run: bool = False,
    cipher: CipherProtocol | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Take over threads of a SqliteSaver's file or a PostgresSaver's database, which stays as it is.

    So it does those of ``langgraph-checkpoint-plainredis``. ``source`` is a path or URL, ``threads`` are the ids of
    those wanted, ``schema`` is where a PostgresSaver's tables are, ``prefix`` what the plain-Redis saver's keys begin
    with, ``lg`` if None, ``cipher`` that of an ``EncryptedSerializer``. Everything is kept:
    ids, parents, namespaces, metadata, versions, values, pending writes and their order. To do it
    again changes nothing, and adds what the source has got since. ``dry_run`` does all of it but
    in RAM, and does not look at ``memory``'s threads.

    A thread with a class that is not loaded, or under whose id ``memory`` holds something else,
    is left alone and named in `ImportReport.failed`, with ``skip_existing`` the latter in
    `ImportReport.skipped`; others go on. Raises `ConfigError`, `MissingExtra`, `SchemaMismatch`
    and `StoreError` for a source or a store that cannot be used.
    """
    if isinstance(threads, str):
        raise ConfigError("threads must be a list of thread ids, not one text")
    wanted = None if threads is None else list(dict.fromkeys(threads))
    place = Secret(os.fspath(source))
    del source  # it may hold a password, and a traceback shows what a function was given
    with contextlib.ExitStack() as stack:
        serde, findings = memory.get_langgraph_checkpointer().serde, _Findings()
        old = _open_source(place, schema, prefix, OfficialDecoder(cipher, Listener(serde.strict, findings.add)))
        stack.callback(old.close)
        target = stack.enter_context(open_memory("memory://")) if dry_run else memory
        mark = blake2b(repr((place.plain(), prefix or schema, wanted)).encode(), digest_size=8).hexdigest()
        run = _Import(old, target, serde, IMPORTING + mark)
        run.findings = findings
        run.dry_run, run.skip_existing, run.on_progress = dry_run, skip_existing, on_progress
        for thread in old.threads() if wanted is None else wanted:
            run.take_over(thread)
        run.finish()
        return run.report


def _open_source(place: Secret, schema: str | None, prefix: str | None, decoder: OfficialDecoder) -> Source:
    location = parse_url(place.plain()) if "://" in place.plain() else None
    if location is not None and location.scheme in REDIS:
        if schema is not None:
            raise ConfigError("a schema is for PostgresSaver's tables; of Redis' keys, give the prefix")
        from charm_checkpoint.importers.plain_redis import PlainRedisSource

        return PlainRedisSource(place, prefix, decoder)
    if prefix is not None:
        raise ConfigError("a prefix is for the keys of the plain-Redis saver; other sources have none")
    if location is not None and location.scheme in ("postgresql", "postgres"):
        from charm_checkpoint.importers.postgres import PostgresSource

        return PostgresSource(location, schema, decoder)
    if schema is not None:
        raise ConfigError("a schema is for PostgresSaver's tables; a SQLite file has none")
    if location is not None and location.scheme != "sqlite":
        raise ConfigError(
            f"no saver of LangGraph's is known for {location.scheme}://: name a SQLite file, postgresql:// or redis://"
        )
    from charm_checkpoint.importers.sqlite import SqliteSource

    return SqliteSource(location.path if location else os_path(place.plain()), decoder)


class _Findings:
    """What is found while a thread is read, and told once it is taken over."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], Finding] = {}

    def add(self, finding: Finding) -> None:
        """Take a finding, the first one of its kind, class and field."""
        self._found.setdefault(finding[:3], finding)

    def taken(self) -> dict[tuple[str, ...], Finding]:
        """Return what was found since, and forget it."""
        found, self._found = self._found, {}
        return found


class _Import:
    """An import under way."""

    def __init__(self, source: Source, memory: Memory, serde: Serializer, staging: str) -> None:
        self._source = source
        self._memory = memory
        self._store = memory.store
        self._backend = memory.store.backend
        self._serde = serde
        self._staging = staging
        budget, limits = self._store.budget, self._store.limits
        reader = ChunkReader(self._backend, budget, limits)
        self._plans = SaverPlans(self._backend, serde, reader, budget, limits)
        self.report = ImportReport()
        self._has_staged = False
        self.dry_run = False
        self.skip_existing = False
        self.findings = _Findings()
        self.on_progress: Callable[[Progress], None] | None = None

    def take_over(self, thread: str) -> None:
        """Bring one thread up to what the source has of it, or say in the report why not."""
        self.findings.taken()
        try:
            with self._source.snapshot():
                self._take_over(thread, self._source.keys(thread))
            known = {finding[:3] for finding in self.report.findings}
            self.report.findings += [each for key, each in self.findings.taken().items() if key not in known]
        except ThreadExists as error:
            if self.skip_existing:
                self.report.skipped.append(thread)
            else:
                self.report.failed.append(Failure(thread, error))
        except (DataError, _NotThere) as error:
            self.report.failed.append(Failure(thread, error))
        finally:
            self._plans.known.forget(thread)

    def _take_over(self, thread: str, keys: Sequence[Key]) -> None:
        if not keys:
            raise _NotThere("the source has no checkpoints of this thread")
        held = [] if self.dry_run else self._outline(thread)
        if held != keys[: len(held)]:
            raise _taken(thread)
        changed = self._add(thread, keys, len(held)) if held else self._make(thread, keys)
        self.report.threads += changed
        self.report.unchanged += not changed

    # ------------------------------------------------------------------- a thread that is new

    def _make(self, thread: str, keys: Sequence[Key]) -> bool:
        """Put a thread together under another name, then give it its own."""
        deletes = self._clear()
        before = replace(self.report)
        try:
            for old in self._read(thread, keys, 0):
                if old.metadata.get(THREAD_KEY) == thread:
                    old.metadata[THREAD_KEY] = self._staging
                self._put(self._staging, old, deletes)
            self._count(self._staging)
            if not self.dry_run:
                self._rename(thread, keys)
        except BaseException:
            self.report = before
            with contextlib.suppress(StoreError):
                self.finish()
            raise
        self._clear()
        return True

    def finish(self) -> None:
        """Leave no trace of the other name, if it was used."""
        if self._has_staged:
            plan = partial(removed_staging, self._backend, self._staging)
            self._store.run(plan, write=True, thread=self._staging)
            self._plans.known.forget(self._staging)

    def _clear(self) -> int:
        """Delete what is under the other name; return how often that was done."""
        self._has_staged = True
        state = self._store.run(partial(self._backend.delete_thread, self._staging), write=True, thread=self._staging)
        self._plans.known.forget(self._staging)
        return state.deletes

    def _rename(self, thread: str, keys: Sequence[Key]) -> None:
        plan = partial(self._backend.copy_thread, self._staging, thread)
        reply = self._store.run(plan, write=True, thread=thread)
        if reply.outcome == "conflict":
            raise _taken(thread)
        if self._outline(thread) != keys:
            raise _disturbed(thread)

    # ------------------------------------------------------- a thread that was taken over before

    def _add(self, thread: str, keys: Sequence[Key], held: int) -> bool:
        """Add what a thread has got since it was taken over; return whether that is anything."""
        before = self.report.checkpoints + self.report.writes
        deletes = 0
        for old in self._read(thread, keys[:held], 0):
            deletes = self._compare(thread, old)
        for old in self._read(thread, keys[held:], held):
            self._put(thread, old, deletes)
        changed = self.report.checkpoints + self.report.writes > before
        if changed:
            self._count(thread)
        return changed

    def _compare(self, thread: str, old: OldCheckpoint) -> int:
        """Add the writes that a checkpoint lacks; return how often the thread was deleted."""
        found = self._store.run(partial(self._backend.find, thread, old.ns, old.id), write=False, thread=thread)
        if found.row is None or found.row.parent != old.parent:
            raise _taken(thread)
        place = CheckpointRef(thread, old.ns, old.id)
        whose = self._plans.identity_of_writes(place)
        held = {opened(whose, body) for body in found.writes}
        lacking = [body for body in self._bodies(old) if body[0] not in held]
        if lacking:
            self._run(thread, partial(self._put_writes, place, lacking, found.state.deletes))
            self.report.writes += len(old.writes)
        return found.state.deletes

    # --------------------------------------------------------------------------------- steps

    def _read(self, thread: str, keys: Sequence[Key], done: int) -> Iterator[OldCheckpoint]:
        """Yield checkpoints, and say how far it is after each."""
        for number, old in enumerate(self._source.read(thread, keys), done + 1):
            yield old
            if self.on_progress:
                self.on_progress(
                    Progress(thread, self.report.threads + self.report.unchanged, number, done + len(keys))
                )

    def _put(self, thread: str, old: OldCheckpoint, deletes: int) -> None:
        """Store a checkpoint. Its writes go first, so that one which is there has them all."""
        place, bodies = CheckpointRef(thread, old.ns, old.id), self._bodies(old)
        if bodies:
            self._run(thread, partial(self._put_writes, place, bodies, deletes))
        put = self._store.run(
            partial(
                self._plans.put,
                CheckpointRef(thread, old.ns, old.parent),
                old.checkpoint,  # type: ignore[arg-type]
                old.metadata,
                old.checkpoint["channel_versions"],
                "allow",
                deletes,
            ),
            write=True,
            thread=thread,
        )
        if put.reply.outcome != "stored":
            raise _disturbed(thread)
        put.remember()
        self.report.checkpoints += 1
        self.report.writes += len(old.writes)
        self.report.source_bytes += old.size

    def _bodies(self, old: OldCheckpoint) -> list[tuple[bytes, list[str]]]:
        """Encode a checkpoint's writes, those of each task together, each at its own place; tell their channels."""
        tasks: dict[tuple[str, str], list[list[object]]] = {}
        for write in old.writes:
            tasks.setdefault((write.task_id, write.task_path), []).append([write.idx, write.channel, write.value])
        return [
            (encode_items(self._serde, items, *task), [str(channel) for _, channel, _ in items])
            for task, items in tasks.items()
        ]

    def _put_writes(
        self, place: CheckpointRef, bodies: Sequence[tuple[bytes, list[str]]], deletes: int
    ) -> Plan[WriteResult]:
        for body, channels in bodies:
            note = note_of_writes(place.ns, place.id, channels)
            reply = yield from self._plans.put_body(place, body, deletes, note)
            if reply.outcome != "stored":
                break
        return reply

    def _run(self, thread: str, plan: partial[Plan[WriteResult]]) -> None:
        if self._store.run(plan, write=True, thread=thread).outcome != "stored":
            raise _disturbed(thread)

    def _outline(self, thread: str) -> list[Key]:
        """Return what the target holds of a thread, earliest first."""
        keys: list[Key] = []
        after = None
        while True:
            plan = partial(self._backend.page, Query(thread), after, OUTLINE, writes=False)
            page = self._store.run(plan, write=False, thread=thread)
            keys += [(found.row.ns, found.row.id) for found in page.items if found.row]
            after = page.next
            if after is None:
                return keys[::-1]

    def _count(self, thread: str) -> None:
        self.report.stored_bytes += self._memory.usage(thread).payload_bytes


class _NotThere(CharmError):
    """The source has no such thread."""


def _taken(thread: str) -> ThreadExists:
    return ThreadExists(
        f"Thread {thread!r} holds other checkpoints here than the source; delete it first, or leave it out."
    )


def _disturbed(thread: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Thread {thread!r} was changed or deleted while it was taken over. Let one import run at a time, and no "
        "agent on its threads; then run it again."
    )
