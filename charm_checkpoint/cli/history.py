"""``history``: the checkpoints of a thread, as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from charm_checkpoint.cli.graph_lines import Lanes
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.listing import ListingLimit, counted, say_more, shown_limit
from charm_checkpoint.cli.opening import knowing, open_store
from charm_checkpoint.cli.options import After, Every, Import, Json, Thread, Url
from charm_checkpoint.cli.output import Column, is_terminal, is_unicode, print_json, print_table
from charm_checkpoint.cli.values import Cell, Drawn, Size, Styled

if TYPE_CHECKING:
    from charm_checkpoint.inspection.checkpoints import CheckpointInfo

IN_A_TERMINAL = 30
_SHORTEST = 8
"""Characters of an id that are shown at least."""

Namespace = Annotated[
    str, typer.Option("--ns", metavar="NAMESPACE", help="Of this subgraph's namespace.", show_default=False)
]


def add_commands(part: Part) -> None:
    """Add this command."""
    part.add(
        history,
        examples="charm-checkpoint history 42 --url sqlite:///agent.db\n"
        "charm-checkpoint history 42 --subgraphs --limit 5 --json --url sqlite:///agent.db",
    )


def history(
    thread: Thread,
    limit: ListingLimit = None,
    every: Every = False,
    ns: Namespace = "",
    subgraphs: Annotated[bool, typer.Option("--subgraphs", help="With those of all subgraphs.")] = False,
    after: After = None,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Show a thread's checkpoints as a tree, the latest first.

    With branches, forks and conflicts, the nodes that wrote each, and those that are to run after it.
    """
    most = shown_limit(limit, every, as_json, IN_A_TERMINAL)
    with open_store(url, modules) as memory, knowing(memory, thread):
        found = counted(
            lambda upto: memory.history(thread, ns=None if subgraphs else ns, limit=upto, after=after), most
        )
    if as_json:
        document = {
            "thread_id": thread,
            "checkpoints": [info.as_dict() for info in found.shown],
            "more": found.more,
        }
        print_json(document)
        return 0
    print_history(found.shown)
    say_more(found, "checkpoint")
    return 0


def print_history(checkpoints: Sequence[CheckpointInfo]) -> None:
    """Print checkpoints, the latest first, as a tree."""
    piped = not is_terminal()  # programs count on the same columns each time
    has_namespaces = piped or any(info.checkpoint_ns for info in checkpoints)
    has_devices = piped or any(info.device for info in checkpoints)
    columns = [
        *([] if piped else [Column("", gives=0)]),
        Column("checkpoint", gives=0),
        *([Column("parent")] if piped else []),
        Column("step", right=True, gives=2),
        Column("source", extra=True),
        Column("wrote", gives=1),
        Column("next", gives=2),
        Column("made", extra=True),
        Column("size", right=True, extra=True),
        *([Column("device", gives=2, extra=True)] if has_devices else []),
        *([Column("namespace", gives=3)] if has_namespaces else []),
        Column("marks" if piped else "", gives=0),
    ]
    lanes = Lanes(is_unicode())
    short = {} if piped else shortened([info.checkpoint_id for info in checkpoints])
    rows: list[list[Cell]] = []
    for info in checkpoints:
        key, parent = (info.checkpoint_ns, info.checkpoint_id), (info.checkpoint_ns, info.parent_id)
        before, drawn = lanes.draw(key, None if info.parent_id is None else parent, info.is_head)
        row: list[Cell] = [
            short.get(info.checkpoint_id, info.checkpoint_id),
            *([info.parent_id] if piped else []),
            "?" if info.step is None else str(info.step),
            info.source or "?",
            ", ".join(info.nodes),
            ", ".join(info.next),
            info.created_at,
            Size(info.size),
            *([info.device] if has_devices else []),
            *([info.checkpoint_ns] if has_namespaces else []),
            _marks(info, short),
        ]
        if not piped:
            rows.extend([Drawn(line), *([None] * len(row))] for line in before)
            row.insert(0, Drawn(drawn))
        rows.append(row)
    print_table(columns, rows)


def _marks(info: CheckpointInfo, short: dict[str, str]) -> Styled:
    marks = [
        "head" if info.is_head else "",
        "fork" if info.is_fork else "",
        f"CONFLICT with {short.get(info.conflict, info.conflict)}" if info.conflict else "",
        f"{'waits' if info.is_head else 'asked'}: {info.interrupts}" if info.interrupts else "",
        "failed" if info.error else "",
        info.note or "",
    ]
    if info.error or info.conflict or info.note:
        style = "red"
    else:
        style = "yellow" if info.interrupts else "green" if info.is_head else ""
    return Styled(", ".join(filter(None, marks)), style)


def shortened(ids: Sequence[str]) -> dict[str, str]:
    """Return for each id the beginning that no other has, of the same length for all."""
    length = _SHORTEST
    while len({id[:length] for id in ids}) < len(set(ids)):
        length += 1
    return {id: id[:length].rstrip("-") if id[:length].rstrip("-") else id for id in ids}
