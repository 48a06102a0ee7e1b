"""What the page changes, where it was started with ``--write``: forks, deletions, answers.

An answer is stored as LangGraph stores one: as a write of no task, beside the question. The program takes it when it
goes on with ``graph.invoke(None, config)``. With the program's graph at hand, the run goes on here instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import RESUME

from charm_checkpoint.inspection.outlines import NO_TASK
from charm_checkpoint.plain import as_json
from charm_checkpoint.ui.page import Page
from charm_checkpoint.ui.parameters import BadRequest, Parameters
from charm_checkpoint.ui.replies import Outdated, Refused

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from charm_checkpoint.inspection import StateView


async def fork(page: Page, asked: Parameters) -> dict[str, Any]:
    """Go back: put a copy of a checkpoint at the head of its thread, or at the head of a new thread."""
    page.need_writes()
    thread, target = asked.text("thread"), asked.maybe("target")
    to = None if target == thread else target
    made = await page.memory.afork(thread, asked.text("checkpoint"), to=to)
    page.forget(thread)
    return {"thread_id": to or thread, "checkpoint_id": made}


async def delete(page: Page, asked: Parameters) -> dict[str, Any]:
    """Delete a thread: checkpoints, writes and messages."""
    page.need_writes()
    thread = asked.text("thread")
    await page.memory.adelete_thread(thread)
    page.forget(thread)
    return {"deleted": thread}


async def pin(page: Page, asked: Parameters) -> dict[str, Any]:
    """Have no policy remove anything of a thread, or have policies do so again."""
    page.need_writes()
    thread, pinned = asked.text("thread"), asked.flag("pinned")
    await (page.memory.apin if pinned else page.memory.aunpin)(thread)
    return {"thread_id": thread, "pinned": pinned}


async def answer(page: Page, asked: Parameters) -> dict[str, Any]:
    """Answer the question that a thread waits with: have the run go on, or store the answer for the program."""
    page.need_writes()
    with page.answering(asked.text("thread")):
        return await _answer(page, asked)


async def _answer(page: Page, asked: Parameters) -> dict[str, Any]:
    thread, id, given = asked.text("thread"), asked.maybe("id"), asked.raw("answer")
    view = await page.memory.astate(thread, last=1)
    _check_waits(view, asked.text("checkpoint"), id)
    if answered(view) != asked.maybe("answered"):
        raise Outdated("Another answer was stored meanwhile. This one was not: look at it, and answer again.")
    page.forget(thread)
    if page.graph is not None:
        page.begin(thread, _go_on(page, thread, id, given))
        return {"outcome": "running"}
    if given is None:
        raise BadRequest("LangGraph takes no stored answer of null for one; answer with something else.")
    if sum(question.waits for question in view.questions) > 1:
        raise Refused("Several questions wait. Start the page with --graph module:graph to answer them one by one.")
    saver = page.memory.get_langgraph_checkpointer()
    await saver.aput_writes(_config(thread, asked.text("checkpoint")), [(RESUME, given)], NO_TASK)
    return {"outcome": "stored"}


def answered(view: StateView) -> str | None:
    """Return what stands for the answers that are stored, None if there is none: who replaces them says it."""
    if not view.answers:
        return None
    return blake2b(json.dumps(as_json(view.answers), sort_keys=True).encode(), digest_size=16).hexdigest()


def _check_waits(view: StateView, checkpoint: str, id: str | None) -> None:
    """Raise `Outdated` unless the question that was answered still waits at the head."""
    waiting = [question.id for question in view.questions if question.waits]
    if view.checkpoint is None or view.checkpoint.checkpoint_id != checkpoint or id not in waiting:
        raise Outdated("That question does not wait any more: the thread went on. Nothing was stored.")


async def _go_on(page: Page, thread: str, id: str | None, given: Any) -> None:
    from langgraph.types import Command

    graph = page.graph.copy({"checkpointer": page.memory.get_langgraph_checkpointer()})
    resume: Mapping[str, Any] | Any = given if id is None else {id: given}
    await graph.ainvoke(Command(resume=resume), _config(thread, None))


def _config(thread: str, checkpoint: str | None) -> RunnableConfig:
    named = {} if checkpoint is None else {"checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **named}}
