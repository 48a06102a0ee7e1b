"""Take turns in the processes of a pool, started in each way; what is opened at the top of a module is used in them."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import host_app

from charm_checkpoint import NotSerializable


def turns(name: str, thread: str, count: int) -> list[str]:
    for _ in range(count):
        taken = host_app.take_turn(host_app.graphs[name], thread)
        taken = host_app.take_turn_async(host_app.graphs[name], thread)
    return taken


def count_messages(memory: Any) -> int:
    return len(memory.load_messages("t"))


def main(methods: Sequence[str]) -> None:
    found: dict[str, Any] = {}
    for method in methods:
        with ProcessPoolExecutor(2 if method == "fork" else 1, multiprocessing.get_context(method)) as pool:
            calls = {
                f"{name} {thread}": pool.submit(turns, name, f"{method} {thread}", 3)
                for name in host_app.graphs
                for thread in range(3)
            }
            found[method] = {key: call.result(60) for key, call in calls.items()}
            try:
                pool.submit(count_messages, host_app.memories["sqlite"]).result(60)
            except NotSerializable as error:
                found[method]["refused"] = str(error)
    for memory in host_app.memories.values():
        memory.close()
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
