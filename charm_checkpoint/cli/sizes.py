"""Commands that tell how much is stored, and what takes the room."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.completing import complete_thread
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.opening import is_there, knowing, open_store
from charm_checkpoint.cli.options import Import, Json, Url
from charm_checkpoint.cli.output import Column, print_json, print_table
from charm_checkpoint.cli.terminal import echo, echo_note
from charm_checkpoint.cli.values import Cell, Size, name_of, plural
from charm_checkpoint.cli.values import size as size_text

if TYPE_CHECKING:
    from charm_checkpoint.inspection.sizes import ChannelSize, SizeReport


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(
        size,
        examples="charm-checkpoint size --url sqlite:///agent.db\ncharm-checkpoint size 42 --url sqlite:///agent.db",
    )
    part.add(usage, examples="charm-checkpoint usage --thread 42 --url sqlite:///agent.db")


def size(
    thread: Annotated[
        str | None,
        typer.Argument(
            metavar="[THREAD]",
            help="This thread alone: its channels, and its largest values.",
            show_default=False,
            autocompletion=complete_thread,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="How many of each kind are named.")] = 10,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Tell what takes how much room, and what grows.

    stored is bytes as they are kept: compressed, where that saves some. encoded is the bytes of a value before that.
    Channels and values are those of the heads; what of a value makes up most of it is named beside it.
    """
    with open_store(url, modules) as memory, knowing(memory, thread):
        report = memory.size(thread, top=top)
    if as_json:
        print_json(report.as_dict())
        return 0
    _print_kinds(report)
    _print_parts(report, top)
    for note in report.notes:
        echo_note(note)
    return 0


_STORED, _ENCODED = Column("stored", right=True), Column("encoded", right=True)
_NAMESPACE = Column("namespace", gives=2, extra=True)
_TASK = re.compile(r":[0-9a-f]{8}-[0-9a-f-]{27}(?=\||$)")
"""What LangGraph puts behind a node's name in the namespace of a subgraph: the task's id, another one in each run."""


def _print_kinds(report: SizeReport) -> None:
    rows: list[list[Cell]] = [
        [kind.kind, kind.count, None if kind.size is None else Size(kind.size)] for kind in report.kinds
    ]
    print_table(["kind", Column("count", right=True), _STORED], [*rows, ["together", None, Size(report.size)]])


def _print_parts(report: SizeReport, top: int) -> None:
    columns = [Column("largest threads"), _STORED, Column("checkpoints", right=True), Column("title", gives=2)]
    _print_part(
        columns, [[name_of(each.thread_id), Size(each.size), each.checkpoints, each.title] for each in report.threads]
    )
    columns = [Column("channel"), _STORED, Column("a checkpoint adds", right=True), _ENCODED, _NAMESPACE]
    channels = of_all_runs(report.channels)
    _print_part(columns, channels[:top])
    if len(channels) > top:
        echo_note(f"and {plural(len(channels) - top, 'more channel')}; --top {len(channels)} shows all")
    columns = [Column("largest values"), _ENCODED, Column("most of it", gives=2), _NAMESPACE]
    _print_part(columns, [[each.path, Size(each.encoded), each.part, each.checkpoint_ns] for each in report.values])


def of_all_runs(channels: Sequence[ChannelSize]) -> list[list[Cell]]:
    """Return a row for each channel, the largest first; those of one subgraph's many runs are one, all together."""
    alike: dict[tuple[str, str], list[ChannelSize]] = {}
    for each in channels:
        alike.setdefault((each.channel, _TASK.sub(":*", each.checkpoint_ns)), []).append(each)
    rows: list[tuple[int, list[Cell]]] = []
    for (name, runs), all in alike.items():
        ns = all[0].checkpoint_ns if len(all) == 1 else f"{runs} ({len(all):,} runs)"
        sizes = [sum(each.size for each in all), int(sum(each.growth for each in all)), sum(e.encoded for e in all)]
        rows.append((sizes[0], [name, *map(Size, sizes), ns]))
    return [row for _, row in sorted(rows, key=lambda row: -row[0])]


def _print_part(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    if not rows:
        return
    echo("")
    if columns[-1] is _NAMESPACE and not any(row[-1] for row in rows):  # the root graph's, all of them
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    print_table(columns, rows)


def usage(
    thread: Annotated[
        str | None,
        typer.Option(
            "--thread",
            metavar="THREAD",
            help="Count this thread alone.",
            show_default=False,
            autocompletion=complete_thread,
        ),
    ] = None,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Count what is stored."""
    with open_store(url, modules) as memory:
        if thread is not None and not is_there(memory, thread):
            return 1
        found: dict[str, Any] = asdict(memory.usage(thread))
    if thread is not None:
        del found["items"]
    if as_json:
        print_json(found)
        return 0
    for name, count in found.items():
        if name == "payload_bytes":
            echo(f"{'payload':<14}{size_text(count):>14}  {count:,} bytes")
        elif name != "damaged" or count:
            echo(f"{name:<14}{count:>14,}")
    return 0
