"""How long revalidating memories takes, and how many files it reads."""

from __future__ import annotations

import os
import time
from pathlib import Path

from langgraph.store.base import PutOp

from charm_checkpoint import LongTermMemory, open_memory
from charm_checkpoint.long_term import file_hashes
from charm_checkpoint.long_term.citations import HASHES, cite
from charm_checkpoint.long_term.project import Project
from charm_checkpoint.long_term.records import new_value

CHUNK = 500
FOLDERS = 100
LINES = 200


def measure(folder: Path, files: int) -> list[tuple[str, str]]:
    """Return what was measured, in words: of memories that cite a file each, in a folder for the files."""
    paths = _write(folder, files)
    # Files that were written just now are read each time: make believe that it was a while ago.
    racy, file_hashes.RACY_NS = file_hashes.RACY_NS, -(10**15)
    try:
        with open_memory(f"sqlite:///{folder.as_posix()}/memories.db") as memory:
            kept = memory.long_term(Project("benchmark", folder), {"global": False, "shared": False})
            _fill(kept, paths)
            return [
                _line(f"{files:,} citations: nothing known of the files, s", kept, forget=True),
                _line("again, in the same program, s", kept),
                _line("in another program, s", kept, forget=True),
                _changed(kept, folder / paths[0]),
            ]
    finally:
        file_hashes.RACY_NS = racy
        HASHES.forget()


def _changed(kept: LongTermMemory, path: Path) -> tuple[str, str]:
    path.write_text("changed\n")
    return _line("after one file was changed, s", kept)


def _line(label: str, kept: LongTermMemory, *, forget: bool = False) -> tuple[str, str]:
    if forget:
        HASHES.forget()
    reads, begin = HASHES.reads, time.perf_counter()
    kept.revalidate()
    return label, f"{time.perf_counter() - begin:.3f}, {HASHES.reads - reads:,} files read"


def _write(folder: Path, files: int) -> list[str]:
    paths = [f"part{number % FOLDERS}/file{number}.py" for number in range(files)]
    for number, path in enumerate(paths):
        os.makedirs(folder / Path(path).parent, exist_ok=True)
        (folder / path).write_text("".join(f"line {line} of file {number}\n" for line in range(LINES)))
    return paths


def _fill(kept: LongTermMemory, paths: list[str]) -> None:
    scope, now = kept.scopes["project"], time.time_ns() // 1000
    for begin in range(0, len(paths), CHUNK):
        ops = []
        for path in paths[begin : begin + CHUNK]:
            cited = [each.to_dict() for each in cite(kept.project, path)]
            value = {**new_value(path, "fact", f"Of {path}.", "auto", now), "citations": cited, "validated": now}
            ops.append(PutOp(scope.notes, path, value))
        scope.store.batch(ops)
