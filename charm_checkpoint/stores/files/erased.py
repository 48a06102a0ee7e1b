"""What is kept of threads that were erased, so that late writers do not bring them back.

    erased/key       32 random bytes, with the rights of the store's files: 0600, unless others are given
    erased/<hash>    counters: the hash is of the identity of the thread, or of its messages, by that key

A record is MessagePack: form (1), kind, until, deletes, sweeps, seq, revision, hosts; see contents.py. It stays until
its time is over, also if the thread was begun anew, which then has a log with counters of its own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import ormsgpack

from charm_checkpoint.contract import ThreadState
from charm_checkpoint.errors import HOSTS, NewerFormat, StoreCorrupt, corrupt
from charm_checkpoint.runtime.regular_files import read_regular
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.folder import FolderLock
from charm_checkpoint.stores.shared.names import CHECKPOINTS

ERASED = "erased"
"""Their folder, beside that of the threads."""
FORM = 1
KEY, KEY_SIZE = "key", 32
HASH_SIZE = 16
_NEW = ".new-"


class Kept(NamedTuple):
    """What is kept of a thread, or of its messages, until the second ``until`` since 1970."""

    kind: int
    until: int
    state: ThreadState
    revision: int
    hosts: dict[bytes, int]


class ErasedThreads:
    """The records of erased threads, by their identities."""

    def __init__(self, folder: Path, disk: Disk, timeout: float) -> None:
        self._folder = folder
        self._disk = disk
        self._timeout = timeout

    def find(self, identity: bytes) -> Kept | None:
        """Return what is kept of a thread, None if nothing is: then it costs no more than a look for the key."""
        key = self._key()
        record = self._read(self._folder / _name(key, identity)) if key else None
        return None if record is None else _kept(record)

    def keep(self, identity: bytes, kept: Kept) -> None:
        """Keep something of a thread, in the place of what was kept; nothing if ``until`` is 0."""
        key = self._key()
        if kept.until <= 0:
            if key:
                self._disk.remove(self._folder / _name(key, identity))
            return
        self._disk.make_folder(self._folder)
        with FolderLock(self._folder, self._timeout) as lock:
            self._disk.sweep(self._folder, _NEW, os.listdir(self._folder))
            key = self._key() or self._make_key(lock)
            fields = [FORM, kept.kind, kept.until, *kept.state, kept.revision, list(kept.hosts.items())]
            self._put(lock, _name(key, identity), ormsgpack.packb(fields))

    def forget(self, now: int) -> int:
        """Remove the records whose time is over; return how many threads that were."""
        forgotten = 0
        for path in list(self._records()):
            record = self._read(path)
            if record is not None and (kept := _kept(record)).until <= now:
                self._disk.remove(path)
                forgotten += kept.kind == CHECKPOINTS
        return forgotten

    def _records(self) -> Iterator[Path]:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return
        for name in names:
            if len(name) == 2 * HASH_SIZE and not name.startswith("."):
                yield self._folder / name

    def _key(self) -> bytes | None:
        key = self._read(self._folder / KEY)
        if key is not None and len(key) != KEY_SIZE:
            raise StoreCorrupt(
                f"{self._folder / KEY} is damaged: put back a copy of it; or remove the folder it is in, and with it "
                "what is known of erased threads, whose late writers can bring them back then."
            )
        return key

    def _make_key(self, lock: FolderLock) -> bytes:
        key = secrets.token_bytes(KEY_SIZE)
        self._put(lock, KEY, key)
        return key

    def _put(self, lock: FolderLock, name: str, data: bytes) -> None:
        def fill(file: BinaryIO) -> None:
            file.write(data)

        path = self._folder / name
        self._disk.replace(lock, self._disk.write(lock, _NEW, path, fill), path)

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            return read_regular(path)
        except FileNotFoundError:
            return None


def _name(key: bytes, identity: bytes) -> str:
    return blake2b(identity, key=key, digest_size=HASH_SIZE).hexdigest()


def _kept(record: bytes) -> Kept:
    try:
        form, *fields = ormsgpack.unpackb(record)
        if form != FORM:
            raise NewerFormat.of("What is kept of an erased thread is of form", form)
        kind, until, deletes, sweeps, seq, revision, hosts = fields
        return Kept(int(kind), int(until), ThreadState(deletes, sweeps, seq), int(revision), dict(hosts))
    except HOSTS:
        raise
    except Exception as error:
        raise corrupt("What is kept of an erased thread is damaged", error) from error
