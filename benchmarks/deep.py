"""A deep agent (the deepagents package) with a workspace of files, of which it rewrites one a turn.

Run by itself: ``python -m benchmarks.deep``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from benchmarks import report, session, text
from benchmarks.contender import Contender, Saver
from benchmarks.contenders import BASELINE, CONTENDERS
from benchmarks.runner import Job, Outcome
from benchmarks.session import Call, Work

FILE_BYTES = 4_096
NO_END = 10**9
"""Tokens the model can take: it is never made to summarize."""

NAMES = (BASELINE, "SqliteSaver", "charm sqlite")

DESCRIPTION = """\
Measure savers under a deep agent with many files of 4 kB, one of which it rewrites a turn: a turn is
one invoke, in which a scripted model calls write_file and then answers. Needs deepagents and Python 3.11.
"""


def name(number: int) -> str:
    """Return a file's path."""
    return f"/workspace/part_{number % 10}/file_{number:05}.txt"


def build(edits: Sequence[dict[str, str]], saver: Saver) -> Any:
    """Return a deep agent whose model makes the edit of the number it is told, and then says so."""
    from deepagents import create_deep_agent
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    class Scripted(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "scripted"

        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

        def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
            last = messages[-1]
            calls = []
            if isinstance(last, HumanMessage):
                calls = [{"name": "write_file", "args": edits[int(last.text)], "id": last.id}]
            answer = AIMessage("" if calls else last.text, tool_calls=calls)
            return ChatResult(generations=[ChatGeneration(message=answer)])

    return create_deep_agent(Scripted(profile={"max_input_tokens": NO_END}), checkpointer=saver)


def talk(files: int, turns: int) -> Callable[[Saver], Work[dict[str, Any]]]:
    """Return the work of ``turns`` turns on a workspace of ``files`` files."""
    workspace = {name(n): {"content": text.prose(f"file {n}", FILE_BYTES), "encoding": "utf-8"} for n in range(files)}
    edits = [
        {"file_path": name(turn * 7919 % files), "content": text.prose(f"edit {turn}", FILE_BYTES)}
        for turn in range(turns)
    ]

    def work(saver: Saver) -> Work[dict[str, Any]]:
        agent = build(edits, saver)
        config = {"configurable": {"thread_id": str(uuid4())}}
        said: dict[str, Any] = {"files": workspace}
        for turn in range(turns):
            said["messages"] = [{"role": "user", "content": str(turn)}]
            state = yield Call(agent, "invoke", (said, config), {"durability": "sync"})
            said = {}
        return state

    return work


def measure(contender: Contender, folder: Path, *, files: int, turns: int) -> dict[str, float | None]:
    """Take the turns; return ``seconds``, from opening to closing, and ``bytes`` stored."""
    done = session.run(contender, folder, talk(files, turns))
    if len(done.result["files"]) != files or len(done.result["messages"]) != 4 * turns:
        raise AssertionError(f"{len(done.result['files'])} files, {len(done.result['messages'])} messages came back")
    stored = contender.stored(folder) if contender.stored else None
    return {"seconds": done.seconds, "bytes": stored, "text_bytes": (files + turns) * FILE_BYTES}


def table(job: Job, rounds: Mapping[str, list[dict[str, float | None]]]) -> str:
    """Return the table of all contenders' figures, the same as of the other workloads."""
    return report.runs(job, [Outcome(job, name, figures) for name, figures in rounds.items()])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    made = argparse.ArgumentParser("python -m benchmarks.deep", description=DESCRIPTION)
    made.add_argument("--files", type=int, default=100, metavar="N", help="files in the workspace (default: 100)")
    made.add_argument("--turns", type=int, default=100, metavar="N", help="turns taken (default: 100)")
    made.add_argument("--rounds", type=int, default=3, metavar="N", help="times everything is measured (default: 3)")
    options = made.parse_args(argv)
    rounds: dict[str, list[dict[str, float | None]]] = {name: [] for name in NAMES}
    for number in range(options.rounds + 1):
        for contender in (row for row in CONTENDERS if row.name in NAMES):
            # The first round is to warm up: it imports, and is not counted.
            turns = options.turns if number else 1
            with TemporaryDirectory(prefix="benchmark-") as folder:
                figures = measure(contender, Path(folder), files=options.files, turns=turns)
            if number:
                rounds[contender.name].append(figures)
    sys.stdout.write(table(Job("deep", {"files": options.files, "steps": options.turns}), rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
