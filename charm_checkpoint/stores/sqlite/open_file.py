"""Whether a path still names the SQLite file that was opened, and what becomes of its log when it does not.

SQLite knows an open file by its descriptor and the file's log, ``-wal``, by name. A file that is
renamed or deleted goes on to be written where nobody looks for it, and a backup that is put in its
place gets the old one's log laid over it. So each connection remembers which file it has open, by
device and inode, and so does each store which file it began with: in place of that one no other is
taken, as what is remembered of the one would be wrong of the other.

On Windows an open file can be neither renamed nor deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

from charm_checkpoint.errors import StoreUnavailable
from charm_checkpoint.runtime.regular_files import refuse_other
from charm_checkpoint.runtime.rights import PRIVATE, create, tell_open
from charm_checkpoint.stores.sqlite.objects import Watch

log = logging.getLogger("charm_checkpoint")

Identity: TypeAlias = tuple[int, int]

MOVABLE = sys.platform != "win32"
LOCKS = Path("/proc/locks")
"""Linux's list of who locks what; elsewhere no stranger is noticed."""
GLANCE = 0.05
"""Seconds between two looks at it."""
BESIDE = ("", "-wal", "-shm", "-journal")
"""How the names of the files end that SQLite opens."""
LOG_HEADER = 32
"""Bytes of a log that holds nothing."""
MOST_FILES = 4096
"""How many numbers of open files are looked through, when a file has lost its name."""


class Connection(sqlite3.Connection):
    """A connection that knows which file and which log it has open.

    ``is_ready`` once its opening was not cut short; ``is_soft`` as long as its commits may not wait for the disk.
    """

    file: Identity | None = None
    log: Identity | None = None
    is_ready = False
    is_soft = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watch = Watch()


class NamedFile:
    """A path, and the file that it named when it was opened first; ``mode`` is that of the store.

    ``rights`` are those of a file that is made, if any are given. Its log and what is beside it have the same.
    """

    def __init__(self, path: str, mode: str, rights: int | None = None) -> None:
        self.path = path
        self._mode = mode
        self._rights = rights
        self._real = path
        self._first: list[Identity | None] = []
        self._log: Identity | None = None
        self.log = f"{path}-wal"
        """Where the log is: beside the file, also where the path is a link to it."""

    # --------------------------------------------------------------------- opening

    @property
    def mode(self) -> str:
        """Return how to open it: a file that was opened before is not made again."""
        return "rw" if self._first and self._mode == "rwc" else self._mode

    def is_new_at(self, real: str, mode: str) -> bool:
        """Tell whether it was opened at a place before, and what opens it there now, so, has another file."""
        if not self._first or self._real != real:
            return False
        now = identity(real)
        return now != self._first[0] and (now is not None or mode == "rwc")

    def look(self) -> Identity | None:
        """Return what the path names now; raises `StoreUnavailable` if that is another file than at first.

        At first, it does so too if the log beside the file is another one's, which a program still has open.
        A log that is left of a file that is gone is put aside: SQLite would delete it.
        """
        first = self._first[:]  # another thread may open the file, and make it, while this one looks for it
        now = identity(self.path) if MOVABLE else None
        if first and now != first[0]:
            raise StoreUnavailable(f"{self._what(now)}; nothing was read or written. {self._advice(now)}")
        real = os.path.realpath(self.path)
        for ending in BESIDE:
            refuse_other(real + ending)  # SQLite would wait for ever for what is behind a FIFO
        if not self._first:
            if now:
                self._refuse_strangers(real, now)
            if (now or self._mode == "rwc") and _is_orphaned(real):
                self._put_aside(real)
        return now

    def make(self) -> Identity | None:
        """Make the file where there is none, so that it has its rights from its beginning; return which it is."""
        if self.mode != "rwc" or not MOVABLE:
            return None
        real = os.path.realpath(self.path)
        with contextlib.suppress(OSError):  # another process was faster, or SQLite says why not
            os.close(create(real, PRIVATE if self._rights is None else self._rights))
            return identity(real)
        return None

    def _put_aside(self, real: str) -> None:
        """Keep the log of a file that had a name before from whatever is there now, or is made now."""
        self._refuse_strangers(real, None)
        if self._mode == "ro":
            raise StoreUnavailable(f"{real} is empty, and {real}-wal, the log of another file, lies beside it.")
        log_of, found = f"{real}-wal", identity(f"{real}-wal")
        if found is None or not _is_orphaned(real):
            return
        aside = f"{real}.{found[1]}-wal"
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(log_of, aside)
            log.warning(
                "%s is the log that a program which was killed left of a file that had the name %s before: it may hold "
                "what is nowhere else, and is kept as %s. If that file was renamed or moved, and was not opened since, "
                "move the log beside it, as its name followed by -wal, before it is opened again.",
                log_of,
                real,
                aside,
            )

    def _refuse_strangers(self, real: str, file: Identity | None) -> None:
        strangers = _strangers(f"{real}-shm", file)
        if strangers:
            time.sleep(GLANCE)  # a program that is just closing this one looks like it
            strangers &= _strangers(f"{real}-shm", file)
        if strangers:
            raise StoreUnavailable(
                f"{real}-wal is the log of a file that had this name before, and that process "
                f"{min(strangers)} still has open; nothing was read or written. Have that program close the file, or "
                "end that process, and try again. Delete nothing, the log may hold what is nowhere else: if the "
                "process was killed, move the log beside the former file first, as its name followed by -wal."
            )

    def admit(self, connection: Connection) -> None:
        """Note what a new connection has open."""
        if not self._first:
            self._real = os.path.realpath(self.path)
            self.log = f"{self._real}-wal"
            self._first.append(connection.file)
            self._tell_open()
        if MOVABLE and self._mode != "ro":
            connection.log = self._log = identity(self.log)

    def _tell_open(self) -> None:
        if self._mode != "ro" and self._rights is None:
            with contextlib.suppress(OSError):
                if os.stat(self._real).st_mode & stat.S_IRWXO:
                    tell_open(self._real)

    # ---------------------------------------------------------------------- using

    def names(self, connection: Connection) -> bool:
        """Tell whether the path names what a connection has open."""
        # What the log's name means is looked up after writes only: there is a name to be looked up for each.
        if not MOVABLE:
            return True
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        file = connection.file
        return file is not None and found.st_ino == file[1] and found.st_dev == file[0] and connection.log == self._log

    def keeps(self, connection: Connection) -> bool:
        """Tell whether what a connection wrote is where the next one will look for it, log included."""
        if not MOVABLE:
            return True
        # Whoever may only read has written nothing, and has nothing to do with the log.
        return self.names(connection) and (self._mode == "ro" or identity(self.log) == connection.log)

    def moved(self, connection: Connection) -> StoreUnavailable:
        """Return the error for a write that was under way when the file was moved."""
        now = identity(self.path)
        if now == connection.file:
            return StoreUnavailable(
                f"{self.log}, the log of {self.path}, was deleted or replaced while it was open: what was being "
                "written now may be lost. Leave the files beside a SQLite file alone while a program uses it."
            )
        return StoreUnavailable(
            f"{self._what(now)}: what was being written now may be in the former file, or nowhere. {self._advice(now)}"
        )

    def _what(self, now: Identity | None) -> str:
        how = "was deleted or renamed" if now is None else "was replaced by another file"
        return f"{self.path} {how} while it was open"

    def _advice(self, now: Identity | None) -> str:
        put_back = "Put the file back under this name to go on with it"
        if now is None:
            return f"{put_back}; for a new one, open the store anew."
        return f"To go on with the file that is there now, open the store anew, with open_memory(url). {put_back}."

    # -------------------------------------------------------------------- leaving

    def leave(self, connection: Connection) -> None:
        """Before a connection is closed, see to the log of a file that was moved.

        What is in the log goes into the file, wherever that is now, and the log is not left to be
        taken for another file's. A file without any name may have been carried to another disk,
        without what is in its log: that is put aside.
        """
        if connection.log is None:
            return
        now, ours = identity(self._real), identity(self.log)
        if now == connection.file:
            if ours is None:
                self._empty(connection)
            elif ours != connection.log:
                _leave_as_it_is(connection)
            return
        emptied = has_name(connection.file) and self._empty(connection)
        if ours != connection.log or (now is None and has_name(connection.file)):
            return
        with contextlib.suppress(FileNotFoundError):  # another thread was faster
            if emptied:
                os.unlink(self.log)
            else:
                aside = f"{self._real}.{ours[1]}-wal"
                os.rename(self.log, aside)
                log.warning("%s was deleted or replaced while it was open: its log is kept as %s", self.path, aside)
            os.unlink(self._real + "-shm")

    def _empty(self, connection: Connection) -> bool:
        """Write the log into the file, and cut it off; tell whether that was done."""
        try:
            [[busy, _, _]] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            log.warning("The log of %s, which was moved, cannot be written into it: %s", self.path, error)
            return False
        return not busy


