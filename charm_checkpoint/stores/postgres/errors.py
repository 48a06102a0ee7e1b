"""Errors of Postgres and psycopg, as this package's errors.

An error of an established connection has an SQLSTATE, or none when the connection was lost. One of a connection that
could not be made never has: there, libpq keeps the server's words and drops its code. So those words are read, after
what comes before them and without the names in them, which may be any.
"""

from __future__ import annotations

import os
import re
import socket

import psycopg

from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import (
    CharmError,
    LoginRefused,
    ReadOnlyStore,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from charm_checkpoint.stores.postgres_schema.sqlstates import (
    CANCELED,
    MISSING,
    NO_RIGHTS,
    NOT_DONE,
    READ_ONLY,
    TOO_LARGE,
    UNAVAILABLE,
)

PERHAPS_DONE = frozenset({"57P01", "57P02", "57P05", "25P02", "26000", "42P05"})
"""Shutdown, crash, idle timeout; and what poolers make of a connection they gave to another client."""

_WRONG_LOGIN = frozenset({"28000", "28P01", "3D000"})

LOGIN = "check user, password and database name"
_SETTING = (
    "take this setting out of the URL (options= and the like), or have the pooler ignore it "
    "(PgBouncer: ignore_startup_parameters)"
)
_POOLING = (
    "this pooler has no transactions: give it pool_mode = transaction, or set up the schema by a direct connection, or "
    "with the script that `charm-checkpoint schema` prints"
)

_LASTING = {
    "replication connection": "take replication= out of the URL",
    "authentication method requirement": "require_auth= in the URL does not allow what the server asks for",
    "invalid sslmode value": "it is disable, allow, prefer, require (no-verify elsewhere), verify-ca or verify-full",
    r"invalid integer value|invalid \w+ value: ": "correct this setting in the URL",
    "[Pp]ermission denied\\s+Is the server running|Not a directory": "check the folder that host= names",
    "unsupported startup parameter|unrecognized configuration parameter|invalid value for parameter"
    "|invalid command-line argument|permission denied to set parameter|requires a value": _SETTING,
    "statement pooling mode": _POOLING,
    "does not support SSL": "use a server with TLS, or sslmode=prefer or disable where the network is safe",
    "certificate|private key|SSL error: (?!unexpected eof|.*alert internal error)|SSL negotiation|channel binding"
    "|SSL (connection )?(is )?required|requires (SSL|TLS|encryption)"
    "|sslmode|no encryption": "check sslmode=, sslrootcert= and the certificates",
    "authentication failed|does not exist|no password supplied|pg_hba.conf|not permitted to log in|not supported"
    "|permission denied for database|not currently accepting connections|no such (user|database)|config error"
    "|no PostgreSQL user name|(user|tenant) not found|authentication method|unsupported frontend protocol"
    "|none of the server's SASL|not allowed|[Ee]ndpoint ID is not specified": LOGIN,
}
"""Words of errors that do not pass by themselves, and what to change; the first match counts."""

_PASSING = re.compile(
    "starting up|shut(ting)? ?down|not yet accepting|recovery|too many|remaining connection slots|max(imum)? client"
    "|terminating connection|try again|timeout|crash|no more connections|login has been failing",
    re.IGNORECASE,
)
"""Words of a server or a pooler that is busy, starting or shutting down."""

# psycopg looks up the names of hosts itself.
_UNRESOLVED = re.compile(r"failed to resolve host .*: \[Errno (-?\d+)\]", re.DOTALL)
_CONNECTING = re.compile(r'connection to server (?:at "[^"]*"(?: \([^)]*\))?, port \S+|on socket "[^"]*") failed: ')
_SOCKET = re.compile('on socket "(/[^"]*)" failed: No such file')
_NAME = re.compile(r'"[^"]*"')


class NoAnswer(psycopg.OperationalError):
    """Nothing came from the server in time."""


def is_connecting(error: Exception) -> bool:
    """Tell whether no connection could be had, so that nothing was done."""
    if isinstance(error, psycopg.errors.ConnectionTimeout) or type(error).__module__.startswith("psycopg_pool"):
        return True
    # A wrong value in the connection string is found before there is anything to have failed.
    wrong = isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
    return getattr(error, "pgconn", None) is not None or wrong or bool(_UNRESOLVED.match(str(error)))


def may_pass(error: Exception) -> bool:
    """Tell whether a connection that could not be made may be made later: a name or a login that is wrong stays wrong.

    Of several addresses that were tried, one that will never do is told.
    """
    text = str(error)
    if not isinstance(error, psycopg.OperationalError) or type(error).__name__ == "PoolClosed":
        return False
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return True
    if unresolved := _UNRESOLVED.match(text):
        return int(unresolved[1]) == socket.EAI_AGAIN
    if _advice(error) is not None or (text.startswith("connection is bad: ") and not _CONNECTING.search(text)):
        return False
    # In another language, perhaps: whoever was given the password and refused then did not like it.
    asked = getattr(error.pgconn, "used_password", False) and "FATAL" in text
    return not asked or any(map(_PASSING.search, _words(error)))


def lacks_folder(error: Exception) -> bool:
    """Tell whether there is not even the folder that a server's socket would be in."""
    found = _SOCKET.search(str(error))
    return found is not None and not os.path.isdir(os.path.dirname(found[1]))


def is_refused(error: Exception) -> bool:
    """Tell whether a connection's end says what is wrong with it: a pooler's refusal, which comes at any time."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith("08") and _advice(error) is not None


def is_scarce(error: Exception) -> bool:
    """Tell whether it may be for want of a session that there is no answer."""
    if getattr(error, "sqlstate", None) == "53300" or isinstance(error, NoAnswer):
        return True
    return is_connecting(error) and bool(re.search("too many|connection slots|max(imum)? client|no more", str(error)))


def is_lost(error: Exception) -> bool:
    """Tell whether an established connection is to blame, so that nobody knows what was done."""
    if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return False
    state = error.sqlstate
    return state is None or state in PERHAPS_DONE or (state.startswith("08") and not is_refused(error))


def _words(error: Exception) -> list[str]:
    """Return what was said of each address that was tried, without names."""
    parts = _CONNECTING.split(str(error))
    return [_NAME.sub('""', part) for part in parts[len(parts) > 1 :]]


def _advice(error: Exception) -> str | None:
    """Return what to change, None for what may pass by itself."""
    for words in _words(error):
        if not _PASSING.search(words):
            for pattern, advice in _LASTING.items():
                if re.search(pattern, words):
                    return advice
    return None


def said(error: Exception) -> str:
    """Return an error's text in one line, without secrets, and without the statement it came of."""
    diag = getattr(error, "diag", None)
    text = (diag and diag.message_primary) or str(error)
    return mask(" ".join(text.split())) or type(error).__name__


def translate(place: str, error: Exception) -> CharmError:
    """Return the error to raise for one of psycopg's; ``place`` names the server, without secrets."""
    text = said(error)
    state = getattr(error, "sqlstate", None) or ""
    if is_connecting(error) or is_refused(error):
        return _unconnected(place, error, text)
    if state in _WRONG_LOGIN:
        return LoginRefused(f"{place} refused the login: {text}; {LOGIN}")
    if state == READ_ONLY:
        return ReadOnlyStore(f"{place} is read-only: {text}; name the primary server")
    if state == NO_RIGHTS:
        return StoreError(
            f"{place}: this user lacks rights: {text}. Grant them, or let the owner run the script that "
            "`charm-checkpoint schema` prints"
        )
    if state in MISSING:
        return SchemaMismatch(f"{place} has no schema of charm_checkpoint, or half of one; run setup(): {text}")
    if state in UNAVAILABLE:
        return StoreUnavailable(f"{place} has no room: {text}; nothing was written")
    if state in CANCELED:
        return StoreUnavailable(f"{place} cannot do it now: {text}; nothing was written")
    if is_lost(error) or state in NOT_DONE:
        return StoreUnavailable(f"{place} does not answer: {text}")
    if state == TOO_LARGE:
        return StoreCorrupt(f"{place} holds a number than which there is none larger, so nothing was written: {text}")
    return StoreError(f"{place}: {text}")


def _unconnected(place: str, error: Exception, text: str) -> CharmError:
    if _UNRESOLVED.match(str(error)):
        passing = may_pass(error)
        return StoreUnavailable(f"{place} does not answer: {text}{'' if passing else '; check the name of the host'}")
    if is_connecting(error) and may_pass(error):
        return StoreUnavailable(f"{place} does not answer: {text}")
    advice = _advice(error) or (LOGIN if "FATAL" in text else "")
    if advice == LOGIN:
        return LoginRefused(f"{place} refused the login: {text}; {LOGIN}")
    return StoreUnavailable(f"{place} cannot be connected to: {text}{advice and f'; {advice}'}")
