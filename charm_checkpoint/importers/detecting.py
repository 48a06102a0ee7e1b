"""Whose file a file is."""

from __future__ import annotations

from charm_checkpoint.errors import ConfigError, SchemaMismatch, StoreError
from charm_checkpoint.importers.decoding import OfficialDecoder
from charm_checkpoint.importers.sqlite import SqliteSource


def is_sqlite_saver(path: str) -> bool:
    """Tell whether a file is a SqliteSaver's; one that cannot be read is nobody's."""
    try:
        SqliteSource(path, OfficialDecoder()).close()
    except (ConfigError, SchemaMismatch, StoreError):
        return False
    return True
