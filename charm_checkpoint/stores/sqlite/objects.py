"""What else is in a SQLite file: triggers, views and the like on our tables, which run as we use these.

Whoever may write to the file can give our tables triggers, that keep what is deleted or never end, put views in their
place, or have them made anew with other rules. SQLite runs all of that with our rights. So what the file says of our
tables has to be what the migrations make, and is looked at by each connection when it is opened, and again, before it
commits anything, when the file's schema has changed. Other tables, and what belongs to them, are not our business, and
neither is an index of columns as they are: it only sorts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing
from functools import cache, partial
from time import thread_time
from typing import NamedTuple

from charm_checkpoint.errors import SchemaMismatch
from charm_checkpoint.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS

LONGEST = 30.0
"""Seconds that a statement may compute, unless the store's time-out is longer; waiting for the disk is not counted."""

LOOKS = 10_000
"""Steps of SQLite's machine between looks at the clock: some tenths of a millisecond."""

_CHANGES = frozenset({1, 2, 10, 11, 16, 17, 26, 27})
"""Codes of what an authorizer is told of changes of the schema: only migrations prepare such statements."""


class Watch:
    """What is noted of a connection: whether it prepared a statement since its last look, and how long one computes.

    What SQLite calls are generators: an interrupt that comes while they run is raised inside of them, and kept. From a
    function it would go to the module ``sqlite3``, which takes it for a no and forgets it.
    """

    __slots__ = ("began", "broke", "changing", "limit", "prepared", "version")

    def __init__(self) -> None:
        self.limit = 0.0
        self.began: float | None = None
        self.broke: BaseException | None = None
        self.changing = False
        self.prepared = True
        self.version = -1

    def notes(self) -> Generator[int, object, None]:
        """Note that a statement is prepared, which happens anew when the schema has changed; yield 0 for a yes."""
        no = 0
        while True:
            try:
                while True:
                    action = yield no
                    self.prepared = True
                    if action in _CHANGES:
                        self.changing = True
                    no = no + 1 if self.broke else 0
            except GeneratorExit:
                return
            except BaseException as error:
                self.broke, no = error, no + 1

    def looks(self) -> Generator[int, None, None]:
        """Yield, for a progress handler, whether to end a statement, one that computes for too long."""
        end = 0
        while True:
            try:
                while True:
                    yield end
                    end = int(self._is_late())
            except GeneratorExit:
                return
            except BaseException as error:
                self.broke, end = error, 1

    def _is_late(self) -> bool:
        if self.changing:  # a migration of a large file takes what it takes
            return False
        now = thread_time()
        if self.began is None:
            self.began = now
        return now - self.began > self.limit

    def tell(self) -> None:
        """Raise the interrupt that came while SQLite called this, if one did."""
        broke, self.broke = self.broke, None
        if broke is not None:
            raise broke


def guard(connection: sqlite3.Connection, watch: Watch, timeout: float) -> None:
    """Have SQLite do for nobody else what it need not, and note what a new connection does."""
    watch.limit = max(timeout, LONGEST)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA foreign_keys = OFF")  # which others' tables may have on ours
    for name, value in (("DEFENSIVE", True), ("ENABLE_TRIGGER", False), ("ENABLE_VIEW", False)):
        code = getattr(sqlite3, f"SQLITE_DBCONFIG_{name}", None)
        if code is not None:  # from Python 3.12 on
            connection.setconfig(code, value)  # type: ignore[attr-defined,unused-ignore]
    notes, looks = watch.notes(), watch.looks()
    next(notes), next(looks)
    # Steps of C: the largest of 0 and what the authorizer is told is 0, the first, if each gets a 0.
    connection.set_authorizer(partial(max, 0, key=notes.send))
    connection.set_progress_handler(looks.__next__, LOOKS)


def check(connection: sqlite3.Connection, watch: Watch, path: str) -> None:
    """Raise `SchemaMismatch` if our tables are not as they were made, unless that was looked at; in a transaction."""
    [[version]] = connection.execute("PRAGMA schema_version").fetchall()
    if version != watch.version:
        _check_objects(connection, path)
        watch.version = version
    watch.prepared = watch.changing = False


def is_past_all(error: Exception) -> bool:
    """Tell whether a number would have gone beyond those of SQLite: one that a call is given is looked at before."""
    return isinstance(error, OverflowError) or "cannot store REAL value in INTEGER" in str(error)


class Entry(NamedTuple):
    """What a file says of a table, an index, a trigger or a view."""

    type: str
    name: str
    sql: str


def _check_objects(connection: sqlite3.Connection, path: str) -> None:
    [[owner]] = connection.execute("PRAGMA application_id").fetchall()
    [[version]] = connection.execute("PRAGMA user_version").fetchall()
    if owner != APPLICATION_ID or not 0 <= version <= MIGRATIONS[-1].version:
        return  # it is another program's or a newer version's, and refused for that
    made = _made(version)
    names = {entry.name for entry in made or _made(MIGRATIONS[-1].version)}
    found = _entries(connection, names)
    odd = sorted(entry for entry in found - made if entry.name.lower() in names or not _only_sorts(connection, entry))
    if odd:
        shown = ", ".join(f"the {entry.type} {ascii(entry.name)}" for entry in odd[:5])
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise SchemaMismatch(
            f"{path} has, of the tables of charm_checkpoint, what was not made like that: {shown}{more}. It would "
            "run as this program uses the file, so nothing was done. Find out who made it; drop it, as in DROP "
            f"{odd[0].type.upper()} name, if it may go, or take a backup."
        )


def _only_sorts(connection: sqlite3.Connection, entry: Entry) -> bool:
    """Tell whether something is an index of columns as they are, which runs nothing and refuses nothing.

    Administrators make such ones, to make a query of theirs faster.
    """
    if entry.type != "index":
        return False
    kinds = connection.execute(
        'SELECT l."unique" OR l.partial FROM sqlite_master m, pragma_index_list(m.tbl_name) l '
        "WHERE m.type = 'index' AND m.name = ?1 AND l.name = m.name",
        (entry.name,),
    ).fetchall()
    columns = connection.execute("SELECT cid, upper(coll) FROM pragma_index_xinfo(?)", (entry.name,)).fetchall()
    return kinds == [(0,)] and bool(columns) and all(cid >= -1 and order in _ORDERS for cid, order in columns)


_ORDERS = frozenset({"BINARY", "NOCASE", "RTRIM"})
"""The orders that SQLite has itself; one that a program made is not there for others, who can then write nothing."""


@cache
def _made(version: int) -> frozenset[Entry]:
    """Return what the migrations up to a version make."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for migration in MIGRATIONS[:version]:
            for statement in migration.statements:
                connection.execute(statement)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return frozenset(_entries(connection, [name for (name,) in tables]))


def _entries(connection: sqlite3.Connection, names: Iterable[str]) -> set[Entry]:
    """Return what there is of tables of these names, and under these names."""
    wanted = sorted(names)
    marks = ", ".join("?" * len(wanted))
    rows = connection.execute(
        "SELECT type, CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_master "
        f"WHERE lower(tbl_name) IN ({marks}) OR lower(name) IN ({marks})",
        wanted * 2,
    )
    return {Entry(type, _text(name), _bare(_text(sql))) for type, name, sql in rows}


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "backslashreplace")


def _bare(sql: str) -> str:
    """Return a statement without blanks and quotes: SQLite puts some in when a table is given another name."""
    return "".join(sql.translate(_QUOTES).split())


_QUOTES = dict.fromkeys(map(ord, '"`[]'))
