"""What only a look at the folders tells: logs of items that cannot be read, or lie where they should not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from charm_checkpoint.checking.doctor.disk import tell_disk, tell_rights, tell_sync
from charm_checkpoint.checking.doctor.report import DoctorFinding, DoctorReport
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.errors import CharmError, SchemaMismatch, StoreCorrupt
from charm_checkpoint.plan import Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.stores.files.space import name_of
from charm_checkpoint.stores.files.spaces import NAME, path_in
from charm_checkpoint.stores.files.thread import LOG
from charm_checkpoint.stores.shared.mounts import remote_kind

RESTORE = (
    "Put back a copy of the folder, or remove it, and the items of one namespace with it; others are not affected."
)


class FilesExaminer:
    """Looks at the folders of a store."""

    def __init__(self, store: Store) -> None:
        self._items: Any = store.items
        driver, backend = store.driver, store.backend
        self._folder: Path = driver.folder  # type: ignore[attr-defined]
        self._threads: Any = backend.folders  # type: ignore[attr-defined]

    # ---------------------------------------------------------------------- doctor

    def before(self) -> DoctorFinding | None:
        """Return why the folder cannot be used, None if it can."""
        if not self._folder.is_dir():
            advice = "The first write makes it; or correct the URL."
            return DoctorFinding("folder", "error", f"there is no folder {self._folder} yet.", advice)
        if not os.access(self._folder, os.R_OK | os.X_OK):
            return DoctorFinding(
                "folder", "error", f"{self._folder} cannot be read by this user.", "Give it the right."
            )
        return None

    def ping(self) -> Plan[Any]:
        """Look at the folder."""
        return _call(self._threads.names)

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell where the folder lies, and what its settings promise."""
        yield Step(partial(_call, partial(self._tell, report)), bare=True)

    def _tell(self, report: DoctorReport) -> None:
        kind = remote_kind(str(self._folder))
        report.facts["file_system"] = kind or "local"
        if kind:
            advice = (
                "One host at a time may write a thread; whether it is on a disk when a call returns, the mount says."
            )
            report.add("file system", "note", f"the folder is on a {kind} mount.", advice)
        else:
            report.add("file system", "ok", "the folder is on a local disk.")
        if self._threads.disk.full:
            report.add("durability", "ok", "synchronous=full: a write is on the disk when it returns.")
        else:
            advice = "Take synchronous= out of the URL, or accept that."
            report.add("durability", "warning", "synchronous=normal: a power loss may undo the last writes.", advice)
        ours = self._folder / ".charm"
        can_write = os.access(ours if ours.is_dir() else self._folder, os.W_OK)
        tell_rights(report, self._folder, can_write, "the folder", f"Give it the right to write {ours}.")
        if can_write and self._threads.disk.full:
            tell_sync(report, self._folder)
        tell_disk(report, self._folder)

    # ------------------------------------------------------------------- integrity

    def own_checks(self, repair: bool) -> Session[list[IntegrityFinding]]:
        """Return the spaces of items that listings leave out."""
        found: list[IntegrityFinding] = yield Step(partial(_call, self._spaces))
        return found

    def _spaces(self) -> list[IntegrityFinding]:
        spaces = self._items.folders
        return [found for name in _names(spaces.folder) for found in self._space(spaces.folder / name)]

    def _space(self, folder: Path) -> Iterator[IntegrityFinding]:
        if folder.is_dir() and not (folder / LOG).exists():
            if any(os.scandir(folder)):
                yield IntegrityFinding("item", f"{folder} holds no log of a space of items.", "note")
            return
        try:
            path = path_in(folder / LOG)
            if path is None and (folder / LOG).stat().st_size:
                raise StoreCorrupt(f"{folder / LOG} does not begin as a log does: nobody can tell whose items it held.")
            if path is not None and name_of(path) != folder.name:
                raise StoreCorrupt(f"{folder / LOG} is the log of another space of items than its folder's.")
            if path is not None:
                self._items.folders.read(path, lambda space: len(space.items))
        except (SchemaMismatch, StoreCorrupt) as error:
            yield IntegrityFinding("item", str(error), advice=RESTORE)
        except (OSError, CharmError) as error:
            yield IntegrityFinding("item", f"{folder} cannot be read: {error}", advice=RESTORE)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(filter(NAME.fullmatch, os.listdir(folder)))
    except FileNotFoundError:
        return []


def _call(function: Callable[[], Any]) -> Plan[Any]:
    return (yield function)
