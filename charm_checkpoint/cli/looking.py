"""Commands that look into a store: its threads and messages, and how much there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charm_checkpoint.cli import comparing, forking, history, showing, sizes
from charm_checkpoint.cli.groups import Part
from charm_checkpoint.cli.listing import ListingLimit, counted, say_more, shown_limit, when
from charm_checkpoint.cli.opening import is_there, open_store
from charm_checkpoint.cli.options import After, Every, Import, Json, Thread, Url, one_of
from charm_checkpoint.cli.output import Column, print_json, print_table
from charm_checkpoint.cli.terminal import echo_note, put_json
from charm_checkpoint.cli.typing_again import to_type
from charm_checkpoint.cli.values import Cell, Size, Styled, name_of
from charm_checkpoint.config.masking import mask

if TYPE_CHECKING:
    from charm_checkpoint.saver.threads import ThreadInfo

ORDERS = ("activity", "size", "checkpoints", "id")
STATES = ("waits", "failed", "unfinished", "done")
IN_A_TERMINAL = 50
"""Threads that are listed where nobody says how many."""
_STYLES = {"waits": "yellow", "failed": "red", "unfinished": "cyan", "damaged": "bold red"}


def add_commands(app: typer.Typer) -> None:
    """Add these commands."""
    part = Part(app, "Look")
    part.add(
        threads,
        examples="charm-checkpoint threads --url sqlite:///agent.db\n"
        "charm-checkpoint threads --state failed --state waits --since 2d\n"
        "charm-checkpoint threads --order size --limit 10 --json",
    )
    history.add_commands(part)
    showing.add_commands(part)
    part.add(messages, examples="charm-checkpoint messages 42 --url sqlite:///agent.db")
    comparing.add_commands(part)
    sizes.add_commands(part)
    forking.add_commands(part)


def threads(
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="STATE", help=f"Of these: {', '.join(STATES)}; may be repeated.", show_default=False
        ),
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With this in the id or the title.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Changed since: an age such as 2d or 12h, or a date.", show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Not changed since then.", show_default=False)
    ] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Those alone that are pinned.")] = False,
    order: Annotated[str, typer.Option(metavar="ORDER", help=f"By {', '.join(ORDERS)}.")] = "activity",
    limit: ListingLimit = None,
    every: Every = False,
    after: After = None,
    as_json: Json = False,
    url: Url = None,
    modules: Import = None,
) -> int:
    """List the threads: how they stand, when they changed last, how much they hold."""
    from charm_checkpoint.inspection.listing import STATUSES

    for each in state or ():
        one_of("--state", each, tuple(STATUSES))
    most = shown_limit(limit, every, as_json, IN_A_TERMINAL)
    asked: Any = {
        "status": state or None,
        "search": search,
        "order": one_of("--order", order, ORDERS),
        "since": when("--since", since),
        "until": when("--until", until),
        "after": after,
        "pinned": True if pinned else None,
    }
    with open_store(url, modules) as memory:
        found = counted(lambda upto: memory.threads(upto, **asked), most)
    if as_json:
        print_json({"threads": [info.as_dict() for info in found.shown], "more": found.more})
        return 0
    print_threads(found.shown)
    say_more(found, "thread")
    return 0


_COLUMNS = (
    Column("thread", gives=1),
    Column("state"),
    Column("changed"),
    Column("checkpoints", right=True, extra=True),
    Column("size", right=True),
    Column("title", gives=2),
)


def print_threads(threads: Iterable[ThreadInfo]) -> None:
    """Print threads, a line each."""
    print_table(_COLUMNS, [_row(info) for info in threads])


def _row(info: ThreadInfo) -> Sequence[Cell]:
    if info.damage is not None:
        name = "?" if info.thread_id is None else name_of(info.thread_id)
        return [name, Styled("damaged", _STYLES["damaged"]), None, None, None, mask(info.damage)]
    status = info.status or ("messages" if not info.checkpoints else "?")
    shown = f"{status}, pinned" if info.pinned else status
    return [
        name_of(info.thread_id or ""),
        Styled(shown, _STYLES.get(status, "")),
        info.updated_at,
        info.checkpoints,
        None if info.size is None else Size(info.size),
        info.title,
    ]


def messages(thread: Thread, as_json: Json = False, url: Url = None, modules: Import = None) -> int:
    """Print a thread's message history, as JSON lines.

    That is what load_messages returns; the messages in the state are shown by: show THREAD --messages
    """
    import json

    with open_store(url, modules) as memory:
        if not is_there(memory, thread):
            return 1
        found = memory.load_messages(thread)
    if as_json:
        print_json({"thread_id": thread, "messages": found})
        return 0
    if not found:
        shown = to_type(url, "show", thread) + " --messages"
        echo_note(f"there is no message history; the messages in the state are shown by: {shown}")
    for message in found:
        put_json(json.dumps(message, ensure_ascii=False))
    return 0
