"""What a `Memory` offers to copy, export and back up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from charm_checkpoint.config.masking import Secret
from charm_checkpoint.config.tracebacks import unseen
from charm_checkpoint.contract import tenant_of
from charm_checkpoint.errors import ConfigError
from charm_checkpoint.saver.refs import names

if TYPE_CHECKING:
    from charm_checkpoint.config.options import Location
    from charm_checkpoint.memory import Memory
    from charm_checkpoint.store import Store
    from charm_checkpoint.transfer.hops import Moving
    from charm_checkpoint.transfer.report import BackupReport, CopyReport, ExportReport, MoveProgress

    OnProgress = Callable[[MoveProgress], None]


class Transfers:
    """What a `Memory` offers to copy, export and back up."""

    store: Store
    location: Location

    @unseen
    def copy_to(
        self,
        target: Memory | str | os.PathLike[str],
        *,
        threads: Iterable[str] | None = None,
        messages: bool = True,
        items: bool = True,
        skip_existing: bool = False,
        dry_run: bool = False,
        verify: bool = True,
        on_progress: OnProgress | None = None,
    ) -> CopyReport:
        """Copy threads, their messages and long-term memory to another store, by its URL or open already.

        Checkpoints keep their ids, parents, order, run ids, marks of conflicts and pending writes, threads their
        titles and pins, items their times and vectors; no class of the program is needed. A thread appears in the
        target when it is whole, and has been read back and compared, which ``verify=False`` leaves out. What is there
        already and the same is passed over, so a copy that was killed is run again; a thread that is there as it was
        earlier gets what it lacks. ``threads`` copies these alone, and then no items. ``skip_existing``: where the
        target holds something else under a name, that is named in `CopyReport.skipped` instead of
        `CopyReport.refused`. ``dry_run`` reads all of it, looks at the target too, and writes nothing.

        A thread is copied as of one moment, and looked at again if it is written to meanwhile; if that does not end,
        it is named in `CopyReport.moving`. What is damaged is in `CopyReport.damaged`, and the rest is copied.
        """
        from charm_checkpoint.transfer.hops import drive

        place = _hidden(target)
        del target  # it may hold a password, and a traceback shows what a function was given
        given, owned = _target_of(place, dry_run)
        try:
            return drive(_copying(self, given, threads, messages, items, skip_existing, dry_run, verify, on_progress))
        finally:
            if owned:
                given.close()

    async def acopy_to(
        self,
        target: Memory | str | os.PathLike[str],
        *,
        threads: Iterable[str] | None = None,
        messages: bool = True,
        items: bool = True,
        skip_existing: bool = False,
        dry_run: bool = False,
        verify: bool = True,
        on_progress: OnProgress | None = None,
    ) -> CopyReport:
        """Copy threads, their messages and long-term memory to another store; see `copy_to`."""
        from charm_checkpoint.transfer.hops import adrive

        place = _hidden(target)
        del target  # it may hold a password, and a traceback shows what a function was given
        given, owned = _target_of(place, dry_run)
        try:
            moving = _copying(self, given, threads, messages, items, skip_existing, dry_run, verify, on_progress)
            return await adrive(moving)
        finally:
            if owned:
                await given.aclose()

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        threads: Iterable[str] | None = None,
        messages: bool = True,
        items: bool = True,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ExportReport:
        """Write threads, messages and long-term memory into one file, which any store can import.

        Each thread is in it as of one moment, though the store is written to. The file has its name when it is whole;
        its owner alone can read it. A file that is there is left, unless ``overwrite``. ``threads`` exports these
        alone, and then no items. What is damaged, or is written to again and again, is named in the report.
        `charm_checkpoint.transfer.import_archive` brings it into a store.
        """
        from charm_checkpoint.transfer.hops import drive

        return drive(_exporting(self, path, threads, messages, items, overwrite, on_progress))

    async def aexport(
        self,
        path: str | os.PathLike[str],
        *,
        threads: Iterable[str] | None = None,
        messages: bool = True,
        items: bool = True,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> ExportReport:
        """Write threads, messages and long-term memory into one file; see `export`."""
        from charm_checkpoint.transfer.hops import adrive

        return await adrive(_exporting(self, path, threads, messages, items, overwrite, on_progress))

    def backup(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, on_progress: OnProgress | None = None
    ) -> BackupReport:
        """Write all of the store into one file, while it is written to.

        Of a SQLite file this is another one, as of one moment, made by SQLite's online backup: to be opened as a store
        of its own, or put in the old one's place. Of other stores it is an `export`, to be imported into an empty one;
        a server's own backups have what is beyond this package.
        """
        from charm_checkpoint.transfer.backup import backup
        from charm_checkpoint.transfer.hops import drive

        return drive(backup(self.store, self.location, os.fspath(path), overwrite, on_progress))

    async def abackup(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, on_progress: OnProgress | None = None
    ) -> BackupReport:
        """Write all of the store into one file; see `backup`."""
        from charm_checkpoint.transfer.backup import backup
        from charm_checkpoint.transfer.hops import adrive

        return await adrive(backup(self.store, self.location, os.fspath(path), overwrite, on_progress))


def _hidden(target: Any) -> Any:
    """Return a target so that a traceback shows no secret of it."""
    return Secret(os.fspath(target)) if isinstance(target, (str, os.PathLike)) else target


@unseen
def _target_of(place: Any, dry_run: bool) -> tuple[Memory, bool]:
    """Return a memory to copy to, and whether it is to be closed: what is only looked at is not made either."""
    from charm_checkpoint.memory import Memory, open_memory

    if isinstance(place, Memory):
        return place, False
    if not isinstance(place, Secret):
        raise ConfigError(f"a copy goes to a memory or to a URL, not to a {type(place).__name__}")
    options: dict[str, Any] = {"auto_setup": False} if dry_run else {}
    return open_memory(place.plain(), **options), True


def _copying(
    source: Transfers,
    target: Memory,
    threads: Iterable[str] | None,
    messages: bool,
    items: bool,
    skip_existing: bool,
    dry_run: bool,
    verify: bool,
    on_progress: OnProgress | None,
) -> Moving[CopyReport]:
    from charm_checkpoint.transfer.copying import Wanted
    from charm_checkpoint.transfer.files import is_absent, is_same_place
    from charm_checkpoint.transfer.moving import ITSELF, copy

    tenants = {tenant_of(memory.store.backend) for memory in (source, target)}
    if len(tenants) == 1 and is_same_place(source.location, target.location):
        raise ConfigError(ITSELF)
    wanted = Wanted(
        None if threads is None else names(threads, "thread_id"), messages, items and threads is None, skip_existing,
        dry_run, verify, on_progress,
    )  # fmt: skip
    blank = dry_run and is_absent(target.location)
    return copy(source.store, target.store, str(source.location), wanted, blank)


def _exporting(
    source: Transfers,
    path: str | os.PathLike[str],
    threads: Iterable[str] | None,
    messages: bool,
    items: bool,
    overwrite: bool,
    on_progress: OnProgress | None,
) -> Moving[ExportReport]:
    from charm_checkpoint.transfer.archive.exporting import export
    from charm_checkpoint.transfer.copying import Wanted

    named = None if threads is None else names(threads, "thread_id")
    wanted = Wanted(named, messages, items and named is None, on_progress=on_progress)
    return export(source.store, os.fspath(path), wanted, overwrite)
