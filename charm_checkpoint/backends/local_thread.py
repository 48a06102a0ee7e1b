"""One thread's folder: its log, read and written.

    log    the frames of local_log.py, see local_contents.py
    new    a log about to take the place of that one

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
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, NamedTuple, TypeVar

from charm_checkpoint.backends.local_contents import Contents, Read, Span
from charm_checkpoint.backends.local_folder import Disk, locked
from charm_checkpoint.backends.local_log import Entry, Scan, Tail, encode
from charm_checkpoint.errors import StoreCorrupt, StoreUnavailable, ThreadConflict

log = logging.getLogger("charm_checkpoint")

T = TypeVar("T")

LOG, NEW = "log", "new"
SETTLED_NS = 2_000_000_000
"""How old a file's time of change must be to be trusted: they are as coarse as two seconds."""


@dataclass
class Change(Generic[T]):
    """What to do with a thread: say ``reply``, and put ``entries`` behind what there is, or behind ``instead``.

    Several entries need an ``instead``: only a new log is there whole or not at all.
    """

    reply: T
    entries: Iterable[Entry] = ()
    instead: Contents | None = None

    @property
    def is_nothing(self) -> bool:
        """Tell whether nothing is written."""
        return not self.entries and self.instead is None


Decide = Callable[[Contents, Read], Change[T]]


class _Seen(NamedTuple):
    """What tells a version of a file from another."""

    inode: int
    size: int
    changed: int


