"""Namespaces of items as paths of bytes, and back; pure."""

from __future__ import annotations

from typing import Final

ITEMS: Final = b"i"
"""Begins the path of every namespace of items."""
CACHE: Final = b"c"
"""Begins the path of what caches keep, which no search comes across."""
EMBEDDINGS: Final = b"e"
"""Begins the path of vectors that models have made of texts."""

INDEXES: Final = b"n"
"""Begins the path of indexes that searches keep."""

UPKEEP: Final = b"u"
"""Begins the path of what programs note for each other of a store's upkeep."""

OWN: Final = (CACHE, EMBEDDINGS, INDEXES, UPKEEP)
"""What begins the paths of what programs keep in a store for themselves, and can lose: no item of a user's."""

_END = b"\0"


def path_of(namespace: tuple[str, ...], realm: bytes = ITEMS) -> bytes:
    """Return a namespace's path: that of each namespace above begins it, and paths sort as namespaces do.

    Labels are text without NUL, lone surrogates included.
    """
    return realm + b"".join(label.encode("utf-8", "surrogatepass") + _END for label in namespace)


def namespace_of(path: bytes) -> tuple[str, ...]:
    """Undo `path_of`."""
    return tuple(label.decode("utf-8", "surrogatepass") for label in path[1:].split(_END)[:-1])
