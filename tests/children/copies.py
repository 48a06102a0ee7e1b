"""Copies a store to another one, ``copies.py SOURCE TARGET``, and says how many threads are done whenever one is."""

from __future__ import annotations

import sys

from charm_checkpoint import open_memory
from charm_checkpoint.transfer.report import MoveProgress


def tell(at: MoveProgress) -> None:
    """Say how far it is."""
    if not at.checkpoints:
        sys.stdout.write(f"{at.kind} {at.done}\n")
        sys.stdout.flush()


with open_memory(sys.argv[1]) as memory:
    memory.copy_to(sys.argv[2], on_progress=tell)
