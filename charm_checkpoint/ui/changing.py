"""What the page changes, where it was started with ``--write``: forks, deletions, answers.

An answer is stored as LangGraph stores one: as a write of no task, beside the question. The program takes it when it
goes on with ``graph.invoke(None, config)``. With the program's graph at hand, the run goes on here instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.types import RESUME

from charm_checkpoint.errors import CheckpointNotFound, ThreadExists
from charm_checkpoint.inspection.outlines import NO_TASK
from charm_checkpoint.saver.forked import forked
from charm_checkpoint.saver.history import COUNTERS
from charm_checkpoint.ui.page import Page
from charm_checkpoint.ui.parameters import BadRequest, Parameters
from charm_checkpoint.ui.replies import Outdated, Refused

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple

    from charm_checkpoint.inspection import StateView


async def fork(page: Page, asked: Parameters) -> dict[str, Any]:
    """Go back: put a copy of a checkpoint at the head of its thread, or at the beginning of a new thread."""
    page.need_writes()
    thread, target = asked.text("thread"), asked.maybe("target")
    found = await _found(page, thread, asked.text("checkpoint"))
    if target is None or target == thread:
        made = await _branch(page, found, found.parent_config or _config(thread, None))
    else:
        made = await _anew(page, found, thread, target)
    page.forget(thread)
    return {"thread_id": made["configurable"]["thread_id"], "checkpoint_id": made["configurable"]["checkpoint_id"]}


async def _found(page: Page, thread: str, checkpoint: str) -> CheckpointTuple:
    found = await page.memory.get_langgraph_checkpointer().aget_tuple(_config(thread, checkpoint))
    if found is None:
        raise CheckpointNotFound(f"The thread {thread!r} has no checkpoint {checkpoint!r}.")
    return found


async def _branch(page: Page, found: CheckpointTuple, parent: RunnableConfig) -> RunnableConfig:
    """Put a copy behind the checkpoint's own parent, as LangGraph copies a checkpoint."""
    saver = page.memory.get_langgraph_checkpointer()
    return await saver.aput(parent, *forked(found), {})


async def _anew(page: Page, found: CheckpointTuple, thread: str, target: str) -> RunnableConfig:
    """Begin a thread with a copy; where values are rebuilt from older checkpoints, with a copy of the whole thread."""
    saver = page.memory.get_langgraph_checkpointer()
    if await saver.aget_tuple(_config(target, None)) is not None:
        raise ThreadExists(f"There is a thread {target!r} already; give another name.")
    if found.metadata.get(COUNTERS):
        await saver.acopy_thread(thread, target)
        copied = await _found(page, target, found.config["configurable"]["checkpoint_id"])
        return await _branch(page, copied, copied.parent_config or _config(target, None))
    copy, metadata = forked(found)
    return await saver.aput(_config(target, None), copy, metadata, copy["channel_versions"])


async def delete(page: Page, asked: Parameters) -> dict[str, Any]:
    """Delete a thread: checkpoints, writes and messages."""
    page.need_writes()
    thread = asked.text("thread")
    await page.memory.adelete_thread(thread)
    page.forget(thread)
    return {"deleted": thread}


async def answer(page: Page, asked: Parameters) -> dict[str, Any]:
    """Answer the question that a thread waits with: have the run go on, or store the answer for the program."""
    page.need_writes()
    with page.answering(asked.text("thread")):
        return await _answer(page, asked)


async def _answer(page: Page, asked: Parameters) -> dict[str, Any]:
    thread, id, given = asked.text("thread"), asked.maybe("id"), asked.raw("answer")
    view = await page.memory.astate(thread, last=1)
    _check_waits(view, asked.text("checkpoint"), id)
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
