"""The tables of the SQLite store, as migrations for SQLite.

Whatever text a user chooses (thread ids, namespaces) is kept as bytes, so that any code point
fits, and stands once: elsewhere a small integer key stands for it.
"""

from __future__ import annotations

from charm_checkpoint.stores.shared.migrations import Migration

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
            # A namespace other than "". In this version, where it says space elsewhere, -key stands for it,
            # and the key of a thread for that thread's namespace "".
            """CREATE TABLE space (
                key INTEGER PRIMARY KEY,
                thread INTEGER NOT NULL,
                ns BLOB NOT NULL,
                UNIQUE (thread, ns)
            ) STRICT""",
            # key is the commit number, previous that of the commit before it in its space: so a
            # space is listed in order without an index.
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
            # The key of each checkpoint by its id. The entry whose id is x'ff' has the key of the
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
    Migration(
        2,
        "heads with their namespaces, batches of messages, notes of threads",
        (
            # Under its old name a program that was running meanwhile would find lists without their batches.
            "ALTER TABLE message RENAME TO message_list",
            # What was appended to a list since it was put, in order.
            """CREATE TABLE message_batch (
                thread INTEGER NOT NULL,
                number INTEGER NOT NULL,
                body BLOB NOT NULL,
                PRIMARY KEY (thread, number)
            ) STRICT, WITHOUT ROWID""",
            # The number of changes, and what listings show of a thread; see `Backend.threads`.
            "ALTER TABLE thread ADD COLUMN seq INTEGER NOT NULL DEFAULT 0",
            *(f"ALTER TABLE thread ADD COLUMN {name} BLOB" for name in ("title", "note", "writes_note")),
            "UPDATE thread SET seq = entry.seq FROM entry WHERE entry.space = thread.key AND entry.id = x'ff'",
            # Every namespace, "" included, with the key of its head. To keep all in two rows that share a page,
            # as the first version did, saved at most a twentieth of a whole put: some 70 microseconds of 1.3 to
            # 3.8 ms with synchronous=FULL on ext4, 1,000 puts in turn into either, within 1, 40 and 3,000 threads.
            "ALTER TABLE space RENAME TO former_space",
            """CREATE TABLE space (
                key INTEGER PRIMARY KEY,
                thread INTEGER NOT NULL,
                ns BLOB NOT NULL,
                head INTEGER,
                UNIQUE (thread, ns)
            ) STRICT""",
            # Keys stay as checkpoints and writes have them: those of the first version may be negative.
            "INSERT INTO space SELECT space, space, x'', checkpoint FROM entry WHERE space > 0 AND id = x'ff'",
            """INSERT INTO space SELECT -s.key, s.thread, s.ns, e.checkpoint FROM former_space s
                LEFT JOIN entry e ON e.space = -s.key AND e.id = x'ff'""",
            "DROP TABLE former_space",
            "CREATE INDEX checkpoint_id ON checkpoint (space, id)",
            "DROP TABLE entry",
        ),
    ),
    Migration(
        3,
        "items of long-term memory",
        (
            # A namespace that holds an item; the last one takes it along. stamp: that of its last change; removed:
            # that of the last removal in it, at first that of its first change; born: the number of the change that
            # made it, by which it is told from a former one of its path.
            """CREATE TABLE item_space (
                key INTEGER PRIMARY KEY,
                tenant BLOB NOT NULL,
                path BLOB NOT NULL,
                stamp INTEGER NOT NULL,
                removed INTEGER NOT NULL,
                born INTEGER NOT NULL,
                UNIQUE (tenant, path)
            ) STRICT""",
            # How often a tenant's items were changed: one look tells a search that nothing has.
            "CREATE TABLE item_changes (tenant BLOB PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID",
            # All that searching needs to know, side by side. key: of the rows below. created is NULL if it is the
            # same as updated, touched if updated is the stamp of the last change: as they are for most.
            """CREATE TABLE item (
                space INTEGER NOT NULL,
                name BLOB NOT NULL,
                key INTEGER NOT NULL,
                created INTEGER,
                updated INTEGER NOT NULL,
                touched INTEGER,
                ttl INTEGER,
                expires INTEGER,
                tags BLOB NOT NULL,
                entry BLOB NOT NULL,
                PRIMARY KEY (space, name)
            ) STRICT, WITHOUT ROWID""",
            # In rows of their own, values lie close together whatever vectors there are, and few pages go to waste.
            "CREATE TABLE item_value (item INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT",
            "CREATE TABLE item_vectors (item INTEGER PRIMARY KEY, vectors BLOB NOT NULL) STRICT",
            # Serves listings, counts, and what has changed. A page more for a put, a tenth of a millisecond at most,
            # against a look at all of a namespace's entries: 100,000 of them fill 10,000 pages and more.
            "CREATE INDEX item_order ON item (space, updated DESC, name, expires)",
            "CREATE INDEX item_touched ON item (space, touched) WHERE touched IS NOT NULL",
            "CREATE INDEX item_end ON item (expires) WHERE expires IS NOT NULL",
        ),
    ),
    Migration(
        4,
        "how much threads hold, pins, what is kept of erased ones",
        (
            # What listings show, so that they read no checkpoint: bytes of payload, checkpoints, the id of the root
            # namespace's head. All of it holds if counted is seq: a program of an earlier version moves only that.
            # In a file of an earlier version nothing is counted: it takes long in a large one, and is done bit by bit.
            "ALTER TABLE thread ADD COLUMN size INTEGER",
            "ALTER TABLE thread ADD COLUMN checkpoints INTEGER",
            "ALTER TABLE thread ADD COLUMN head BLOB",
            "ALTER TABLE thread ADD COLUMN counted INTEGER",
            "ALTER TABLE thread ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX thread_uncounted ON thread (key) WHERE kind = 0 AND counted IS NOT seq",
            # One row. secret: the key of the hashes under which erased threads are kept. sweeps: what a new thread's
            # begin with, so that none has those of an erased one of which nothing is kept.
            "CREATE TABLE erasure (secret BLOB NOT NULL, sweeps INTEGER NOT NULL) STRICT",
            "INSERT INTO erasure (secret, sweeps) VALUES (randomblob(32), 0)",
            # The counters of erased threads, those of their message lists too, until a second since 1970.
            """CREATE TABLE erased (
                mark BLOB PRIMARY KEY,
                tenant BLOB NOT NULL,
                until INTEGER NOT NULL,
                deletes INTEGER NOT NULL,
                sweeps INTEGER NOT NULL,
                seq INTEGER NOT NULL,
                list_sweeps INTEGER NOT NULL,
                revision INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX erased_until ON erased (until)",
        ),
    ),
)
