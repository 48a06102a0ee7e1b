"""What is used of redis-py's connections beyond their public interface, all of it.

Nothing public does the same in every version: a blocking connection waits as long as it was told when it connected; an
async one is closed by a coroutine, which needs an event loop that runs; and what it has received is asked for by
reading it. pyproject.toml bounds the versions, and tests/test_redis_client.py tries each of these with the one that is
installed.
"""

from __future__ import annotations

from typing import Any


def is_open(connection: Any) -> bool:
    """Tell whether a connection, blocking or async, has not been closed here."""
    # Public as `is_connected`, which blocking ones of redis-py 5 and 6 lack.
    return (getattr(connection, "_sock", None) or getattr(connection, "_writer", None)) is not None


def set_timeout(connection: Any, seconds: float) -> None:
    """Have a blocking connection wait so long for each thing that it sends or reads."""
    connection._sock.settimeout(seconds)


def take_writer(connection: Any) -> Any:
    """Take the stream out of an async connection, which then passes for closed; None if it is closed already."""
    writer, connection._reader, connection._writer = connection._writer, None, None
    return writer


def is_quiet(connection: Any) -> bool:
    """Tell whether an async connection is open at both ends and has received nothing that was not read."""
    reader = connection._reader
    return reader is not None and not reader.at_eof() and not reader._buffer
