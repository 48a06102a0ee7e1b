"""What the page asks for: threads, their time line, states, conversations, what differs, sizes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, get_args

from charm_checkpoint.errors import NotThere
from charm_checkpoint.inspection.listing import Order
from charm_checkpoint.inspection.states import ChannelView
from charm_checkpoint.plain import as_json
from charm_checkpoint.saver.threads import Status
from charm_checkpoint.ui.outline import at, capped, member, outline
from charm_checkpoint.ui.page import Page
from charm_checkpoint.ui.parameters import BadRequest, Parameters

ORDERS = get_args(Order)
STATUSES = get_args(Status)
OPENED = 64_000
"""Bytes that a channel may be stored as to be shown at once; a larger one is decoded when it is opened."""
LAST = 40
"""Elements of a long list that are read with a state; all are when it is opened."""
CHANGES = 500
"""Differences that are sent; how many there are more is told."""
ROOM = 20_000
"""Characters of one difference's value, of a question, of a write."""
NOBODY = "\0"
"""The id of no checkpoint: asked for it, a store returns the thread's counters and no value."""


async def threads(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell of threads, so many from a cursor on."""
    size = asked.number("limit", 50, 200, 1)
    order: Any = asked.choice("order", ORDERS) or "activity"
    found = page.memory.athreads(
        size + 1,
        status=asked.choice("status", STATUSES),
        search=asked.maybe("search"),
        order=order,
        after=asked.maybe("after"),
    )
    listed = [info async for info in found]
    return {"threads": as_json(listed[:size]), "next": listed[size - 1].cursor if len(listed) > size else None}


async def history(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell of a thread's checkpoints, the last one first, so many from a cursor on."""
    size = asked.number("limit", 100, 1000, 1)
    ns = asked.text("ns") if "ns" in asked else None
    found = page.memory.ahistory(asked.text("thread"), ns=ns, limit=size + 1, after=asked.maybe("after"))
    listed = [info async for info in found]
    return {"checkpoints": as_json(listed[:size]), "next": listed[size - 1].cursor if len(listed) > size else None}


async def state(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell what a checkpoint holds: each channel that is small with its value, and why the run stopped there."""
    place = asked.text("thread"), asked.maybe("checkpoint")
    view = await page.memory.astate(*place, ns=asked.maybe("ns") or "", last=LAST)
    shown = await page.apart(lambda: [_channel(channel) for channel in view.channels.values()])
    return {
        "thread_id": view.thread_id,
        "checkpoint": as_json(view.checkpoint),
        "channels": shown,
        "questions": _short(view.questions),
        "answers": _short(view.answers),
        "errors": _short(view.errors),
        "writes": _short(view.writes),
        "metadata": _short(view.metadata),
        "failure": page.failures.get(view.thread_id),
    }


def _short(value: Any) -> Any:
    return capped(as_json(value), ROOM)[0]


def _channel(channel: ChannelView) -> dict[str, Any]:
    told = {"name": channel.name, "is_internal": channel.is_internal, "size": channel.size, "version": channel.version}
    if channel.size > OPENED or channel.before is not None:
        return {**told, "type": "closed", "is_long": channel.before is not None, "notes": []}
    return {**told, **member(channel.plain), "notes": as_json(channel.notes)}


async def value(page: Page, asked: Parameters) -> dict[str, Any]:
    """Return a slice of what stands at a path of a state."""
    view = await page.view(asked.text("thread"), asked.maybe("checkpoint"), asked.maybe("ns") or "")
    name, *path = _path(asked.text("path"))
    channel = view.channels.get(name)
    if channel is None:
        raise NotThere(f"The state has no channel {name!r}.")
    offset, size = asked.number("offset", 0, 2**52), asked.number("limit", 100, 1000, 1)
    return await page.apart(lambda: {**outline(at(channel.plain, path), offset, size), "notes": as_json(channel.notes)})


def _path(text: str) -> list[Any]:
    """Read a path: a list, in JSON, of names and places."""
    try:
        path = json.loads(text)
    except (ValueError, RecursionError):
        path = None
    if not (isinstance(path, list) and path and isinstance(path[0], str) and all(type(p) in (str, int) for p in path)):
        raise BadRequest("A path is a list in JSON, of a channel's name and keys or places below it.")
    return path


async def conversation(page: Page, asked: Parameters) -> dict[str, Any]:
    """Return the last messages of a state, or those before."""
    found = await page.memory.aconversation(
        asked.text("thread"),
        asked.maybe("checkpoint"),
        ns=asked.maybe("ns") or "",
        channel=asked.maybe("channel"),
        last=asked.number("limit", 50, 500, 1),
        before=asked.maybe("before"),
    )
    told = found.as_dict()
    told["turns"] = [capped(turn, 4 * ROOM)[0] for turn in told["turns"]]
    return told


async def diff(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell what differs between two checkpoints."""
    found = await page.memory.adiff(
        asked.text("thread"),
        asked.maybe("a"),
        asked.maybe("b"),
        ns=asked.maybe("ns") or "",
        other_thread=asked.maybe("other_thread"),
    )
    changes = [capped(change.as_dict(), ROOM)[0] for change in found.changes[:CHANGES]]
    return {
        "a": as_json(found.a),
        "b": as_json(found.b),
        "changes": changes,
        "left_out": max(0, len(found.changes) - CHANGES),
        "notes": as_json(found.notes),
    }


async def blame(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell which checkpoints wrote what stands at a path."""
    entries = await page.memory.ablame(
        asked.text("thread"),
        tuple(_path(asked.text("path"))),
        checkpoint=asked.maybe("checkpoint"),
        ns=asked.maybe("ns") or "",
    )
    return {"entries": [capped(entry.as_dict(), ROOM)[0] for entry in entries[-CHANGES:]]}


async def size(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell what takes how much room, of a thread or of the store."""
    report = await page.memory.asize(asked.maybe("thread"), top=asked.number("top", 20, 200, 1))
    return report.as_dict()


async def pulse(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell by one number whether anything of a thread changed: cheap enough to be asked for each second."""
    thread = asked.text("thread")
    store = page.memory.store
    found = await store.arun(partial(store.backend.find, thread, "", NOBODY), write=False, thread=thread)
    return {"seq": found.state.seq, "deletes": found.state.deletes, "failure": page.failures.get(thread)}
