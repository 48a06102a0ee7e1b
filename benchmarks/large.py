"""Long-term memory: searches in namespaces of many items, at first and again, with and without numpy."""

from __future__ import annotations

from pathlib import Path

from benchmarks import large_searches, runner, session, store
from benchmarks.contender import Contender
from benchmarks.large_searches import COLD, WARM

FIGURES = (WARM, f"{WARM}, without numpy", COLD, f"{COLD}, without numpy")


def measure(contender: Contender, folder: Path, *, items: int, spaces: int, repeats: int) -> dict[str, float | None]:
    """Fill namespaces with so many items each; return the median milliseconds of a search, None for what differs not.

    Searches are made in a process of their own: one, or for our stores two, in the second of which there is no numpy.
    """
    session.run(contender, folder, lambda opened: store.fill(opened, items * spaces, spaces))
    task = {
        "workload": large_searches.__name__.rpartition(".")[2],
        "contender": contender.name,
        "folder": str(folder),
        "parameters": {"items": items, "spaces": spaces, "repeats": repeats},
    }
    found = runner.work({**task})
    bare = runner.work({**task, "without": ["numpy"]}) if contender.rival else {}
    return {label: bare.get(label.partition(",")[0]) if "," in label else found[label] for label in FIGURES}
