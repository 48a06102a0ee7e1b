"""What a graph makes of a stored checkpoint: nodes that it waits at and are gone, channels that cannot take a value.

LangGraph ends a run without a word where the node that waits is not in the graph, and hands a node whatever a channel
holds. So this looks at what is stored beside what the graph has; no node runs, a reducer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, DeltaChannelHistory
from langgraph.checkpoint.serde.types import INTERRUPT, TASKS

from charm_checkpoint.checking.channels import misfit
from charm_checkpoint.checking.report import Told
from charm_checkpoint.errors import ConfigError, TypeNotLoaded
from charm_checkpoint.saver.waiting import JOIN, leads_to_node, triggered_nodes

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.pregel import Pregel

START = "__start__"
_INTERNAL = frozenset({START, TASKS})
_NO_TASK = "00000000-0000-0000-0000-000000000000"
"""The task of writes that are nobody's, such as the answer to an interrupt."""


def graph_of(given: Any) -> Pregel[Any, Any, Any, Any]:
    """Return the compiled graph that is meant by one, or by its builder; raises `ConfigError` for anything else."""
    from langgraph.pregel import Pregel

    if not isinstance(given, Pregel) and callable(getattr(given, "compile", None)):
        given = given.compile()
    if not isinstance(given, Pregel):
        raise ConfigError(f"a graph is a compiled graph of LangGraph's, or its builder, not {type(given).__name__}")
    return given


