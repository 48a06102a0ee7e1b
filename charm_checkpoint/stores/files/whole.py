"""The plans of local files that look at threads as a whole, or do something with one: delete, erase, pin; and room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from charm_checkpoint.contract import Space, ThreadPage, ThreadRow, ThreadState, Usage
from charm_checkpoint.contract_records import added
from charm_checkpoint.plan import Plan
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.erased import Kept
from charm_checkpoint.stores.files.folder import raise_if_lost
from charm_checkpoint.stores.files.messages import MessageFiles
from charm_checkpoint.stores.files.room import Room
from charm_checkpoint.stores.files.survey import UNREADABLE, Survey
from charm_checkpoint.stores.files.thread import LogWrite
from charm_checkpoint.stores.files.threads import Threads, name_of
from charm_checkpoint.stores.shared.names import CHECKPOINTS, MESSAGES

T = TypeVar("T")


def call(function: Callable[..., T], *args: Any) -> Plan[T]:
    """Make the plan whose one operation is a call."""
    result: T = yield partial(function, *args)
    return result


class FilesWhole:
    """Listing, counting, deleting, erasing and pinning threads."""

    def __init__(self, threads: Threads, files: MessageFiles) -> None:
        self._threads = threads
        self._files = files
        self._survey = Survey(threads, files)
        self._room = Room(threads)

    # ---------------------------------------------------------------- listings

    def threads(self, after: Any, size: int) -> Plan[ThreadPage]:
        """Return threads, message files included, those changed last first; see `Backend.threads`."""
        return call(self._survey.page, after, size)

    def thread_row(self, thread: str) -> Plan[ThreadRow | None]:
        """Return one thread's row; see `TellsThreads`."""
        return call(self._survey.row, thread)

    def usage(self, thread: str | None) -> Plan[Usage]:
        """Count what is stored, message files included; see `Backend.usage`."""
        return call(self._survey.usage, thread)

    # ---------------------------------------------------------------- deleting

    def delete_thread(self, thread: str) -> Plan[ThreadState]:
        """Remove a thread's checkpoints; see `Backend.delete_thread`."""
        return call(self._delete_thread, thread)

    def _delete_thread(self, thread: str) -> ThreadState:
        raise_if_lost(self._threads.watch, self._files.watch)  # its messages are deleted next
        self._threads.pin(name_of(CHECKPOINTS, thread), False)
        return self._threads.change(name_of(CHECKPOINTS, thread), self._delete, regardless=True)

    def _delete(self, contents: Contents) -> LogWrite[ThreadState]:
        if contents.is_new and contents.tail == "whole":  # of one that is damaged from its start, nothing is known
            return LogWrite(contents.state)
        left = Contents(state=contents.state, hosts=dict(contents.hosts))
        return LogWrite(left.count(self._threads.host, deletes=1, sweeps=1), instead=left)

    # ---------------------------------------------------------------- erasing

    def erase_thread(self, thread: str, until: int, idle_since: int | None = None) -> Plan[Usage]:
        """Remove everything of a thread, its folder too; see `Backend.erase_thread`.

        A list of messages that is every thread's stays, as it does in `delete_thread`.
        """
        return call(self._erase_thread, thread, until, idle_since)

    def _erase_thread(self, thread: str, until: int, idle_since: int | None) -> Usage:
        raise_if_lost(self._threads.watch, self._files.watch)
        usage = self._survey.usage(thread)
        gone = []
        for kind in (CHECKPOINTS, MESSAGES):

            def keep(contents: Contents, kind: int = kind) -> bool:
                if kind == CHECKPOINTS and idle_since is not None and not self._is_idle(thread, idle_since):
                    return False
                gone.append(kind)
                self._keep(name_of(kind, thread), kind, until, contents)
                return True

            self._threads.erase(name_of(kind, thread), keep)
            if not gone:
                return Usage()
        self._files.erase(thread)
        return usage

    def erase_unnamed(self, until: int) -> Plan[Usage]:
        """Remove what does not tell its thread; see `ErasesUnnamed`."""
        return call(self._erase_unnamed, until)

    def _erase_unnamed(self, until: int) -> Usage:
        usage = Usage()
        for part in self._survey.unnamed():
            with suppress(*UNREADABLE):  # as one of a later version: it is listed still
                size = self._files.remove(part.file.path) if part.file is not None else 0
                if part.folder is not None:
                    self._erase_folder(part.folder, until)
                usage = added(usage, Usage(payload_bytes=size, damaged=1))
        return usage

    def _erase_folder(self, folder: str, until: int) -> None:
        def keep(contents: Contents) -> bool:
            self._keep(folder, CHECKPOINTS, until, contents)
            return True

        self._threads.erase(folder, keep)

    def _is_idle(self, thread: str, idle_since: int) -> bool:
        """Tell whether a thread is not pinned, and was not changed after a second."""
        if self._threads.is_pinned(name_of(CHECKPOINTS, thread)):
            return False
        return self._survey.changed(thread) // 10**9 <= idle_since

    def _keep(self, folder: str, kind: int, until: int, old: Contents) -> None:
        deletes = old.state.deletes + (kind == CHECKPOINTS)
        state = ThreadState(deletes, old.state.sweeps + 1, old.state.seq + 1)
        hosts = {**old.hosts, self._threads.host: state.seq}
        kept = Kept(kind, until, state, old.revision + (kind == MESSAGES), hosts)
        self._threads.erased.keep(bytes.fromhex(folder), kept)

    def forget_erased(self, now: int) -> Plan[int]:
        """Remove what is kept of erased threads; see `Backend.forget_erased`."""
        return call(self._threads.erased.forget, now)

    # ---------------------------------------------------------------- pinning

    def pin(self, thread: str, pinned: bool) -> Plan[bool]:
        """Note that a thread is to be kept, or no longer; see `Backend.pin`."""
        return call(self._pin, thread, pinned)

    def _pin(self, thread: str, pinned: bool) -> bool:
        usage = self._survey.usage(thread)
        if not (usage.threads or usage.damaged):
            return False
        self._threads.pin(name_of(CHECKPOINTS, thread), pinned)
        return True

    # ---------------------------------------------------------------- room

    def space(self) -> Plan[Space]:
        """Tell how much room all files take; see `Backend.space`."""
        return call(self._room.space)

    def compact(self, size: int | None) -> Plan[Space]:
        """Write logs anew much of which is of no use any more; see `Backend.compact`.

        With a size, so many bytes of logs are looked at, and the next call goes on behind them.
        """
        return call(self._room.compact, size)