class ThreadFolder:
    """A thread's folder, which need not be there, as this process knows it; any thread may use it."""

    def __init__(self, folder: Path, disk: Disk, timeout: float) -> None:
        self.folder = folder
        self._log = folder / LOG
        self._disk = disk
        self._timeout = timeout
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._contents = Contents()
        self._seen: _Seen | None = None
        self._is_behind = False
        self._warned = False
        self.is_kept = False

    @property
    def weight(self) -> int:
        """Return how many things of the thread are kept in memory."""
        return self._contents.weight

    # ------------------------------------------------------------------ reading

    def read(self, view: Callable[[Contents, Read], T]) -> T:
        """Return what ``view`` makes of the contents; it must not keep them."""
        with self._lock, self._opened() as file:
            self._refresh(file)
            self._refuse_broken()
            return view(self._contents, _reader(file))

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Contents, Read]]:
        """Lend a copy of the contents that stays as it is."""
        with ExitStack() as stack:
            with self._lock:
                file = stack.enter_context(self._opened())
                self._refresh(file)
                self._refuse_broken()
                copy = self._contents.copy()
            yield copy, _reader(file)

    def _opened(self) -> AbstractContextManager[BinaryIO | None]:
        """Open the log, None if there is none; under the lock, so that no older version comes after a newer one."""
        try:
            return open(self._log, "rb")
        except FileNotFoundError:
            return nullcontext()

    def _refresh(self, file: BinaryIO | None) -> None:
        """Make the contents those of the file, reading what is new."""
        seen, held = None if file is None else _seen(file), self._contents
        if file is not None and seen is not None:
            if seen == self._seen and (held.end == seen.size or _is_settled(seen)):
                return
            if self._seen is not None and seen.inode == self._seen.inode and seen.size > held.end:
                self._seen = None  # an error in between leaves half of it taken in
                if self._scan(file, held) == "whole":
                    self._seen = seen
                    return
        contents = Contents()
        if file is not None:
            self._scan(file, contents)
            self._warn(contents)
        self._is_behind = contents.lacks(held)
        self._contents, self._seen = contents, seen

    def _scan(self, file: BinaryIO, contents: Contents) -> Tail:
        scan = Scan(file, contents.end, contents.digest)
        for frame in scan:
            contents.apply(frame)
        contents.tail = scan.tail
        return scan.tail

    def _refuse_broken(self) -> None:
        if self._contents.tail == "damaged":
            raise StoreCorrupt(
                f"{self._log} is damaged at byte {self._contents.end}: what is there is no record, and there are sound "
                "ones behind it. Put back a copy of the file, or delete the thread."
            )
        if self._is_behind:
            self._is_behind = False
            raise ThreadConflict(
                f"{self._log} was replaced by a version that lacks what was stored here: the folder was written to "
                "on another host, or put back to an older state. Nothing was merged; from now on that version counts."
            )

    # ------------------------------------------------------------------ writing

    def change(self, decide: Decide[T], *, regardless: bool = False) -> T:
        """Do what ``decide`` says, as one step, while nobody else writes.

        Raises `ThreadConflict` when the thread was written to on two hosts, `StoreCorrupt` when its
        log is damaged, unless ``regardless``.
        """
        if not self.folder.is_dir():
            change = decide(Contents(), _nothing)
            if change.is_nothing:
                return change.reply
            self._disk.make_folder(self.folder)
        deadline = time.monotonic() + self._timeout
        if not self._turn.acquire(timeout=self._timeout):
            raise StoreUnavailable(f"{self.folder} was busy with other writes of this process; nothing was written.")
        try:
            with locked(self.folder, max(0.0, deadline - time.monotonic())):
                return self._change(decide, regardless)
        finally:
            self._turn.release()

    def _change(self, decide: Decide[T], regardless: bool) -> T:
        strays = self._tidy()
        with self._lock:
            with self._opened() as file:
                self._refresh(file)
                if not regardless:
                    self._refuse_broken()
                    self._refuse_conflict(strays)
                self._is_behind = False
                change = decide(self._contents, _reader(file))
                written = change.instead and self._write(change.instead, change.entries, _reader(file))
            if written:
                self._replace(written, strays)
            elif change.entries:
                [entry] = change.entries  # of several, a crash could leave some
                self._append(entry)
        return change.reply

    def _append(self, entry: Entry) -> None:
        contents = self._contents
        data, frame = encode(entry, contents.end, contents.digest)
        if contents.tail == "torn":
            log.warning("%s: what a killed process left unfinished behind byte %d is cut off", self._log, contents.end)
        with open(self._log, "r+b", buffering=0) as file:
            self._disk.append(file, data, contents.end)
            contents.apply(frame)
            contents.tail = "whole"
            self._seen = _seen(file)

    def _write(self, keep: Contents, more: Iterable[Entry], read: Read) -> Contents:
        """Write a new log, and return what it comes to."""
        written = Contents()

        def fill(file: BinaryIO) -> None:
            for entry in itertools.chain([keep.start()], keep.entries(read), more):
                data, frame = encode(entry, written.end, written.digest)
                file.write(data)
                written.apply(frame)

        self._disk.write(self.folder / NEW, self._log, fill)
        return written

    def _replace(self, written: Contents, strays: Sequence[Path]) -> None:
        """Put the new log in the old one's place, and in that of copies that a syncing tool left."""
        self._disk.replace(self.folder / NEW, self._log)
        with open(self._log, "rb") as file:
            self._contents, self._seen = written, _seen(file)
        for stray in strays:
            self._disk.remove(stray)

    # ------------------------------------------------------------------ other hosts

    def _tidy(self) -> list[Path]:
        """Remove what killed processes left; return the copies that a syncing tool left."""
        names = os.listdir(self.folder)
        if NEW in names:
            (self.folder / NEW).unlink()
        return self._strays(names)

    def _strays(self, names: Iterable[str]) -> list[Path]:
        return [self.folder / name for name in sorted(names) if name.startswith(LOG) and name != LOG]

    def _refuse_conflict(self, strays: Sequence[Path]) -> None:
        if strays or self._contents.tail == "forked":
            raise ThreadConflict(self._conflict(self._contents, strays))

    def _warn(self, contents: Contents) -> None:
        """Say once of a thread that it was written to on two hosts: reading goes on."""
        strays = self._strays(os.listdir(self.folder))
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


def _seen(file: BinaryIO) -> _Seen:
    found = os.fstat(file.fileno())
    return _Seen(found.st_ino, found.st_size, found.st_mtime_ns)


def _is_settled(seen: _Seen) -> bool:
    """Tell whether a file would by now have another time of change if it had changed again."""
    return time.time_ns() - seen.changed > SETTLED_NS


def _reader(file: BinaryIO | None) -> Read:
    def read(span: Span) -> bytes:
        assert file is not None
        file.seek(span.offset)
        return file.read(span.size)

    return read


def _nothing(span: Span) -> bytes:
    raise AssertionError(f"there is no log to read {span} from")
