"""A process that has imported everything but the package, and forks a worker for each line it is sent.

A worker reads a golden store with something in the package altered, and says what it found. The lines are those of
worker_pool.py.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
from functools import partial
from typing import Any

sys.path.remove(os.path.dirname(__file__))  # what is here has names of modules beside it

from alterations import Alteration, alter

for _name in (
    "httpx", "hypothesis", "hypothesis.strategies", "langchain_core.caches", "langchain_core.documents",
    "langchain_core.embeddings",
    "langchain_core.messages", "langchain_core.outputs", "langgraph.checkpoint.serde.types",
    "langgraph.graph", "langgraph.store.base", "numpy", "psycopg_pool", "pydantic.v1", "pytest", "redis", "sqlite3",
    "zstandard",
):  # fmt: skip
    importlib.import_module(_name)


def found(url: str) -> list[str]:
    """Return what a golden store says of itself, once all in it was compared with what it should be."""
    from golden_checks import check_everything, check_log

    from charm_checkpoint import open_memory
    from charm_checkpoint.testing.call_modes import BlockingMode, InMode

    with open_memory(url) as memory:
        both = InMode(memory, BlockingMode())
        check_everything(both, InMode(memory.get_langgraph_checkpointer(), both.mode), is_second=True, is_third=True)
        if url.startswith("file:"):
            check_log(memory)
        return [repr(memory.usage()), *sorted(map(repr, both.threads())), *states(memory.store)]


def states(store: Any) -> list[str]:
    """Return what a store tells of threads beside what they hold."""
    backend = store.backend
    threads, listed = ("chat", "deleted", "erased"), ("chat", "batches", "logged", "erased")
    found = [store.run(partial(backend.find, thread, "", None), write=False).state for thread in threads]
    lists = [store.run(partial(backend.messages, thread), write=False) for thread in listed]
    return list(map(repr, (*found, *((held.state, held.revision) for held in lists))))


def check_written() -> None:
    """Check that what is written is what the page on the format says."""
    import test_format

    test_format.check_examples()


def work(job: Any, ack: str, args: list[Any]) -> None:
    """Be the worker."""
    logging.disable(logging.WARNING)
    change, url = args
    try:
        if change:
            alter(Alteration(*change))
        lines = found(url)
        check_written()
    except BaseException as error:
        lines = [f"{type(error).__name__}: {str(error)[:300]}"]
    with open(ack, "w") as file:
        file.write("\n".join(lines))
    os._exit(0)


def main() -> None:
    """Fork workers until stdin ends."""
    # A worker is soon over: its collections would find nothing, and copy the pages of what is imported here.
    gc.collect()
    gc.freeze()
    gc.disable()
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(order, 0)[1])
        else:
            answer = os.fork()
            if not answer:
                partial(work, **order)()
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
