"""``diff`` and ``blame``: what differs between two checkpoints, and which of them wrote something."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.chat import as_turns, chat_lines
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.history import Namespace, shortened
from charm_checkpoint.cli.opening import knowing, open_store
from charm_checkpoint.cli.options import Import, Json, Thread, Url, checkpoint_of
from charm_checkpoint.cli.output import Column, is_terminal, one_line, paint, print_json, print_table
from charm_checkpoint.cli.terminal import echo_note, put
from charm_checkpoint.cli.yamlish import WHOLE, Cut, scalar, yamlish

if TYPE_CHECKING:
    from charm_checkpoint.inspection.differences import Change, StateDiff

_SHOWN = Cut(text=200, elements=5, lines=6)
_HELP = "A checkpoint: the beginning of its id, head, or head~N for the Nth before it"


def add_commands(part: Part) -> None:
    """Add these commands."""
    part.add(
        diff,
        examples="charm-checkpoint diff 42 head~1 --url sqlite:///agent.db\n"
        "charm-checkpoint diff 42 head --other 43 --url sqlite:///agent.db",
    )
    part.add(blame, examples="charm-checkpoint blame 42 messages --url sqlite:///agent.db")


def diff(
    thread: Thread,
    a: Annotated[str, typer.Argument(metavar="A", help=f"{_HELP}.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="[B]", help=f"{_HELP}.")] = "head",
    other: Annotated[
        str | None, typer.Option("--other", metavar="THREAD", help="The thread of B, if another.", show_default=False)
    ] = None,
    ns: Namespace = "",
    full: Annotated[bool, typer.Option("--full", help="Nothing cut short.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if anything differs.")] = False,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Show what differs between the states at two checkpoints."""
    with open_store(url, modules) as memory, knowing(memory, thread, other):
        found = memory.diff(thread, checkpoint_of(a), checkpoint_of(b), ns=ns, other_thread=other)
    if as_json:
        print_json(found.as_dict())
    else:
        _print_diff(found, WHOLE if full else _SHOWN)
    return 1 if exit_code and not found.is_same else 0


def _print_diff(found: StateDiff, cut: Cut) -> None:
    for mark, info, style in (("---", found.a, "red"), ("+++", found.b, "green")):
        step = "" if info.step is None else f"  step {info.step}"
        put(paint(f"{mark} {one_line(info.thread_id)}  {one_line(info.checkpoint_id)}{step}", style) + "\n")
    for change in found.changes:
        _print_change(change, cut)
    for note in found.notes:
        echo_note(f"{note.path}: {note.text}")
    if found.is_same:
        echo_note("nothing differs")


def _print_change(change: Change, cut: Cut) -> None:
    put(paint(one_line(change.path), "bold") + "\n")
    if change.kind != "added":
        put("".join(f"{paint('-', 'red')} {line}\n" for line in _lines(change.old, cut)))
    if change.kind != "removed":
        put("".join(f"{paint('+', 'green')} {line}\n" for line in _lines(change.new, cut)))


def _lines(value: Any, cut: Cut) -> Iterable[str]:
    turns = as_turns(value)
    return chat_lines(turns, cut) if turns else yamlish(value, cut)


def _brief(value: Any) -> str:
    """Return a value on one line: of a message who said what."""
    said = []
    for turn in as_turns(value):
        calls = ", ".join(call.name for call in turn.tool_calls)
        said.append(f"{turn.role}: {turn.text[:200]}{f' calls {calls}' if calls else ''}")
    return "  ".join(said) or scalar(value, _SHOWN)


def blame(
    thread: Thread,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Where: messages, user.name, messages[3].content.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="CHECKPOINT", help=f"In the state there. {_HELP}.")
    ] = "head",
    ns: Namespace = "",
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Tell which checkpoint, step and node wrote what stands at a path."""
    with open_store(url, modules) as memory, knowing(memory, thread):
        entries = memory.blame(thread, path, checkpoint=checkpoint_of(checkpoint), ns=ns)
    if as_json:
        print_json({"thread_id": thread, "path": path, "entries": [entry.as_dict() for entry in entries]})
        return 0
    short = shortened([entry.checkpoint_id for entry in entries]) if is_terminal() else {}
    rows = [
        [
            entry.path,
            ", ".join(entry.nodes) or entry.source,
            None if entry.step is None else str(entry.step),
            short.get(entry.checkpoint_id, entry.checkpoint_id) + (" or before" if entry.is_oldest else ""),
            entry.created_at,
            _brief(entry.value) if is_terminal() else json.dumps(entry.value, ensure_ascii=False),
        ]
        for entry in entries
    ]
    columns = [Column("path"), Column("wrote"), Column("step", right=True), Column("checkpoint", gives=0)]
    print_table([*columns, Column("made"), Column("value", gives=2)], rows)
    return 0
