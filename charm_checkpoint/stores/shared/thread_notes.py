"""What is kept on a thread's own record for listings, as stores that hold it in memory keep it; pure."""

from __future__ import annotations

from typing import NamedTuple


class Notes(NamedTuple):
    """A thread's notes; see `Backend.threads`."""

    title: bytes | None = None
    note: bytes | None = None
    writes_note: bytes | None = None

    def after(self, title: bytes | None = None, note: bytes | None = None, writes_note: bytes | None = None) -> Notes:
        """Return these as they are after what a call brought."""
        if title is note is writes_note is None:
            return self
        return Notes(
            title if self.title is None else self.title,
            self.note if note is None else note,
            self.writes_note if writes_note is None else writes_note,
        )
