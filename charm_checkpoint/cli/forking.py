"""``fork``: back to a checkpoint, in its thread or in a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import check_new, knowing, open_store
from charm_checkpoint.cli.options import DryRun, Import, Json, Thread, Url, checkpoint_of
from charm_checkpoint.cli.output import print_json
from charm_checkpoint.cli.terminal import echo, echo_note
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.cli.values import plural
from charm_checkpoint.errors import CheckpointNotFound

if TYPE_CHECKING:
    from charm_checkpoint.memory import Memory


def add_commands(part: Part) -> None:
    """Add this command."""
    part.add(
        fork,
        examples="charm-checkpoint fork 42 head~1 --url sqlite:///agent.db\n"
        "charm-checkpoint fork 42 head~1 --to 42-again --url sqlite:///agent.db",
    )


def fork(
    thread: Thread,
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Where to: the beginning of its id, or head~N for the Nth before the head.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str | None, typer.Option("--to", metavar="THREAD", help="Begin this new thread with it.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Go back to a checkpoint: a copy of it becomes the head, and the next run goes on from there.

    Nothing is removed: what came after it stays as a branch, and the former head can be gone back to likewise. A new
    thread has the checkpoints that led to it, and nothing that came after.
    """
    with open_store(url, modules) as memory, knowing(memory, thread):
        view = memory.state(thread, checkpoint_of(checkpoint), last=1)
        wanted = view.checkpoint
        head = memory.state(thread, last=1).checkpoint
        if wanted is None:
            raise CheckpointNotFound(f"The thread {thread!r} holds messages only, and no checkpoint to go back to.")
        id = wanted.checkpoint_id
        former = "" if head is None else head.checkpoint_id
        asked = len(view.questions)
        came = 0 if to is None else _leading(memory, thread, id)
        if dry_run and to is not None:
            check_new(memory, to)
        made = None if dry_run else memory.fork(thread, id, to=to)
    if as_json:
        found = {
            "thread_id": to or thread,
            "checkpoint_id": made,
            "from": id,
            "former_head": former,
            "questions": asked,
        }
        print_json({**found, "came_along": came})
        return 0
    echo(f"{to or thread} {'would go' if dry_run else 'goes'} on from a copy of {id}")
    if to is not None:
        led = f"{plural(came, 'checkpoint')} that led to it"
        echo(f"{led} {'would come' if dry_run else 'came'} along from {thread}, and nothing that came after")
    if asked:
        echo_note(f"{plural(asked, 'question')} asked there {'is' if asked == 1 else 'are'} not in the copy: {_ASKED}")
    if made is not None and to is None:
        echo(f"the former head stays as a branch; to undo: {to_type(url, 'fork', thread, former)}")
    return 0


_ASKED = "it goes on before the node that asks, which a run of the graph has ask anew"


def _leading(memory: Memory, thread: str, checkpoint: str) -> int:
    """Count what a new thread would have beside the copy."""
    from charm_checkpoint.inspection.forking import forking_of
    from charm_checkpoint.session import drive

    forking = forking_of(memory.store, memory.get_langgraph_checkpointer())
    return drive(memory.store, forking.leading(thread, checkpoint))
