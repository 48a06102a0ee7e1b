"""The room that local files take, and logs that are written anew because much of them is of no use any more."""

from __future__ import annotations

import os
from collections.abc import Iterator

from charm_checkpoint.contract import Space
from charm_checkpoint.errors import StoreError
from charm_checkpoint.stores.files.contents import Contents
from charm_checkpoint.stores.files.thread import LOG, LogWrite
from charm_checkpoint.stores.files.threads import Threads

SLACK = 1 << 16
"""Bytes of no use that a log may hold, whatever its size."""
SHARE = 4
"""A log is written anew if more than one in so many of its bytes is of no use."""


class Room:
    """Tells and gives back room in a store's folder."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._last = ""

    def space(self) -> Space:
        """Return how much all files take; what of that holds nothing, only their contents would tell."""
        return Space(sum(_sizes(str(self._threads.folder.parent))))

    def compact(self, size: int | None) -> Space:
        """Write logs anew, as many as ``size`` bytes of logs are looked at; all if None."""
        left = size
        for name in self._in_turn(size is None):
            try:
                looked_at = os.lstat(self._threads.folder / name / LOG)
            except OSError:
                continue
            self._rewrite(name, looked_at)
            if left is not None:
                self._last, left = name, left - looked_at.st_size
                if left <= 0:
                    break
        else:
            self._last = ""
        return self.space()

    def _in_turn(self, is_all: bool) -> list[str]:
        """Return the names of threads' folders, from behind the one where the last call ended."""
        return sorted(name for name in self._threads.names() if is_all or name > self._last)

    def _rewrite(self, name: str, before: os.stat_result) -> None:
        """Write a log anew if it is worth it; when its thread was changed last stays as it is."""

        def decide(contents: Contents) -> LogWrite[bool]:
            if contents.dead <= max(SLACK, contents.end // SHARE):
                return LogWrite(False)
            return LogWrite(True, instead=contents.copy())

        try:
            if self._threads.change(name, decide):
                os.utime(self._threads.folder / name / LOG, ns=(before.st_atime_ns, before.st_mtime_ns))
        except (StoreError, OSError):
            return  # it is damaged, or in conflict: those who use it are told


def _sizes(folder: str) -> Iterator[int]:
    """Yield the sizes of all files in a folder and below; links are not followed."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path)
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
