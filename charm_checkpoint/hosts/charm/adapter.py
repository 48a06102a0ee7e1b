"""Charm's LangGraph adapter with our memory: charm.yaml's ``runtime.adapter.type: langgraph-checkpoint``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from charm.adapters.langgraph import CharmLangGraphAdapter

from charm_checkpoint.errors import ConfigError
from charm_checkpoint.hosts.charm.finding import Start, find
from charm_checkpoint.hosts.charm.project import VARIABLE, MemorySpec, from_charm, open_wanted
from charm_checkpoint.memory import Memory

GIVEN = "__charm_checkpoint_given__"
"""The input under which a call's own inputs travel through the SDK, which rewrites the others."""

HOST = ("thread_id", "history")
"""Inputs that Charm's runner adds; others of its own begin with ``__charm_``."""


class LangGraphCheckpointAdapter(CharmLangGraphAdapter):  # type: ignore[misc]
    """Runs a graph on the memory of ``runtime.memory``, and answers what a suspended run waits for.

    The entry point is a graph, compiled or not, or a function that returns one. A graph that was
    compiled with a checkpointer keeps it. A call on a suspended thread resumes it, in whatever
    process: ``{"resume": x}``, ``{"input": x}`` or all other inputs together are what
    ``interrupt()`` returns; at a breakpoint they are added to the state. A call without inputs
    goes on where the thread stopped, after a crash too.
    """

    agent: Any

    def invoke(self, inputs: dict[str, Any], callbacks: list[Any] | None = None) -> dict[str, Any]:
        """Run the graph; a suspended run's result has ``interrupts``: the id and value of each."""
        given = {name: value for name, value in inputs.items() if not _is_host(name)}
        result: dict[str, Any] = super().invoke({**inputs, GIVEN: given}, callbacks)
        if result.get("status") == "suspended":
            state = self.agent.get_state({"configurable": {"thread_id": result["thread_id"]}})
            result["interrupts"] = [{"id": item.id, "value": _plain(item.value)} for item in state.interrupts]
            asked = [_as_text(item["value"]) for item in result["interrupts"]]
            result["output"] = "\n".join(asked) or result["output"]
        return result

    def _ensure_instantiated(self) -> None:
        if isinstance(self.agent, Resumable):
            return
        self._smart_instantiate()
        self.agent = Resumable(self._compiled(_unwrapped(self.agent)))

    def _compiled(self, graph: Any) -> Any:
        if hasattr(graph, "compile"):
            return graph.compile(checkpointer=self._memory().get_langgraph_checkpointer())
        if not (hasattr(graph, "invoke") and hasattr(graph, "checkpointer")):
            raise ConfigError(
                f"runtime.adapter.entry_point is a {type(graph).__name__}, not a LangGraph graph or a function "
                "that returns one"
            )
        if graph.checkpointer is None:
            return graph.copy(update={"checkpointer": self._memory().get_langgraph_checkpointer()})
        return graph

    def _memory(self) -> Memory:
        if self.config is None:
            return from_charm()
        runtime = self.config.runtime
        if "memory" not in runtime.model_fields_set and os.environ.get(VARIABLE):
            return open_wanted(MemorySpec(os.environ[VARIABLE], {}, VARIABLE))
        module = sys.modules.get(runtime.adapter.entry_point.partition(":")[0])
        beside = getattr(module, "__file__", None)
        agent = Path(beside).absolute() if beside else None
        file = find([Start(agent.parent, agent)]) if agent else None
        source = "charm.yaml: runtime.memory"
        return open_wanted(
            MemorySpec(runtime.memory.provider, runtime.memory.config, source, file.parent if file else None)
        )


class Resumable:
    """A compiled graph whose `invoke` gives a suspended thread the answer that it waits for."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self.graph, name)

    def invoke(self, inputs: dict[str, Any], config: Any) -> Any:
        """Run the graph from the start, or resume it."""
        given = inputs.pop(GIVEN, inputs)
        return self.graph.invoke(self._input(inputs, given, self.get_state(config)), config=config)

    def get_state(self, config: Any) -> Any:
        """Return a thread's state; where nothing is kept, one that waits for nothing."""
        return self.graph.get_state(config) if self.graph.checkpointer else SimpleNamespace(next=(), interrupts=())

    def _input(self, inputs: dict[str, Any], given: Mapping[str, Any], state: Any) -> Any:
        from langgraph.types import Command

        if not state.next:
            return inputs
        answer = _answer(given)
        if answer is None or answer == {}:
            return None
        if state.interrupts:
            return Command(resume=answer)
        return Command(update=inputs) if self._is_at_breakpoint(state) else inputs

    def _is_at_breakpoint(self, state: Any) -> bool:
        """Tell a thread that waits for a human from one that was killed or failed, which starts anew."""
        before, after = self.graph.interrupt_before_nodes, self.graph.interrupt_after_nodes
        failed = any(task.error for task in state.tasks)
        return not failed and bool(after or before == "*" or set(before) & set(state.next))


def _is_host(name: str) -> bool:
    return name in HOST or name.startswith("__charm_")


def _answer(given: Mapping[str, Any]) -> Any:
    for name in ("resume", "input"):
        if name in given and (name == "resume" or len(given) == 1):
            return given[name]
    return dict(given)


def _unwrapped(agent: Any) -> Any:
    """Return the graph that an agent object holds as its ``app`` or ``graph``."""
    if hasattr(agent, "invoke") or hasattr(agent, "compile"):
        return agent
    held = (getattr(agent, name, None) for name in ("app", "graph"))
    return next((graph for graph in held if hasattr(graph, "invoke") or hasattr(graph, "compile")), agent)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what Charm makes of a result."""
    return json.loads(json.dumps(value, default=str))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
