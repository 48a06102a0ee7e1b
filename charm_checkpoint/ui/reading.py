"""What the page asks for: threads, their time line, states, conversations, what differs, sizes."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

from charm_checkpoint.checking.rows import the_row
from charm_checkpoint.errors import NotThere
from charm_checkpoint.inspection.listing import Order
from charm_checkpoint.inspection.states import ChannelView
from charm_checkpoint.plain import as_json
from charm_checkpoint.saver.threads import Status, info, state_of
from charm_checkpoint.session import adrive
from charm_checkpoint.ui.changing import answered
from charm_checkpoint.ui.outline import capped, member, opened
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


async def thread(page: Page, asked: Parameters) -> dict[str, Any]:
    """Tell of one thread what a listing tells of it."""
    store = page.memory.store
    told: dict[str, Any] = as_json(info(await adrive(store, the_row(store.backend, asked.text("thread")))))
    return told


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
        "answered": answered(view),
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
    path = _path(asked)
    channel = view.channels.get(str(path[0]))
    if channel is None:
        raise NotThere(f"The state has no channel {path[0]!r}.")
    place = path, *asked.slice()
    return await page.apart(lambda: {**opened({channel.name: channel.plain}, *place), "notes": as_json(channel.notes)})


def _path(asked: Parameters) -> list[str | int]:
    """Return a path that begins with a channel's name."""
    path = asked.path()
    if not path or type(path[0]) is not str:
        raise BadRequest("The path of a state begins with a channel's name.")
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
        tuple(_path(asked)),
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
    state = await store.arun(partial(state_of, store.backend, thread), write=False, thread=thread)
    return {"seq": state.seq, "deletes": state.deletes, "failure": page.failures.get(thread)}
