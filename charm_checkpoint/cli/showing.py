"""``show``: the state of a thread at a checkpoint, what waits there, and what stopped it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli.chat import print_chat
from charm_checkpoint.cli.groups import Part, did_you_mean
from charm_checkpoint.cli.history import Namespace
from charm_checkpoint.cli.opening import knowing, open_store
from charm_checkpoint.cli.options import At, Import, Json, Thread, Url, checkpoint_of
from charm_checkpoint.cli.output import one_line, paint, print_json
from charm_checkpoint.cli.terminal import echo, echo_note, put
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.cli.values import age
from charm_checkpoint.cli.yamlish import WHOLE, Cut, is_block, yamlish
from charm_checkpoint.errors import NotThere
from charm_checkpoint.printable import printable

if TYPE_CHECKING:
    from charm_checkpoint.inspection.states import ChannelView, PendingWriteView, StateView
    from charm_checkpoint.memory import Memory

LAST = 10
"""Elements of long lists, and messages, that are read where nobody says how many."""


def add_commands(part: Part) -> None:
    """Add this command."""
    part.add(
        show,
        examples="charm-checkpoint show 42 --url sqlite:///agent.db\n"
        "charm-checkpoint show 42 head~1 --channel messages --url sqlite:///agent.db\n"
        "charm-checkpoint show 42 --messages --last 50 --url sqlite:///agent.db",
    )


def show(
    thread: Thread,
    checkpoint: At = None,
    channel: Annotated[
        str | None, typer.Option("--channel", metavar="NAME", help="This channel alone.", show_default=False)
    ] = None,
    messages: Annotated[bool, typer.Option("--messages", help="The messages alone, as a chat.")] = False,
    last: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=f"Of long lists the last N; default {LAST}, in JSON all.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All of it, and nothing cut short.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="What is stored, without its classes, also where it is another thread's.")
    ] = False,
    ns: Namespace = "",
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """Show a thread's state at a checkpoint: what is in it, the question that waits, the error that stopped it.

    Nothing is imported, and no class need be loaded: what is not is shown as it is stored, with a note.
    """
    at = checkpoint_of(checkpoint)
    with open_store(url, modules) as memory, knowing(memory, thread):
        if raw:
            from charm_checkpoint.cli.raw import show_raw

            return show_raw(memory, thread, at, ns, as_json, WHOLE if full else Cut())
        if messages:
            return _show_messages(memory, thread, at, ns, channel, 10**9 if full else last, as_json)
        view = memory.state(thread, at, ns=ns, last=last if last or full or as_json else LAST)
        if channel is not None:
            return _show_channel(view, channel, as_json, WHOLE if full else Cut())
        if as_json:
            print_json(view.as_dict())
        else:
            print_state(view, WHOLE if full else Cut(), url)
    return 0


def _show_messages(
    memory: Memory, thread: str, at: str | int | None, ns: str, channel: str | None, last: int | None, as_json: bool
) -> int:
    found = memory.conversation(thread, at, ns=ns, channel=channel, last=last or 50)
    if as_json:
        print_json({"thread_id": thread, **found.as_dict()})
        return 0
    if found.before is not None:
        echo_note("there are earlier messages: --last N shows more, --full all")
    print_chat(found.turns, WHOLE)
    if not found.turns:
        echo_note("no messages")
    return 0


def _show_channel(view: StateView, name: str, as_json: bool, cut: Cut) -> int:
    found = view.channels.get(name)
    if found is None:
        known = ", ".join(each for each in view.channels if not view.channels[each].is_internal)
        hint = did_you_mean(name, list(view.channels)) or f"; there are: {known or 'none'}"
        raise NotThere(f"there is no channel {name!r}{hint}")
    if as_json:
        where = None if view.checkpoint is None else view.checkpoint.checkpoint_id
        print_json({"thread_id": view.thread_id, "checkpoint_id": where, "channel": found.as_dict()})
        return 0
    put("\n".join(yamlish(found.plain, cut)) + "\n")
    _say_notes(found)
    return 0


def print_state(view: StateView, cut: Cut, url: str | None = None) -> None:
    """Print all that there is at a checkpoint."""
    _print_head(view)
    _print_stops(view, cut, url)
    chat = view.conversation
    for name, channel in view.channels.items():
        if channel.is_internal:
            continue
        title = paint(f"{_one(name)}:", "bold")
        if channel.before is not None:
            title += paint(f"  # the last ones; --full shows all {_one(name)}", "dim")
        if name == chat.channel:
            put(f"\n{title}\n")
            print_chat(chat.turns, cut, 2)
        else:
            _print_value(title, channel.plain, cut)
        _say_notes(channel)
    if view.messages is not None:
        put("\n" + paint("message history:", "bold") + "\n")
        print_chat(view.messages.turns, cut, 2)


def _print_value(title: str, value: Any, cut: Cut) -> None:
    first, *rest = yamlish(value, cut)
    put(f"\n{title}\n  {first}\n" if is_block(value) else f"\n{title} {first}\n")
    put("".join(f"  {line}\n" for line in rest))


def _print_head(view: StateView) -> None:
    info = view.checkpoint
    if info is None:
        echo(f"thread {view.thread_id}: it holds messages only")
        return
    head = " (head)" if info.is_head else ""
    put(f"{paint(f'thread {_one(view.thread_id)}', 'bold')}  checkpoint {_one(info.checkpoint_id)}{head}\n")
    made = "" if info.created_at is None else f"{info.created_at:%Y-%m-%d %H:%M:%S} UTC, {age(info.created_at)}"
    parts = [
        f"step {'?' if info.step is None else info.step}",
        info.source or "?",
        made,
        f"wrote: {', '.join(info.nodes)}" if info.nodes else "",
        f"next: {', '.join(info.next)}" if info.next else "",
        f"in {info.checkpoint_ns}" if info.checkpoint_ns else "",
        f"run {info.run_id}" if info.run_id else "",
        f"on {info.device}" if info.device else "",
        f"CONFLICT with {info.conflict}" if info.conflict else "",
        info.note or "",
    ]
    echo("  ".join(filter(None, parts)))


def _print_stops(view: StateView, cut: Cut, url: str | None) -> None:
    """Print the questions and errors, which are what one looks for."""
    for question in view.questions:
        echo("")
        word = paint("waits", "yellow") if question.waits else "asked"
        about = f" ({_one(question.id)})" if question.id else ""
        put(f"{word}  {_one(question.node or question.task_id)} asks{about}:\n")
        put("".join(f"  {line}\n" for line in yamlish(question.value, cut)))
        if question.note:
            echo_note(question.note)
    if any(question.waits for question in view.questions):
        _hint(f"to answer: graph.invoke(Command(resume=ANSWER), {_config(view)})")
    for error in view.errors:
        echo("")
        put(f"{paint('failed', 'red')}  {_one(error.node or error.task_id)}: {_one(error.text)}\n")
    if view.errors:
        _hint(f"to try again: graph.invoke(None, {_config(view)})")
        _hint(printable(f"to go back first: {to_type(url, 'fork', view.thread_id, 'head~1')}"))
    if view.checkpoint is not None and view.checkpoint.is_head:
        _print_writes([write for write in view.writes if not write.channel.startswith("__")], cut)


def _hint(text: str) -> None:
    put(paint(f"  {text}", "dim") + "\n")


def _config(view: StateView) -> str:
    return printable(json.dumps({"configurable": {"thread_id": view.thread_id}}, ensure_ascii=False))


def _print_writes(writes: Sequence[PendingWriteView], cut: Cut) -> None:
    """Print what tasks wrote in a step of which others are not done."""
    if writes:
        put("\n" + paint("written already, in the step that is not over:", "bold") + "\n")
        for write in writes:
            lines = yamlish({write.channel: write.value}, cut)
            put("".join(f"  {line}\n" for line in lines))


def _say_notes(channel: ChannelView) -> None:
    for note in channel.notes:
        echo_note(f"{note.path}: {note.text}")


def _one(text: str | None) -> str:
    return one_line(text or "")
