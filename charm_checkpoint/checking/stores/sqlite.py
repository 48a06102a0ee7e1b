"""What only SQLite can tell of its file: settings, whether its pages are sound, rows that belong to nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from charm_checkpoint.checking.doctor.disk import READ_WRITE, is_read_only, tell_disk, tell_rights, tell_sync
from charm_checkpoint.checking.doctor.report import DoctorFinding, DoctorReport
from charm_checkpoint.checking.integrity.own import Count
from charm_checkpoint.checking.integrity.report import IntegrityFinding
from charm_checkpoint.checking.stores.listed import look_at_listed
from charm_checkpoint.checking.stores.strays import BATCH, Stray, look_at_strays, lost_list
from charm_checkpoint.errors import StoreCorrupt, StoreUnavailable
from charm_checkpoint.plan import Compute, Plan
from charm_checkpoint.session import Session, Step
from charm_checkpoint.store import Store
from charm_checkpoint.stores.shared.mounts import remote_kind
from charm_checkpoint.stores.shared.names import MESSAGES
from charm_checkpoint.stores.sqlite.steps import Sql

LARGE_LOG = 64 << 20
"""Bytes of a log that is written into its file now and then: far more than it has as a rule."""
_SYNCHRONOUS = {0: "off", 1: "normal", 2: "full", 3: "extra"}
MOST = 20
"""Faults of a table that are told."""

BACKUP = (
    "Restore the file from a backup; or copy the threads that can be read to a new one (`charm-checkpoint copy`), and "
    "go on with that."
)


STRAYS = (
    Stray("space", "namespace", "thread", "thread", False),
    Stray("checkpoint", "checkpoint", "space", "space", False),
    Stray("write", "task's writes", "space", "space", True),
    Stray("chunk", "chunk", "thread", "thread", True),
    Stray("message_list", "message list", "thread", "thread", False),
    Stray("message_batch", "batch of messages", "thread", "thread", False),
    Stray("item", "item", "space", "item_space", False),
    Stray("item_value", "item's value", "item", "item", False),
    Stray("item_vectors", "item's vectors", "item", "item", False),
)
KEYS = {"write": ("space", "id", "number")}
"""By what a row is found, where that is not its own key."""


WITHOUT_LOG = (
    "If it was copied or restored, its log is missing, and all that it held with it: the file of its name with -wal."
)


class SqliteExaminer:
    """Looks at a file as a whole, whoever's the threads in it are."""

    def __init__(self, store: Store) -> None:
        driver: Any = store.driver
        self._backend: Any = store.backend
        self._path = str(driver.path)
        self._in_memory = bool(driver.in_memory)
        self._mode = str(driver.mode)

    # ---------------------------------------------------------------------- doctor

    def before(self) -> DoctorFinding | None:
        """Return why the file cannot be opened, None if it can: opening one that is not there would make it."""
        if self._in_memory or (os.path.exists(self._path) and os.path.getsize(self._path)):
            if self._in_memory:
                return None
            if os.access(self._path, os.R_OK):
                return self._before_reading()
            return DoctorFinding("file", "error", f"{self._path} cannot be read by this user.", "Give it the right.")
        folder = Path(self._path).parent
        if not folder.is_dir():
            return DoctorFinding("folder", "error", f"there is no folder {folder}.", "Make it, or correct the URL.")
        if not os.access(folder, os.W_OK):
            return DoctorFinding("folder", "error", f"{folder} cannot be written by this user.", "Give it the right.")
        return DoctorFinding("file", "error", f"there is no file {self._path} yet.", "The first use makes it.")

    def _before_reading(self) -> DoctorFinding | None:
        """Return why a file that is there cannot be read: even a reader writes beside it, where its log is."""
        folder = Path(os.path.realpath(self._path)).parent
        if self._mode == "ro" or not is_read_only(folder):
            return None
        advice = f"{READ_WRITE} To read it as it is, copy it elsewhere."
        return DoctorFinding("rights", "error", f"{folder} is on a file system that is mounted read-only.", advice)

    def ping(self) -> Plan[Any]:
        """Read a little."""
        return _rows("PRAGMA user_version")

    def examine(self, report: DoctorReport) -> Session[None]:
        """Tell what the file's settings promise, and where it lies."""
        facts = {}
        for name in ("user_version", "journal_mode", "synchronous", "page_count", "page_size", "freelist_count"):
            [[facts[name]]] = yield Step(partial(_rows, f"PRAGMA {name}"), bare=True)
        report.facts.update(
            server=f"SQLite {sqlite3.sqlite_version}", schema_version=facts["user_version"],
            journal_mode=facts["journal_mode"], synchronous=_SYNCHRONOUS.get(facts["synchronous"], "?"),
        )  # fmt: skip
        report.add("version", "ok", f"SQLite {sqlite3.sqlite_version}.")
        if self._in_memory:
            report.add("durability", "warning", "it is in memory, and gone when the program ends.", "Name a file.")
            return
        self._tell_durability(report, facts)
        if not facts["user_version"]:
            report.add("schema", "warning", "the file holds no table.", WITHOUT_LOG)
        yield Step(partial(_computed, partial(self._tell_surroundings, report)), bare=True)

    def _tell_durability(self, report: DoctorReport, facts: dict[str, Any]) -> None:
        if facts["journal_mode"] != "wal":
            advice = "Open it for writing once: that sets write-ahead logging, so that readers do not wait for writers."
            report.add("journal", "note", f"its journal mode is {facts['journal_mode']}.", advice)
        if facts["synchronous"] >= 2:
            report.add("durability", "ok", "synchronous=full: a commit is on the disk when it returns.")
        else:
            advice = "Take synchronous= out of the URL, or accept that."
            report.add("durability", "warning", "synchronous=normal: a power loss may undo the last commits.", advice)

    def _tell_surroundings(self, report: DoctorReport) -> None:
        kind = remote_kind(self._path)
        report.facts["file_system"] = kind or "local"
        if kind:
            advice = "Put the file on a local disk, or use file://, postgresql:// or redis://."
            message = f"the file is on a {kind} mount, where SQLite's locks do not hold between hosts."
            report.add("file system", "error", message, advice)
        else:
            report.add("file system", "ok", "the file is on a local disk.")
        folder = Path(os.path.realpath(self._path)).parent
        if self._mode == "ro":
            report.add("rights", "note", "it is opened with mode=ro: nothing can be written.")
        else:
            can_write = os.access(self._path, os.W_OK) and os.access(folder, os.W_OK)
            advice = "Give this user the right to write both, where its log is, or open it with mode=ro."
            tell_rights(report, folder, can_write, "the file and its folder", advice)
            if can_write and report.facts["synchronous"] in ("full", "extra"):
                tell_sync(report, folder)
        self._tell_log(report)
        tell_disk(report, folder)

    def _tell_log(self, report: DoctorReport) -> None:
        try:
            size = os.stat(os.path.realpath(self._path) + "-wal").st_size
        except OSError:
            return
        report.facts["log_bytes"] = size
        if size > LARGE_LOG:
            advice = "A reader that never ends keeps it from being written into the file: look for one."
            report.add("log", "warning", f"its write-ahead log has {size:,} bytes.", advice)

    # ------------------------------------------------------------------- integrity

    def own_checks(self, repair: bool) -> Session[list[IntegrityFinding]]:
        """Return what SQLite says of its pages, and rows that belong to nothing."""
        found: list[IntegrityFinding] = []
        try:
            tables = [str(name) for [name] in (yield Step(partial(_rows, _TABLES)))]
        except StoreCorrupt as error:
            return [IntegrityFinding("store", str(error), advice=BACKUP)]
        for table in tables:
            found += yield from self._check_table(table)
        found += yield from self._lost_lists()
        found += yield from self._listed()
        is_sound = not any(each.is_problem for each in found)
        return found + (yield from look_at_strays(self, STRAYS, repair and is_sound, BACKUP))

    def relink(self, thread: str) -> Session[None]:
        """Make the last commit of each of a thread's namespaces its head."""
        yield Step(partial(self._backend.relink, thread), thread, write=True)

    def recount(self, count: Count) -> Session[bool]:
        """Count what a thread holds, and note that on its row."""
        return bool((yield Step(partial(self._backend.recount, count.thread, count.seq), count.thread, write=True)))

    def _check_table(self, table: str) -> Session[list[IntegrityFinding]]:
        try:
            try:
                rows = yield Step(partial(_rows, f"PRAGMA integrity_check('{table}')"))
            except StoreUnavailable:  # it computes for too long, most of that for indexes
                rows = yield Step(partial(_rows, f"PRAGMA quick_check('{table}')"))
        except StoreCorrupt as error:
            return [IntegrityFinding("store", f"table {table}: {error}", advice=BACKUP)]
        except StoreUnavailable as error:
            note = f"table {table} is too large to be checked in one go: {error}"
            return [IntegrityFinding("store", note, "note", advice="Use PRAGMA quick_check in SQLite's own shell.")]
        said = [str(text) for [text] in rows if text != "ok"]
        lines = [line for text in said for line in text.splitlines() if not line.startswith("***")]
        return [IntegrityFinding("store", f"table {table}: {line}", advice=BACKUP) for line in lines[:MOST]]

    def _lost_lists(self) -> Session[list[IntegrityFinding]]:
        """Return the threads whose row of a message list is there, and the list is not: it stays when it is emptied."""
        try:
            rows = yield Step(partial(_rows, _LOST_LISTS))
        except (StoreCorrupt, StoreUnavailable):  # which the table's own check tells
            return []
        return [lost_list(name, BACKUP) for [name] in rows]

    def _listed(self) -> Session[list[IntegrityFinding]]:
        try:
            return (yield from look_at_listed(_read, "", BACKUP))
        except StoreCorrupt:  # which the table's own check tells
            return []
        except StoreUnavailable as error:  # it computes for too long
            return [IntegrityFinding("store", f"the names of threads could not be compared: {error}", "note")]

    def count(self, stray: Stray) -> Session[int]:
        """Count rows that belong to nothing."""
        [[count]] = yield Step(partial(_rows, f"SELECT count(*) FROM {stray.table} r WHERE {stray.lacks()}"))
        return int(count)

    def remove(self, stray: Stray, start: Any) -> Session[Any]:
        """Remove some of them, from an owner on: they are looked for while others may write."""
        keys = ", ".join(KEYS.get(stray.table, ("key",)))
        found = yield Step(
            partial(
                _rows,
                f"SELECT r.{stray.owner}, {keys} FROM {stray.table} r WHERE r.{stray.owner} >= ? AND {stray.lacks()} "
                f"ORDER BY r.{stray.owner} LIMIT {BATCH}",
                (start,),
            )
        )
        if found:
            named = " AND ".join(f"r.{key} = ?" for key in keys.split(", "))
            delete = f"DELETE FROM {stray.table} AS r WHERE {named} AND {stray.lacks()}"
            yield Step(partial(_changed, delete, [row[1:] for row in found]), write=True)
        return found[-1][0] if len(found) == BATCH else None


_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND rootpage > 0 ORDER BY name"
)


_LOST_LISTS = f"""
    SELECT t.name FROM thread t WHERE t.kind = {MESSAGES} AND t.name IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM message_list WHERE thread = t.key)
    AND (NOT EXISTS (SELECT 1 FROM message_batch WHERE thread = t.key)
        OR EXISTS (SELECT 1 FROM chunk WHERE thread = t.key)) LIMIT 1000"""


def _computed(work: Any) -> Plan[Any]:
    return (yield Compute(work))


def _rows(text: str, params: Sequence[Any] = ()) -> Plan[list[Any]]:
    rows: list[Any] = yield Sql(text, params)
    return rows


def _read(text: str) -> Session[list[Any]]:
    found: list[Any] = yield Step(partial(_rows, text))
    return found


def _changed(text: str, params: Sequence[Any]) -> Plan[int]:
    count: int = yield Sql(text, params, many=True)
    return count
