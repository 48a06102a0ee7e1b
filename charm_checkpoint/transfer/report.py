"""What became of a copy, an export, an import or a backup."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from charm_checkpoint.plain import Plain


class MoveProgress(NamedTuple):
    """How far it is: ``done`` of ``total`` threads (None: nobody has counted them), and of the thread under way.

    ``kind`` is "threads", "items" or "pages" (of a backup); ``checkpoints`` are those of the thread under way.
    """

    kind: str
    done: int
    total: int | None
    thread: str | None = None
    checkpoints: int = 0


@dataclass(frozen=True, slots=True)
class Place(Plain):
    """Something that was not brought over, where it is and why; ``thread`` is None for an item of long-term memory."""

    message: str
    thread: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    item: str | None = None

    def __str__(self) -> str:
        where = [
            self.item or "",
            "" if self.thread is None else f"thread {self.thread!r}",
            f"namespace {self.checkpoint_ns!r}" if self.checkpoint_ns else "",
            f"checkpoint {self.checkpoint_id}" if self.checkpoint_id else "",
        ]
        return f"{', '.join(filter(None, where)) or 'the store'}: {self.message}"


@dataclass(frozen=True, slots=True)
class CopyReport(Plain):
    """What was brought over, or with ``dry_run`` would be.

    ``threads`` counts those that are new or have more now than before, ``unchanged`` those that were there already,
    ``skipped`` names those left alone because the target holds something else under their name and that was asked for.
    ``checkpoints``, ``writes`` (of tasks), ``messages`` (lists), ``chunks`` and ``bytes`` are what was sent, ``items``
    those of long-term memory that were put, ``items_unchanged`` those that were there.

    ``refused`` are what the target holds otherwise, ``damaged`` what the source cannot give, ``moving`` the threads
    that were written to again and again meanwhile: all of these are not in the target. It is `complete` if there are
    none of them.
    """

    dry_run: bool = False
    threads: int = 0
    unchanged: int = 0
    skipped: tuple[str, ...] = ()
    checkpoints: int = 0
    writes: int = 0
    messages: int = 0
    chunks: int = 0
    bytes: int = 0
    items: int = 0
    items_unchanged: int = 0
    items_skipped: int = 0
    verified: bool = False
    refused: tuple[Place, ...] = ()
    damaged: tuple[Place, ...] = ()
    moving: tuple[Place, ...] = ()

    @property
    def complete(self) -> bool:
        """Tell whether everything asked for is now in the target."""
        return not (self.refused or self.damaged or self.moving)

    def complaints(self) -> list[str]:
        """Return a sentence for each thing that was left behind."""
        return [str(place) for place in (*self.refused, *self.damaged, *self.moving)]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**Plain.as_dict(self), "complete": self.complete}


@dataclass(frozen=True, slots=True)
class ExportReport(Plain):
    """What a file now holds. ``size`` is that of the file, in bytes; ``digest`` is what it ends with, in hex.

    Where nothing of what was asked for could be had, no file is written, and the digest is empty.
    """

    path: str
    threads: int
    checkpoints: int
    writes: int
    messages: int
    chunks: int
    items: int
    size: int
    digest: str
    damaged: tuple[Place, ...] = ()
    moving: tuple[Place, ...] = ()

    @property
    def complete(self) -> bool:
        """Tell whether everything asked for is in the file."""
        return not (self.damaged or self.moving)

    def complaints(self) -> list[str]:
        """Return a sentence for each thing that was left behind."""
        return [str(place) for place in (*self.damaged, *self.moving)]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {**Plain.as_dict(self), "complete": self.complete}


@dataclass(frozen=True, slots=True)
class BackupReport(Plain):
    """A backup: its file, ``size`` in bytes, and what kind it is, a SQLite file ("sqlite") or an export ("archive")."""

    path: str
    size: int
    kind: str
    export: ExportReport | None = None

    @property
    def complete(self) -> bool:
        """Tell whether everything of the store is in the backup."""
        return self.export is None or self.export.complete

    def complaints(self) -> list[str]:
        """Return a sentence for each thing that was left behind."""
        return [] if self.export is None else self.export.complaints()

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        export = None if self.export is None else self.export.as_dict()
        return {"path": self.path, "size": self.size, "kind": self.kind, "export": export, "complete": self.complete}


@dataclass
class Tally:
    """A report under way."""

    dry_run: bool = False
    verified: bool = False
    threads: int = 0
    unchanged: int = 0
    skipped: list[str] = field(default_factory=list)
    checkpoints: int = 0
    writes: int = 0
    messages: int = 0
    chunks: int = 0
    bytes: int = 0
    items: int = 0
    items_unchanged: int = 0
    items_skipped: int = 0
    refused: list[Place] = field(default_factory=list)
    damaged: list[Place] = field(default_factory=list)
    moving: list[Place] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in what is counted and named in another one."""
        for name in (each.name for each in fields(other)):
            if name not in ("dry_run", "verified"):
                setattr(self, name, getattr(self, name) + getattr(other, name))

    def report(self) -> CopyReport:
        """Return it as it is now."""
        return CopyReport(
            self.dry_run, self.threads, self.unchanged, tuple(self.skipped), self.checkpoints, self.writes,
            self.messages, self.chunks, self.bytes, self.items, self.items_unchanged, self.items_skipped,
            self.verified and not self.dry_run, tuple(self.refused), tuple(self.damaged), tuple(self.moving),
        )  # fmt: skip