def waiting_nodes(checkpoint: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of nodes that a stored checkpoint is about to run, or is in the middle of running.

    LangGraph says so by the names of channels that have a value, by the packets for nodes that were sent to, and by
    which versions of a channel a node has seen.
    """
    values = checkpoint["channel_values"]
    yield from triggered_nodes(checkpoint)
    versions = checkpoint["channel_versions"]
    for node, seen in checkpoint["versions_seen"].items():
        if not node.startswith("__") and any(
            name in values and not _is_join(name) and _is_later(versions.get(name), version)
            for name, version in seen.items()
        ):
            yield node


def _half_passed(found: CheckpointTuple) -> Iterator[str]:
    """Yield the channels of edges that wait for several nodes, of which some have come."""
    for name, value in found.checkpoint["channel_values"].items():
        if _is_join(name) and _has_some(value):
            yield name
    yield from (channel for _, channel, _ in found.pending_writes or () if _is_join(channel))


def _is_join(channel: str) -> bool:
    """Tell whether a channel is that of an edge from several nodes, as in ``join:one+two:three``."""
    return channel.startswith(JOIN) and channel.count(":") == 2


def _has_some(value: Any) -> bool:
    """Tell whether any of the nodes that an edge waits for has come to it."""
    come = value[0] if type(value) is tuple and value else value  # a deferred one is a pair
    return isinstance(come, (set, frozenset, list)) and bool(come)


def _is_later(version: Any, seen: Any) -> bool:
    return type(version) is type(seen) and isinstance(version, (int, float, str)) and version > seen


class GraphCheck:
    """One graph with its subgraphs, to compare checkpoints with."""

    def __init__(self, graph: Any) -> None:
        from langgraph.pregel import Pregel

        root = graph_of(graph)
        self.graph = root
        self._graphs: dict[str, Pregel[Any, Any, Any, Any]] = {"": root}
        for path, found in root.get_subgraphs(recurse=True):
            if isinstance(found, Pregel):
                self._graphs[path] = found

    def look(self, ns: str, found: CheckpointTuple) -> Iterator[Told]:
        """Yield what stands in the way of the checkpoint of a namespace."""
        path = _path_of(ns)
        graph = self._graphs.get(path)
        if graph is None:
            yield from self._without_graph(ns, path, found)
            return
        yield from _channels(graph, path, found)
        gone = self.gone(ns, found)
        for node in gone:
            yield Told("node", _named(path, node), None, "a thread waits at this node, which the graph does not have")
        for edge in dict.fromkeys(_half_passed(found)):
            come, _, node = edge.removeprefix(JOIN).rpartition(":")
            if edge not in graph.channels and node not in gone:
                said = f"some of {come} are done, and the graph has no edge that waits for these before this node"
                yield Told("node", _named(path, node), None, said)
        if not gone:
            yield from _tasks(graph, path, found)

    def gone(self, ns: str, found: CheckpointTuple) -> list[str]:
        """Return the nodes that a checkpoint waits at and the graph of its namespace does not have."""
        graph = self._graphs.get(_path_of(ns))
        if graph is None:
            return []
        return [node for node in dict.fromkeys(waiting_nodes(found.checkpoint)) if node not in graph.nodes]

    def _without_graph(self, ns: str, path: str, found: CheckpointTuple) -> Iterator[Told]:
        """Yield what there is to say of the state of a subgraph that the graph does not have."""
        above, _, node = path.rpartition("|")
        parent = self._graphs.get(above)
        if parent is None:
            return  # its own is told of the graph above, if that is to run
        if ":" not in ns:
            yield Told("unread", path, None, "the graph has no subgraph here that would read the state it kept")
        elif node in parent.nodes and waits(found):
            yield Told(
                "subgraph", path, None, "a thread waits inside of a subgraph here, and the node has none that is known"
            )


def _path_of(ns: str) -> str:
    """Return the path of nodes that a namespace stands for, without tasks and the numbers of further calls."""
    return "|".join(part.partition(":")[0] for part in ns.split("|") if not part.isdigit())


def _named(path: str, name: str) -> str:
    return f"{path}|{name}" if path else name


def waits(found: CheckpointTuple) -> bool:
    """Tell whether a checkpoint has nodes to run, or waits for an answer."""
    is_input = START in found.checkpoint["channel_values"]
    return is_input or bool(_asking(found)) or any(True for _ in waiting_nodes(found.checkpoint))


def _asking(found: CheckpointTuple) -> set[str]:
    """Return the tasks that wait for an answer."""
    return {task for task, channel, _ in found.pending_writes or () if channel == INTERRUPT and task != _NO_TASK}


def _channels(graph: Pregel[Any, Any, Any, Any], path: str, found: CheckpointTuple) -> Iterator[Told]:
    from langgraph.channels.base import BaseChannel

    for name, value in found.checkpoint["channel_values"].items():
        if name in _INTERNAL or leads_to_node(name, found.checkpoint.get("v")) or _is_join(name):
            continue
        channel: Any = graph.channels.get(name)
        if isinstance(channel, BaseChannel):
            for kind, message in misfit(channel, value):
                yield Told(kind, _named(path, name), None, message)
        elif channel is None:
            yield Told("unread", _named(path, name), None, "the graph has no such channel; what it holds is kept")


def _tasks(graph: Pregel[Any, Any, Any, Any], path: str, found: CheckpointTuple) -> Iterator[Told]:
    """Yield that a task which waits for an answer is not the one that the graph would go on with.

    A task's id comes from its node, what started it and where it is: an answer finds it by that alone.
    """
    asking = _asking(found)
    if not asking:
        return
    where = path or "the graph"
    try:
        going_on = _next_tasks(graph, found)
    except TypeNotLoaded:
        return  # told of its class
    except Exception as error:  # of a channel or a reducer, which are the program's
        yield Told("state", where, None, f"it cannot be put into the stored state: {type(error).__name__}: {error}")
        return
    if not asking & going_on:
        said = "a thread waits for an answer to a task that the graph would not go on with"
        yield Told("task", where, None, f"{said}: its node, or what starts it, has another name")


def _next_tasks(graph: Pregel[Any, Any, Any, Any], found: CheckpointTuple) -> set[str]:
    saver = _OneCheckpoint(found)
    configurable = {key: found.config["configurable"][key] for key in ("thread_id", "checkpoint_ns")}
    # As a graph gives it to its subgraphs: then a namespace is this graph's own.
    config: RunnableConfig = {"configurable": {**configurable, "__pregel_checkpointer": saver}}
    return {task.id for task in graph.get_state(config).tasks}


class _OneCheckpoint(BaseCheckpointSaver[Any]):
    """Has one checkpoint, which was read before, and knows of none before it."""

    def __init__(self, found: CheckpointTuple) -> None:
        super().__init__()
        self._found = found

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return (
            self._found if config["configurable"].get("checkpoint_id") in (None, self._found.checkpoint["id"]) else None
        )

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return {name: {"writes": []} for name in channels}  # which tasks are next does not depend on what they hold
