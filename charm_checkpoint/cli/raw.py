"""``show --raw``: what is stored, whatever its seals and classes say."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from charm_checkpoint.cli.output import one_line, paint, print_json
from charm_checkpoint.cli.terminal import echo_error, echo_note, put
from charm_checkpoint.cli.yamlish import Cut, yamlish

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple

    from charm_checkpoint.memory import Memory


def show_raw(memory: Memory, thread: str, at: str | int | None, ns: str, as_json: bool, cut: Cut) -> int:
    """Show what is stored of a checkpoint: instances as the fields that they hold, and another thread's, too."""
    from charm_checkpoint.inspection.plain_values import as_plain

    echo_note("shown as it is stored: without classes, and whether it was written as this thread's or not")
    found = _found(memory, thread, at, ns)
    if found is None:
        echo_error(f"the thread {thread!r} has no such checkpoint")
        return 1
    id = found.checkpoint["id"]
    values, metadata = as_plain(found.checkpoint["channel_values"]), as_plain(found.metadata)
    if as_json:
        print_json({"thread_id": thread, "checkpoint_id": id, "values": values, "metadata": metadata})
        return 0
    put(paint(f"checkpoint {one_line(id)}", "bold") + "\n")
    put("".join(f"{line}\n" for line in (*yamlish(values, cut), *yamlish({"metadata": metadata}, cut))))
    return 0


def _found(memory: Memory, thread: str, at: str | int | None, ns: str) -> CheckpointTuple | None:
    from charm_checkpoint.saver.raw import without_classes

    saver = without_classes(memory.store)
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
    if at is None:
        return saver.get_tuple(config)
    listed = saver.list(config)
    if isinstance(at, int):
        return next(islice(listed, -at, None), None)
    return next((found for found in listed if found.checkpoint["id"].startswith(at)), None)
