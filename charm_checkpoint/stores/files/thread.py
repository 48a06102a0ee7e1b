"""The folders of threads: each one's log, read and written, and which there are.

    log     the frames of log.py, see contents.py
    new-…   a log about to take the place of that one
    pinned  an empty file, there if the thread is pinned

A write is one frame at the end of the log, and one sync; the first one, and what removes
something, is a whole new log put in the old one's place. Writers of one host take turns by the
folder's lock, readers need none: they read up to the last whole frame. What the log comes to is
kept in memory, and only what was added since is read again.

A folder that is synced between hosts can be written on two at once, which no lock prevents. Then
the syncing tool leaves a copy beside the log (``log.sync-conflict-…``, ``log (conflicted copy)``),
or both hosts' frames follow the same one, or this host's own frames are gone: each is told by a
`ThreadConflict`, and nothing is merged.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from charm_checkpoint.errors import StoreCorrupt, StoreUnavailable, ThreadConflict
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.runtime.leases import Inside, Lease, Leases
from charm_checkpoint.runtime.regular_files import open_regular, refuse_link
from charm_checkpoint.stores.files.contents import FORMAT, Contents
from charm_checkpoint.stores.files.damage import damage_of, stranger
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.erased import ErasedThreads
from charm_checkpoint.stores.files.folder import (
    LOCK_FILE,
    FolderLock,
    Version,
    is_named,
    is_settled,
    moved,
    version_of,
)
from charm_checkpoint.stores.files.log import Entry, Scan, Tail, encode
from charm_checkpoint.stores.files.versions import is_behind, origin_of

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")

LOG, NEW, PINNED = "log", "new-", "pinned"
FOLDER = 2500
"""Bytes of memory that a thread takes beside its contents."""


@dataclass
class LogWrite(Generic[T]):
    """What a call writes, and its ``reply``: ``entries`` behind what is in the log, or behind ``instead`` in a new one.

    Several entries need an ``instead``: only a new log is there whole or not at all.
    """

    reply: T
    entries: Iterable[Entry] = ()
    instead: Contents | None = None

    @property
    def is_nothing(self) -> bool:
        """Tell whether nothing is written."""
        return not self.entries and self.instead is None


Decide = Callable[[Contents], LogWrite[T]]


@dataclass
class _NewLog:
    """A log that was written to take the place of another: what it comes to, its inode, and where it is."""

    contents: Contents
    path: Path
    inode: int = 0


class _Gone(Exception):
    """The folder is not there any more."""


class ThreadFolder:
    """A thread's folder, which need not be there, as this process knows it; any thread may use it."""

    def __init__(self, folder: Path, disk: Disk, timeout: float, erased: ErasedThreads) -> None:
        self.folder = folder
        self._path = str(folder)
        self._log = folder / LOG
        self._disk = disk
        self._timeout = timeout
        self._erased = erased
        self._turns = Leases()
        self._lock = threading.RLock()
        self._inside = Inside(folder)
        self._contents = Contents()
        self._version: Version | None = None
        self._is_behind = self._warned = False
        self._stranger: str | None = None

    @property
    def weight(self) -> int:
        """Return about how many bytes of memory this takes."""
        return FOLDER + self._contents.weight

    def was_read(self) -> bool:
        """Tell whether something of it is known here."""
        return self._version is not None

    # ------------------------------------------------------------------ reading

    def read(self, view: Callable[[Contents], T]) -> T:
        """Return what ``view`` makes of the contents; it must not keep them."""
        with self._lock, self._inside, self._opened() as file:
            self._refresh(file)
            self._refuse_broken()
            return view(self._contents)

    def survey(self, view: Callable[[Contents, str | None], T]) -> T:
        """Return what ``view`` makes of the contents as far as they are sound, and of what is wrong with the rest."""
        with self._lock, self._inside, self._opened() as file:
            self._refresh(file)
            # Of a log that is another thread's, nothing is this one's.
            known = Contents() if self._stranger else self._contents
            return view(known, damage_of(self._log, self._contents, self._stranger))

    @contextmanager
    def snapshot(self) -> Iterator[Contents]:
        """Lend a copy of the contents that stays as it is."""
        with ExitStack() as stack:
            with self._lock, self._inside:
                file = stack.enter_context(self._opened())
                self._refresh(file)
                self._refuse_broken()
                copy = self._contents.copy()
            yield copy

    def _opened(self) -> AbstractContextManager[BinaryIO | None]:
        """Open the log, None if there is none; under the lock, so that no older version comes after a newer one."""
        try:
            return open_regular(self._log)
        except FileNotFoundError:
            return nullcontext()

    def _refresh(self, file: BinaryIO | None) -> None:
        """Make the contents those of the file, reading what is new."""
        version, known = None if file is None else version_of(file), self._contents
        known.file = file
        if file is not None and version is not None:
            if version == self._version and (known.end == version.size or is_settled(version)):
                return
            refuse_link(self._path)  # what was opened is another file: by way of another folder, perhaps
            if self._version is not None and version.inode == self._version.inode and version.size > known.end:
                self._version = None  # an error in between leaves half of it taken in
                if self._scan(file, known) == "whole":
                    self._version = version
                    return
        contents = Contents(file=file) if file is not None else self._missing()
        if file is not None:
            self._scan(file, contents)
            self._warn(contents)
        contents.origin = contents.origin or known.origin
        # What is kept of an erased one may be forgotten, or nothing was.
        self._is_behind = is_behind(contents, known)
        self._stranger = stranger(contents, self.folder.name)
        self._contents, self._version = contents, version

    def _missing(self) -> Contents:
        """Return what a thread without a log goes on from: its counters, if it was erased."""
        kept = self._erased.find(bytes.fromhex(self.folder.name))
        return Contents() if kept is None else Contents(state=kept.state, revision=kept.revision, hosts=kept.hosts)

    def _scan(self, file: BinaryIO, contents: Contents) -> Tail:
        scan = Scan(file, contents.end, contents.digest)
        for frame in scan:
            contents.apply(frame)
        contents.tail = scan.tail
        return scan.tail

    def _refuse_broken(self) -> None:
        damage = damage_of(self._log, self._contents, self._stranger)
        if damage is not None:
            raise StoreCorrupt(damage)
        if self._is_behind:
            self._is_behind = False
            raise ThreadConflict(
                f"{self._log} was replaced by a version that lacks what was stored here: the folder was written to "
                "on another host, or put back to an older state. Nothing was merged; from now on that version counts."
            )

    # ------------------------------------------------------------------ writing

    def change(self, decide: Decide[T], *, regardless: bool = False) -> T:
        """Write what ``decide`` makes of the contents, as one step, while nobody else writes; return its reply.

        Raises `ThreadConflict` when the thread was written to on two hosts, `StoreCorrupt` when its
        log is damaged, unless ``regardless``.
        """
        while True:
            if not (os.path.isdir(self._path) or self.folder.is_dir()):  # the latter says why it cannot be looked at
                change = decide(self._missing())
                if change.is_nothing:
                    return change.reply
                self._disk.make_folder(self.folder)
            try:
                return self._locked(lambda lock: self._change(lock, decide, regardless))
            except _Gone:  # it was erased meanwhile, or unpinned
                continue

    def _locked(self, work: Callable[[FolderLock], T]) -> T:
        """Do something while nobody else writes here; raises `_Gone` if the folder is not there."""
        deadline = monotonic() + self._timeout
        lease = Lease(sys._getframe())
        try:
            if not self._turns.take(lease, self._timeout):
                raise StoreUnavailable(f"{self.folder} {self._turns.why_not(lease, self._timeout)}.")
            is_there = False
            try:
                with FolderLock(self.folder, max(0.0, deadline - monotonic())) as lock:
                    is_there = True
                    return work(lock)
            except FileNotFoundError:
                if is_there:
                    raise
                raise _Gone from None
        finally:
            self._turns.give(lease)

    def _change(self, lock: FolderLock, decide: Decide[T], regardless: bool) -> T:
        strays = self._tidy()
        if regardless:
            self._disk.remove_other(self._log)
        with self._lock, self._inside:
            with self._opened() as file:
                self._refresh(file)
                if not regardless:
                    self._refuse_broken()
                    self._refuse_conflict(strays)
                self._is_behind = False
                change = decide(self._contents)
                if change.entries and change.instead is None and self._contents.format < FORMAT:
                    change.instead = self._contents.copy()
                written = change.instead and self._write(lock, change.instead, change.entries)
            if written:
                self._replace(lock, written, strays)
            elif change.entries:
                [entry] = change.entries  # of several, a crash could leave some
                self._append(lock, entry)
        return change.reply

    def _append(self, lock: FolderLock, entry: Entry) -> None:
        contents, read = self._contents, self._version
        data, frame = encode(entry, contents.end, contents.digest)
        if contents.tail == "torn":
            log.warning("%s: what a killed process left unfinished behind byte %d is cut off", self._log, contents.end)
        with open_regular(LOG if lock.at is not None else self._log, "r+b", 0, dir_fd=lock.at) as file:
            # What was opened by its name is the log that was read, in the folder whose lock is held.
            if read is None or version_of(file).inode != read.inode or not lock.is_named():
                raise moved(self._log)
            self._version = None  # an interrupt in between leaves half of it taken in
            self._disk.append(file, data, contents.end)
            contents.apply(frame)
            contents.tail = "whole"
            self._version = version_of(file)
            if not is_named(self._log, self._version):
                raise moved(self._log)

    def _write(self, lock: FolderLock, keep: Contents, more: Iterable[Entry]) -> _NewLog:
        """Write a new log, and return what it comes to."""
        lock.confirm()  # or what was read by its name would be written over the log of a folder that was renamed
        keep.origin = keep.origin or origin_of(keep, self._contents)
        written = _NewLog(Contents(), self._log)

        def fill(file: BinaryIO) -> None:
            for entry in itertools.chain([keep.start(bytes.fromhex(self.folder.name))], keep.entries(), more):
                data, frame = encode(entry, written.contents.end, written.contents.digest)
                file.write(data)
                written.contents.apply(frame)
            written.inode = version_of(file).inode

        written.path = self._disk.write(lock, NEW, self._log, fill)
        return written

    def _replace(self, lock: FolderLock, written: _NewLog, strays: Sequence[Path]) -> None:
        """Put the new log in the old one's place, and in that of copies that a syncing tool left."""
        self._disk.replace(lock, written.path, self._log)
        with self._opened() as file:
            if file is None or not self._is_it(file, written):
                raise moved(self._log)
            self._contents, self._version, self._stranger = written.contents, version_of(file), None
        for stray in strays:
            self._disk.remove(stray)

    def _is_it(self, file: BinaryIO, written: _NewLog) -> bool:
        """Tell whether a file is the log that was written; where names are all there is, its number may be another."""
        if version_of(file).inode == written.inode:
            return True
        found = Contents()
        self._scan(file, found)
        return found.digest == written.contents.digest

    # ------------------------------------------------------------------ erasing, pinning

    def erase(self, keep: Callable[[Contents], bool]) -> None:
        """Remove all there is of the thread once ``keep`` has kept what is to stay of it, and said yes."""
        try:
            is_gone = not os.path.isdir(self._path) or self._locked(partial(self._erase, keep))
        except _Gone:
            is_gone = True
        if is_gone and not os.path.isdir(self._path):
            keep(self._missing())
        elif is_gone and LOCK_FILE:
            self._disk.remove_folder(self.folder)

    def _erase(self, keep: Callable[[Contents], bool], lock: FolderLock) -> bool:
        strays = self._tidy()
        self._disk.remove_other(self._log)
        with self._lock, self._inside:
            with self._opened() as file:
                self._refresh(file)
                if not keep(self._missing() if self._stranger else self._contents):
                    return False
            lock.confirm()
            self._version = None
            for path in (self.folder / PINNED, self._log, *strays):
                self._disk.remove(path)
            if not LOCK_FILE:  # whoever waits for the lock finds that this is not the folder any more
                self._disk.remove_folder(self.folder)
            self._contents, self._stranger, self._is_behind = self._missing(), None, False
        return False

    def is_pinned(self) -> bool:
        """Tell whether the thread is pinned."""
        return os.path.lexists(self.folder / PINNED)

    def pin(self, pinned: bool) -> None:
        """Note that the thread is to be kept, or no longer."""
        while self.is_pinned() != pinned:
            self._disk.make_folder(self.folder)
            with suppress(_Gone):
                self._locked(partial(self._pin, pinned))

    def _pin(self, pinned: bool, lock: FolderLock) -> None:
        if pinned:
            made = self._disk.write(lock, NEW, self.folder / PINNED, lambda file: None)
            self._disk.replace(lock, made, self.folder / PINNED)
        else:
            self._disk.remove(self.folder / PINNED)
            if not LOCK_FILE:
                self._disk.remove_folder(
                    self.folder
                )  # of a thread that has messages alone, there is nothing else in it

    # ------------------------------------------------------------------ other hosts

    def _tidy(self) -> list[Path]:
        """Remove what killed processes left; return the copies that a syncing tool left."""
        names = os.listdir(self._path)
        self._disk.sweep(self.folder, NEW, names)
        return self._strays(names)

    def _strays(self, names: Iterable[str]) -> list[Path]:
        return [self.folder / name for name in sorted(names) if name.startswith(LOG) and name != LOG]

    def _refuse_conflict(self, strays: Sequence[Path]) -> None:
        if strays or self._contents.tail == "forked":
            raise ThreadConflict(self._conflict(self._contents, strays))

    def _warn(self, contents: Contents) -> None:
        """Say once of a thread that it was written to on two hosts: reading goes on."""
        strays = self._strays(os.listdir(self._path))
        if (strays or contents.tail == "forked") and not self._warned:
            self._warned = True
            log.warning("%s", self._conflict(contents, strays))

    def _conflict(self, contents: Contents, strays: Sequence[Path]) -> str:
        how = f"{strays[0].name} lies beside it" if strays else f"from byte {contents.end} on, it goes on in two ways"
        return (
            f"Thread {contents.thread!r} was written to on two hosts at once: {self._log}, and {how}. It can be read, "
            "copied and deleted, but not written to. Leave the file you want under the name 'log' and remove the "
            "other, or copy the thread and delete it."
        )
