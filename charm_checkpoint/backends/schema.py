"""The tables of the SQL stores, as migrations for SQLite.

Whatever text a user chooses (thread ids, namespaces) is kept as bytes, so that any code point
fits, and stands once: elsewhere a small integer key stands for it.
"""

from __future__ import annotations

from charm_checkpoint.migrate import Migration

APPLICATION_ID = 0x63686370
"""Marks a SQLite file as ours ("chcp"); see ``PRAGMA application_id``."""

MIGRATIONS = (
    Migration(
        1,
        "first tables",
        (
            """CREATE TABLE migration (
                version INTEGER PRIMARY KEY,
                name TEXT NOT NULL,
                applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
            ) STRICT""",
            # identity: a hash of tenant, kind and name, so that a deleted thread is still known
            # when its name is gone. kind: 0 holds checkpoints, 1 a message list. touched_at is
            # behind by a minute at most.
            """CREATE TABLE thread (
                key INTEGER PRIMARY KEY,
                identity BLOB NOT NULL UNIQUE,
                tenant BLOB NOT NULL,
                kind INTEGER NOT NULL,
                name BLOB,
                sweeps INTEGER NOT NULL DEFAULT 0,
                deletes INTEGER NOT NULL DEFAULT 0,
                touched_at INTEGER NOT NULL DEFAULT 0
            ) STRICT""",
            # A namespace other than "". Elsewhere, where it says space, -key stands for it, and
            # the key of a thread for that thread's namespace "".
            """CREATE TABLE space (
                key INTEGER PRIMARY KEY,
                thread INTEGER NOT NULL,
                ns BLOB NOT NULL,
                UNIQUE (thread, ns)
            ) STRICT""",
            # key is the commit number, previous that of the commit before it in its space: so a
            # space is listed without an index. Every page that a commit touches is written to the
            # log and then to the file; a put touches two, the last of this table and one of entry.
            """CREATE TABLE checkpoint (
                key INTEGER PRIMARY KEY,
                space INTEGER NOT NULL,
                previous INTEGER,
                id BLOB NOT NULL,
                parent BLOB,
                run BLOB,
                conflict BLOB,
                tags BLOB NOT NULL,
                roots BLOB NOT NULL,
                body BLOB NOT NULL
            ) STRICT""",
            # The key of each checkpoint by its id. The entry whose id is x'ff' sorts behind all
            # others of its space, so it mostly shares a page with the latest: it has the key of the
            # space's head, None if there is none, and in a thread's own space the thread's seq.
            """CREATE TABLE entry (
                space INTEGER NOT NULL,
                id BLOB NOT NULL,
                checkpoint INTEGER,
                seq INTEGER,
                PRIMARY KEY (space, id)
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX checkpoint_run ON checkpoint (run) WHERE run IS NOT NULL",
            # number is the thread's seq under which it was put.
            """CREATE TABLE write (
                space INTEGER NOT NULL,
                id BLOB NOT NULL,
                number INTEGER NOT NULL,
                body BLOB NOT NULL,
                PRIMARY KEY (space, id, number)
            ) STRICT, WITHOUT ROWID""",
            """CREATE TABLE chunk (
                key INTEGER PRIMARY KEY,
                thread INTEGER NOT NULL,
                address BLOB NOT NULL,
                refs BLOB NOT NULL,
                data BLOB NOT NULL,
                UNIQUE (thread, address)
            ) STRICT""",
            """CREATE TABLE message (
                thread INTEGER PRIMARY KEY,
                revision INTEGER NOT NULL,
                roots BLOB NOT NULL,
                body BLOB
            ) STRICT""",
        ),
    ),
)
