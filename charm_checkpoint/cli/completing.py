"""What a shell is offered for the word that is being typed."""

from __future__ import annotations

import contextlib
import os
from threading import Thread as Worker

import typer

from charm_checkpoint.errors import CharmError

PATIENCE = 1.0
"""Seconds that a shell waits for a store."""
OFFERED = 100
_VARIABLE = "CHARM_CHECKPOINT_URL"


def complete_thread(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return ids of threads that begin like the word, with their titles; none if the store does not answer quickly."""
    url = context.params.get("url") or context.find_root().params.get("url") or os.environ.get(_VARIABLE)
    found: list[tuple[str, str]] = []
    if url:
        from charm_checkpoint import open_memory  # noqa: F401  # before the store is waited for: it takes a while

        worker = Worker(target=_look, args=(str(url), incomplete, found), daemon=True)
        worker.start()
        worker.join(PATIENCE)
    return list(found)


def _look(url: str, beginning: str, found: list[tuple[str, str]]) -> None:
    from charm_checkpoint.cli.opening import open_store

    with contextlib.suppress(CharmError, OSError, ImportError), open_store(url) as memory:
        for info in memory.threads(OFFERED, search=beginning or None):
            id = info.thread_id or ""
            if id and id.startswith(beginning) and id.isprintable():
                found += [(id, (info.title or "").split("\n")[0])]
