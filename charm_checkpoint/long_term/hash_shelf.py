"""Hashes of files kept beside memories: the next program on this machine need not read what was not changed."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import zlib
from pathlib import Path
from typing import Any, Final

from langgraph.store.base import PutOp

from charm_checkpoint.errors import StoreClosed, StoreError
from charm_checkpoint.items.flow import Flow
from charm_checkpoint.long_term.citations import HASHES
from charm_checkpoint.long_term.file_hashes import FileHashes
from charm_checkpoint.long_term.scope import Scope
from charm_checkpoint.long_term.steps import call

log = logging.getLogger("charm_checkpoint")

BUCKETS: Final = 16
"""In how many items the hashes are: a file that was changed has one of them be written anew."""
MINUTES: Final = 30 * 24 * 60.0
"""How long they are kept after they were used last: machines and folders come and go."""


class HashShelf:
    """The hashes of a project's files on this machine, as they are kept beside a scope's memories."""

    def __init__(self, scope: Scope, root: Path | None, hashes: FileHashes = HASHES) -> None:
        self._store = scope.store
        self._space = scope.side("hashes")
        self._root = None if root is None else os.path.realpath(root)
        self._hashes = hashes
        where = f"{platform.node()}\0{self._root}"
        self._machine = hashlib.sha256(where.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def load(self) -> Flow[None]:
        """Take over what is kept, once in a program: from then on it knows more itself."""
        here = (self._space, self._machine)
        if self._root is None or here in self._hashes.loaded:
            return
        wanted = [(self._space, self._key(bucket)) for bucket in range(BUCKETS)]
        items: list[Any] = yield call(self._store, "get_many", wanted, refresh_ttl=True)
        for item in items:
            if item is not None:
                self._hashes.load(item.value.get("files"), self._root)
        self._hashes.loaded.add(here)

    def save(self) -> Flow[None]:
        """Keep what has been read."""
        if self._root is None:
            return
        below = len(os.path.join(self._root, ""))
        changed = {_bucket(path[below:]) for path in self._hashes.changed(self._root)}
        if not changed:
            return
        puts = [PutOp(self._space, self._key(bucket), self._value(bucket), False, MINUTES) for bucket in changed]
        try:
            yield call(self._store, "batch", puts)
        except StoreClosed:
            raise
        except StoreError as error:
            log.warning("The hashes of cited files were not kept, so they will be read again: %s", error)

    def _key(self, bucket: int) -> str:
        return f"{self._machine} {bucket:02}"

    def _value(self, bucket: int) -> dict[str, Any]:
        assert self._root is not None
        # One text: a store would note each part of an object, to find items by it.
        return {"files": self._hashes.dump(self._root, lambda name: _bucket(name) == bucket)}


def _bucket(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) % BUCKETS
