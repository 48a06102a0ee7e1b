"""An agent with a workspace: a dict of many files, of which each step changes one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from benchmarks import session, text
from benchmarks.contender import Contender, Saver
from benchmarks.session import Call, Work

FILE_BYTES = 4_096
WARM_UP = 2


def merge(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """Put the new files over the old ones."""
    return {**old, **new}


class FilesState(TypedDict):
    """Files by path, and the number of steps taken."""

    files: Annotated[dict[str, str], merge]
    step: int


def name(number: int) -> str:
    """Return a file's path."""
    return f"workspace/part_{number % 10}/file_{number:05}.txt"


def build(files: int, edits: list[str], call_mode: str, saver: Saver) -> Any:
    """Return a graph whose one node rewrites a file a step until the edits are used up."""

    def edit(state: FilesState) -> Command[Any]:
        step = state["step"]
        target = name(step * 7919 % files)  # a prime, so that the edits are spread over all files
        goto = "edit" if step + 1 < len(edits) else END
        return Command(update={"files": {target: edits[step]}, "step": step + 1}, goto=goto)

    async def aedit(state: FilesState) -> Command[Any]:
        return edit(state)

    builder = StateGraph(FilesState)
    builder.add_node("edit", edit if call_mode == "blocking" else aedit, destinations=("edit", END))
    builder.add_edge(START, "edit")
    return builder.compile(checkpointer=saver)


def edit_all(files: int, steps: int, call_mode: str) -> Callable[[Saver], Work[dict[str, Any]]]:
    """Return the work of one run that writes all files and then makes ``steps`` edits."""
    start = {"files": {name(n): text.prose(f"file {n}", FILE_BYTES) for n in range(files)}, "step": 0}
    edits = [text.prose(f"edit {n}", FILE_BYTES) for n in range(steps)]

    def work(saver: Saver) -> Work[dict[str, Any]]:
        config = {"configurable": {"thread_id": str(uuid4())}, "recursion_limit": steps + 2}
        options = {} if saver is None else {"durability": "sync"}
        state = yield Call(build(files, edits, call_mode, saver), "invoke", (start, config), options)
        return dict(state)

    return work


def measure(contender: Contender, folder: Path, *, files: int, steps: int) -> dict[str, float | None]:
    """Make the edits; return ``seconds``, from opening to closing, and ``bytes`` stored."""
    warm, home = folder / "warm", folder / "store"
    warm.mkdir()
    session.run(contender, warm, edit_all(WARM_UP, WARM_UP, contender.call_mode))
    contender.clear(warm)
    home.mkdir()
    before = contender.stored(home) if contender.stored else 0
    done = session.run(contender, home, edit_all(files, steps, contender.call_mode))
    if done.result["step"] != steps or len(done.result["files"]) != files:
        raise AssertionError(f"{done.result['step']} steps and {len(done.result['files'])} files came back")
    stored = contender.stored(home) - before if contender.stored else None
    return {"seconds": done.seconds, "bytes": stored, "text_bytes": (files + steps) * FILE_BYTES}
