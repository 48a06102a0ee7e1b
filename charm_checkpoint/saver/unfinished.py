"""Threads that copies, imports and forks were putting together, and that are there still."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from charm_checkpoint.contract import ThreadRow
from charm_checkpoint.saver.threads import is_staging

ABANDONED = 86_400
"""Seconds after which nobody is taken to be at one to which nothing was written: who is writes every few seconds."""


class Unfinished:
    """Those that a listing came by, each counted once."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def add(self, rows: Iterable[ThreadRow]) -> None:
        """Pick them out of rows of a listing, which goes on while threads change."""
        for row in rows:
            if row.thread is not None and is_staging(row.thread):
                self._found[row.thread] = row.touched_at

    def __len__(self) -> int:
        return len(self._found)

    def told(self) -> str:
        """Say how many there are, and when the oldest was written to."""
        count = len(self._found)
        said = "1 thread of a copy that was" if count == 1 else f"{count:,} threads of copies that were"
        times = [at for at in self._found.values() if at]
        since = f", since {datetime.fromtimestamp(min(times), timezone.utc):%Y-%m-%d %H:%M} UTC" if times else ""
        return f"{said} not finished, or {'is' if count == 1 else 'are'} under way{since}."

    @staticmethod
    def advice() -> str:
        """Say what becomes of them."""
        return "The next run of the same copy, import or fork removes what it left, and a sweep does so after a day."
