"""Two versions of a program that take turns on one thread of one store: nothing of either is lost, on every store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import STORES, or_skip
from conftest import Row as Store
from markers import TWINS
from workers import SCALE, WorkerPool, scaled

from changes import alternating
from changes.deploying import lay_out
from charm_checkpoint import open_memory

SHARED = [row for row in STORES if row.name != "ram" and (SCALE > 1 or row.name not in TWINS)]
"""Stores that processes share, one of each kind."""


@pytest.mark.parametrize("store", SHARED, ids=lambda row: row.name)
def test_a_hundred_turns(store: Store, versions: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    url, turns = or_skip(lambda: store.make_url(tmp_path / "store")), scaled(50)
    old, new = (str(tmp_path / name) for name in ("old", "new"))
    for each, program in ((old, alternating.OLD), (new, alternating.NEW)):
        os.mkfifo(f"{each} hears")
        lay_out(program, Path(each))
    begins = os.open(f"{old} hears", os.O_RDWR)
    os.write(begins, b".")
    workers = [
        versions.start("alternate", each, "app", url, way, turns, f"{each} hears", f"{other} hears")
        for each, way, other in ((old, "blocking", new), (new, "async", old))
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    os.close(begins)
    with open_memory(url) as memory:
        head = memory.get_langgraph_checkpointer().get_tuple({"configurable": {"thread_id": "shared"}})
    assert head is not None and head.checkpoint["channel_values"]["turns"] == 2 * turns
