"""What SQLite's errors mean, told apart by their messages: Python 3.10 has no codes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from charm_checkpoint.errors import (
    ReadOnlyStore,
    SchemaMismatch,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from charm_checkpoint.stores.sqlite.objects import is_past_all

RAISED = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What comes of SQLite's calls: the others when a message quotes a broken file, and of a number that went too far."""


def cannot_open(error: BaseException) -> bool:
    """Tell whether a file cannot be opened at all."""
    said = str(error)
    return isinstance(error, sqlite3.OperationalError) and ("unable to open" in said or "readonly" in said)


def is_busy(error: Exception) -> bool:
    """Tell whether another connection is in the way, now."""
    said = str(error)
    return "locked" in said or "busy" in said or "locking protocol" in said


def is_malformed(error: Exception) -> bool:
    """Tell whether a file is damaged."""
    said = str(error)
    return (
        "malformed" in said or "not a database" in said or isinstance(error, UnicodeDecodeError) or is_past_all(error)
    )


def translate(path: str, error: Exception, mode: str) -> StoreError:
    """Return the error of this package for one of SQLite's, in a file that was opened with ``mode``."""
    said = str(error)
    if is_busy(error):
        return StoreUnavailable(f"{path} stayed locked by another process; nothing was written: {said}")
    if "readonly" in said or ("unable to open" in said and _may_only_read(path)):
        why = "it was opened with mode=ro" if mode == "ro" else "to only read what is in it, open it with ?mode=ro"
        return ReadOnlyStore(f"{path} cannot be written: {said}; {why}")
    if "interrupted" in said:
        return StoreUnavailable(
            f"{path}: a statement was ended because it computed for too long; nothing was written. If the file is that "
            "large, raise timeout="
        )
    if "full" in said or "disk I/O" in said:
        return StoreUnavailable(f"{path}: {said}; nothing was written, free some room and try again")
    if "unable to open" in said:
        place = "file" if Path(path).parent.is_dir() else "folder"
        return StoreUnavailable(f"{path} cannot be opened: {said}; does the {place} exist, and may this user use it?")
    if is_past_all(error):
        return StoreCorrupt(f"{path} holds a number than which there is none larger, so nothing was written: {said}")
    if is_malformed(error):
        return StoreCorrupt(f"{path} is not a sound SQLite database: {said}")
    if "no such table" in said:
        return SchemaMismatch(f"{path} has no tables of charm_checkpoint yet; run setup() first: {said}")
    if "no such column" in said or "no such index" in said:
        return SchemaMismatch(f"{path} has the tables of another version of charm_checkpoint; run setup(): {said}")
    return StoreError(f"{path}: {said}")


def _may_only_read(path: str) -> bool:
    """Tell whether a file is there, and it or its folder, where its log has to be, cannot be written."""
    return os.access(path, os.R_OK) and not (os.access(path, os.W_OK) and os.access(Path(path).parent, os.W_OK))
