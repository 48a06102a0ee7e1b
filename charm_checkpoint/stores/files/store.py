"""The store of local files, opened: what a URL says of it, its folder, and where its plans run."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from charm_checkpoint.config.options import Location, Option, choice, duration, file_rights, text
from charm_checkpoint.errors import StoreClosed
from charm_checkpoint.plan import MakePlan, run
from charm_checkpoint.runtime.cache import Budget
from charm_checkpoint.runtime.lifecycle import closing_deadline
from charm_checkpoint.runtime.rights import Rights
from charm_checkpoint.runtime.worker_thread import ReadWriteThreads, aside
from charm_checkpoint.store import Store
from charm_checkpoint.stores.files.backend import FilesBackend
from charm_checkpoint.stores.files.disk import Disk
from charm_checkpoint.stores.files.folder import FolderWatch, translate
from charm_checkpoint.stores.files.items import FilesItems
from charm_checkpoint.stores.files.messages import MessageFiles
from charm_checkpoint.stores.files.place import folder_of
from charm_checkpoint.stores.files.spaces import Spaces
from charm_checkpoint.stores.files.threads import Threads

T = TypeVar("T")

OPTIONS = (
    Option(
        "synchronous",
        choice("full", "normal"),
        "full",
        "full: every commit is on disk; normal: power loss may undo the last ones",
    ),
    Option("timeout", duration, 30.0, "how long to wait for another writer"),
    Option(
        "file_mode",
        file_rights,
        None,
        "the rights of new files, as 0640, and of folders to match; else 0600, or as a store that exists has them",
    ),
    Option(
        "shared_messages_file",
        text,
        "",
        "one list of messages, in this file, that is every thread's, as CHARM_MEMORY_FILE means in Charm",
        env="CHARM_MEMORY_FILE",
        former=("memory_file",),
    ),
)
"""What a URL's query, a config or keywords may say about a store of local files."""

OURS, CHECKPOINT_FOLDER, MESSAGE_FOLDER, ITEM_FOLDER = ".charm", "checkpoints", "memory", "items"
"""Where everything is in the folder of a store, as Charm has it, and there the threads, their messages, and items."""


def open_store(location: Location, options: Mapping[str, Any]) -> Store:
    """Open the store in a folder, which is made when something is written.

    A URL that names no folder, ``file://``, means that of Charm's own local provider:
    ``$CHARM_WORKSPACE_DIR``, or ``workspace`` in the current folder.
    """
    folder = folder_of(location)
    ours, timeout = folder / OURS, options["timeout"]
    disk = Disk(options["synchronous"] == "full", Rights(options["file_mode"], ours))
    above, budget = FolderWatch(ours), Budget()
    files = MessageFiles(ours / MESSAGE_FOLDER, options["shared_messages_file"], disk, timeout, above)
    threads = Threads(ours / CHECKPOINT_FOLDER, _host(ours / CHECKPOINT_FOLDER), disk, timeout, budget, above)
    items = FilesItems(Spaces(ours / ITEM_FOLDER, threads.host, disk, timeout, budget, above))
    return Store(FilesBackend(threads, files), FilesDriver(folder), files, items=items, budget=budget)


class FilesDriver:
    """Runs plans: blocking ones where they are called, async ones in the store's own threads for writes and reads."""

    examiner = "charm_checkpoint.checking.stores.files:FilesExaminer"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._closed = False
        self._threads = ReadWriteThreads("charm-files")

    def run(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan; each call of a plan is a transaction."""
        if self._closed:
            raise StoreClosed()
        try:
            return run(make(), lambda call: call())
        except OSError as error:
            raise translate(self.folder, error, write=write) from error

    async def arun(self, make: MakePlan[T], *, write: bool) -> T:
        """Run a plan in the store's own thread for its kind."""
        return await self._threads.run(lambda: self.run(make, write=write), write=write)

    def close(self) -> None:
        """Refuse further use; what is at work in the store's own threads is done first, and waited for a little."""
        self._closed = True
        self._threads.stop(closing_deadline())

    async def aclose(self) -> None:
        """Refuse further use, without blocking the event loop."""
        await aside(self.close)


def _host(folder: Path) -> bytes:
    """Return what tells this host's view of a folder from others': 8 bytes."""
    seed = "\0".join((platform.node(), _machine(), os.path.realpath(folder)))
    return blake2b(seed.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def _machine() -> str:
    try:
        return Path("/etc/machine-id").read_text()
    except OSError:  # only some systems have one
        return ""
