"""Memory providers: one class a store, for programs that name a class instead of a URL.

``provider`` is the URL scheme of the store, ``default_url`` the store used when the config has no
``url``.
"""

from __future__ import annotations

from typing import ClassVar

from charm_checkpoint.memory import Memory


class SqliteMemory(Memory):
    """Keep memory in a SQLite file."""

    provider: ClassVar[str] = "sqlite"
    default_url: ClassVar[str] = "sqlite:///charm.db"


class RamMemory(Memory):
    """Keep memory in this process only; it is gone when the process ends."""

    provider: ClassVar[str] = "memory"
    default_url: ClassVar[str] = "memory://"


class LocalMemory(Memory):
    """Keep memory in plain files in a folder."""

    provider: ClassVar[str] = "file"
    default_url: ClassVar[str] = "file://"
