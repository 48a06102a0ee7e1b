"""From one store to another: copies, files to carry, backups."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory
    from charm_checkpoint.transfer.hops import Moving
    from charm_checkpoint.transfer.report import CopyReport, MoveProgress


def import_archive(
    path: str | os.PathLike[str],
    memory: Memory,
    *,
    threads: Iterable[str] | None = None,
    messages: bool = True,
    items: bool = True,
    skip_existing: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    on_progress: Callable[[MoveProgress], None] | None = None,
) -> CopyReport:
    """Bring what `Memory.export` wrote into a store; what is there already and the same is passed over.

    The file is read whole and checked first: if anything of it is not as it was written, `StoreCorrupt` names the
    place, and nothing is brought in. From then on it is as with `Memory.copy_to`, whose options these are.
    """
    from charm_checkpoint.transfer.archive.importing import opened
    from charm_checkpoint.transfer.hops import drive

    with opened(path) as file:
        return drive(_importing(file, memory, threads, messages, items, skip_existing, dry_run, verify, on_progress))


async def aimport_archive(
    path: str | os.PathLike[str],
    memory: Memory,
    *,
    threads: Iterable[str] | None = None,
    messages: bool = True,
    items: bool = True,
    skip_existing: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    on_progress: Callable[[MoveProgress], None] | None = None,
) -> CopyReport:
    """Bring what `Memory.export` wrote into a store; see `import_archive`."""
    from functools import partial

    from charm_checkpoint.plan import beside
    from charm_checkpoint.transfer.archive.importing import opened
    from charm_checkpoint.transfer.hops import adrive

    with await beside(partial(opened, path)) as file:
        return await adrive(
            _importing(file, memory, threads, messages, items, skip_existing, dry_run, verify, on_progress)
        )


def _importing(
    file: BinaryIO,
    memory: Memory,
    threads: Iterable[str] | None,
    messages: bool,
    items: bool,
    skip_existing: bool,
    dry_run: bool,
    verify: bool,
    on_progress: Callable[[MoveProgress], None] | None,
) -> Moving[CopyReport]:
    from charm_checkpoint.saver.refs import names
    from charm_checkpoint.transfer.archive.importing import importing
    from charm_checkpoint.transfer.copying import Wanted
    from charm_checkpoint.transfer.files import is_absent

    named = None if threads is None else names(threads, "thread_id")
    wanted = Wanted(named, messages, items and named is None, skip_existing, dry_run, verify, on_progress)
    return importing(file, memory.store, wanted, dry_run and is_absent(memory.location))
