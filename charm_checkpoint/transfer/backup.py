"""All of a store in one file: SQLite's own online backup where it is a SQLite file, an export elsewhere."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from charm_checkpoint.errors import ConfigError, StoreCorrupt, StoreUnavailable
from charm_checkpoint.plan import Compute
from charm_checkpoint.store import Store
from charm_checkpoint.transfer.archive.exporting import export
from charm_checkpoint.transfer.copying import Wanted
from charm_checkpoint.transfer.files import NewFile, is_taken
from charm_checkpoint.transfer.hops import Hop, Moving
from charm_checkpoint.transfer.report import BackupReport, MoveProgress

if TYPE_CHECKING:
    from charm_checkpoint.config.options import Location

PAGES = 1024
"""Pages that are copied at a time, 4 MB of them as a rule."""

OnProgress = Callable[[MoveProgress], None]


def backup(
    store: Store, location: Location, path: str, overwrite: bool, on_progress: OnProgress | None
) -> Moving[BackupReport]:
    """Back a store up into one file; see `Memory.backup`."""
    if location.scheme != "sqlite" or location.path == ":memory:":
        exported = yield from export(store, path, Wanted(on_progress=on_progress), overwrite)
        return BackupReport(path, exported.size, "archive", exported)
    if not overwrite and is_taken(path):
        raise ConfigError(f"{path} is there already; give another name, or overwrite=True")
    yield Hop(store, store.backend.is_current)  # it is opened, and is the file that it was
    source: str = store.driver.path  # type: ignore[attr-defined]
    if os.path.exists(path) and os.path.samefile(source, path):
        raise ConfigError(f"{path} is the store itself")
    with NewFile(path) as new:
        new.file.close()
        yield Compute(partial(_copy, source, new.partial, on_progress))
        size: int = yield Compute(new.finish)
    return BackupReport(path, size, "sqlite")


def _copy(source: str, target: str, on_progress: OnProgress | None) -> None:
    """Copy a file as of one moment. A read that lasts as long keeps SQLite from beginning anew at each commit."""
    try:
        with closing(sqlite3.connect(f"file:{quote(source)}?mode=ro", uri=True, isolation_level=None)) as old:
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with closing(sqlite3.connect(target)) as new:
                old.backup(new, pages=PAGES, progress=partial(_tell, on_progress))
            old.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        kind = StoreUnavailable if isinstance(error, sqlite3.OperationalError) else StoreCorrupt
        raise kind(f"{source} could not be backed up: {error}") from error


def _tell(on_progress: OnProgress | None, status: int, remaining: int, total: int) -> None:
    if on_progress is not None:
        on_progress(MoveProgress("pages", total - remaining, total))
