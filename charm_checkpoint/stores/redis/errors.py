"""Errors of the `redis` package and its servers: whether to try again, and which of this package's errors to raise."""

from __future__ import annotations

import asyncio
import random
import re

from redis import exceptions

from charm_checkpoint.config.masking import mask
from charm_checkpoint.errors import LoginRefused, ReadOnlyStore, StoreCorrupt, StoreError, StoreUnavailable
from charm_checkpoint.runtime.clock import monotonic
from charm_checkpoint.stores.redis.connect_errors import LastingError

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5
"""Seconds between two attempts."""
READ_ONLY_FOR = 1.0
"""Seconds for which a server that was the primary may say that it is a replica before it is believed."""

RAISED = (exceptions.RedisError, exceptions.RedisClusterException, OSError, asyncio.TimeoutError)
"""Errors that the client's calls may raise."""

_CHANGING_ROLES = (
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.ClusterError,
    exceptions.MasterDownError,
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.RedisClusterException,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
)
NO_CONNECTION = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, asyncio.TimeoutError)
"""Errors for a connection that cannot be made, or was lost."""

REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Errors for a wrong login."""

_KINDS: dict[str, type[Exception]] = {
    "READONLY": exceptions.ReadOnlyError,
    "OOM": exceptions.OutOfMemoryError,
    "NOPERM": exceptions.NoPermissionError,
}
"""Codes that the client takes off a message where it has a class for them."""


class RetryPolicy:
    """Decides, for one operation, whether to try again after an error, and when.

    ``again`` says whether it may have been executed. ``kind`` is the endpoint's: where it is plain, nobody will name
    another server.
    """

    def __init__(self, where: str, timeout: float, kind: str) -> None:
        self.again = False
        self._where = where
        self._kind = kind
        self._began = monotonic()
        self._timeout = timeout
        self._pause = FIRST_PAUSE

    def after(self, error: Exception) -> float:
        """Return the seconds to wait before the next attempt; raises a `StoreError` when there is to be none."""
        spent = monotonic() - self._began
        replica = self._kind == "plain" and says(error, "READONLY")
        limit = min(READ_ONLY_FOR, self._timeout) if replica else self._timeout
        mistaken = mistake(error, self._kind)
        if mistaken or not is_passing(error) or spent >= limit:
            raise translated(self._where, error, spent, mistaken) from error
        self.again = self.again or isinstance(error, NO_CONNECTION)
        pause = min(self._pause * random.uniform(0.5, 1.5), limit - spent)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause


def is_passing(error: Exception) -> bool:
    """Tell whether an error may be gone in a moment."""
    if isinstance(error, (*REFUSED, LastingError)) or says(error, "NOAUTH", "WRONGPASS"):
        return False
    return isinstance(error, (*_CHANGING_ROLES, *NO_CONNECTION)) or says(
        error, "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MOVED", "ASK"
    )


def says(error: Exception, *words: str) -> bool:
    """Look for the server's error codes, which scripts put into the middle of their own message."""
    if type(error) in _OWN_WORDS or isinstance(error, OSError):
        return False
    text = str(error)
    return any(isinstance(error, _KINDS.get(word, ())) or re.search(rf"(?<![\w.'-])-?{word}\b", text) for word in words)


_OWN_WORDS = (exceptions.ConnectionError, exceptions.TimeoutError, LastingError)
"""Errors whose words are the client's: names of hosts are among them."""


def mistake(error: Exception, kind: str) -> str:
    """Return what the URL should say instead if an error shows it to name another kind of server; else nothing."""
    text = str(error)
    if kind != "cluster" and (isinstance(error, exceptions.AskError) or says(error, "MOVED", "ASK")):
        return "this server is a node of a cluster: use redis+cluster://"
    if kind == "cluster" and ("cluster support disabled" in text or "unknown command 'CLUSTER'" in text):
        return "this server is not part of a cluster: use redis:// (rediss:// with TLS)"
    if kind == "sentinel" and "unknown command 'SENTINEL'" in text:
        return "this server is no sentinel: name the sentinels, which have port 26379, or use redis:// for one server"
    if kind == "plain" and "unknown command" in text:
        return "if it is a sentinel, use redis+sentinel://host:26379/name-of-the-service"
    return ""


def translated(where: str, error: Exception, spent: float, mistaken: str = "") -> StoreError:
    """Return an error of the client's as one of this package's."""
    if isinstance(error, LastingError):
        return StoreUnavailable(f"{where}: {error}")  # our own words
    said = f"{where}: {_cut(mask(str(error))) or type(error).__name__}"
    if mistaken:
        return StoreUnavailable(f"{said}; {mistaken}")
    if isinstance(error, REFUSED) or says(error, "NOAUTH", "WRONGPASS"):
        return LoginRefused(f"{said}; check user and password")
    if "DB index is out of range" in str(error):
        return StoreUnavailable(
            f"{said}; take a lower number for db=, or at the end of the URL: most servers have 0 to 15"
        )
    if isinstance(error, exceptions.InvalidResponse):
        return StoreUnavailable(f"{said}; is this the port of a Redis server?")
    if says(error, "DENIED"):
        return StoreUnavailable(f"{said}; give the server a password, and name it in the URL")
    if says(error, "READONLY"):
        return ReadOnlyStore(f"{said}; it is a read-only replica: name the primary, or use redis+sentinel://")
    if says(error, "OOM"):
        return StoreUnavailable(
            f"{where}: the server has reached its maxmemory; nothing was written. Delete or prune threads, set ttl=, "
            "or give it more memory."
        )
    if says(error, "NOREPLICAS", "MISCONF"):
        return StoreUnavailable(f"{said}; nothing was written")
    if says(error, "WRONGTYPE"):
        return StoreCorrupt(f"{said}; another program uses this key: choose another prefix=")
    if _MISFIT.search(str(error)):
        return StoreCorrupt(f"{said}; what is stored in this key is not what a script expects: it is damaged")
    if is_forbidden(error):
        return StoreError(f"{said}; the user's ACL must allow its keys, EVALSHA, EVAL and the commands of the scripts")
    if is_passing(error):
        return StoreUnavailable(f"{said} (tried for {spent:.1f} s); is the server up? It is safe to try again.")
    return StoreError(said)


_MISFIT = re.compile(r"user_script:\d+: (?:attempt to |bad argument #|malformed )")
"""How Lua says that a script took something for what it is not."""


def is_forbidden(error: Exception) -> bool:
    """Tell whether the user's rights do not suffice."""
    # Inside a script there is no code, and Redis 7.0, 7.2 and Valkey have different words for it.
    return says(error, "NOPERM") or any(words in str(error) for words in ("ACL failure", "user executing the script"))


def refuses_writes(error: Exception) -> bool:
    """Tell whether a server is reached, and takes no writes: a replica's, this user's, or anybody's just now."""
    return is_forbidden(error) or says(error, "READONLY", "OOM", "MISCONF", "NOREPLICAS")


LONGEST = 300
"""Characters of what a server says that an error quotes; some explain at length."""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