def _leave_as_it_is(connection: Connection) -> None:
    """Have a connection's end not write its log into a file that goes on with another one."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def identity(path: str) -> Identity | None:
    """Return what tells the file at a path from all others, None if it cannot be reached."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_orphaned(real: str) -> bool:
    """Tell whether a log lies where there is no file, or an empty one: the log of a file is never there before it."""
    return _size(real) == 0 and _size(f"{real}-wal") > LOG_HEADER


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _strangers(shared: str, file: Identity | None) -> set[int]:
    """Return the processes that use a log, by the memory they share for that, and have not the file open."""
    memory = identity(shared)
    if memory is None:
        return set()
    return {process for process in _lockers(memory[1]) if _uses(process, memory, file)}


def _lockers(inode: int) -> set[int]:
    """Return the processes that hold SQLite's kind of lock on a file of this number, on whatever disk."""
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return set()
    # 12: POSIX  ADVISORY  READ 22886 fe:00:2654217 128 128
    fields = [line.replace("-> ", "").split() for line in lines]
    return {int(found[4]) for found in fields if found[1:2] == ["POSIX"] and found[5].endswith(f":{inode}")}


def _uses(process: int, memory: Identity, file: Identity | None) -> bool:
    """Tell whether a process is seen to have a log's memory open, and not the file; another user's is not seen."""
    try:
        numbers = os.listdir(f"/proc/{process}/fd")
    except OSError:
        return False
    opened = {identity(f"/proc/{process}/fd/{number}") for number in numbers}
    return memory in opened and (file is None or file not in opened)


def has_name(file: Identity | None) -> bool:
    """Tell whether a file that is open here can be found under any name."""
    for number in range(MOST_FILES):
        try:
            found = os.fstat(number)
        except OSError:  # no open file has this number
            continue
        if (found.st_dev, found.st_ino) == file:
            return found.st_nlink > 0
    return False
