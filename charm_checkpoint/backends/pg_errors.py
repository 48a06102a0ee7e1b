"""What Postgres and psycopg say, in this package's errors."""

from __future__ import annotations

import psycopg

from charm_checkpoint.errors import CharmError, ReadOnlyStore, SchemaMismatch, StoreError, StoreUnavailable
from charm_checkpoint.masking import mask

NOT_DONE = frozenset({"40001", "40P01", "53300", "55P03", "57P03"})
"""Serialization failure, deadlock, too many connections, lock timeout, starting up: nothing was done."""

PERHAPS_DONE = frozenset({"57P01", "57P02", "57P05", "25P02", "26000", "42P05"})
"""Shutdown, crash, idle timeout; and what poolers make of a connection they gave to another client."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE = frozenset({"53000", "53100", "53200", "53400", "58000", "58030"})
_MISSING = frozenset({"3F000", "42P01", "42883", "42703"})
_WRONG_LOGIN = frozenset({"28000", "28P01", "3D000"})


def is_lost(error: Exception) -> bool:
    """Tell whether the connection is to blame, so that nobody knows what was done."""
    if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return False
    state = error.sqlstate
    return state is None or state.startswith("08") or state in PERHAPS_DONE


_LASTING = (
    "authentication failed", "does not exist", "no password supplied", "no such", "pg_hba.conf",
    "not permitted to log in", "translate host", "resolve host", "certificate", "SSL", "invalid", "the pool",
)  # fmt: skip


def may_pass(error: Exception) -> bool:
    """Tell whether a connection that was refused may be made later: a name or a login that is wrong stays wrong."""
    text = str(error)
    return not any(hint in text for hint in _LASTING)


def said(error: Exception) -> str:
    """Return an error's text in one line, without secrets."""
    return mask(" ".join(str(error).split())) or type(error).__name__


def translate(place: str, error: Exception) -> CharmError:
    """Return the error to raise for one of psycopg's; ``place`` names the server, without secrets."""
    text = said(error)
    state = getattr(error, "sqlstate", None) or ""
    if state in _WRONG_LOGIN or ("FATAL" in text and not may_pass(error)):
        return StoreUnavailable(f"{place} refused the login: {text}; check user, password and database name")
    if state == "25006":
        return ReadOnlyStore(f"{place} is read-only: {text}; name the primary server")
    if state == "42501":
        return StoreError(
            f"{place}: this user lacks rights: {text}. Grant them, or let the owner run the script that "
            "`charm-checkpoint schema` prints"
        )
    if state in _MISSING:
        return SchemaMismatch(f"{place} has no schema of charm_checkpoint, or half of one; run setup(): {text}")
    if state in _UNAVAILABLE:
        return StoreUnavailable(f"{place} has no room: {text}; nothing was written")
    if is_lost(error) or state in NOT_DONE:
        return StoreUnavailable(f"{place} does not answer: {text}")
    return StoreError(f"{place}: {text}")
