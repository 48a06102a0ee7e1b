"""SQLSTATEs that both roads to Postgres tell apart, its own and Supabase's API.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

NOT_DONE = frozenset({"40001", "40P01", "53300", "55P03", "57P03"})
"""Serialization failure, deadlock, too many connections, lock timeout, starting up: nothing was done."""

UNAVAILABLE = frozenset({"53000", "53100", "53200", "53400", "58000", "58030"})
"""No memory, no room on the disk, and the like."""

CANCELED = frozenset({"57014", "25P04"})
"""The server ended the statement: it took longer than `statement_timeout` or the like, or somebody asked for that."""

MISSING = frozenset({"3F000", "42P01", "42883", "42703"})
"""No such schema, table, function or column."""

NO_RIGHTS = "42501"

READ_ONLY = "25006"

TOO_LARGE = "22003"
"""A number went beyond those of its column: one that a call is given is looked at before."""
